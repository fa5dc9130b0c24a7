"""What makes a proposal false, as predicates over a few leaves and nodes that were committed to. Standard library only.

Each looks at one place, so that its price does not grow with members or parameters, and is true of no proposal that
`aggregation.combine` computes. Evidence that does not stand under the roots raises `InvalidProof`, which names the part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from . import merkle
from .commitment import SIGNATURE_BYTES, SIGNED_ENTRY_BYTES, entry_bytes
from .errors import InvalidProof
from .sumtree import Entry, SumNode, child, is_document, locate, shape

WORD_MIN, WORD_MAX = -(2**31), 2**31 - 1
UPDATE_BYTES, SUM_BYTES = 4, 8
MAX_HEIGHT = 40
STEP = 7
"""Levels of a Merkle tree that one revealed piece spans: 128 digests, 4 KiB."""
DOCUMENT = 2**32 - 1
"""In the place of a number of digests: the answer is a node or an entry of the sum tree, well formed."""
NODE = 2**32 - 2
"""The same for its top, which nothing but a node can be."""


class Vector(IntEnum):
    """Which Merkle tree is accused of its shape, or has something sought in it; `TREE` is the sum tree itself."""

    SUMS = 0
    UPDATE = 1
    NEXT = 2
    BATCH = 3
    TREE = 4


@dataclass(frozen=True)
class Opening:
    """A leaf of a vector: the bytes of its words, and its audit path."""

    data: bytes
    path: tuple[bytes, ...]


@dataclass(frozen=True)
class Placed:
    """Roster entry `index` of a proposal, with the nodes from the top of the sum tree down to the one above it."""

    path: tuple[SumNode, ...]
    index: int
    entry: Entry


@dataclass(frozen=True)
class Signed:
    """Entry `index` of a batch: the entry, its member's signature (65 bytes, EIP-712), its audit path."""

    entry: Entry
    signature: bytes
    index: int
    path: tuple[bytes, ...]


@dataclass(frozen=True)
class Accused:
    """A node of a vector's Merkle tree that should not be there.

    The tree is that of the sum tree's node at the end of (`path`, `index`), of roster entry `index` (given in `entries`), of the
    next model, or of the batch. The Merkle node is number `position` of those `height` levels above the leaves, and hashed from
    `data`: a leaf's bytes or, if `inner`, two digests. `siblings` is its audit path.
    """

    vector: int
    path: tuple[SumNode, ...]
    index: int
    entries: tuple[Entry, ...]
    height: int
    position: int
    inner: bool
    data: bytes
    siblings: tuple[bytes, ...]


@dataclass(frozen=True)
class Sought:
    """Something that a proposal commits to and that nobody published.

    Of the sum tree itself (`TREE`): node or entry `index` of its level, where `path` are the nodes from the top down to its parent.
    Of a vector, named as in `Accused` by `vector`, `path`, `index` and `entries`: Merkle node number `position` of those `height`
    levels above the leaves, with its audit path. `digest` is its hash.
    """

    vector: int
    path: tuple[SumNode, ...]
    index: int
    entries: tuple[Entry, ...]
    height: int
    position: int
    digest: bytes
    siblings: tuple[bytes, ...]


@dataclass(frozen=True)
class Claim:
    """What a proposal claims, with what the task says about its shape."""

    count: int
    sum_root: bytes
    next_root: bytes
    base_root: bytes
    batch_root: bytes
    batch_count: int
    dimension: int
    leaf_words: int
    fan_in: int


