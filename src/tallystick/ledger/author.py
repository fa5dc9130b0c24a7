"""Who signed a commitment that was made off chain."""

from __future__ import annotations

from typing import Any

from eth_account import Account
from eth_account.messages import encode_typed_data

from ..commitment import SIGNATURE_BYTES, typed_data
from ..protocol import ZERO_ADDRESS, Address, TaskId
from ..sumtree import Entry


def recovered(message: Any, signature: bytes) -> Address:
    """The account (20 bytes) that signed a message of eth_account's; zeros for what is no signature (65 bytes)."""
    if len(signature) != SIGNATURE_BYTES:
        return ZERO_ADDRESS
    try:
        address: str = Account.recover_message(message, signature=signature)
    except Exception:  # The library raises half a dozen kinds for bytes that are no signature.
        return ZERO_ADDRESS
    return bytes.fromhex(address[2:])


def commitment_author(
    chain_id: int, contract: Address, task: TaskId, round: int, entry: Entry, signature: bytes
) -> Address:
    """The account that signed an entry as EIP-712 typed data; zeros for what is no signature."""
    data = typed_data(chain_id, contract, task, round, entry.member, entry.root, entry.weight)
    return recovered(encode_typed_data(full_message=data), signature)
