"""Inquiries: what was asked for, revealed, attested and reported on the ledger, what to ask for next, and what answers others.

What a proposal commits to hangs under its two roots, down to the last word. A validator that misses something walks down from a root:
each revealed piece of a Merkle tree is compared with the right one, which it can compute, and the first difference is asked for next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from .. import merkle
from ..errors import LedgerUnavailable, TallystickError
from ..fraud import DOCUMENT, NODE, STEP, Sought, pieces
from ..ledger import Cursor, Ledger
from ..protocol import Attested, Demanded, Excluded, Expired, Reason, Refuted, Revealed, Slashed

Key = tuple[bytes, int]
"""What is demanded: a digest, and how many pieces answer for it."""
Place = Callable[[int, int, bytes, tuple[bytes, ...]], Sought]
"""(height, position, digest, audit path) -> what to ask for, in some vector's Merkle tree."""
WHOLE = 16
"""A vector of up to so many leaves can be asked for leaf by leaf; a larger one would cost more than it is worth."""


class Hidden(TallystickError):
    """Something that a proposal commits to, or stands on, is not in the store. `sought` is what to ask for, where that helps."""

    def __init__(self, said: str, *sought: Sought) -> None:
        super().__init__(said)
        self.sought = sought


class Inquiry:
    """What was demanded, revealed, attested and reported in a task, as the ledger's events tell."""

    def __init__(self, ledger: Ledger, task: bytes) -> None:
        self._ledger, self._task = ledger, task
        self._cursor: Cursor | None = None
        self.open: dict[tuple[int, Key], Demanded] = {}
        """Unanswered, by round."""
        self.revealed: dict[Key, bytes] = {}
        """Answers: they hash to what was asked, whichever round it was for."""
        self.attested: dict[int, set[bytes]] = {}
        """Validators that answer for a round's proposal."""
        self.guilty: set[tuple[int, bytes]] = set()
        """(round, validator) that attested a proposal which was refuted, with a stake left."""
        self.withheld: dict[tuple[int, bytes], int] = {}
        """(round, member) excluded as withheld -> until when it can publish its update."""

    def look(self) -> None:
        """Read what is new."""
        try:
            self._read()
        except LedgerUnavailable:
            if self._cursor is None:
                raise
            self._cursor = (
                None  # Perhaps the chain was reorganised: what is still on it is read again.
            )
            for kept in (self.open, self.attested, self.guilty, self.withheld):
                kept.clear()
            self._read()

    def _read(self) -> None:
        for cursor, event in self._ledger.events(self._task, self._cursor):
            self._cursor = cursor
            if isinstance(event, Demanded):
                self.open[event.round, (event.digest, event.pieces)] = event
            elif isinstance(event, Revealed):
                self.open.pop((event.round, (event.digest, event.pieces)), None)
                self.revealed[event.digest, event.pieces] = event.data
            elif isinstance(event, Expired):
                self.open.pop((event.round, (event.digest, event.pieces)), None)
            elif isinstance(event, Attested):
                self.attested.setdefault(event.round, set()).add(event.validator)
            elif isinstance(event, Refuted):
                self.guilty |= {(event.round, who) for who in self.attested.pop(event.round, ())}
            elif isinstance(event, Slashed):
                self.guilty.discard((event.round, event.account))
            elif isinstance(event, Excluded) and event.reason == Reason.WITHHELD:
                self.withheld[event.round, event.member] = event.deadline


def uncover(
    place: Place, root: bytes, right: Sequence[bytes], revealed: Mapping[Key, bytes]
) -> tuple[int, bytes, tuple[bytes, ...]]:
    """The first leaf that differs from the right ones (whose hashes are given): its index, bytes and audit path.

    Raises `Hidden` with the next piece to ask for, until all that leads there is revealed.
    """
    height, position, digest = (len(right) - 1).bit_length(), 0, root
    siblings: tuple[bytes, ...] = ()
    while True:
        while (
            count := pieces(len(right), height, position)
        ) == 1:  # The same digest, further down.
            step = min(height, STEP)
            height, position = height - step, position << step
        data = revealed.get((digest, count))
        if data is None:
            sought = place(height, position, digest, siblings)
            raise Hidden(f"{digest.hex()} of a claimed vector is not to be had", sought)
        if count == 0:
            return position, data, siblings
        step = min(height, STEP)
        height, position = height - step, position << step
        digests = [data[k : k + 32] for k in range(0, len(data), 32)]
        for each, found in enumerate(digests):
            first = (position + each) << height
            if merkle.root_of(right[first : first + (1 << height)]) != found:
                break
        else:
            raise AssertionError("trees of different roots have the same nodes")
        siblings = merkle.path(digests, each) + siblings
        position, digest = position + each, digests[each]


def whole(place: Place, root: bytes, leaves: int, revealed: Mapping[Key, bytes]) -> list[bytes]:
    """All leaves of a small vector, revealed one by one. Raises `Hidden` with what to ask for: the top of the tree, then every leaf."""
    height = (leaves - 1).bit_length()
    count = pieces(leaves, height, 0)
    if leaves > WHOLE:
        raise Hidden(f"{root.hex()} is not to be had, and too large to be asked for on the ledger")
    top = revealed.get((root, count))
    if top is None:
        raise Hidden(f"{root.hex()} is not to be had", place(height, 0, root, ()))
    if count == 0:
        return [top]
    digests = [top[k : k + 32] for k in range(0, len(top), 32)]
    missing = [
        place(0, index, digest, merkle.path(digests, index))
        for index, digest in enumerate(digests)
        if (digest, 0) not in revealed
    ]
    if missing:
        raise Hidden(f"leaves of {root.hex()} are not to be had", *missing)
    return [revealed[digest, 0] for digest in digests]


def answer(
    documents: Mapping[bytes, bytes], vectors: Iterator[Sequence[bytes | memoryview]], key: Key
) -> bytes | None:
    """What answers a demand, or None: looked for among a sum tree's documents, by digest, and the leaves of vectors."""
    digest, count = key
    if count in (NODE, DOCUMENT):
        return documents.get(digest)
    for leaves in vectors:
        levels = _levels([merkle.leaf_hash(leaf) for leaf in leaves])
        for height, level in enumerate(levels):
            if digest not in level:
                continue
            position = level.index(digest)
            if pieces(len(leaves), height, position) != count:
                continue  # A node with one child has the same digest further down.
            if count == 0:
                return bytes(leaves[position])
            step = min(height, STEP)
            first = position << step
            return b"".join(levels[height - step][first : first + count])
    return None


def _levels(hashes: list[bytes]) -> list[list[bytes]]:
    """All levels of a Merkle tree, from its leaves up; a node without a sibling is its own parent."""
    levels = [hashes]
    while len(levels[-1]) > 1:
        last = levels[-1]
        levels.append([merkle.root_of(last[k : k + 2]) for k in range(0, len(last), 2)])
    return levels
