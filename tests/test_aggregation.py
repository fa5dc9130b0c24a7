"""The aggregate is what big integers say, whatever the order, the threads or the numbers."""

from __future__ import annotations

import random
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick import merkle
from tallystick.aggregation import (
    BLOCK,
    combine,
    next_model,
    sort_roster,
    weighted_mean,
)
from tallystick.encoding import Words
from tallystick.errors import InvalidLayout, InvalidParameter, InvalidWeight
from tallystick.sumtree import Entry

LOW, HIGH = -(2**31), 2**31 - 1
WORDS = st.one_of(st.integers(LOW, HIGH), st.sampled_from([LOW, HIGH, -1, 0, 1]))


def naive_mean(updates: list[list[int]], weights: list[int]) -> list[int]:
    """floor((S + W // 2) / W) with Python's integers, which cannot overflow."""
    total = sum(weights)
    return [
        (sum(w * u[j] for w, u in zip(weights, updates, strict=True)) + total // 2) // total
        for j in range(len(updates[0]))
    ]


def naive_tree(
    roster: list[Entry], updates: dict[bytes, Words], leaf_words: int, fan_in: int
) -> bytes:
    """The sum tree's root by the definition in docs/format.md, a whole vector at a time."""

    def vector_root(sums: list[int]) -> bytes:
        data = b"".join(s.to_bytes(8, "little", signed=True) for s in sums)
        return merkle.root(data, 8 * leaf_words)

    def leaf(e: Entry) -> bytes:
        return sha256(b"\x00\x02" + e.member + e.weight.to_bytes(4, "big") + e.root).digest()

    level = [(1, e.weight, leaf(e), [e.weight * int(v) for v in updates[e.member]]) for e in roster]
    while True:
        above = []
        for k in range(0, len(level), fan_in):
            group = level[k : k + fan_in]
            count, weight = sum(g[0] for g in group), sum(g[1] for g in group)
            sums = [sum(column) for column in zip(*(g[3] for g in group), strict=True)]
            digest = sha256(
                b"\x00\x03" + count.to_bytes(4, "big") + weight.to_bytes(8, "big")
                + vector_root(sums) + b"".join(g[2] for g in group)
            ).digest()  # fmt: skip
            above.append((count, weight, digest, sums))
        level = above
        if len(level) == 1:
            return level[0][2]


def federation(members: int, size: int, seed: int = 0) -> tuple[Words, list[Entry], list[Words]]:
    rng = np.random.default_rng(seed)
    updates = [rng.integers(-(2**24), 2**24, size, np.int32) for _ in range(members)]
    entries = [
        Entry(rng.bytes(20), int(rng.integers(1, 5000)), merkle.root(update, 32))
        for update in updates
    ]
    return rng.integers(-(2**28), 2**28, size, np.int32), entries, updates


@settings(max_examples=150, deadline=None)
@given(data=st.data(), members=st.integers(1, 6), size=st.integers(1, 9))
def test_mean_equals_big_integers(data: st.DataObject, members: int, size: int) -> None:
    """On random and extreme words and weights, the mean and the next model are exactly those of big integers."""
    updates = data.draw(
        st.lists(st.lists(WORDS, min_size=size, max_size=size), min_size=members, max_size=members)
    )
    most = (2**32 - 1) // members
    weights = data.draw(
        st.lists(
            st.sampled_from([1, 2, 3, 569, most]) | st.integers(1, most),
            min_size=members,
            max_size=members,
        )
    )
    base = data.draw(st.lists(WORDS, min_size=size, max_size=size))
    expected = naive_mean(updates, weights)
    mean = weighted_mean([np.array(u, np.int32) for u in updates], weights)
    assert mean.tolist() == expected
    following = next_model(np.array(base, np.int32), mean)
    assert following.tolist() == [
        max(LOW, min(HIGH, b + e)) for b, e in zip(base, expected, strict=True)
    ]


def test_the_heaviest_sum_does_not_overflow() -> None:
    """The largest words with the largest total weight stay inside int64, at both ends."""
    for word in (LOW, HIGH):
        updates = [np.full(3, word, np.int32)] * 3
        assert weighted_mean(updates, [2**32 - 3, 1, 1]).tolist() == [word] * 3


def test_a_hundred_orders_give_one_root() -> None:
    """However updates arrive, model root and sum root are the same."""
    base, entries, updates = federation(11, 700)
    order = list(range(11))
    found = set()
    for seed in range(100):
        random.Random(seed).shuffle(order)
        one = combine(base, [entries[k] for k in order], [updates[k] for k in order], 64, 4)
        found.add((one.next_root, one.tree.root))
    assert len(found) == 1


@pytest.mark.parametrize("size", [1, 63, 64, 65, BLOCK, 2 * BLOCK + 17])
@pytest.mark.parametrize("leaf_words", [64, 1000])
def test_threads_change_no_bit(size: int, leaf_words: int) -> None:
    """One thread and eight give the same model and the same tree, and the next root is that of the next words."""
    base, entries, updates = federation(5, size)
    one, eight = (combine(base, entries, updates, leaf_words, 4, threads) for threads in (1, 8))
    assert one.tree == eight.tree
    assert one.next_root == eight.next_root == merkle.root(one.next_words, 4 * leaf_words)
    weights = [entry.weight for entry in entries]
    assert np.array_equal(one.next_words, next_model(base, weighted_mean(updates, weights, 8)))


@pytest.mark.parametrize("members", [1, 2, 4, 5, 16, 17, 21])
@pytest.mark.parametrize("fan_in", [2, 4, 8])
def test_the_sum_tree_is_the_defined_one(members: int, fan_in: int) -> None:
    """The blockwise tree equals one that is built from whole vectors with big integers."""
    base, entries, updates = federation(members, 45, members)
    one = combine(base, entries, updates, 8, fan_in)
    by_member = {e.member: u for e, u in zip(entries, updates, strict=True)}
    assert one.tree.root == naive_tree(list(sort_roster(entries)), by_member, 8, fan_in)
    top = one.tree.levels[-1][0]
    assert (top.count, top.weight) == (members, sum(e.weight for e in entries))


def test_memory_maps_are_welcome(tmp_path: Path) -> None:
    """Updates on disk give the same result as in memory."""
    base, entries, updates = federation(4, BLOCK + 5)
    mapped = []
    for k, update in enumerate(updates):
        update.tofile(tmp_path / str(k))
        mapped.append(np.memmap(tmp_path / str(k), np.int32, "r"))
    assert combine(base, entries, mapped, 64, 4).tree == combine(base, entries, updates, 64, 4).tree


def test_progress_is_told() -> None:
    """Whoever waits is told how far it has come."""
    base, entries, updates = federation(2, 2 * BLOCK)
    told: list[tuple[int, int]] = []
    combine(base, entries, updates, 64, 4, progress=lambda done, of: told.append((done, of)))
    assert told == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    "weights", [[0, 1], [-1, 1], [2**32 - 1, 1], [1.5, 1], [float("nan"), 1]],
    ids=["zero", "negative", "overflow", "fraction", "nan"],
)  # fmt: skip
def test_absurd_weights_are_refused(weights: list[int]) -> None:
    """Weights that are no positive integers, or could overflow, never reach a sum."""
    with pytest.raises(InvalidWeight):
        weighted_mean([np.zeros(2, np.int32)] * 2, weights)


def test_shapes_that_differ_are_refused() -> None:
    """An update of another length or dtype, a member twice, or nothing at all is refused."""
    with pytest.raises(InvalidLayout):
        weighted_mean([np.zeros(2, np.int32), np.zeros(3, np.int32)], [1, 1])
    with pytest.raises(InvalidLayout):
        weighted_mean([np.zeros(2, np.int64)], [1])  # type: ignore[list-item]
    with pytest.raises(InvalidParameter):
        weighted_mean([], [])
    base, entries, updates = federation(2, 9)
    with pytest.raises(InvalidLayout):
        combine(base[:5], entries, updates, 8, 4)
    with pytest.raises(InvalidParameter, match="twice"):
        sort_roster([entries[0], entries[0]])
