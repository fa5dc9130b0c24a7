"""Evidence against a false proposal: finds the first lie and builds the one call that refutes it.

What is honest can be recomputed by anybody from the ledger and the members' updates. What is false only its author knows, so
its nodes and vectors are looked for in the store under the roots that the proposal committed to.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import cast

import numpy as np
from numpy.typing import NDArray

from .. import merkle
from ..aggregation import BLOCK, Combined, Sums
from ..blob import DOCUMENT_LEAF
from ..commitment import SIGNED_ENTRY_BYTES
from ..encoding import Words, as_bytes
from ..errors import InvalidProof, TallystickError
from ..fraud import (
    DOCUMENT,
    NODE,
    SUM_BYTES,
    UPDATE_BYTES,
    Accused,
    Opening,
    Placed,
    Signed,
    Sought,
    Vector,
)
from ..protocol import (
    Expire,
    Parameters,
    Refutation,
    RefuteBatch,
    RefuteEntry,
    RefuteNext,
    RefuteOmission,
    RefuteOrder,
    RefuteSum,
    RefuteTree,
    RefuteVector,
    Round,
)
from ..store import Kind, Store
from ..sumtree import Entry, SumNode, parse, shape, widths
from .batch import Batch
from .inquiry import Hidden, Key, Place, answer, uncover, whole

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Lie:
    """A refutation (or the end of a demand that nobody answered), and in words what it shows: `word`, `claimed` and `right` where it is about a number."""

    call: Refutation | Expire
    said: str
    word: int | None = None
    claimed: int | None = None
    right: int | None = None


@dataclass(frozen=True)
class Misplaced:
    """A node of a vector's Merkle tree that should not be there, in the terms of `fraud.Accused`."""

    height: int
    position: int
    inner: bool
    data: bytes
    siblings: tuple[bytes, ...]


