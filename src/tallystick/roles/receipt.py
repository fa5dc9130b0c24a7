"""What a member hands over with its update, and how it shows that the hand is its own.

The ledger binds an update to a member, but a commitment is public: anyone could send rubbish under another's name to get
it excluded. So each reply is signed (EIP-191) for the node that sends it, and a reply whose signature does not fit is
its node's fault and nobody else's.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from eth_account.messages import encode_defunct

from ..commitment import commitment_digest, typed_data
from ..encoding import Words
from ..ledger import Signer, address_of
from ..ledger.author import commitment_author, recovered
from ..sumtree import Entry
from .outcome import Rejected

REPLY_TAG = sha256(b"tallystick/reply/1").digest()


@dataclass(frozen=True)
class Place:
    """Where a commitment belongs: chain, contract, task and round."""

    chain_id: int
    contract: bytes
    task: bytes
    round: int

    def digest(self, member: bytes, root: bytes, weight: int) -> bytes:
        """The commitment's digest (32 bytes), of which the ledger keeps the first 28."""
        return commitment_digest(
            self.chain_id, self.contract, self.task, self.round, member, root, weight
        )

    def typed_data(self, member: bytes, root: bytes, weight: int) -> dict[str, Any]:
        """The commitment as EIP-712 typed data."""
        return typed_data(self.chain_id, self.contract, self.task, self.round, member, root, weight)


@dataclass(frozen=True)
class Receipt:
    """A member's word on its update: `weight` examples stand behind the words that hash to `root`.

    `commitment` is the EIP-712 signature (65 bytes) where commitments are batched, else empty; `signature` binds the
    receipt to the node that sends it. `transaction` (32 bytes) and `gas` tell of a direct commitment; both are only told,
    nothing rests on them.
    """

    task: bytes
    round: int
    member: bytes
    root: bytes
    weight: int
    signature: bytes
    commitment: bytes = b""
    transaction: bytes = b""
    gas: int = 0


@dataclass(frozen=True)
class Reply:
    """A member's answer, as the engine translated it.

    `examples` is the weight the answer itself names; `words` (int32[d]) is None where the update comes later (batched).
    `flaw` is what the engine found wrong with the body; it counts only once the receipt's signature holds.
    """

    node: int
    receipt: Receipt
    examples: float | int | None
    words: Words | None
    flaw: Rejected | None = None


def reply_digest(place: Place, member: bytes, root: bytes, weight: int, node: int) -> bytes:
    """What a member signs so that its reply counts as its own when sent from `node`."""
    commitment = place.digest(member, root, weight)
    return sha256(REPLY_TAG + commitment + (node % 2**64).to_bytes(8, "big")).digest()


def sign_reply(signer: Signer, place: Place, root: bytes, weight: int, node: int) -> bytes:
    """65 bytes: the member's EIP-191 signature over `reply_digest`."""
    digest = reply_digest(place, address_of(signer), root, weight, node)
    return bytes(signer.sign_message(encode_defunct(digest)).signature)


def reply_author(receipt: Receipt, place: Place, node: int) -> bytes:
    """The account that signed a receipt for `node`; zeros if the signature is no signature."""
    digest = reply_digest(place, receipt.member, receipt.root, receipt.weight, node)
    return recovered(encode_defunct(digest), receipt.signature)


def sign_commitment(signer: Signer, place: Place, root: bytes, weight: int) -> bytes:
    """65 bytes: the member's EIP-712 signature over its commitment, for the aggregator to batch."""
    data = place.typed_data(address_of(signer), root, weight)
    return bytes(signer.sign_typed_data(full_message=data).signature)


def signed_by_member(receipt: Receipt, place: Place) -> bool:
    """Whether a batched commitment is signed by the member that it names."""
    entry = Entry(receipt.member, receipt.weight, receipt.root)
    found = commitment_author(
        place.chain_id, place.contract, place.task, place.round, entry, receipt.commitment
    )
    return found == receipt.member
