"""Settlement: has the ledger itself aggregate a small model, leaf by leaf, so that nobody needs to recompute it."""

from __future__ import annotations

from collections.abc import Sequence

from .. import merkle
from ..aggregation import Readable
from ..encoding import Words, as_bytes
from ..errors import AlreadySettled
from ..fraud import UPDATE_BYTES, Opening
from ..ledger import Ledger, Receipt, Signer
from ..protocol import SettleLeaf, SettleRoster
from ..sumtree import Entry


def settle_leaves(
    ledger: Ledger,
    signer: Signer,
    task: bytes,
    number: int,
    people: Sequence[bytes],
    entries: Sequence[Entry],
    base: Words,
    updates: Sequence[Readable],
    following: Words,
) -> list[Receipt]:
    """Show a proposal's roster and every leaf of its model (int32[d] vectors), each in one transaction; what is shown is left out.

    Direct commitments only. A leaf costs calldata for itself in each update, so this is for small models: docs/protocol.md has figures.
    """
    words = ledger.task(task).parameters.leaf_words
    receipts: list[Receipt] = []
    everybody = tuple(sorted(people))
    calls: list[SettleRoster | SettleLeaf] = [SettleRoster(task, number, everybody, tuple(entries))]
    vectors = [*(update[:] for update in updates), base, following]
    openings = [_open(vector, UPDATE_BYTES * words) for vector in vectors]
    for leaf, (*parts, old, new) in enumerate(zip(*openings, strict=True)):
        calls.append(SettleLeaf(task, number, leaf, tuple(entries), tuple(parts), old, new))
    for call in calls:
        try:
            receipts += ledger.send(signer, call)
        except AlreadySettled:
            continue
    return receipts


def _open(vector: Words, size: int) -> list[Opening]:
    """Every leaf of a vector, each of `size` bytes."""
    data = as_bytes(vector)
    paths = merkle.paths(merkle.leaf_hashes(data, size))
    return [
        Opening(bytes(data[leaf * size : (leaf + 1) * size]), path)
        for leaf, path in enumerate(paths)
    ]
