"""What a member binds itself to, and how tasks and commitments are named. Standard library only.

An ABI word is 32 bytes, big-endian, addresses left-padded with zeros (Solidity `abi.encode` of static types), so that
the contract forms the same bytes with `sha256(abi.encode(...))`.
"""

from __future__ import annotations

from dataclasses import fields
from hashlib import sha256
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .protocol import Parameters

TASK_TAG = sha256(b"tallystick/task/1").digest()
COMMITMENT_TAG = sha256(b"tallystick/commitment/1").digest()
ENTRY_BYTES = 56
SIGNATURE_BYTES = 65
SIGNED_ENTRY_BYTES = ENTRY_BYTES + SIGNATURE_BYTES
"""A batch's leaf: one roster entry and its member's EIP-712 signature."""


def abi_word(value: int | bytes) -> bytes:
    """An unsigned integer or at most 32 bytes (an address, a hash) as one ABI word."""
    return value.to_bytes(32, "big") if isinstance(value, int) else value.rjust(32, b"\0")


def task_digest(chain_id: int, contract: bytes, parameters: Parameters) -> bytes:
    """TaskId: SHA-256 over tag, chain id, contract and the parameters in their order, each one ABI word."""
    words = [TASK_TAG, abi_word(chain_id), abi_word(contract)]
    words += [abi_word(getattr(parameters, each.name)) for each in fields(parameters)]
    return sha256(b"".join(words)).digest()


def commitment_digest(
    chain_id: int, contract: bytes, task: bytes, round: int, member: bytes, root: bytes, weight: int
) -> bytes:
    """Digest that binds one update to chain, contract, task, round, member and weight."""
    values: tuple[int | bytes, ...] = (chain_id, contract, task, round, member, root, weight)
    return sha256(COMMITMENT_TAG + b"".join(map(abi_word, values))).digest()


def entry_bytes(member: bytes, weight: int, root: bytes) -> bytes:
    """One roster entry: member (20 bytes), weight (4, big-endian), root (32)."""
    return member + weight.to_bytes(4, "big") + root


def typed_data(
    chain_id: int, contract: bytes, task: bytes, round: int, member: bytes, root: bytes, weight: int
) -> dict[str, Any]:
    """The commitment as EIP-712 typed data, for a wallet to sign when commitments are batched."""
    return {
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "verifyingContract", "type": "address"},
            ],
            "Commitment": [
                {"name": "task", "type": "bytes32"},
                {"name": "round", "type": "uint32"},
                {"name": "member", "type": "address"},
                {"name": "root", "type": "bytes32"},
                {"name": "weight", "type": "uint32"},
            ],
        },
        "primaryType": "Commitment",
        "domain": {
            "name": "Tallystick",
            "version": "1",
            "chainId": chain_id,
            "verifyingContract": "0x" + contract.hex(),
        },
        "message": {
            "task": task,
            "round": round,
            "member": "0x" + member.hex(),
            "root": root,
            "weight": weight,
        },
    }
