"""The auditor: no key, no trust. Replays a task from ledger and store, and names the first thing that is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from .. import merkle, protocol
from ..aggregation import Combined, Readable, combine, sort_roster
from ..blob import HEADER_BYTES, DamagedLeaf, Kind
from ..commitment import commitment_digest, task_digest
from ..encoding import Layout, Words
from ..errors import (
    AuditMismatch,
    BlobUnavailable,
    InvalidBlob,
    InvalidParameter,
    RootMismatch,
    TallystickError,
)
from ..ledger import Head, Ledger
from ..protocol import DIGEST_BYTES, Parameters, Phase, Reason
from ..store import Store
from ..sumtree import Entry
from .batch import Batch, find_flaw, read_batch, rosters, standing
from .vectors import stored_vectors

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Place:
    """Where in a task something is: as much of it as is known."""

    round: int | None = None
    member: bytes | None = None
    tensor: str | None = None
    index: tuple[int, ...] | None = None
    leaf: int | None = None
    blob: str | None = None

    def __str__(self) -> str:
        parts = []
        if self.round is not None:
            parts.append(f"round {self.round}" if self.round else "the genesis model")
        if self.member is not None:
            parts.append(f"member 0x{self.member.hex()}")
        if self.tensor is not None:
            parts.append(
                f"tensor {self.tensor!r}" + (f" at {list(self.index)}" if self.index else "")
            )
        if self.leaf is not None:
            parts.append(f"leaf {self.leaf}")
        return ", ".join(parts) or "the task"


class Finding(AuditMismatch):
    """Something that does not agree, and its place."""

    def __init__(self, place: Place, said: str) -> None:
        super().__init__(f"{place}: {said}")
        self.place = place
        self.said = said


@dataclass(frozen=True)
class RoundAudit:
    """A round as recomputed: the roster, who was left out and why, and the model."""

    number: int
    roster: tuple[Entry, ...]
    excluded: tuple[tuple[bytes, Reason], ...]
    next_root: bytes
    final: bool


@dataclass(frozen=True)
class Audit:
    """An audit that found nothing wrong."""

    task: bytes
    parameters: Parameters
    layout: Layout
    rounds: tuple[RoundAudit, ...]
    model_root: bytes
    blobs: int
    head: Head


@dataclass
class _Told:
    """What the ledger's events tell of one round."""

    direct: dict[bytes, Entry] = field(default_factory=dict)
    batch: tuple[bytes, int] | None = None
    excluded: dict[bytes, Reason] = field(default_factory=dict)
    proposed: protocol.Proposed | None = None
    final: bool = False


