"""Cutting data among members."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.demo.partition import split
from tallystick.errors import InvalidParameter

WAYS = ["iid", "dirichlet:0.01", "dirichlet:0.5", "dirichlet:100", "column:age", "column:label"]


@st.composite
def tables(draw: st.DrawFn) -> tuple[dict[str, np.ndarray], np.ndarray, int]:
    count = draw(st.integers(1, 200))
    members = draw(st.integers(1, count))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    labels = random.integers(0, draw(st.integers(1, 12)), count)
    return {"age": random.normal(size=count), "label": labels}, labels, members


@given(tables(), st.integers(0, 2**63), st.sampled_from(WAYS))
def test_every_example_goes_to_exactly_one_member_and_nobody_is_left_empty(table, seed, way):
    """No example is lost, doubled or given to two, however the data is cut."""
    columns, labels, members = table
    parts = split(columns, labels, members, seed, way)
    assert len(parts) == members
    assert all(len(part) for part in parts)
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))


@given(tables(), st.integers(0, 2**63), st.sampled_from(WAYS))
def test_a_seed_gives_the_same_parts_again(table, seed, way):
    """Members in different processes cut the data alike."""
    columns, labels, members = table
    first, again = (split(columns, labels, members, seed, way) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


@given(tables(), st.integers(0, 2**63))
def test_by_column_each_member_holds_a_range(table, seed):
    """Cut by a column, no member's values reach into the next one's."""
    columns, labels, members = table
    parts = split(columns, labels, members, seed, "column:age")
    for part, following in pairwise(parts):
        assert columns["age"][part].max() <= columns["age"][following].min()
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_small_concentration_is_more_uneven_than_a_large_one():
    """dirichlet:ALPHA means what it says."""
    labels = np.repeat(np.arange(10), 200)

    def unevenness(way: str) -> float:
        parts = split({}, labels, 10, 1, way)
        counts = np.array([np.bincount(labels[part], minlength=10) for part in parts])
        return float(counts.std(0).mean())

    assert unevenness("dirichlet:0.1") > 2 * unevenness("dirichlet:100")


@pytest.mark.parametrize(
    "way",
    [
        "",
        "even",
        "iid:1",
        "dirichlet",
        "dirichlet:",
        "dirichlet:x",
        "dirichlet:0",
        "dirichlet:-1",
        "dirichlet:nan",
        "dirichlet:inf",
        "column",
        "column:",
        "column:shoe",
    ],
)
def test_an_unknown_way_is_refused_with_a_remedy(way):
    """A typing mistake is answered by what can be typed."""
    with pytest.raises(InvalidParameter, match=r"Use|such as|Choose"):
        split({"age": np.arange(4)}, np.arange(4), 2, 0, way)


@pytest.mark.parametrize("members", [-1, 0, 5])
def test_more_members_than_examples_are_refused(members):
    """Every member gets at least one example, or the run does not start."""
    with pytest.raises(InvalidParameter, match="1 to 4 members"):
        split({}, np.arange(4), members, 0, "iid")
