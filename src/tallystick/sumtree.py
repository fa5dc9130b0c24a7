"""The sum tree: one digest for a round's roster, its weights and every partial sum. Standard library only.

Members stand in ascending order and are combined in groups of `fan_in`; the groups' sums again, until one node is left.
A node commits to how many members it holds, their weight, the Merkle root of its vector of sums, and its children. So
each possible lie is visible in one node and its few children (compare Maxwell's Merkle sum tree). The lengths of what is hashed
(57 bytes an entry, 45 + 32k a node, multiples of 4 a vector's leaf, 121 a batch's) and its first byte keep all of them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from .errors import InvalidProof
from .merkle import leaf_hash


@dataclass(frozen=True)
class Entry:
    """One member of a roster: its account (20 bytes), weight, and the root of its update."""

    member: bytes
    weight: int
    root: bytes

    @property
    def digest(self) -> bytes:
        """Leaf of the sum tree: H(0x00 | `data`)."""
        return leaf_hash(self.data)

    @property
    def data(self) -> bytes:
        """0x02 | member | weight, 4 bytes | root: as a document in a store, it is named by the digest."""
        return b"\x02" + self.member + self.weight.to_bytes(4, "big") + self.root


@dataclass(frozen=True)
class SumNode:
    """An inner node of the sum tree: how many members, their weight, the root of their summed words, the children."""

    count: int
    weight: int
    vector_root: bytes
    children: tuple[bytes, ...]

    @cached_property
    def digest(self) -> bytes:
        """H(0x00 | `data`)."""
        return leaf_hash(self.data)

    @property
    def data(self) -> bytes:
        """0x03 | count, 4 bytes | weight, 8 bytes | root of the partial sums | the children's digests.

        As a document in a store, it is named by the digest, so that a proposal can be followed down from its `sumRoot`.
        """
        head = b"\x03" + self.count.to_bytes(4, "big") + self.weight.to_bytes(8, "big")
        return head + self.vector_root + b"".join(self.children)


def parse(data: bytes) -> Entry | SumNode:
    """An entry or a node from its `data`. Raises `InvalidProof` for bytes that are neither."""
    if data[:1] == b"\x02" and len(data) == 57:
        return Entry(data[1:21], int.from_bytes(data[21:25], "big"), data[25:])
    if data[:1] == b"\x03" and len(data) >= 45 and (len(data) - 45) % 32 == 0:
        children = tuple(data[k : k + 32] for k in range(45, len(data), 32))
        weight = int.from_bytes(data[5:13], "big")
        return SumNode(int.from_bytes(data[1:5], "big"), weight, data[13:45], children)
    raise InvalidProof("node")


def is_document(data: bytes, node_only: bool) -> bool:
    """Whether bytes are those of a node or, unless `node_only`, of an entry."""
    if data[:1] == b"\x02":
        return len(data) == 57 and not node_only
    return data[:1] == b"\x03" and len(data) >= 45 and (len(data) - 45) % 32 == 0


@dataclass(frozen=True)
class SumTree:
    """Levels from the one above the roster to the top, which is one node."""

    levels: tuple[tuple[SumNode, ...], ...]

    @property
    def root(self) -> bytes:
        """The proposal's `sumRoot`."""
        return self.levels[-1][0].digest

    def path(self, level: int, index: int, fan_in: int) -> tuple[SumNode, ...]:
        """Nodes from the top down to node `index` of `level` (1 is the one above the roster)."""
        found = [self.levels[level - 1][index]]
        for nodes in self.levels[level:]:
            index //= fan_in
            found.append(nodes[index])
        return tuple(found[::-1])


def widths(members: int, fan_in: int) -> list[int]:
    """Nodes on each level, from the one above the roster up."""
    found = [-(-members // fan_in)]
    while found[-1] > 1:
        found.append(-(-found[-1] // fan_in))
    return found


def shape(members: int, fan_in: int, level: int, index: int) -> tuple[int, int]:
    """How many members and how many children node `index` of `level` (1 is the one above the roster) must have.

    Raises `InvalidProof` if a tree over `members` has no such node.
    """
    below, held = members, 1
    for _ in range(level):
        if held > 1 and below == 1:
            raise InvalidProof("node")
        last, below, held = below, -(-below // fan_in), held * fan_in
    if level < 1 or index >= below:
        raise InvalidProof("node")
    return min(held, members - index * held), min(fan_in, last - index * fan_in)


def locate(
    root: bytes, members: int, fan_in: int, path: Sequence[SumNode], index: int, lowest: int = 1
) -> tuple[int, SumNode]:
    """Level and last node of a path that starts at the top and ends at node `index` of its level.

    Raises `InvalidProof` unless each node is the child that the one before has in that place, and the level is `lowest` or above.
    """
    level = len(widths(members, fan_in)) - len(path) + 1
    if not path or level < lowest:
        raise InvalidProof("path")
    expected, place = root, fan_in ** (len(path) - 1)
    if index >= place:
        raise InvalidProof("path")
    for node in path:
        if node.digest != expected:
            raise InvalidProof("path")
        place //= fan_in
        if place:
            expected = child(node, index // place % fan_in)
    return level, path[-1]


def child(node: SumNode, position: int) -> bytes:
    """Digest of a node's child, or `InvalidProof` if it has none there."""
    if position >= len(node.children):
        raise InvalidProof("path")
    return node.children[position]
