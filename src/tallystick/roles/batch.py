"""A batch of signed commitments: one root on the ledger, its entries in a document of that very name."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from .. import merkle
from ..aggregation import sort_roster
from ..commitment import ENTRY_BYTES, SIGNED_ENTRY_BYTES, entry_bytes
from ..errors import InvalidParameter, TallystickError
from ..ledger import Ledger
from ..ledger.author import commitment_author
from ..protocol import Admitted, Committed, Excluded, Reason
from ..store import Kind, Store
from ..sumtree import Entry
from .outcome import Closed, Exclusion


@dataclass(frozen=True)
class Position:
    """An entry in a batch with its member's signature (65 bytes), and what shows that it is there."""

    entry: Entry
    signature: bytes
    index: int
    path: tuple[bytes, ...]


@dataclass(frozen=True)
class Batch:
    """Entries in ascending order of member, and the signature of each."""

    roster: tuple[Entry, ...]
    signatures: tuple[bytes, ...]

    @property
    def data(self) -> bytes:
        """The signed entries' bytes, 121 each."""
        return b"".join(
            entry_bytes(e.member, e.weight, e.root) + signature
            for e, signature in zip(self.roster, self.signatures, strict=True)
        )

    @cached_property
    def root(self) -> bytes:
        """What goes on the ledger."""
        return merkle.root_of(self._leaves)

    @classmethod
    def parse(cls, data: bytes) -> Batch:
        """The batch of `data`, whose length is a multiple of 121."""
        rows = [data[i : i + SIGNED_ENTRY_BYTES] for i in range(0, len(data), SIGNED_ENTRY_BYTES)]
        roster = (Entry(r[:20], int.from_bytes(r[20:24], "big"), r[24:ENTRY_BYTES]) for r in rows)
        return cls(tuple(roster), tuple(row[ENTRY_BYTES:] for row in rows))

    def path(self, index: int) -> tuple[bytes, ...]:
        """Audit path of an entry."""
        return merkle.path(self._leaves, index)

    @cached_property
    def positions(self) -> dict[bytes, Position]:
        """Each member's position."""
        rows = zip(self.roster, self.signatures, merkle.paths(self._leaves), strict=True)
        return {
            entry.member: Position(entry, signature, index, path)
            for index, (entry, signature, path) in enumerate(rows)
        }

    @cached_property
    def _leaves(self) -> list[bytes]:
        return merkle.leaf_hashes(self.data, SIGNED_ENTRY_BYTES)


@dataclass(frozen=True)
class Roster:
    """Entries that count in a round, members excluded from it, the batch that can be answered for, or why none can."""

    entries: tuple[Entry, ...]
    excluded: Mapping[bytes, Reason]
    batch: Batch | None
    flaw: str | None


@dataclass(frozen=True)
class Standing:
    """Who is a member, what was committed to a round on the ledger itself, and who is excluded from it.

    `accused` holds also those who committed after their entry in the batch was excluded, and so count after all.
    """

    members: frozenset[bytes]
    direct: Mapping[bytes, Entry]
    excluded: Mapping[bytes, Reason]
    accused: frozenset[bytes]

    def roster(self, batch: Batch | None) -> tuple[Entry, ...]:
        """Entries that count: a member's own commitment before the batch's."""
        entries = {entry.member: entry for entry in batch.roster} if batch else {}
        counted = (entries | dict(self.direct)).values()
        return sort_roster(entry for entry in counted if entry.member not in self.excluded)


def standing(ledger: Ledger, task: bytes, number: int) -> Standing:
    """What the ledger's events say of a round."""
    members: set[bytes] = set()
    direct: dict[bytes, Entry] = {}
    excluded: dict[bytes, Reason] = {}
    accused: set[bytes] = set()
    for _, event in ledger.events(task, None):
        if isinstance(event, Admitted):
            members.add(event.member)
        elif isinstance(event, Committed) and event.round == number:
            direct[event.member] = Entry(event.member, event.weight, event.root)
            # Only its entry in the batch can have been excluded before, and that counts no more.
            excluded.pop(event.member, None)
        elif isinstance(event, Excluded) and event.round == number:
            excluded[event.member] = Reason(event.reason)
            accused.add(event.member)
    return Standing(frozenset(members), direct, excluded, frozenset(accused))


