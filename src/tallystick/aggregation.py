"""Rules over integers: how the words of many updates become one next model, with the same bits on any machine.

The weighted mean is `aggregate[j] = floor((S[j] + W // 2) / W)` with `S[j] = sum of w_k * u_k[j]` in int64 and
`W = sum of w_k < 2**32`. A word is at least -2**31 and less than 2**31, so S + W // 2 stays inside int64.
`next[j] = global[j] + aggregate[j]`, held at the ends of int32: a rule without exceptions cannot be stopped by one member.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from . import merkle
from .encoding import WORD, Words, as_bytes
from .errors import InvalidLayout, InvalidParameter, InvalidWeight
from .sumtree import Entry, SumNode, SumTree, widths

Sums = NDArray[np.int64]
Progress = Callable[[int, int], None]

MAX_TOTAL_WEIGHT = 2**32 - 1
BLOCK = 1 << 16
"""Words combined at a time: a block of sums and of each update fit the processor's cache."""


class Readable(Protocol):
    """Words (int32[d]) that can be read in part: an array, a memory map, a file."""

    @property
    def dtype(self) -> np.dtype[np.int32]: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, part: slice, /) -> Words: ...


@dataclass(frozen=True)
class Combined:
    """What a round comes to: the sum tree, and the next model with its root."""

    tree: SumTree
    next_words: Words
    next_root: bytes


