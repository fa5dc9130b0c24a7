"""Words are what the arithmetic says, for every dtype and shape, and nothing out of range passes unseen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tallystick import merkle
from tallystick.encoding import (
    FLOATS,
    INTEGERS,
    Layout,
    TensorSpec,
    as_bytes,
    dequantise,
    layout_of,
    quantise,
    update_of,
)
from tallystick.errors import InvalidLayout, InvalidTensor

EXTREME = np.array([-(2**31), -(2**31) + 1, -1, 0, 1, 2**31 - 2, 2**31 - 1, 2**30], np.int32)


def naive_quantise(array: np.ndarray[Any, Any], scale: int) -> list[int]:
    """One number at a time with Python's own integers; round half to even, as rint does."""
    if array.dtype.kind in "iu":
        return [int(v) for v in array.reshape(-1)]
    return [round(float(v) * 2**scale) for v in array.reshape(-1).astype(np.float64)]


@settings(max_examples=80, deadline=None)
@given(
    data=st.data(),
    dtype=st.sampled_from(FLOATS),
    scale=st.sampled_from([0, 8, 16, 24]),
    shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=5),
)
def test_floats_become_the_nearest_word(
    data: st.DataObject, dtype: str, scale: int, shape: tuple[int, ...]
) -> None:
    """Every float becomes rint(x * 2**scale), and comes back within half a step and the dtype's rounding."""
    bound = min(2.0 ** (30 - scale), 60000.0)
    width = int(dtype[5:])
    elements = st.floats(-bound, bound, width=width, allow_nan=False)
    array = data.draw(hnp.arrays(dtype, shape, elements=elements))
    layout = layout_of({"a": array})
    words = quantise({"a": array}, layout, scale)
    assert words.tolist() == naive_quantise(array, scale)
    back = dequantise(words, layout, scale)["a"]
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    error = np.abs(back.astype(np.float64) - array.astype(np.float64))
    step = 2.0**-scale / 2 + np.abs(array.astype(np.float64)) * 2.0**-10
    assert (error <= step + 1e-30).all()


@pytest.mark.parametrize("dtype", FLOATS + INTEGERS)
@pytest.mark.parametrize("scale", [0, 8, 24, 30])
def test_who_trains_nothing_sends_zeros(dtype: str, scale: int) -> None:
    """From any words, the extreme ones too, returning the arrays as they came is an update of zeros."""
    layout = Layout((TensorSpec("a", (2, 4), dtype),))
    assert not update_of(dequantise(EXTREME, layout, scale), EXTREME, layout, scale).any()


def test_odd_and_empty_shapes_keep_their_place() -> None:
    """Scalars, empty tensors and integers stand in the layout's order, and words are located back to their index."""
    arrays = {
        "scalar": np.float32(1.5).reshape(()),
        "none": np.zeros((0, 3), np.float32),
        "matrix": np.arange(6, dtype=np.float64).reshape(2, 3),
        "count": np.array([7], np.int64),
    }
    layout = layout_of(arrays)
    words = quantise(arrays, layout, 24)
    assert layout.size == 8
    assert words[-1] == 7
    assert layout.locate(0) == ("scalar", ())
    assert layout.locate(5) == ("matrix", (1, 1))
    assert layout.locate(7) == ("count", (0,))
    assert dequantise(words, layout, 24)["none"].shape == (0, 3)
    assert Layout.from_json(layout.to_json()) == layout
    assert layout.digest == merkle.root(layout.to_json(), 1024)


@pytest.mark.parametrize(
    ("value", "said"),
    [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf"), (128.0, "128"), (-129.0, "-129")],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("place", [0, 70_000])
def test_what_has_no_word_is_refused_by_name(
    value: float, said: str, dtype: str, place: int
) -> None:
    """NaN, infinity and values out of range are refused wherever they stand, with tensor, index, value and remedy."""
    array = np.zeros((2, 40_000), dtype)
    array.reshape(-1)[place] = value
    with pytest.raises(InvalidTensor) as caught:
        quantise({"layer.w": array}, layout_of({"layer.w": array}), 24)
    index = [int(k) for k in np.unravel_index(place, array.shape)]
    assert all(part in str(caught.value) for part in ("'layer.w'", str(index), said, "."))


def test_the_ends_of_the_range_pass() -> None:
    """-128 is the first word and the last float below 128 passes, at scale 24."""
    array = np.array([-128, np.nextafter(np.float32(128), np.float32(0))], np.float32)
    assert quantise({"a": array}, layout_of({"a": array}), 24).tolist() == [-(2**31), 2**31 - 128]


@pytest.mark.parametrize(
    ("dtype", "value"), [("int64", 2**31), ("int64", -(2**31) - 1), ("uint64", 2**63)]
)
def test_integers_beyond_a_word_are_refused(dtype: str, value: int) -> None:
    """An integer that does not fit int32 is named, never wrapped."""
    array = np.array([1, value], dtype)
    with pytest.raises(InvalidTensor, match=str(value)):
        quantise({"n": array}, layout_of({"n": array}), 24)


def test_an_update_that_does_not_fit_is_refused() -> None:
    """A parameter that moves from one end of the range to the other is more than an update can hold."""
    layout = Layout((TensorSpec("a", (2,), "float64"),))
    base = np.array([0, -(2**31)], np.int32)
    with pytest.raises(InvalidTensor, match=r"'a' at \[1\]"):
        update_of({"a": np.array([0.0, 127.0])}, base, layout, 24)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({}, "'w' is missing"),
        ({"w": np.zeros(3, np.float32), "x": np.zeros(1, np.float32)}, "'x' is not in"),
        ({"w": np.zeros(4, np.float32)}, "float32[4]"),
        ({"w": np.zeros(3, np.float64)}, "float64[3]"),
    ],
    ids=["missing", "added", "reshaped", "recast"],
)
def test_other_tensors_are_refused_by_name(arrays: dict[str, Any], said: str) -> None:
    """Tensors missing, added, reshaped or of another dtype are named."""
    with pytest.raises(InvalidLayout) as caught:
        quantise(arrays, Layout((TensorSpec("w", (3,), "float32"),)), 24)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "tensors",
    [
        (TensorSpec("a", (1,), "bool"),),
        (TensorSpec("a", (1,), "complex64"),),
        (TensorSpec("a", (1,), "float32"), TensorSpec("a", (2,), "float32")),
        (TensorSpec("a", (0,), "float32"),),
    ],
    ids=["bool", "complex", "same_name_twice", "nothing_at_all"],
)
def test_layouts_without_words_are_refused(tensors: tuple[TensorSpec, ...]) -> None:
    """A dtype without fixed-point words, a name twice, or no number at all is no layout."""
    with pytest.raises(InvalidLayout):
        Layout(tensors)


@pytest.mark.parametrize(
    "text", [b"", b"{}", b'{"tensors":[["a",[1],"float32"]] }', b'{"tensors":[[1]]}']
)
def test_layout_documents_are_canonical(text: bytes) -> None:
    """Only the canonical JSON is read, so that a layout has one digest."""
    with pytest.raises(InvalidLayout):
        Layout.from_json(text)


def test_ten_million_words() -> None:
    """A large model goes through, and its words are what a few of them are by hand."""
    array = np.random.default_rng(0).standard_normal(10_000_000, np.float32)
    layout = layout_of({"a": array})
    words = quantise({"a": array}, layout, 24)
    picked = array[::999_983]
    assert words[::999_983].tolist() == naive_quantise(picked, 24)
    assert len(as_bytes(words)) == 40_000_000