def is_wrong_sum(
    claim: Claim,
    path: Sequence[SumNode],
    index: int,
    word: int,
    total: Opening,
    nodes: Sequence[SumNode],
    entries: Sequence[Entry],
    parts: Sequence[Opening],
) -> bool:
    """Whether word `word` of the path's last node is not the sum of its children's, each times its weight at level 1."""
    level, node = locate(claim.sum_root, claim.count, claim.fan_in, path, index)
    _check_children(level, node, nodes, entries)
    if len(parts) != len(node.children):
        raise InvalidProof("parts")
    expected = 0
    for position, part in enumerate(parts):
        if level == 1:
            entry = entries[position]
            expected += entry.weight * _open_word(claim, entry.root, part, word, UPDATE_BYTES)
        else:
            expected += _open_word(claim, nodes[position].vector_root, part, word, SUM_BYTES)
    return _open_word(claim, node.vector_root, total, word, SUM_BYTES) != expected


def is_wrong_next(
    claim: Claim, top: SumNode, word: int, base: Opening, total: Opening, following: Opening
) -> bool:
    """Whether word `word` of the next model is not the base's plus the rounded mean, held at the ends of int32."""
    locate(claim.sum_root, claim.count, claim.fan_in, (top,), 0)
    old = _open_word(claim, claim.base_root, base, word, UPDATE_BYTES)
    total_word = _open_word(claim, top.vector_root, total, word, SUM_BYTES)
    new = _open_word(claim, claim.next_root, following, word, UPDATE_BYTES)
    if top.weight == 0:
        return True
    mean = (total_word + top.weight // 2) // top.weight
    return new != min(max(old + mean, WORD_MIN), WORD_MAX)


def is_wrong_tree(
    claim: Claim,
    path: Sequence[SumNode],
    index: int,
    nodes: Sequence[SumNode],
    entries: Sequence[Entry],
) -> bool:
    """Whether the path's last node has a count or children that no tree over this roster has there, or not their weight.

    A node in the place of a roster entry is one. Children are needed only to show a wrong weight.
    """
    level, node = locate(claim.sum_root, claim.count, claim.fan_in, path, index, lowest=0)
    if level == 0:
        return True
    if (node.count, len(node.children)) != shape(claim.count, claim.fan_in, level, index):
        return True
    _check_children(level, node, nodes, entries)
    return node.weight != sum(each.weight for each in (entries if level == 1 else nodes))


def is_wrong_vector(claim: Claim, accused: Accused) -> bool:
    """Whether a vector's Merkle tree has a leaf of the wrong length or in an inner place, or an inner node in a leaf's place."""
    root, words, leaf_words, word_bytes = _vector(claim, accused)
    data = accused.data
    leaves = -(-words // leaf_words)
    if accused.height > MAX_HEIGHT or (accused.inner and len(data) != 64):
        raise InvalidProof("data")
    hashed = merkle.node_hash(data[:32], data[32:]) if accused.inner else merkle.leaf_hash(data)
    width = (leaves + (1 << accused.height) - 1) >> accused.height
    if not merkle.is_included(root, hashed, accused.position, width, accused.siblings):
        raise InvalidProof("leaf")
    first = accused.position << accused.height
    if accused.height > 0 and leaves - first > 1:
        return not accused.inner
    return accused.inner or len(data) != word_bytes * min(leaf_words, words - first * leaf_words)


def is_wrong_place(claim: Claim, placed: Placed) -> bool:
    """Whether a roster entry stands where a node should be."""
    return _level(claim, placed) > 1


def is_unordered(claim: Claim, left: Placed, right: Placed) -> bool:
    """Whether two neighbours of the roster are not in ascending order: a member twice, or one hidden from its place."""
    _check_placed(claim, left)
    _check_placed(claim, right)
    if right.index != left.index + 1:
        raise InvalidProof("neighbours")
    return left.entry.member >= right.entry.member


def is_absent(claim: Claim, member: bytes, neighbours: Sequence[Placed]) -> bool:
    """Whether a member is not in the roster, by its two neighbours there (one at either end)."""
    for each in neighbours:
        _check_placed(claim, each)
    return _is_between(
        member, [(each.index, each.entry.member) for each in neighbours], claim.count
    )


def is_absent_from_batch(claim: Claim, entry: Entry, neighbours: Sequence[Signed]) -> bool:
    """Whether a batch holds no such entry, by the member's other entry or its two neighbours there (one at either end)."""
    for each in neighbours:
        check_signed(claim, each)
    if len(neighbours) == 1 and neighbours[0].entry.member == entry.member:
        return neighbours[0].entry != entry
    found = [(each.index, each.entry.member) for each in neighbours]
    return _is_between(entry.member, found, claim.batch_count)


def is_batch_unordered(claim: Claim, left: Signed, right: Signed) -> bool:
    """Whether two neighbours of the batch are not in ascending order."""
    check_signed(claim, left)
    check_signed(claim, right)
    if right.index != left.index + 1:
        raise InvalidProof("neighbours")
    return left.entry.member >= right.entry.member


def check_signed(claim: Claim, signed: Signed) -> None:
    """Raise `InvalidProof` unless the batch holds the entry with that signature."""
    e = signed.entry
    leaf = merkle.leaf_hash(entry_bytes(e.member, e.weight, e.root) + signed.signature)
    if len(signed.signature) != SIGNATURE_BYTES or not merkle.is_included(
        claim.batch_root, leaf, signed.index, claim.batch_count, signed.path
    ):
        raise InvalidProof("batch")


def check_sought(claim: Claim, sought: Sought) -> int:
    """How many digests answer for what is sought: 0 where it is a leaf, `DOCUMENT` where it is a node or an entry of the sum tree, `NODE` its top.

    Raises `InvalidProof` where it is not there.

    One answer spans up to `STEP` levels. Whoever demands a node with one child must demand that instead: its digest is the same.
    """
    if sought.vector == Vector.TREE:
        if not sought.path:
            found = claim.sum_root
        else:
            parent = locate(
                claim.sum_root, claim.count, claim.fan_in, sought.path, sought.index // claim.fan_in
            )[1]
            found = child(parent, sought.index % claim.fan_in)
        if found != sought.digest:
            raise InvalidProof("node")
        return DOCUMENT if sought.path else NODE
    root, words, leaf_words, _ = _vector(claim, sought)
    if sought.height > MAX_HEIGHT:
        raise InvalidProof("data")
    leaves = -(-words // leaf_words)
    width = (leaves + (1 << sought.height) - 1) >> sought.height
    if not merkle.is_included(root, sought.digest, sought.position, width, sought.siblings):
        raise InvalidProof("leaf")
    count = pieces(leaves, sought.height, sought.position)
    if count == 1:
        raise InvalidProof("height")
    return count


def pieces(leaves: int, height: int, position: int) -> int:
    """How many digests, up to `STEP` levels further down, a Merkle node over that many leaves in all is made of; 0 for a leaf."""
    if height == 0:
        return 0
    step = min(height, STEP)
    below = height - step
    width = (leaves + (1 << below) - 1) >> below
    return min(1 << step, width - (position << step))


def is_answer(digest: bytes, number: int, data: bytes) -> bool:
    """Whether data are what a digest was demanded for: a leaf's bytes (`number` 0), `DOCUMENT`, `NODE`, or `number` digests."""
    if number in (0, NODE, DOCUMENT):
        formed = number == 0 or is_document(data, number == NODE)
        return formed and merkle.leaf_hash(data) == digest
    digests = [data[k : k + 32] for k in range(0, len(data), 32)]
    return len(data) == 32 * number and merkle.root_of(digests) == digest


def is_right_leaf(
    claim: Claim,
    leaf: int,
    entries: Sequence[Entry],
    parts: Sequence[Opening],
    base: Opening,
    following: Opening,
) -> bool:
    """Whether a leaf of the next model is the base's plus the rounded mean of the entries' updates, word by word."""
    if len(parts) != len(entries):
        raise InvalidProof("parts")
    old = _open_leaf(claim, claim.base_root, base, leaf, UPDATE_BYTES)
    new = _open_leaf(claim, claim.next_root, following, leaf, UPDATE_BYTES)
    opened = [
        _open_leaf(claim, entry.root, part, leaf, UPDATE_BYTES)
        for entry, part in zip(entries, parts, strict=True)
    ]
    weight = sum(entry.weight for entry in entries)
    for at in range(len(old)):
        total = sum(entry.weight * words[at] for entry, words in zip(entries, opened, strict=True))
        mean = (total + weight // 2) // weight
        if new[at] != min(max(old[at] + mean, WORD_MIN), WORD_MAX):
            return False
    return True


def _is_between(member: bytes, found: Sequence[tuple[int, bytes]], count: int) -> bool:
    """Whether sorted neighbours at (index, member) leave no place for a member among `count`."""
    if len(found) == 2:
        (left, lower), (right, upper) = found
        if right != left + 1:
            raise InvalidProof("neighbours")
        return lower < member < upper
    if len(found) != 1:
        raise InvalidProof("neighbours")
    ((index, only),) = found
    return (index == 0 and member < only) or (index == count - 1 and member > only)


def _level(claim: Claim, placed: Placed) -> int:
    level, node = locate(
        claim.sum_root, claim.count, claim.fan_in, placed.path, placed.index // claim.fan_in
    )
    if child(node, placed.index % claim.fan_in) != placed.entry.digest:
        raise InvalidProof("entry")
    return level


def _check_placed(claim: Claim, placed: Placed) -> None:
    if _level(claim, placed) != 1:
        raise InvalidProof("entry")


def _check_children(
    level: int, node: SumNode, nodes: Sequence[SumNode], entries: Sequence[Entry]
) -> None:
    digests = [each.digest for each in (entries if level == 1 else nodes)]
    if digests != list(node.children):
        raise InvalidProof("children")


def _open_leaf(
    claim: Claim, root: bytes, opening: Opening, leaf: int, word_bytes: int
) -> list[int]:
    """The words of an opened leaf of the right length, or `InvalidProof`."""
    first = leaf * claim.leaf_words
    if first >= claim.dimension or len(opening.data) != word_bytes * min(
        claim.leaf_words, claim.dimension - first
    ):
        raise InvalidProof("leaf")
    leaves = -(-claim.dimension // claim.leaf_words)
    if not merkle.is_included(root, merkle.leaf_hash(opening.data), leaf, leaves, opening.path):
        raise InvalidProof("leaf")
    return [
        int.from_bytes(opening.data[at : at + word_bytes], "little", signed=True)
        for at in range(0, len(opening.data), word_bytes)
    ]


def _open_word(claim: Claim, root: bytes, opening: Opening, word: int, word_bytes: int) -> int:
    """One word of an opened leaf of the right length, or `InvalidProof`."""
    if word >= claim.dimension:
        raise InvalidProof("leaf")
    found = _open_leaf(claim, root, opening, word // claim.leaf_words, word_bytes)
    return found[word % claim.leaf_words]


def _vector(claim: Claim, accused: Accused | Sought) -> tuple[bytes, int, int, int]:
    """Root, words, words per leaf and bytes per word of what is accused or sought."""
    if accused.vector == Vector.BATCH:
        return claim.batch_root, claim.batch_count, 1, SIGNED_ENTRY_BYTES
    if accused.vector == Vector.NEXT:
        return claim.next_root, claim.dimension, claim.leaf_words, UPDATE_BYTES
    if accused.vector == Vector.UPDATE:
        if len(accused.entries) != 1:
            raise InvalidProof("entry")
        entry = accused.entries[0]
        _check_placed(claim, Placed(accused.path, accused.index, entry))
        return entry.root, claim.dimension, claim.leaf_words, UPDATE_BYTES
    if accused.vector != Vector.SUMS:
        raise InvalidProof("vector")
    _, node = locate(claim.sum_root, claim.count, claim.fan_in, accused.path, accused.index)
    return node.vector_root, claim.dimension, claim.leaf_words, SUM_BYTES
