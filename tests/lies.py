"""Random rounds, every lie about them, and evidence: right, out of place, and mangled. Numbers are Python's integers.

Vectors are kept as the trees that were hashed, a leaf's bytes or a pair of trees, so that trees of a wrong shape can be made too.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache
from typing import Any

from tallystick import keys, merkle
from tallystick.commitment import entry_bytes
from tallystick.fraud import Accused, Opening, Placed, Signed, Vector
from tallystick.ledger import address_of
from tallystick.protocol import (
    MIN_BOND,
    Admit,
    Call,
    Commit,
    CommitBatch,
    CreateTask,
    Deposit,
    Exclude,
    Open,
    Parameters,
    Propose,
    RefuteBatch,
    RefuteEntry,
    RefuteNext,
    RefuteOmission,
    RefuteOrder,
    RefuteSum,
    RefuteTree,
    RefuteVector,
)
from tallystick.roles.receipt import Place, sign_commitment
from tallystick.sumtree import Entry, SumNode, shape, widths

Tree = bytes | tuple[Any, Any]
LEAF_WORDS, MAX_WEIGHT = 8, 10_000
LOW, HIGH = -(2**31), 2**31 - 1
SPONSOR, PROPOSER, CHALLENGER, RIVAL = (bytes([k]) * 20 for k in (0xA1, 0xA2, 0xA3, 0xA4))
LIES = [
    "sum", "sum carried up", "next", "node weight", "node count", "children", "entry weight", "entry root", "stranger",
    "swapped", "twice", "omission", "excluded", "sums shape", "next shape",
]  # fmt: skip
BATCH_LIES = ["unsigned", "batch swapped", "batch weight", "batch outsider", "batch shape"]


@cache
def signer(index: int) -> Any:
    return keys.demo(9, "member", index)


def hashed(tree: Tree) -> bytes:
    """Root of a tree of whatever shape."""
    if isinstance(tree, bytes):
        return merkle.leaf_hash(tree)
    return merkle.node_hash(hashed(tree[0]), hashed(tree[1]))


def grown(leaves: list[bytes]) -> Tree:
    """The tree of RFC 6962 over leaves."""
    if len(leaves) == 1:
        return leaves[0]
    cut = 1 << (len(leaves) - 1).bit_length() - 1
    return grown(leaves[:cut]), grown(leaves[cut:])


def vector(words: list[int], size: int) -> Tree:
    data = b"".join(word.to_bytes(size, "little", signed=True) for word in words)
    step = LEAF_WORDS * size
    return grown([data[k : k + step] for k in range(0, len(data), step)])


def opened(tree: Tree, leaf: int, count: int) -> Opening:
    """A leaf of a tree over `count` leaves, with its audit path; junk where the tree has another shape."""
    path: list[bytes] = []
    while count > 1 and not isinstance(tree, bytes):
        cut = 1 << (count - 1).bit_length() - 1
        near, far = (0, 1) if leaf < cut else (1, 0)
        path.insert(0, hashed(tree[far]))
        leaf, count = (leaf, cut) if near == 0 else (leaf - cut, count - cut)
        tree = tree[near]
    return Opening(tree if isinstance(tree, bytes) else b"", tuple(path))


def misplaced(tree: Tree, count: int, lengths: list[int]) -> dict[str, Any] | None:
    """Where a tree is not one over `count` leaves of `lengths`, as an accusation's fields."""

    def look(tree: Tree, first: int, count: int, above: tuple[bytes, ...]) -> dict[str, Any] | None:
        inner = not isinstance(tree, bytes)
        right = count > 1 if inner else count == 1 and len(tree) == lengths[first]
        if not right:
            height = (count - 1).bit_length() if count > 1 else 0
            data = tree if isinstance(tree, bytes) else hashed(tree[0]) + hashed(tree[1])
            return {
                "height": height, "position": first >> height, "inner": inner, "data": data, "siblings": above,
            }  # fmt: skip
        if isinstance(tree, bytes):
            return None
        left, other = tree
        cut = 1 << (count - 1).bit_length() - 1
        found = look(left, first, cut, (hashed(other), *above))
        return found or look(other, first + cut, count - cut, (hashed(left), *above))

    return look(tree, 0, count, ())