@dataclass(frozen=True)
class Truth:
    """What a proposal should have been: the model it starts from (int32[d]), the updates (int32[d] each) of `entries`, the result.

    Vectors may be memory maps: partial sums are computed again block by block, never all at once.
    """

    parameters: Parameters
    entries: tuple[Entry, ...]
    base: Words
    updates: Sequence[Words]
    combined: Combined

    def sums(self, level: int, index: int) -> Iterator[tuple[int, Sums]]:
        """Partial sums of a node (level 1 is the one above the roster) in blocks, each with its first word."""
        width, leaf_words = self.parameters.fan_in**level, self.parameters.leaf_words
        group = slice(index * width, (index + 1) * width)
        weights = [np.int64(entry.weight) for entry in self.entries[group]]
        step = max(1, BLOCK // leaf_words) * leaf_words
        for start in range(0, self.parameters.dimension, step):
            total = np.zeros(min(step, self.parameters.dimension - start), np.int64)
            for weight, update in zip(weights, self.updates[group], strict=True):
                total += update[start : start + step] * weight
            yield start, total

    def open_sums(self, level: int, index: int, word: int) -> Opening:
        """The leaf of a node's partial sums that holds a word."""
        leaf_words = self.parameters.leaf_words
        first = word // leaf_words * leaf_words
        hashes: list[bytes] = []
        opened = b""
        for start, block in self.sums(level, index):
            hashes += merkle.leaf_hashes(as_bytes(block), SUM_BYTES * leaf_words)
            if start <= first < start + len(block):
                opened = bytes(as_bytes(block[first - start : first - start + leaf_words]))
        return Opening(opened, merkle.path(hashes, word // leaf_words))


@dataclass(frozen=True)
class Tree:
    """A claimed sum tree of the right shape: levels from the one above the roster up."""

    fan_in: int
    levels: tuple[tuple[SumNode, ...], ...]
    roster: tuple[Entry, ...]

    def path(self, level: int, index: int) -> tuple[SumNode, ...]:
        """Nodes from the top down to node `index` of `level` (1 is the one above the roster)."""
        return _path(self.levels[level - 1 :], index, self.fan_in)

    def placed(self, index: int) -> Placed:
        """Roster entry `index` in its place."""
        return Placed(self.path(1, index // self.fan_in), index, self.roster[index])


@dataclass(frozen=True)
class Case:
    """One proposal and what is known about it.

    Every member of `required` must be in its roster, and no entry but the `allowed`: they differ where an exclusion by another than
    the proposer lets a member be counted or not, and where one committed twice. `rosters` are those to try first. `recompute` gives
    what a roster comes to, or raises `Hidden`. `direct` was committed on the ledger itself, `batch` is the adopted batch, if any. `revealed` answers demands.
    """

    task: bytes
    number: int
    round: Round
    parameters: Parameters
    store: Store
    required: tuple[Entry, ...]
    allowed: frozenset[Entry]
    rosters: tuple[tuple[Entry, ...], ...]
    direct: frozenset[Entry]
    batch: Batch | None
    revealed: Mapping[Key, bytes]
    recompute: Callable[[tuple[Entry, ...]], Truth]

    @cached_property
    def known(self) -> dict[bytes, Entry | SumNode]:
        """Nodes and entries that need not be fetched."""
        return {entry.digest: entry for entry in self.allowed}

    def node(
        self, digest: bytes, path: tuple[SumNode, ...] = (), index: int = 0
    ) -> Entry | SumNode:
        """What stands in the claimed tree under a digest, at `index` of its level below the last of `path`; or `Hidden`."""
        if digest in self.known:
            return self.known[digest]
        for form in (NODE, DOCUMENT):
            if (digest, form) in self.revealed:
                return parse(self.revealed[digest, form])
        sought = Sought(Vector.TREE, path, index, (), 0, 0, digest, ())
        try:
            return parse(self.store.get(digest, Kind.DOCUMENT, DOCUMENT_LEAF).tobytes())
        except InvalidProof:
            raise Hidden(f"{digest.hex()} is no node of a sum tree", sought) from None
        except TallystickError as error:
            raise Hidden(
                f"node {digest.hex()} of the sum tree is not to be had: {error}", sought
            ) from error

    def vector(self, root: bytes, word_bytes: int) -> Words | Sums | Misplaced:
        """A vector of the task's dimension, as `read_vector`."""
        p = self.parameters
        return read_vector(self.store, root, word_bytes, p.dimension, p.leaf_words)


def find_lie(case: Case) -> Lie | None:
    """The first lie in a proposal, or None if there is none. Raises `Hidden` where it cannot be told."""
    unknown: Hidden | None = None
    for roster in case.rosters:
        try:
            truth = case.recompute(roster)
        except Hidden as hidden:
            unknown = unknown or hidden
            continue
        if _is_right(case, truth):
            return None
        case.known.update((n.digest, n) for nodes in truth.combined.tree.levels for n in nodes)
    try:
        tree = _read_tree(case)
    except Hidden as hidden:
        # What is missing to recompute the round comes first: with it, nobody might need to look for the tree.
        raise unknown or hidden from hidden
    if isinstance(tree, Lie):
        return tree
    lie = _wrong_roster(case, tree)
    if lie is not None:
        return lie
    try:
        truth = case.recompute(tree.roster)
    except Hidden:
        lie = _wrong_update(case, tree)
        if lie is not None:
            return lie
        truth = case.recompute(tree.roster)
    if _is_right(case, truth):
        return None
    return _wrong_sums(case, tree, truth) or _wrong_next(case, tree, truth)


def answer_of(case: Case, key: Key) -> bytes | None:
    """What answers a demand of a right proposal, or None if nothing in it does (or it is not right)."""
    for roster in case.rosters:
        try:
            truth = case.recompute(roster)
        except Hidden:
            continue
        if _is_right(case, truth):
            documents = {entry.digest: entry.data for entry in truth.entries}
            for level in truth.combined.tree.levels:
                documents |= {node.digest: node.data for node in level}
            return answer(documents, _vectors(case, truth), key)
    return None


def _vectors(case: Case, truth: Truth) -> Iterator[list[bytes | memoryview]]:
    """The leaves of every vector under a right proposal, the likeliest to be asked for first."""
    words = case.parameters.leaf_words

    def cut(data: memoryview | bytes, size: int) -> list[bytes | memoryview]:
        view = memoryview(data).cast("B")
        return [view[k : k + size] for k in range(0, len(view), size)]

    yield cut(as_bytes(truth.combined.next_words), words * UPDATE_BYTES)
    if case.batch is not None:
        yield cut(case.batch.data, SIGNED_ENTRY_BYTES)
    for level, nodes in reversed(list(enumerate(truth.combined.tree.levels, 1))):
        for index in range(len(nodes)):
            blocks = b"".join(bytes(as_bytes(block)) for _, block in truth.sums(level, index))
            yield cut(blocks, words * SUM_BYTES)
    for update in truth.updates:
        yield cut(as_bytes(update), words * UPDATE_BYTES)


def _is_right(case: Case, truth: Truth) -> bool:
    claimed = (case.round.count, case.round.sum_root, case.round.next_root)
    return claimed == (len(truth.entries), truth.combined.tree.root, truth.combined.next_root)


def find_false_batch(
    store: Store,
    task: bytes,
    number: int,
    current: Round,
    is_false: Callable[[Entry, bytes], bool],
    revealed: Mapping[Key, bytes],
) -> Lie | Batch:
    """A lie in an adopted batch, or the batch: an entry with a signature that `is_false`, neighbours out of order, a wrong shape."""
    try:
        found = _read_bytes(store, current.batch_root)
    except Hidden:
        leaves = whole(seek(Vector.BATCH), current.batch_root, current.batch_count, revealed)
        wrong = _misshapen(leaves, [SIGNED_ENTRY_BYTES] * len(leaves))
        if wrong is not None:
            call = RefuteVector(task, number, _accused(Vector.BATCH, wrong))
            return Lie(call, f"the batch is not one of {current.batch_count} entries")
        found = np.frombuffer(b"".join(leaves), np.uint8), SIGNED_ENTRY_BYTES
    misplaced = _misplaced(*found, SIGNED_ENTRY_BYTES, current.batch_count, 1)
    if misplaced is not None:
        call = RefuteVector(task, number, _accused(Vector.BATCH, misplaced))
        return Lie(call, f"the batch is not one of {current.batch_count} entries")
    batch = Batch.parse(found[0].tobytes())
    for index, (entry, signature) in enumerate(zip(batch.roster, batch.signatures, strict=True)):
        if is_false(entry, signature):
            said = f"the batch has an entry that 0x{entry.member.hex()} did not sign"
            return Lie(RefuteBatch(task, number, (_signed(batch, index),)), said)
    for index, (left, right) in enumerate(pairwise(batch.roster)):
        if left.member >= right.member:
            both = (_signed(batch, index), _signed(batch, index + 1))
            return Lie(RefuteBatch(task, number, both), "the batch is not in order")
    return batch


def read_vector(
    store: Store, root: bytes, word_bytes: int, count: int, leaf_words: int
) -> Words | Sums | Misplaced:
    """A vector of `count` words as a memory map, or what shows that the root is of no such vector. Raises `Hidden`.

    What counts is the root: a model with the very bytes of an update is that update.
    """
    data, leaf_bytes = _read_bytes(store, root)
    misplaced = _misplaced(data, leaf_bytes, word_bytes, count, leaf_words)
    return misplaced or cast(Words, data.view(f"<i{word_bytes}"))


def _read_bytes(store: Store, root: bytes) -> tuple[Bytes, int]:
    """What hashes to a root, whatever its header calls it, and the bytes per leaf."""
    try:
        header = store.header(root)
        data = cast(Bytes, store.get(root, header.kind).view(np.uint8))
    except TallystickError as error:
        raise Hidden(f"{root.hex()} is not to be had: {error}") from error
    if not header.count:
        raise Hidden(f"{root.hex()} is the root of nothing, so that nothing can be shown of it")
    return data, header.leaf_bytes


def _misplaced(
    data: Bytes, leaf_bytes: int, word_bytes: int, count: int, leaf_words: int
) -> Misplaced | None:
    """Where the Merkle tree of `data` in leaves of `leaf_bytes` first differs in shape from that of `count` words."""
    right_bytes = word_bytes * leaf_words
    if (len(data), leaf_bytes) == (word_bytes * count, right_bytes):
        return None
    hashes = merkle.leaf_hashes(data.data, leaf_bytes)
    trees = [(0, -(-count // leaf_words), 0, len(hashes), cast(tuple[bytes, ...], ()))]
    while trees:
        first, right, start, found, above = trees.pop()
        cut, split = _half(right), _half(found)
        left_root = merkle.root_of(hashes[start : start + split])
        right_root = merkle.root_of(hashes[start + split : start + found])
        if min(right, found) > 1:
            after = (first + cut, right - cut, start + split, found - split, (*above, left_root))
            trees += [after, (first, cut, start, split, (*above, right_root))]
            continue
        leaf = bytes(data[start * leaf_bytes : (start + 1) * leaf_bytes])
        size = min(right_bytes, word_bytes * count - first * right_bytes)
        if (right, found, len(leaf)) != (1, 1, size):
            height = (right - 1).bit_length()
            opened = left_root + right_root if found > 1 else leaf
            return Misplaced(height, first >> height, found > 1, opened, above[::-1])
    return None


def _half(leaves: int) -> int:
    """Leaves of a Merkle tree that are left of its root."""
    return 1 << max(0, (leaves - 1).bit_length() - 1)


def _accused(
    vector: Vector,
    misplaced: Misplaced,
    path: tuple[SumNode, ...] = (),
    index: int = 0,
    entries: tuple[Entry, ...] = (),
) -> Accused:
    m = misplaced
    return Accused(vector, path, index, entries, m.height, m.position, m.inner, m.data, m.siblings)


def _path(levels: Sequence[Sequence[SumNode]], index: int, fan_in: int) -> tuple[SumNode, ...]:
    """Nodes from the top down to node `index` of the first of `levels`, which go up."""
    found = []
    for nodes in levels:
        found.append(nodes[index])
        index //= fan_in
    return tuple(found[::-1])


def _signed(batch: Batch, index: int) -> Signed:
    return Signed(batch.roster[index], batch.signatures[index], index, batch.path(index))


def _beside(roster: Sequence[Entry], member: bytes) -> range:
    """Positions in a sorted roster that show what it holds of a member: its own, or those between which it would be."""
    at = bisect_left(roster, member, key=lambda entry: entry.member)
    if at < len(roster) and roster[at].member == member:
        return range(at, at + 1)
    return range(max(0, at - 1), min(at + 1, len(roster)))


def _read_tree(case: Case) -> Tree | Lie:
    """The claimed tree, or the first thing in it that has no place there; top down, for what is below hangs in the air."""
    count, fan_in = case.round.count, case.parameters.fan_in
    about = (case.task, case.number)
    top = case.node(case.round.sum_root)
    if isinstance(top, Entry):
        sought = Sought(Vector.TREE, (), 0, (), 0, 0, case.round.sum_root, ())
        raise Hidden("the sum tree's root is that of an entry", sought)
    levels: list[tuple[SumNode, ...]] = [(top,)]
    for level in range(len(widths(count, fan_in)), 0, -1):
        for index, node in enumerate(levels[0]):
            if (node.count, len(node.children)) != shape(count, fan_in, level, index):
                path = _path(levels, index, fan_in)
                said = (
                    f"node {index} of level {level} says it holds {node.count} members "
                    f"in {len(node.children)} parts"
                )
                return Lie(RefuteTree(*about, path, index, (), ()), said)
        below = _below(case, levels)
        nodes = tuple(each for each in below if isinstance(each, SumNode))
        if level == 1 and nodes:
            index = next(i for i, each in enumerate(below) if isinstance(each, SumNode))
            path = (*_path(levels, index // fan_in, fan_in), nodes[0])
            said = f"a node stands in the place of roster entry {index}"
            return Lie(RefuteTree(*about, path, index, (), ()), said)
        if level > 1 and len(nodes) < len(below):
            index, entry = next((i, e) for i, e in enumerate(below) if isinstance(e, Entry))
            placed = Placed(_path(levels, index // fan_in, fan_in), index, entry)
            said = f"a roster entry stands in the place of node {index} of level {level - 1}"
            return Lie(RefuteEntry(*about, placed), said)
        if level > 1:
            levels.insert(0, nodes)
    return Tree(fan_in, tuple(levels), cast(tuple[Entry, ...], tuple(below)))


def _below(case: Case, levels: Sequence[Sequence[SumNode]]) -> list[Entry | SumNode]:
    """What stands below the lowest level; what is hidden there is sought all at once."""
    fan_in = case.parameters.fan_in
    found: list[Entry | SumNode] = []
    missing: list[Hidden] = []
    for place, node in enumerate(levels[0]):
        for child, digest in enumerate(node.children):
            try:
                index = place * fan_in + child
                found.append(case.node(digest, _path(levels, place, fan_in), index))
            except Hidden as hidden:
                missing.append(hidden)
    if missing:
        raise Hidden(str(missing[0]), *(sought for each in missing for sought in each.sought))
    return found


def _wrong_roster(case: Case, tree: Tree) -> Lie | None:
    """An entry that nobody committed to, two out of order, or one that is missing."""
    about, here = (case.task, case.number), {entry.member for entry in tree.roster}
    for index, entry in enumerate(tree.roster):
        if entry not in case.allowed:
            shown: tuple[Signed, ...] = ()
            if case.batch is not None:
                beside = _beside(case.batch.roster, entry.member)
                shown = tuple(_signed(case.batch, i) for i in beside)
            said = f"nobody who counts committed to weight {entry.weight} of 0x{entry.member.hex()}"
            return Lie(RefuteEntry(*about, tree.placed(index), shown), said)
    for index, (left, after) in enumerate(pairwise(tree.roster)):
        if left.member >= after.member:
            both = (tree.placed(index), tree.placed(index + 1))
            said = f"roster entries {index} and {index + 1} are not in order"
            return Lie(RefuteOrder(*about, *both), said)
    for entry in case.required:
        if entry.member not in here:
            in_batch: tuple[Signed, ...] = ()
            if entry not in case.direct and case.batch is not None:
                in_batch = (_signed(case.batch, case.batch.roster.index(entry)),)
            neighbours = tuple(tree.placed(i) for i in _beside(tree.roster, entry.member))
            said = f"0x{entry.member.hex()} committed and was left out"
            return Lie(RefuteOmission(*about, entry, in_batch, neighbours), said)
    return None


def _wrong_update(case: Case, tree: Tree) -> Lie | None:
    """A counted update that is no vector of the task's. Raises `Hidden` with what to ask for where one is in no store.

    Right ones that were revealed are put into the store."""
    p = case.parameters
    leaves = -(-p.dimension // p.leaf_words)
    missing: list[Hidden] = []
    for index, entry in enumerate(tree.roster):
        path = tree.path(1, index // tree.fan_in)
        try:
            found = case.vector(entry.root, UPDATE_BYTES)
        except Hidden:
            place = seek(Vector.UPDATE, path, index, (entry,))
            try:
                revealed = whole(place, entry.root, leaves, case.revealed)
            except Hidden as hidden:
                missing.append(hidden)
                continue
            sizes = [
                UPDATE_BYTES * min(p.leaf_words, p.dimension - first)
                for first in range(0, p.dimension, p.leaf_words)
            ]
            wrong = _misshapen(revealed, sizes)
            if wrong is None:
                words = np.frombuffer(b"".join(revealed), np.int32)
                case.store.put(Kind.UPDATE, words, p.leaf_words)
                continue
            found = wrong
        if isinstance(found, Misplaced):
            accused = _accused(Vector.UPDATE, found, path, index, (entry,))
            said = f"the update of 0x{entry.member.hex()} is no vector of the task's"
            return Lie(RefuteVector(case.task, case.number, accused), said)
    if missing:
        raise Hidden(str(missing[0]), *(sought for each in missing for sought in each.sought))
    return None


def _misshapen(leaves: list[bytes], sizes: list[int]) -> Misplaced | None:
    """The first leaf that is not of the right length."""
    for index, (leaf, size) in enumerate(zip(leaves, sizes, strict=True)):
        if len(leaf) != size:
            siblings = merkle.path([merkle.leaf_hash(each) for each in leaves], index)
            return Misplaced(0, index, False, leaf, siblings)
    return None


def _wrong_sums(case: Case, tree: Tree, truth: Truth) -> Lie | None:
    """The lowest node whose weight or sums are not those of its children, which are right."""
    hidden: Hidden | None = None
    for level, nodes in enumerate(tree.levels, 1):
        for index, node in enumerate(nodes):
            right = truth.combined.tree.levels[level - 1][index]
            try:
                if node.weight != right.weight:
                    return _wrong_weight(case, tree, level, index, right.weight)
                if node.vector_root != right.vector_root:
                    return _wrong_sum(case, tree, truth, level, index)
            except Hidden as error:
                hidden = hidden or error
        if hidden is not None:  # What is above stands on what nobody can see.
            raise hidden
    return None


def _children(tree: Tree, level: int, index: int) -> tuple[tuple[SumNode, ...], tuple[Entry, ...]]:
    """A node's children: nodes, or entries where it is of level 1."""
    span = slice(index * tree.fan_in, (index + 1) * tree.fan_in)
    return ((), tree.roster[span]) if level == 1 else (tree.levels[level - 2][span], ())


def _wrong_weight(case: Case, tree: Tree, level: int, index: int, right: int) -> Lie:
    path = tree.path(level, index)
    call = RefuteTree(case.task, case.number, path, index, *_children(tree, level, index))
    said = f"node {index} of level {level} claims a weight of {path[-1].weight}, its children have {right}"
    return Lie(call, said)


def _wrong_sum(case: Case, tree: Tree, truth: Truth, level: int, index: int) -> Lie:
    path, leaf_words = tree.path(level, index), case.parameters.leaf_words
    found = _difference(
        case, Vector.SUMS, path, index, path[-1].vector_root, SUM_BYTES,
        lambda: truth.sums(level, index),
    )  # fmt: skip
    if isinstance(found, Misplaced):
        accused = _accused(Vector.SUMS, found, path, index)
        said = f"the sums of node {index} of level {level} are no vector of the task's"
        return Lie(RefuteVector(case.task, case.number, accused), said)
    first = index * tree.fan_in
    parts = tuple(
        _open(truth.updates[child], found.word, leaf_words)
        if level == 1
        else truth.open_sums(level - 1, child, found.word)
        for child in range(first, first + len(path[-1].children))
    )
    call = RefuteSum(
        case.task, case.number, path, index, found.word, found.opening,
        *_children(tree, level, index), parts,
    )  # fmt: skip
    said = f"node {index} of level {level} is not the sum of its children"
    return Lie(call, said, found.word, found.claimed, found.right)


def _wrong_next(case: Case, tree: Tree, truth: Truth) -> Lie | None:
    if case.round.next_root == truth.combined.next_root:
        return None
    found = _difference(
        case, Vector.NEXT, (), 0, case.round.next_root, UPDATE_BYTES,
        lambda: iter([(0, truth.combined.next_words)]),
    )  # fmt: skip
    if isinstance(found, Misplaced):
        call = RefuteVector(case.task, case.number, _accused(Vector.NEXT, found))
        return Lie(call, "the next model is no vector of the task's")
    refutation = RefuteNext(
        case.task, case.number, tree.levels[-1][0], found.word,
        _open(truth.base, found.word, case.parameters.leaf_words),
        truth.open_sums(len(tree.levels), 0, found.word),
        found.opening,
    )  # fmt: skip
    said = "the next model is not the last one plus the mean of the updates"
    return Lie(refutation, said, found.word, found.claimed, found.right)


@dataclass(frozen=True)
class Difference:
    """The first word that is false, what it should be, and its claimed leaf."""

    word: int
    claimed: int
    right: int
    opening: Opening


Blocks = Callable[[], Iterator[tuple[int, Words | Sums]]]
"""The right words in blocks of whole leaves, each with its first word."""


def _difference(
    case: Case,
    vector: Vector,
    path: tuple[SumNode, ...],
    index: int,
    root: bytes,
    word_bytes: int,
    right: Blocks,
) -> Misplaced | Difference:
    """Where a claimed vector first differs from the right one; one that is in no store is uncovered piece by piece."""
    p = case.parameters
    try:
        claimed = case.vector(root, word_bytes)
    except Hidden:
        return _uncovered(case, vector, path, index, root, word_bytes, right)
    if isinstance(claimed, Misplaced):
        return claimed
    for start, block in right():
        differ = np.flatnonzero(claimed[start : start + len(block)] != block)
        if differ.size:
            word = start + int(differ[0])
            opening = _open(claimed, word, p.leaf_words)
            return Difference(word, int(claimed[word]), int(block[differ[0]]), opening)
    raise AssertionError("vectors of different roots have the same words")


def _uncovered(
    case: Case,
    vector: Vector,
    path: tuple[SumNode, ...],
    index: int,
    root: bytes,
    word_bytes: int,
    right: Blocks,
) -> Misplaced | Difference:
    """As `_difference`, of a vector that is known only from what was revealed of it. Raises `Hidden` with what to ask for next."""
    leaf_words = case.parameters.leaf_words
    hashes: list[bytes] = []
    for _, block in right():
        hashes += merkle.leaf_hashes(as_bytes(block), word_bytes * leaf_words)
    leaf, data, siblings = uncover(seek(vector, path, index), root, hashes, case.revealed)
    first = leaf * leaf_words
    start, block = next(
        (start, block) for start, block in right() if start <= first < start + len(block)
    )
    wanted = block[first - start : first - start + leaf_words]
    if len(data) != wanted.nbytes:
        return Misplaced(0, leaf, False, data, siblings)
    found = np.frombuffer(data, f"<i{word_bytes}")
    at = int(np.flatnonzero(found != wanted)[0])
    return Difference(first + at, int(found[at]), int(wanted[at]), Opening(data, siblings))


def seek(
    vector: Vector, path: tuple[SumNode, ...] = (), index: int = 0, entries: tuple[Entry, ...] = ()
) -> Place:
    """Makes a demand of any node of a vector's Merkle tree."""

    def sought(height: int, position: int, digest: bytes, siblings: tuple[bytes, ...]) -> Sought:
        return Sought(vector, path, index, entries, height, position, digest, siblings)

    return sought


def _open(words: Words | Sums, word: int, leaf_words: int) -> Opening:
    """The leaf of a vector that holds a word."""
    size = leaf_words * words.itemsize
    data, leaf = as_bytes(words), word // leaf_words
    hashes = merkle.leaf_hashes(data, size)
    return Opening(bytes(data[leaf * size : (leaf + 1) * size]), merkle.path(hashes, leaf))
