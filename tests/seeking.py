"""Everything that can be sought under a proposal, each with the bytes that answer for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lies import Proposal, Tree
from tallystick import fraud, merkle
from tallystick.fraud import Sought, Vector

Place = Callable[[int, int, bytes, tuple[bytes, ...]], Sought]
"""(height, position, digest, siblings) -> what is sought there."""


@dataclass(frozen=True)
class Piece:
    """What is sought, how many digests answer for it, and the answer."""

    sought: Sought
    pieces: int
    data: bytes


def in_vector(leaves: Sequence[bytes], place: Place) -> Iterator[Piece]:
    """Every node of a Merkle tree over leaves, but for those with one child; also from further above than its top."""
    levels = [[merkle.leaf_hash(leaf) for leaf in leaves]]
    while len(levels[-1]) > 1:
        level = levels[-1]
        levels.append([merkle.root_of(level[k : k + 2]) for k in range(0, len(level), 2)])
    for height in range(len(levels) + fraud.STEP):
        level = levels[min(height, len(levels) - 1)]
        for position, digest in enumerate(level):
            above = levels[min(height, len(levels) - 1) :]
            near = [(each, position >> k ^ 1) for k, each in enumerate(above)]
            siblings = tuple(each[at] for each, at in near if at < len(each))
            sought = place(height, position, digest, siblings)
            if height == 0:
                yield Piece(sought, 0, leaves[position])
                continue
            step = min(height, fraud.STEP)
            below = levels[min(height - step, len(levels) - 1)]
            digests = below[position << step : (position + 1) << step]
            if len(digests) > 1:
                yield Piece(sought, len(digests), b"".join(digests))


def flat(tree: Tree) -> list[bytes]:
    """A tree's leaves."""
    return [tree] if isinstance(tree, bytes) else flat(tree[0]) + flat(tree[1])


def under(proposal: Proposal, updates: Sequence[Tree]) -> Iterator[Piece]:
    """Everything under an honest proposal: documents, sums, `updates` of its roster, the next model, the batch."""
    fan_in, levels = proposal.round.fan_in, proposal.levels
    top = levels[-1][0]
    root = Sought(Vector.TREE, (), 0, (), 0, 0, top.digest, ())
    yield Piece(root, fraud.NODE, top.data)
    for number, nodes in enumerate(levels, 1):
        below = levels[number - 2] if number > 1 else proposal.entries
        for index, node in enumerate(nodes):
            path = proposal.path(number, index)
            for at, digest in enumerate(node.children, index * fan_in):
                sought = Sought(Vector.TREE, path, at, (), 0, 0, digest, ())
                yield Piece(sought, fraud.DOCUMENT, below[at].data)

            def sums(h: int, p: int, d: bytes, s: tuple[bytes, ...]) -> Sought:
                return Sought(Vector.SUMS, path, index, (), h, p, d, s)  # noqa: B023

            yield from in_vector(flat(proposal.sums[number - 1][index]), sums)
    for index, (entry, tree) in enumerate(zip(proposal.entries, updates, strict=True)):
        path = proposal.path(1, index // fan_in)

        def update(h: int, p: int, d: bytes, s: tuple[bytes, ...]) -> Sought:
            return Sought(Vector.UPDATE, path, index, (entry,), h, p, d, s)  # noqa: B023

        yield from in_vector(flat(tree), update)
    yield from in_vector(
        flat(proposal.next), lambda h, p, d, s: Sought(Vector.NEXT, (), 0, (), h, p, d, s)
    )
    if proposal.round.batched:
        yield from in_vector(
            flat(proposal.round.batch_tree),
            lambda h, p, d, s: Sought(Vector.BATCH, (), 0, (), h, p, d, s),
        )
