"""A batch of signed commitments: one root on the ledger, its entries in a document of that very name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from .. import merkle
from ..aggregation import Entry, sort_roster
from ..commitment import ENTRY_BYTES, entry_bytes
from ..errors import InvalidParameter
from ..ledger import Ledger
from ..protocol import Committed, Excluded, Reason
from ..store import Kind, Store
from .outcome import Closed, Exclusion


@dataclass(frozen=True)
class Position:
    """An entry in a batch, with what shows that it is there."""

    entry: Entry
    index: int
    path: tuple[bytes, ...]


@dataclass(frozen=True)
class Batch:
    """Entries in ascending order of member."""

    roster: tuple[Entry, ...]

    @property
    def data(self) -> bytes:
        """The entries' bytes, 56 each."""
        return b"".join(entry_bytes(e.member, e.weight, e.root) for e in self.roster)

    @cached_property
    def root(self) -> bytes:
        """What goes on the ledger."""
        return merkle.root_of(self._leaves)

    @cached_property
    def positions(self) -> dict[bytes, Position]:
        """Each member's position."""
        leaves = self._leaves
        return {
            entry.member: Position(entry, index, merkle.path(leaves, index))
            for index, entry in enumerate(self.roster)
        }

    @cached_property
    def _leaves(self) -> list[bytes]:
        return merkle.leaf_hashes(self.data, ENTRY_BYTES)


def make_batch(entries: Iterable[Entry]) -> Batch:
    """A batch of entries in any order."""
    return Batch(sort_roster(entries))


def write_batch(store: Store, batch: Batch) -> None:
    """Keep a batch's entries: one entry is one leaf, so the blob's name is the batch's root."""
    store.put(Kind.DOCUMENT, batch.data, ENTRY_BYTES)


def read_batch(store: Store, root: bytes) -> Batch:
    """The batch of that root. Raises as `Store.get`, and `InvalidParameter` for a document that is no batch."""
    data = store.get(root, Kind.DOCUMENT, ENTRY_BYTES).tobytes()
    if len(data) % ENTRY_BYTES:
        raise InvalidParameter(f"document {root.hex()} is no list of entries. Fetch it again.")
    rows = (data[i : i + ENTRY_BYTES] for i in range(0, len(data), ENTRY_BYTES))
    return Batch(tuple(Entry(r[:20], int.from_bytes(r[20:24], "big"), r[24:]) for r in rows))


def recall(ledger: Ledger, store: Store, task: bytes, number: int) -> Closed:
    """What a proposed round came to, as far as the ledger and the store tell."""
    current = ledger.round(task, number)
    roster: dict[bytes, Entry] = {}
    batch_root = b""
    if current.batch_count:
        batch_root = current.batch_root
        roster = {entry.member: entry for entry in read_batch(store, batch_root).roster}
    exclusions = []
    for _, event in ledger.events(task, None):
        if isinstance(event, Committed) and event.round == number:
            roster[event.member] = Entry(event.member, event.weight, event.root)
        elif isinstance(event, Excluded) and event.round == number:
            exclusions.append(Exclusion(event.member, None, Reason(event.reason), "", True))
    gone = {each.member for each in exclusions}
    entries = sort_roster(entry for entry in roster.values() if entry.member not in gone)
    return Closed(
        number,
        current.parent,
        entries,
        tuple(exclusions),
        current.sum_root,
        current.next_root,
        batch_root,
    )