def audit(
    ledger: Ledger,
    store: Store,
    task: bytes,
    head: Head | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Recompute a task: its id, layout, every commitment, roster, update, aggregate and model, and re-hash every blob.

    `head` is the block that the ledger is known to have reached, if it is. Raises `Finding` (or the ledger's own
    `JournalMismatch`) at the first thing that is wrong, `UnknownTask` if the ledger has no such task.
    """
    replay = _Replay(ledger, store, task, progress or (lambda what, done, of: None))
    if head is not None and ledger.head() != head:
        found = ledger.head()
        raise Finding(
            Place(),
            f"the ledger ends at block {found.number} ({found.hash.hex()}) where the run had reached block "
            f"{head.number} ({head.hash.hex()}): blocks were removed or replaced.",
        )
    return replay.run()


class _Replay:
    def __init__(self, ledger: Ledger, store: Store, task: bytes, progress: Progress) -> None:
        self.ledger, self.store, self.task, self.progress = ledger, store, task, progress
        self.parameters = ledger.task(task).parameters
        self.members: set[bytes] = set()
        self.seen: set[bytes] = set()

    def run(self) -> Audit:
        p = self.parameters
        found = task_digest(self.ledger.chain_id, self.ledger.contract, p)
        if found != self.task:
            raise Finding(Place(), f"its parameters hash to {found.hex()}, not to its id.")
        self.layout = self._layout()
        words = self._words(p.genesis, Kind.MODEL, Place(0))
        told = self._told()
        branch = self._branch(told)
        rounds: list[RoundAudit] = []
        for number in branch:
            one = told[number]
            roster, others = self._roster(number, one)
            if one.proposed is None:
                for entry in roster:
                    if self.store.has(
                        entry.root
                    ):  # An open round's updates may still be on their way.
                        self._words(entry.root, Kind.UPDATE, Place(number, entry.member))
                continue
            roster, words = self._round(number, one.proposed, roster, others, words)
            excluded = tuple(sorted(one.excluded.items()))
            rounds.append(RoundAudit(number, roster, excluded, one.proposed.next_root, one.final))
            self.progress("rounds", len(rounds), len(branch))
        last = rounds[-1].next_root if rounds else p.genesis
        blobs = self._every_blob()
        return Audit(self.task, p, self.layout, tuple(rounds), last, blobs, self.ledger.head())

    def _layout(self) -> Layout:
        root = self.parameters.layout
        try:
            layout = Layout.from_json(self.store.document(root))
        except (BlobUnavailable, InvalidBlob, RootMismatch) as error:
            raise Finding(Place(blob=str(self.store.path(root))), f"its layout: {error}") from error
        self.seen.add(root)
        if layout.size != self.parameters.dimension:
            raise Finding(
                Place(),
                f"its layout has {layout.size} words, its dimension is {self.parameters.dimension}.",
            )
        return layout

    def _told(self) -> dict[int, _Told]:
        told: dict[int, _Told] = {}
        for _, event in self.ledger.events(self.task):
            match event:
                case protocol.Admitted(member=member):
                    self.members.add(member)
                case protocol.Opened(round=number):
                    told.setdefault(number, _Told())
                case protocol.Committed(member=member, round=number, weight=weight, root=root):
                    told[number].direct[member] = Entry(member, weight, root)
                    told[number].excluded.pop(member, None)  # It was of the batch's entry only.
                case protocol.Batched(round=number, root=root, count=count):
                    told[number].batch = (root, count)
                case protocol.Excluded(round=number, member=member, reason=reason):
                    told[number].excluded[member] = Reason(reason)
                case protocol.Proposed(round=number):
                    told[number].proposed = event
                case protocol.Refuted(round=number) | protocol.Lapsed(round=number):
                    # What votes have made final stays, and is found out below.
                    if not told[number].final:
                        told[number].proposed = None
                case protocol.Finalised(round=number):
                    told[number].final = True
        return told

    def _branch(self, told: Mapping[int, _Told]) -> list[int]:
        """Rounds from genesis to the newest that build on nothing refuted; the others never came to count."""
        task = self.ledger.task(self.task)
        number = task.pending or task.head
        found: list[int] = []
        while number > 0:
            if number not in told:
                raise Finding(Place(number), "the ledger's state names it, and no event opened it.")
            found.append(number)
            number = self.ledger.round(self.task, number).parent
        return found[::-1]

    def _roster(
        self, number: int, told: _Told
    ) -> tuple[tuple[Entry, ...], tuple[tuple[Entry, ...], ...]]:
        """Who should count in a round, and the other rosters that the ledger allows a proposal."""
        p = self.parameters
        batch = self._batch(number, told)
        entries = {entry.member: entry for entry in batch.roster} if batch else {}
        entries |= told.direct
        for entry in entries.values():
            place = Place(number, entry.member)
            if entry.member not in self.members:
                raise Finding(place, "committed without being a member.")
            if not 1 <= entry.weight <= p.max_weight:
                raise Finding(
                    place, f"committed a weight of {entry.weight}, outside 1..{p.max_weight}."
                )
        for entry in told.direct.values():
            held = self.ledger.commitment(self.task, number, entry.member)
            digest = commitment_digest(
                self.ledger.chain_id, self.ledger.contract, self.task, number,
                entry.member, entry.root, entry.weight,
            )[:DIGEST_BYTES]  # fmt: skip
            gone = entry.member in told.excluded
            if held is not None and held != (bytes(DIGEST_BYTES) if gone else digest):
                raise Finding(
                    Place(number, entry.member), "its commitment is not the one on the ledger."
                )
        if told.proposed is None:
            return sort_roster(e for e in entries.values() if e.member not in told.excluded), ()
        stands = standing(self.ledger, self.task, number)
        required, _, candidates = rosters(self.ledger, self.task, number, stands, batch)
        return required, candidates[1:]

    def _batch(self, number: int, told: _Told) -> Batch | None:
        if told.batch is None:
            return None
        adopted = told.proposed is not None and told.proposed.adopted
        root, count = told.batch
        place = Place(number)
        try:
            batch = read_batch(self.store, root)
        except (BlobUnavailable, InvalidBlob, InvalidParameter, RootMismatch) as error:
            if not adopted:
                return None
            raise Finding(place, f"its batch of commitments: {error}") from error
        self.seen.add(root)
        p = self.parameters
        flaw = find_flaw(self.ledger, self.task, number, batch, self.members, p.max_weight)
        if len(batch.roster) != count:
            flaw = f"it has {len(batch.roster)} entries where the ledger says {count}"
        if flaw is not None and adopted:
            raise Finding(place, f"its batch of commitments: {flaw}.")
        return batch if adopted else None

    def _round(
        self,
        number: int,
        proposed: protocol.Proposed,
        roster: tuple[Entry, ...],
        others: tuple[tuple[Entry, ...], ...],
        base: Words,
    ) -> tuple[tuple[Entry, ...], Words]:
        p = self.parameters
        for other in others:
            updates = self._updates(number, other)
            if combine(base, other, updates, p.leaf_words, p.fan_in).tree.root == proposed.sum_root:
                roster = other
        if len(roster) != proposed.count:
            raise Finding(
                Place(number),
                f"proposed over {proposed.count} members where {len(roster)} are in its roster.",
            )
        state = self.ledger.round(self.task, number)
        if (state.sum_root, state.next_root) != (proposed.sum_root, proposed.next_root) or (
            state.phase not in (Phase.PROPOSED, Phase.FINAL)
        ):
            raise Finding(Place(number), "the ledger's state is not what its events tell.")
        updates = self._updates(number, roster)
        result = combine(base, roster, updates, p.leaf_words, p.fan_in)
        if result.next_root != proposed.next_root:
            raise self._wrong_model(number, proposed, result)
        if result.tree.root != proposed.sum_root:
            raise Finding(
                Place(number),
                f"its sum tree has root {result.tree.root.hex()}, proposed was {proposed.sum_root.hex()}; "
                "the next model is right.",
            )
        self._words(proposed.next_root, Kind.MODEL, Place(number), result.next_words)
        return roster, result.next_words

    def _updates(self, number: int, roster: tuple[Entry, ...]) -> list[Readable]:
        """A roster's updates, each re-hashed."""
        for entry in roster:
            self._words(entry.root, Kind.UPDATE, Place(number, entry.member))
        roots = [entry.root for entry in roster]
        return stored_vectors(self.store, roots, self.parameters.dimension)

    def _wrong_model(self, number: int, proposed: protocol.Proposed, result: Combined) -> Finding:
        said = f"recomputing gives model {result.next_root.hex()}, proposed was {proposed.next_root.hex()}"
        try:
            claimed = self._words(proposed.next_root, Kind.MODEL, Place(number))
        except Finding:
            return Finding(Place(number), f"{said}; the proposed model is not in the store.")
        word = int(np.flatnonzero(claimed != result.next_words)[0])
        tensor, index = self.layout.locate(word)
        place = Place(number, None, tensor, index, word // self.parameters.leaf_words)
        return Finding(
            place,
            f"{said}: word {word} is {claimed[word]} and should be {result.next_words[word]}.",
        )

    def _words(self, root: bytes, kind: Kind, place: Place, truth: Words | None = None) -> Words:
        """A blob's words, or the finding that says what is wrong with it, down to the weight if `truth` is known."""
        p = self.parameters
        path = str(self.store.path(root))
        try:
            words = cast(Words, self.store.get(root, kind, p.leaf_words, p.dimension))
        except DamagedLeaf as error:
            tensor, index, said = self._damage(root, error.leaf, truth)
            raise Finding(
                Place(place.round, place.member, tensor, index, error.leaf, path),
                f"{kind.name.lower()} blob was changed{said}: {error}",
            ) from error
        except (BlobUnavailable, InvalidBlob, RootMismatch) as error:
            raise Finding(
                Place(place.round, place.member, blob=path), f"{kind.name.lower()} blob: {error}"
            ) from error
        self.seen.add(root)
        return words

    def _damage(
        self, root: bytes, leaf: int, truth: Words | None
    ) -> tuple[str, tuple[int, ...] | None, str]:
        """Tensor, index and what happened in a damaged leaf: exactly, if its words are known or one bit was flipped."""
        p = self.parameters
        first = leaf * p.leaf_words
        size = min(p.leaf_words, p.dimension - first)
        with self.store.path(root).open("rb") as file:
            file.seek(HEADER_BYTES + 4 * first)
            found = file.read(4 * size)
            file.seek(HEADER_BYTES + 4 * p.dimension + 32 * leaf)
            stored = file.read(32)
        if truth is None:
            right = merkle.repair(found, stored)
        else:
            right = truth[first : first + size].astype("<i4").tobytes()
        if right is None or right == found:
            names = [self.layout.locate(word)[0] for word in (first, first + size - 1)]
            return (
                names[0],
                None,
                "" if names[0] == names[1] else f" (tensors up to {names[1]!r})",
            )
        was, now = np.frombuffer(right, "<i4"), np.frombuffer(found, "<i4")
        word = int(np.flatnonzero(was != now)[0])
        tensor, index = self.layout.locate(first + word)
        return tensor, index, f" from word {was[word]} to {now[word]}"

    def _every_blob(self) -> int:
        """Re-hash what no round needed too: updates of members left out, documents, leftovers."""
        roots = sorted(self.store.roots())
        for done, root in enumerate(roots, 1):
            if root not in self.seen:
                try:
                    self.store.get(root, self.store.header(root).kind)
                except TallystickError as error:
                    raise Finding(
                        Place(leaf=getattr(error, "leaf", None), blob=str(self.store.path(root))),
                        f"a blob of no finished round: {error}",
                    ) from error
            self.progress("blobs", done, len(roots))
        return len(roots)