def rosters(
    ledger: Ledger, task: bytes, number: int, stands: Standing, batch: Batch | None
) -> tuple[tuple[Entry, ...], frozenset[Entry], tuple[tuple[Entry, ...], ...]]:
    """Entries that a proposal must count, those that it may, and the rosters to try first.

    Another's exclusion leaves it to the proposer to count a member or not, its own does not; and of a member that committed both ways
    either entry is right.
    """
    current = ledger.round(task, number)
    direct, batched = set(stands.direct.values()), set(batch.roster if batch else ())
    for member in stands.accused:
        by = ledger.excluders(task, number, member)
        if current.proposer == by[0]:
            direct -= {entry for entry in direct if entry.member == member}
        if current.proposer in by:
            batched -= {entry for entry in batched if entry.member == member}
    allowed = frozenset(direct | batched)
    required = stands.roster(batch)
    must = {entry.member for entry in required}
    of_direct = dict(stands.direct)
    of_batch = {entry.member: entry for entry in batch.roster} if batch else {}
    found = [required]
    for entries in (of_direct | of_batch, of_batch | of_direct):
        every = sort_roster(entry for entry in entries.values() if entry in allowed)
        if len(every) == current.count and must <= {entry.member for entry in every}:
            found.append(every)
    return required, allowed, tuple(dict.fromkeys(found))


def make_batch(signed: Mapping[Entry, bytes]) -> Batch:
    """A batch of entries and their signatures, in any order."""
    roster = sort_roster(signed)
    return Batch(roster, tuple(signed[entry] for entry in roster))


def write_batch(store: Store, batch: Batch) -> None:
    """Keep a batch's entries: one entry is one leaf, so the blob's name is the batch's root."""
    store.put(Kind.DOCUMENT, batch.data, SIGNED_ENTRY_BYTES)


def read_batch(store: Store, root: bytes) -> Batch:
    """The batch of that root. Raises as `Store.get`, and `InvalidParameter` for a document that is no batch."""
    data = store.get(root, Kind.DOCUMENT, SIGNED_ENTRY_BYTES).tobytes()
    if len(data) % SIGNED_ENTRY_BYTES:
        raise InvalidParameter(f"document {root.hex()} is no list of entries. Fetch it again.")
    return Batch.parse(data)


def find_flaw(
    ledger: Ledger,
    task: bytes,
    number: int,
    batch: Batch,
    members: Container[bytes],
    max_weight: int,
) -> str | None:
    """Why nobody should answer for a batch, or None: it is sorted, and members signed all of it for this round."""
    for earlier, later in pairwise(batch.roster):
        if earlier.member >= later.member:
            return f"0x{later.member.hex()} is out of order"
    for entry, signature in zip(batch.roster, batch.signatures, strict=True):
        if entry.member not in members:
            return f"0x{entry.member.hex()} is not a member"
        if not 1 <= entry.weight <= max_weight:
            return f"0x{entry.member.hex()} has a weight of {entry.weight}, outside 1..{max_weight}"
        author = commitment_author(ledger.chain_id, ledger.contract, task, number, entry, signature)
        if author != entry.member:
            return f"0x{entry.member.hex()} did not sign its entry"
    return None


def roster(ledger: Ledger, store: Store, task: bytes, number: int) -> Roster:
    """Who counts in a round: direct commitments, and those of the batch if it is in the store and without flaw, less the excluded."""
    current = ledger.round(task, number)
    stands = standing(ledger, task, number)
    batch, flaw = None, None
    if current.batch_count:
        try:
            found = read_batch(store, current.batch_root)
            most = ledger.task(task).parameters.max_weight
            flaw = find_flaw(ledger, task, number, found, stands.members, most)
            if len(found.roster) != current.batch_count:
                flaw = f"{len(found.roster)} entries where the ledger says {current.batch_count}"
        except TallystickError as error:
            flaw = str(error)
        else:
            batch = found if flaw is None else None
    return Roster(stands.roster(batch), stands.excluded, batch, flaw)


def recall(ledger: Ledger, store: Store, task: bytes, number: int) -> Closed:
    """What a proposed round came to, as far as the ledger and the store tell."""
    current = ledger.round(task, number)
    found = roster(ledger, store, task, number)
    exclusions = tuple(
        Exclusion(member, None, reason, "", True) for member, reason in found.excluded.items()
    )
    return Closed(
        number,
        current.parent,
        current.height,
        found.entries,
        exclusions,
        current.sum_root,
        current.next_root,
        current.batch_root if current.adopted else b"",
    )