def sort_roster(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Entries by member, ascending: the one order that everybody finds. Raises `InvalidParameter` on a member twice."""
    roster = tuple(sorted(entries, key=lambda entry: entry.member))
    for earlier, later in pairwise(roster):
        if earlier.member == later.member:
            raise InvalidParameter(f"member 0x{later.member.hex()} is in the roster twice.")
    return roster


def weighted_mean(updates: Sequence[Words], weights: Sequence[int], threads: int = 1) -> Words:
    """The weighted mean (int32[d]) of updates (int32[d] each).

    Raises `InvalidWeight` unless weights are positive integers that sum to less than 2**32, and `InvalidLayout` unless
    all updates have one length.
    """
    size, total = _check(updates, weights)
    mean = np.empty(size, np.int32)

    scratch = _Scratch(1, min(BLOCK, size))

    def one(start: int) -> None:
        stop = min(start + BLOCK, size)
        sums, product = scratch.levels[0, : stop - start], scratch.product[: stop - start]
        _weighted_sum(updates, weights, start, stop, sums, product)
        mean[start:stop] = _divide(sums, total)

    _for_each(one, range(0, size, BLOCK), threads)
    return mean


def next_model(base: Words, aggregate: NDArray[np.int32] | Sums) -> Words:
    """The next global model (int32[d]): base + aggregate, held at the ends of int32."""
    following = base.astype(np.int64)
    following += aggregate
    np.clip(following, WORD.min, WORD.max, out=following)
    return following.astype(np.int32)


def combine(
    base: Words,
    entries: Sequence[Entry],
    updates: Sequence[Readable],
    leaf_words: int,
    fan_in: int,
    threads: int = 1,
    progress: Progress | None = None,
) -> Combined:
    """Combine a round in one pass over the updates.

    `entries` and `updates` (int32[d] each; memory maps and files welcome) go together, in any order: the roster is sorted here. A
    block of every update is read once, summed up the tree and hashed; memory is that of a block, the next model, and
    32 bytes per block of each node. `progress` is told (blocks done, blocks).
    Raises as `weighted_mean` and `sort_roster`.
    """
    size, total = _check(updates, [entry.weight for entry in entries])
    if base.shape != (size,):
        raise InvalidLayout(
            f"updates have {size} words where the global model has {base.shape[0]}."
        )
    vectors = {entry.member: vector for entry, vector in zip(entries, updates, strict=True)}
    roster = sort_roster(entries)
    ordered = [vectors[entry.member] for entry in roster]
    weights = [entry.weight for entry in roster]

    width_of = widths(len(roster), fan_in)
    # A power of two of leaves, so that a block is a subtree and its root all that is kept of it: every leaf of every node would be
    # gigabytes for thousands of members.
    step = (1 << max(1, BLOCK // leaf_words).bit_length() - 1) * leaf_words
    starts = range(0, size, step)
    hashes = [[[b""] * len(starts) for _ in range(width)] for width in width_of]
    next_hashes = [b""] * len(starts)
    next_words = np.empty(size, np.int32)
    scratch = _Scratch(len(width_of), min(step, size))

    def one(number: int) -> None:
        start, stop = starts[number], min(starts[number] + step, size)
        levels, product = scratch.levels[:, : stop - start], scratch.product[: stop - start]
        # Depth first: a sum is hashed and added to its parent's while it is still in the processor's cache.
        for node in range(width_of[0]):
            first = node * fan_in
            group = slice(first, first + fan_in)
            _weighted_sum(ordered[group], weights[group], start, stop, levels[0], product)
            place = node
            for level, sums in enumerate(levels):
                hashes[level][place][number] = merkle.root(as_bytes(sums), 8 * leaf_words)
                if level + 1 == len(width_of):
                    break
                if place % fan_in:
                    levels[level + 1] += sums
                else:
                    levels[level + 1] = sums
                if place % fan_in + 1 < fan_in and place + 1 < width_of[level]:
                    break
                place //= fan_in
        block = next_model(base[start:stop], _divide(levels[-1], total))
        next_hashes[number] = merkle.root(as_bytes(block), 4 * leaf_words)
        next_words[start:stop] = block

    _for_each(one, range(len(starts)), threads, progress)
    tree = _tree(roster, fan_in, [[merkle.root_of(node) for node in level] for level in hashes])
    return Combined(tree, next_words, merkle.root_of(next_hashes))


def _check(updates: Sequence[Readable], weights: Sequence[int]) -> tuple[int, int]:
    if not updates or len(updates) != len(weights):
        raise InvalidParameter(
            f"{len(updates)} updates with {len(weights)} weights: need one each."
        )
    for weight in weights:
        if not isinstance(weight, int) or weight < 1:
            raise InvalidWeight(f"weight {weight!r} is not a positive integer.")
    total = sum(weights)
    if total > MAX_TOTAL_WEIGHT:
        raise InvalidWeight(
            f"weights sum to {total}, over {MAX_TOTAL_WEIGHT}: sums could overflow. Count in larger units."
        )
    for update in updates:
        if update.dtype != np.int32 or update.shape != updates[0].shape or len(update.shape) != 1:
            raise InvalidLayout(
                f"an update is {update.dtype}{list(update.shape)}, not int32{list(updates[0].shape)}."
            )
    return updates[0].shape[0], total


class _Scratch(threading.local):
    """Each thread's own buffers: a vector of sums for each level of the tree, and one for products."""

    def __init__(self, levels: int, size: int) -> None:
        self.levels = np.empty((levels, size), np.int64)
        self.product = np.empty(size, np.int64)


def _weighted_sum(
    updates: Sequence[Readable],
    weights: Sequence[int],
    start: int,
    stop: int,
    sums: Sums,
    product: Sums,
) -> None:
    # Widening first and multiplying in place is half again as fast as a product that widens on the way.
    sums[:] = updates[0][start:stop]
    sums *= weights[0]
    for update, weight in zip(updates[1:], weights[1:], strict=True):
        product[:] = update[start:stop]
        product *= weight
        sums += product


def _divide(sums: Sums, total: int) -> Sums:
    return (sums + total // 2) // total


def _tree(roster: Sequence[Entry], fan_in: int, vector_roots: Sequence[Sequence[bytes]]) -> SumTree:
    children = [(1, entry.weight, entry.digest) for entry in roster]
    levels: list[tuple[SumNode, ...]] = []
    for roots in vector_roots:
        nodes = []
        for position, vector_root in enumerate(roots):
            counts, weights, digests = zip(
                *children[position * fan_in : (position + 1) * fan_in], strict=True
            )
            nodes.append(SumNode(sum(counts), sum(weights), vector_root, digests))
        levels.append(tuple(nodes))
        children = [(node.count, node.weight, node.digest) for node in nodes]
    return SumTree(tuple(levels))


def _for_each(
    work: Callable[[int], None], items: range, threads: int, progress: Progress | None = None
) -> None:
    """Do independent pieces of work; blocks do not touch each other, so threads cannot change a bit."""
    done = 0
    if threads <= 1:
        for item in items:
            work(item)
            done += 1
            if progress:
                progress(done, len(items))
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, items):
            done += 1
            if progress:
                progress(done, len(items))