def bent(rng: random.Random, tree: Tree) -> Tree:
    """A tree of another shape, or with a leaf of another length."""
    if isinstance(tree, bytes):
        return rng.choice([tree[:-1], tree + b"\0", tree * 2, b"", (tree, tree)])
    if rng.random() < 0.3:
        return hashed(tree[0]) + hashed(tree[1]) if rng.random() < 0.5 else tree[0]
    left, right = tree
    return (bent(rng, left), right) if rng.random() < 0.5 else (left, bent(rng, right))


@dataclass
class Round:
    """A round that awaits a proposal: who committed to what, and the calls that led there.

    `entries` is the right roster, `committed` also holds who is `excluded` from it (one at most, by the proposer itself or by a
    rival, whose word binds nobody else). A member may be in the batch under another weight than it committed to directly.
    """

    rng: random.Random
    place: tuple[int, bytes]
    members: int = 0
    fan_in: int = 2
    words: int = 1
    batched: bool = False
    batch_lie: str | None = None
    base: list[int] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    committed: list[Entry] = field(default_factory=list)
    excluded: int | None = None
    by_rival: bool = False
    spared: bytes = b""
    updates: list[list[int]] = field(default_factory=list)
    direct: set[bytes] = field(default_factory=set)
    batch: list[tuple[Entry, bytes]] = field(default_factory=list)
    batch_tree: Tree = b""
    task: bytes = bytes(32)
    left_out: list[int] = field(default_factory=list)
    parameters: Parameters = field(init=False)

    def __post_init__(self) -> None:
        rng = self.rng
        self.members, self.fan_in = rng.randint(1, 9), rng.randint(2, 4)
        self.words = rng.randint(1, 40)
        accounts = sorted(rng.sample(range(12), self.members), key=lambda k: address_of(signer(k)))
        self.base = [self._word() for _ in range(self.words)]
        self.updates = [[self._word() for _ in range(self.words)] for _ in accounts]
        for account, update in zip(accounts, self.updates, strict=True):
            root = hashed(vector(update, 4))
            self.entries.append(Entry(address_of(signer(account)), self._weight(), root))
        self.signers = {address_of(signer(k)): signer(k) for k in accounts}
        self.batched = rng.random() < 0.5
        if self.batched and rng.random() < 0.4:
            self.batch_lie = rng.choice(BATCH_LIES)
        self.direct = {e.member for e in self.entries if not self.batched or rng.random() < 0.25}
        self.parameters = Parameters(
            sponsor=SPONSOR, layout=b"\1" * 32, genesis=hashed(vector(self.base, 4)), dimension=self.words,
            scale=24, leaf_words=LEAF_WORDS, fan_in=self.fan_in, rule=0, rounds=9, quorum=1,
            max_weight=MAX_WEIGHT, max_members=20, slots=2, commit_window=100, challenge_window=1000,
            bond=MIN_BOND, bounty=50, salt=rng.randbytes(32),
        )  # fmt: skip

    def _word(self) -> int:
        return self.rng.choice([LOW, HIGH, -1, 0, 1, self.rng.randint(LOW, HIGH)])

    def _weight(self) -> int:
        return self.rng.choice([1, 2, MAX_WEIGHT, self.rng.randint(1, MAX_WEIGHT)])

    @property
    def leaves(self) -> int:
        return -(-self.words // LEAF_WORDS)

    def begin(self) -> list[tuple[bytes, Call]]:
        """Who calls what until the task is there."""
        return [(SPONSOR, CreateTask(self.parameters))]

    def commits(self) -> list[tuple[bytes, Call]]:
        """Who calls what until the round awaits its proposal. Two accounts are members and never commit."""
        idle = [address_of(signer(k)) for k in (20, 21)]
        calls: list[tuple[bytes, Call]] = [
            (SPONSOR, Admit(self.task, (*(e.member for e in self.entries), *idle))),
            (PROPOSER, Deposit(MIN_BOND)),
            (RIVAL, Deposit(MIN_BOND)),
            (PROPOSER, Open(self.task, 1)),
        ]
        for entry in self.entries:
            if entry.member in self.direct:
                calls.append((entry.member, Commit(self.task, 1, entry.weight, entry.root)))
        if self.batched:
            self._make_batch()
            posted = CommitBatch(self.task, 1, hashed(self.batch_tree), len(self.batch))
            calls.append((PROPOSER, posted))
        self.committed = list(self.entries)
        if self.members > 1 and self.batch_lie is None and self.rng.random() < 0.5:
            calls.append(self._exclude())
        for index, entry in enumerate(self.entries):
            signed = [
                e for e, _ in self.batch if e.member == entry.member and self.batch_lie is None
            ]
            self.entries[index] = self.rng.choice([entry, *signed])
        return calls

    def _exclude(self) -> tuple[bytes, Call]:
        index = self.rng.randrange(self.members)
        entry = self.entries[index]
        self.by_rival = self.rng.random() < 0.5
        self.spared = entry.member
        shown: tuple[Any, ...] = ()
        if entry.member not in self.direct:
            at = [e.member for e, _ in self.batch].index(entry.member)
            shown = (
                self.batch[at][1], at, opened(self.batch_tree, at, len(self.batch)).path,
            )  # fmt: skip
        if not self.by_rival or self.rng.random() < 0.5:
            self.excluded = index
            del self.entries[index]
            self.left_out = self.updates.pop(index)
        who = RIVAL if self.by_rival else PROPOSER
        return who, Exclude(self.task, 1, entry.member, entry.weight, entry.root, 1, *shown)

    def _sign(self, entry: Entry) -> bytes:
        place = Place(*self.place, self.task, 1)
        return sign_commitment(self.signers[entry.member], place, entry.root, entry.weight)

    def _make_batch(self) -> None:
        rng = self.rng
        signed = []
        for entry in self.entries:
            if entry.member not in self.direct:
                signed.append(entry)
            elif rng.random() < 0.5:
                signed.append(replace(entry, weight=self._weight()))
        self.batch = [(entry, self._sign(entry)) for entry in signed or self.entries[:1]]
        at = rng.randrange(len(self.batch))
        entry, signature = self.batch[at]
        match self.batch_lie:
            case "unsigned":
                changed = bytearray(signature)
                changed[rng.randrange(65)] ^= 1 << rng.randrange(8)
                self.batch[at] = (entry, bytes(changed))
            case "batch weight":
                heavy = replace(entry, weight=rng.choice([0, MAX_WEIGHT + 1]))
                self.batch[at] = (heavy, self._sign(heavy))
            case "batch outsider":
                outsider = signer(15)
                self.signers[address_of(outsider)] = outsider
                stranger = replace(entry, member=address_of(outsider))
                self.batch[at] = (stranger, self._sign(stranger))
            case "batch swapped":
                self.batch.insert(at, self.batch[at])
        leaves = [entry_bytes(e.member, e.weight, e.root) + s for e, s in self.batch]
        self.batch_tree = grown(leaves)
        if self.batch_lie == "batch shape":
            while misplaced(self.batch_tree, len(leaves), [121] * len(leaves)) is None:
                self.batch_tree = bent(rng, self.batch_tree)


@dataclass
class Proposal:
    """A claim about a round, at most one lie in it, and all that it was hashed from."""

    round: Round
    lie: str | None
    entries: list[Entry] = field(default_factory=list)
    updates: list[list[int]] = field(default_factory=list)
    levels: list[list[SumNode]] = field(default_factory=list)
    sums: list[list[Tree]] = field(default_factory=list)
    next: Tree = b""
    at: tuple[int, int, int] = (0, 0, 0)
    """Where the lie is: level and index (of a node or, at level 0, an entry), and word."""

    def __post_init__(self) -> None:
        made, rng = self.round, self.round.rng
        self.entries, self.updates = list(made.entries), list(made.updates)
        self._lie_about_roster()
        count, fan_in = len(self.entries), made.fan_in
        width = widths(count, fan_in)
        level = rng.randint(1, len(width))
        place = (level, rng.randrange(width[level - 1]), rng.randrange(made.words))
        if self.lie not in {
            "entry weight",
            "entry root",
            "stranger",
            "swapped",
            "twice",
            "omission",
            "excluded",
        }:
            self.at = place
        below = [
            [entry.weight * word for word in update]
            for entry, update in zip(self.entries, self.updates, strict=True)
        ]
        children = [(1, entry.weight, entry.digest) for entry in self.entries]
        for number, nodes in enumerate(width, 1):
            sums, trees, here = [], [], []
            for index in range(nodes):
                group = slice(index * fan_in, (index + 1) * fan_in)
                total = [sum(column) for column in zip(*below[group], strict=True)]
                node_count = sum(c for c, _, _ in children[group])
                weight = sum(w for _, w, _ in children[group])
                digests = tuple(d for _, _, d in children[group])
                shown, carried = list(total), list(total)
                tree = vector(shown, 8)
                if (number, index) == self.at[:2]:
                    if self.lie in {"sum", "sum carried up"}:
                        shown[self.at[2]] += rng.choice([1, -1, 12345, -(2**40)])
                        carried = shown if self.lie == "sum carried up" else total
                        tree = vector(shown, 8)
                    elif self.lie == "sums shape":
                        while misplaced(tree, made.leaves, self.lengths(8)) is None:
                            tree = bent(rng, tree)
                    elif self.lie == "node weight":
                        weight = rng.choice([weight + 1, weight - 1, 0, 2**60])
                    elif self.lie == "node count":
                        node_count = rng.choice([node_count + 1, node_count - 1, 0, 2**32 - 1])
                    elif self.lie == "children":
                        digests = rng.choice(
                            [digests[:-1], (*digests, digests[0]), (), digests * 3]
                        )
                sums.append(carried)
                trees.append(tree)
                here.append(SumNode(node_count, weight, hashed(tree), digests))
            self.levels.append(here)
            self.sums.append(trees)
            below = sums
            # A false count or weight stays where it is: the levels above are right for themselves.
            children = [
                (shape(count, fan_in, number, k)[0], n.weight, n.digest) for k, n in enumerate(here)
            ]
        total_weight = self.levels[-1][0].weight
        means = [(s + total_weight // 2) // total_weight if total_weight else 0 for s in below[0]]
        words = [min(max(b + m, LOW), HIGH) for b, m in zip(made.base, means, strict=True)]
        if self.lie == "next":
            old = words[self.at[2]]
            words[self.at[2]] = rng.choice([w for w in (old - 1, old + 1, LOW, HIGH, 0) if LOW <= w <= HIGH and w != old])  # fmt: skip
        self.next = vector(words, 4)
        if self.lie == "next shape":
            while misplaced(self.next, made.leaves, self.lengths(4)) is None:
                self.next = bent(rng, self.next)

    def _lie_about_roster(self) -> None:
        rng, entries = self.round.rng, self.entries
        index = rng.randrange(len(entries))
        self.at = (0, index, 0)
        match self.lie:
            case "entry weight":
                old = entries[index].weight
                taken = {e.weight for e, _ in self.round.batch if e.member == entries[index].member}
                taken |= {
                    e.weight for e in self.round.committed if e.member == entries[index].member
                }
                weights = {old + 1, old + 2, old + 3, 10 * MAX_WEIGHT} - taken
                entries[index] = replace(entries[index], weight=rng.choice(sorted(weights)))
            case "entry root":
                self.updates[index] = [word ^ 1 for word in self.updates[index]]
                entries[index] = replace(
                    entries[index], root=hashed(vector(self.updates[index], 4))
                )
            case "stranger":
                who = address_of(signer(rng.choice([15, 20])))
                entries[index] = replace(entries[index], member=who)
                order = sorted(range(len(entries)), key=lambda k: entries[k].member)
                self.entries = [entries[k] for k in order]
                self.updates = [self.updates[k] for k in order]
                self.at = (0, [e.member for e in self.entries].index(who), 0)
            case "swapped" | "twice":
                first = min(index, len(entries) - 2)
                pair = [first + 1, first] if self.lie == "swapped" else [first, first]
                for values in (self.entries, self.updates):
                    values[first : first + 2] = [values[k] for k in pair]  # type: ignore[index, call-overload]
                self.at = (0, first, 0)
            case "omission":
                if entries[index].member == self.round.spared:
                    index = (index + 1) % len(entries)
                    self.at = (0, index, 0)
                del self.entries[index], self.updates[index]
            case "excluded":
                at = self.round.excluded
                assert at is not None
                entries.insert(at, self.round.committed[at])
                self.updates.insert(at, self.round.left_out)
                self.at = (0, at, 0)

    def lengths(self, size: int) -> list[int]:
        words = self.round.words
        return [
            size * min(LEAF_WORDS, words - leaf * LEAF_WORDS) for leaf in range(self.round.leaves)
        ]

    @property
    def call(self) -> Propose:
        top = self.levels[-1][0].digest
        return Propose(
            self.round.task, 1, len(self.entries), top, hashed(self.next), self.round.batched
        )

    def path(self, level: int, index: int) -> tuple[SumNode, ...]:
        found = []
        for nodes in self.levels[level - 1 :]:
            found.insert(0, nodes[index])
            index //= self.round.fan_in
        return tuple(found)

    def placed(self, index: int) -> Placed:
        return Placed(self.path(1, index // self.round.fan_in), index, self.entries[index])

    def signed(self, index: int) -> Signed:
        entry, signature = self.round.batch[index]
        opening = opened(self.round.batch_tree, index, len(self.round.batch))
        return Signed(entry, signature, index, opening.path)

    def near(self, member: bytes) -> tuple[Placed, ...]:
        """A member's neighbours in the roster."""
        after = sum(entry.member < member for entry in self.entries)
        return tuple(self.placed(k) for k in (after - 1, after) if 0 <= k < len(self.entries))

    def near_in_batch(self, member: bytes) -> tuple[Signed, ...]:
        """A member's entry in the batch, or its neighbours there."""
        members = [entry.member for entry, _ in self.round.batch]
        if member in members:
            return (self.signed(members.index(member)),)
        after = sum(each < member for each in members)
        return tuple(self.signed(k) for k in (after - 1, after) if 0 <= k < len(members))

    def children(self, level: int, index: int) -> tuple[tuple[SumNode, ...], tuple[Entry, ...]]:
        span = slice(index * self.round.fan_in, (index + 1) * self.round.fan_in)
        if level == 1:
            return (), tuple(self.entries[span])
        return tuple(self.levels[level - 2][span]), ()

    def evidence(self, kind: str, level: int, index: int, word: int) -> Call:
        """Evidence about a place, that stands wherever the place is well formed."""
        made = self.round
        task, leaf, leaves = made.task, word // LEAF_WORDS, made.leaves
        match kind:
            case "next":
                opening = (
                    opened(tree, leaf, leaves)
                    for tree in (vector(made.base, 4), self.sums[-1][0], self.next)
                )
                return RefuteNext(task, 1, self.levels[-1][0], word, *opening)
            case "sum":
                nodes, entries = self.children(level, index)
                span = slice(index * made.fan_in, (index + 1) * made.fan_in)
                below = (
                    [vector(update, 4) for update in self.updates[span]]
                    if level == 1
                    else self.sums[level - 2][span]
                )
                total = opened(self.sums[level - 1][index], leaf, leaves)
                parts = tuple(opened(tree, leaf, leaves) for tree in below)
                return RefuteSum(
                    task, 1, self.path(level, index), index, word, total, nodes, entries, parts
                )
            case "tree":
                return RefuteTree(
                    task, 1, self.path(level, index), index, *self.children(level, index)
                )
            case "sums shape":
                tree = self.sums[level - 1][index]
                accused = self.accused(Vector.SUMS, tree, self.path(level, index), index, (), 8)
                return RefuteVector(task, 1, accused)
            case "next shape":
                return RefuteVector(task, 1, self.accused(Vector.NEXT, self.next, (), 0, (), 4))
            case "update shape":
                placed = self.placed(index % len(self.entries))
                tree = vector(self.updates[placed.index], 4)
                accused = self.accused(
                    Vector.UPDATE, tree, placed.path, placed.index, (placed.entry,), 4
                )
                return RefuteVector(task, 1, accused)
            case "entry":
                placed = self.placed(index % len(self.entries))
                near = self.near_in_batch(placed.entry.member) if made.batched else ()
                return RefuteEntry(task, 1, placed, near)
            case "order":
                first = min(index, max(0, len(self.entries) - 2))
                second = min(first + 1, len(self.entries) - 1)
                return RefuteOrder(task, 1, self.placed(first), self.placed(second))
            case "omission":
                entry = made.committed[index % len(made.committed)]
                direct = entry.member in made.direct or not made.batched
                batch = () if direct else self.near_in_batch(entry.member)
                return RefuteOmission(task, 1, entry, batch, self.near(entry.member))
            case "batch shape":
                tree, count = made.batch_tree, max(1, len(made.batch))
                accused = self.accused(Vector.BATCH, tree, (), 0, (), 0, [121] * count)
                return RefuteVector(task, 1, accused)
            case "batch order":
                first = index % max(1, len(made.batch) - 1)
                pair = range(first, min(first + 2, len(made.batch)))
                return RefuteBatch(task, 1, tuple(self.signed(k) for k in pair))
        chosen = (self.signed(index % len(made.batch)),) if made.batch else ()
        return RefuteBatch(task, 1, chosen)

    def accused(
        self,
        kind: Vector,
        tree: Tree,
        path: tuple[SumNode, ...],
        index: int,
        entries: tuple[Entry, ...],
        size: int,
        lengths: list[int] | None = None,
    ) -> Accused:
        lengths = lengths or self.lengths(size)
        found = misplaced(tree, len(lengths), lengths)
        if found is None:
            leaf = self.round.rng.randrange(len(lengths))
            opening = opened(tree, leaf, len(lengths))
            found = {
                "height": 0, "position": leaf, "inner": False, "data": opening.data, "siblings": opening.path,
            }  # fmt: skip
        return Accused(int(kind), path, index, entries, **found)

    def proof(self) -> Call:
        """The evidence that refutes this proposal: its batch's lie if that has one, for it can hide others."""
        level, index, word = self.at
        made = self.round
        if made.batch_lie is None and self.lie is not None:
            kinds = {
                "sum": "sum", "sum carried up": "sum", "next": "next", "node weight": "tree", "node count": "tree",
                "children": "tree", "entry weight": "entry", "entry root": "entry", "stranger": "entry",
                "swapped": "order", "twice": "order", "omission": "omission", "excluded": "entry", "sums shape": "sums shape",
                "next shape": "next shape",
            }  # fmt: skip
            if self.lie == "omission":
                who = made.entries[index].member
                index = [entry.member for entry in made.committed].index(who)
            return self.evidence(kinds[self.lie], level, index, word)
        for k, (entry, signature) in enumerate(made.batch):
            good = entry.member in {e.member for e in made.committed}
            good = good and 1 <= entry.weight <= MAX_WEIGHT
            if not good or signature != made._sign(entry):
                return self.evidence("batch", 0, k, 0)
        if made.batch_lie == "batch shape":
            return self.evidence("batch shape", 0, 0, 0)
        members = [entry.member for entry, _ in made.batch]
        twice = next(k for k in range(len(members) - 1) if members[k] >= members[k + 1])
        return self.evidence("batch order", 0, twice, 0)

    def anything(self) -> Call:
        """Evidence of a random kind about a random place."""
        rng = self.round.rng
        level = rng.randint(1, len(self.levels))
        place = level, rng.randrange(len(self.levels[level - 1])), rng.randrange(self.round.words)
        kind = rng.choice(KINDS)
        if kind in {"entry", "order", "omission", "update shape"}:
            place = 0, rng.randrange(len(self.entries)), 0
        if kind in {"batch", "batch order"}:
            place = 0, rng.randrange(9), 0
        return self.evidence(kind, *place)


KINDS = [
    "next", "sum", "tree", "sums shape", "next shape", "update shape", "entry", "order", "omission", "batch",
    "batch order", "batch shape",
]  # fmt: skip
BITS = {"weight": 32, "vector": 8, "height": 8, "word": 64, "position": 64}
"""Widths of integers in the contract's interface, where they are not 32 bits; a node's weight has 64."""


def mangled(rng: random.Random, call: Any) -> Any:
    """The same call with one thing in it changed: a number, a bit, a length, an order, something left out or twice."""
    places = [name for name in (f.name for f in fields(call)) if name not in {"task", "round"}]
    name = rng.choice(places)
    return replace(call, **{name: _mangle(rng, getattr(call, name), name, type(call))})


def _mangle(rng: random.Random, value: Any, name: str, owner: type[Any]) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        most = 2 ** (64 if owner is SumNode and name == "weight" else BITS.get(name, 32)) - 1
        return min(most, max(0, rng.choice([0, 1, value + 1, value - 1, value ^ 2, most])))
    if isinstance(value, bytes):
        if name in {"data", "signature"}:
            value = rng.choice([value, value[:-1], value + b"\0", value[::-1], b""])
        changed = bytearray(value)
        if changed and rng.random() < 0.7:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        return bytes(changed)
    if is_dataclass(value):
        return mangled(rng, value)
    items = list(value)
    at = rng.randrange(len(items)) if items else 0
    match rng.randrange(6) if items else 6:
        case 0:
            del items[at]
        case 1:
            items.insert(at, items[at])
        case 2:
            items.reverse()
        case 3:
            items = []
        case 4 | 5:
            items[at] = _mangle(rng, items[at], name, owner)
    return tuple(items)
