"""The sum tree has one shape for a roster, and a path in it leads to one place."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.errors import InvalidProof
from tallystick.sumtree import Entry, SumNode, SumTree, locate, parse, shape, widths

MEMBERS, FAN_INS = range(1, 30), (2, 3, 4, 16)


def entry(k: int) -> Entry:
    return Entry(k.to_bytes(20, "big"), k + 1, sha256(bytes([k])).digest())


def naive_levels(members: int, fan_in: int) -> list[list[list[int]]]:
    """Members below every node of every level, by grouping lists."""
    groups = [[k] for k in range(members)]
    levels = []
    while not levels or len(groups) > 1:
        groups = [list(chain(*groups[k : k + fan_in])) for k in range(0, len(groups), fan_in)]
        levels.append(groups)
    return levels


def tree(members: int, fan_in: int) -> SumTree:
    """A tree of the right shape over made-up vectors."""
    digests = [entry(k).digest for k in range(members)]
    levels = []
    for groups in naive_levels(members, fan_in):
        nodes = tuple(
            SumNode(
                len(below),
                sum(k + 1 for k in below),
                sha256(repr(below).encode()).digest(),
                tuple(digests[k * fan_in : (k + 1) * fan_in]),
            )
            for k, below in enumerate(groups)
        )
        levels.append(nodes)
        digests = [node.digest for node in nodes]
    return SumTree(tuple(levels))


@pytest.mark.parametrize("fan_in", FAN_INS)
@pytest.mark.parametrize("members", MEMBERS)
def test_the_shape_is_that_of_groups_of_groups(members: int, fan_in: int) -> None:
    """Widths, counts and numbers of children are those of lists grouped again and again, and no other node exists."""
    levels = naive_levels(members, fan_in)
    assert widths(members, fan_in) == [len(groups) for groups in levels]
    below = members
    for level, groups in enumerate(levels, 1):
        for index, group in enumerate(groups):
            children = min(fan_in, below - index * fan_in)
            assert shape(members, fan_in, level, index) == (len(group), children)
        with pytest.raises(InvalidProof):
            shape(members, fan_in, level, len(groups))
        below = len(groups)
    for level in (0, len(levels) + 1):
        with pytest.raises(InvalidProof):
            shape(members, fan_in, level, 0)


@pytest.mark.parametrize("fan_in", FAN_INS)
@pytest.mark.parametrize("members", [1, 2, 3, 5, 16, 17, 29])
def test_a_path_leads_to_its_node_and_nowhere_else(members: int, fan_in: int) -> None:
    """Every node is found by its path at its own index, and at no other."""
    found = tree(members, fan_in)
    for level, nodes in enumerate(found.levels, 1):
        for index, node in enumerate(nodes):
            path = found.path(level, index, fan_in)
            assert locate(found.root, members, fan_in, path, index) == (level, node)
            for other in {0, 1, index ^ 1, index + fan_in ** (len(path) - 1)} - {index}:
                with pytest.raises(InvalidProof):
                    locate(found.root, members, fan_in, path, other)


def test_a_forged_path_leads_nowhere() -> None:
    """A path that is empty, too long, cut at the top, or with one changed node is refused."""
    found = tree(9, 2)
    path = found.path(1, 3, 2)
    assert locate(found.root, 9, 2, path, 3)[0] == 1
    changed = [(*path[:k], replace(path[k], weight=0), *path[k + 1 :]) for k in range(len(path))]
    for bad in ((), path[1:], (*path, path[-1]), path[::-1], *changed):
        with pytest.raises(InvalidProof):
            locate(found.root, 9, 2, bad, 3)
    with pytest.raises(InvalidProof):
        locate(bytes(32), 9, 2, path, 3)


def test_a_node_in_an_entrys_place_is_found_only_when_asked_for() -> None:
    """One level further down there is room for an accusation, and for nothing else."""
    low = SumNode(1, 1, bytes(32), ())
    top = SumNode(2, 2, bytes(32), (entry(0).digest, low.digest))
    assert locate(top.digest, 2, 4, (top, low), 1, lowest=0) == (0, low)
    with pytest.raises(InvalidProof):
        locate(top.digest, 2, 4, (top, low), 1)


words = st.binary(min_size=32, max_size=32)


@given(st.binary(min_size=20, max_size=20), st.integers(0, 2**32 - 1), words)
def test_an_entry_reads_back(member: bytes, weight: int, root: bytes) -> None:
    """An entry's data is an entry again, and hashes to its digest as a leaf."""
    made = Entry(member, weight, root)
    assert parse(made.data) == made
    assert made.digest == sha256(b"\x00" + made.data).digest()


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), words, st.lists(words, max_size=17))
def test_a_node_reads_back(count: int, weight: int, root: bytes, children: list[bytes]) -> None:
    """A node's data is a node again, and hashes to its digest as a leaf."""
    made = SumNode(count, weight, root, tuple(children))
    assert parse(made.data) == made
    assert made.digest == sha256(b"\x00" + made.data).digest()


@given(st.binary(max_size=140))
def test_other_bytes_are_no_node(data: bytes) -> None:
    """What can be read is exactly what would be written."""
    with suppress(InvalidProof):
        assert parse(data).data == data
