"""Tensors to fixed-point words and back.

A model is an ordered set of named tensors, its `Layout`. Flattened in that order it is a vector of `d` int32 words: a
float x is the word rint(x * 2**scale), an integer is itself. Words, not floats, are what is committed, summed and kept,
so that every machine gets the same bits.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from . import merkle
from .errors import InvalidLayout, InvalidTensor

Words = NDArray[np.int32]
Arrays = Mapping[str, NDArray[np.generic]]

WORD = np.iinfo(np.int32)
BLOCK = 1 << 16
"""Words worked on at a time, so that a block and its scratch space stay in the processor's cache."""

FLOATS = ("float16", "float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape and dtype (numpy's name) of one tensor."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """The ordered tensors of a model. Raises `InvalidLayout` for a dtype or name that cannot be used."""

    tensors: tuple[TensorSpec, ...]

    def __post_init__(self) -> None:
        names = [tensor.name for tensor in self.tensors]
        if len(set(names)) != len(names):
            raise InvalidLayout("two tensors have the same name. Give each its own.")
        for tensor in self.tensors:
            if tensor.dtype not in FLOATS + INTEGERS:
                raise InvalidLayout(
                    f"tensor {tensor.name!r} has dtype {tensor.dtype}, which has no fixed-point words. "
                    f"Use one of {', '.join(FLOATS + INTEGERS)}."
                )
        if self.size == 0:
            raise InvalidLayout("the model holds no numbers: every tensor is empty.")

    @cached_property
    def size(self) -> int:
        """Number of words, d."""
        return sum(tensor.size for tensor in self.tensors)

    @cached_property
    def digest(self) -> bytes:
        """The task's `layout` parameter: the root under which a store keeps the canonical JSON as a document."""
        return merkle.root(self.to_json(), merkle.DOCUMENT_LEAF)

    def to_json(self) -> bytes:
        """Canonical JSON: no spaces, ASCII, one list [name, shape, dtype] per tensor in order."""
        rows = [[t.name, list(t.shape), t.dtype] for t in self.tensors]
        return json.dumps({"tensors": rows}, separators=(",", ":")).encode("ascii")

    @classmethod
    def from_json(cls, data: bytes) -> Layout:
        """Read `to_json`'s bytes; `InvalidLayout` if they are anything else."""
        try:
            rows = json.loads(data)["tensors"]
            layout = cls(tuple(TensorSpec(n, tuple(int(k) for k in s), d) for n, s, d in rows))
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidLayout(f"not a layout: {error}. Fetch the document again.") from error
        if layout.to_json() != data:
            raise InvalidLayout("a layout that is not in canonical JSON. Fetch the document again.")
        return layout

    def slices(self) -> Iterator[tuple[TensorSpec, slice]]:
        """Each tensor with its place among the words."""
        start = 0
        for tensor in self.tensors:
            yield tensor, slice(start, start + tensor.size)
            start += tensor.size

    def locate(self, word: int) -> tuple[str, tuple[int, ...]]:
        """Tensor name and index that a word stands for."""
        for tensor, place in self.slices():
            if place.start <= word < place.stop:
                return tensor.name, tuple(
                    int(k) for k in np.unravel_index(word - place.start, tensor.shape or (1,))
                )[: len(tensor.shape)]
        raise IndexError(f"word {word} of {self.size}")


def layout_of(arrays: Arrays) -> Layout:
    """The layout of named arrays, in the mapping's order."""
    return Layout(
        tuple(TensorSpec(name, tuple(a.shape), a.dtype.name) for name, a in arrays.items())
    )


def default_leaf_words(size: int) -> int:
    """Words per leaf that suit a model of `size` words: small leaves for cheap challenges, larger for fast hashing."""
    return 64 if size <= 1 << 18 else 128 if size <= 1 << 22 else 1024


def default_fan_in(size: int) -> int:
    """Children per node of the sum tree that suit a model of `size` words: few for cheap challenges, more for fewer sums to hash.

    A challenge opens a leaf of each child, so where leaves are twice as large there is one child less.
    """
    return 4 if size <= 1 << 18 else 3 if size <= 1 << 22 else 8


def as_bytes(words: NDArray[np.int32] | NDArray[np.int64]) -> memoryview:
    """Little-endian bytes of a vector, without a copy on a little-endian machine."""
    ordered = np.ascontiguousarray(words, words.dtype.newbyteorder("<"))
    return ordered.view(np.uint8).data


def check_arrays(arrays: Arrays, layout: Layout) -> None:
    """Raise `InvalidLayout` naming the first tensor that is missing, added, or of another shape or dtype."""
    wanted = {tensor.name: tensor for tensor in layout.tensors}
    for name in wanted:
        if name not in arrays:
            raise InvalidLayout(f"tensor {name!r} is missing. Send exactly the task's tensors.")
    for name, array in arrays.items():
        if name not in wanted:
            raise InvalidLayout(f"tensor {name!r} is not in the task's layout. Leave it out.")
        if tuple(array.shape) != wanted[name].shape or array.dtype.name != wanted[name].dtype:
            raise InvalidLayout(
                f"tensor {name!r} is {array.dtype.name}{list(array.shape)} where the task's layout has "
                f"{wanted[name].dtype}{list(wanted[name].shape)}."
            )


def quantise(arrays: Arrays, layout: Layout, scale: int) -> Words:
    """Words (int32[d]) of named arrays.

    Raises `InvalidLayout` (other tensors than the layout's) or `InvalidTensor` (NaN, infinity, or a value whose word
    does not fit int32), naming tensor, index and value.
    """
    check_arrays(arrays, layout)
    words = np.empty(layout.size, np.int32)
    for tensor, place in layout.slices():
        flat = np.ascontiguousarray(arrays[tensor.name]).reshape(-1)
        if tensor.dtype in FLOATS:
            _quantise_floats(flat, words[place], tensor, scale)
        else:
            _copy_integers(flat, words[place], tensor)
    return words


def dequantise(words: Words, layout: Layout, scale: int) -> dict[str, NDArray[np.generic]]:
    """Named arrays of a model's words: word / 2**scale, rounded once (to nearest, ties to even) to the tensor's dtype.

    A word beyond what the dtype can hold, or whose float would round up out of the words' range, becomes the nearest
    value that can be quantised again.
    """
    if words.shape != (layout.size,):
        raise InvalidLayout(f"{words.shape[0]} words where the layout has {layout.size}.")
    arrays: dict[str, NDArray[np.generic]] = {}
    for tensor, place in layout.slices():
        dtype, part = np.dtype(tensor.dtype), words[place]
        if tensor.dtype in INTEGERS:
            info = np.iinfo(dtype)
            bounds = max(info.min, WORD.min), min(info.max, WORD.max)
            array = np.clip(part.astype(np.int64), *bounds).astype(dtype)
        else:
            # Words convert to the wider float with one rounding at most, and a power of two scales exactly.
            wide = np.dtype(np.float32 if tensor.dtype == "float32" else np.float64)
            values = part.astype(wide)
            values *= wide.type(2.0**-scale)
            np.clip(values, *_float_bounds(tensor.dtype, scale), out=values)
            array = values.astype(dtype, copy=False)
        arrays[tensor.name] = array.reshape(tensor.shape)
    return arrays


_LARGEST = {"float16": 65504.0, "float32": float(np.finfo(np.float32).max), "float64": np.inf}
_FRACTION_BITS = {"float16": 11, "float32": 24, "float64": 53}


def _float_bounds(dtype: str, scale: int) -> tuple[float, float]:
    """The outermost values of a float dtype whose words still fit int32."""
    edge, largest = 2.0 ** (31 - scale), _LARGEST[dtype]
    if edge > largest:
        return -largest, largest
    # The next value below a power of two, or the next whole word, whichever is further down.
    return -edge, edge - max(edge * 2.0 ** -_FRACTION_BITS[dtype], 2.0**-scale)


def update_of(arrays: Arrays, base: Words, layout: Layout, scale: int) -> Words:
    """A member's update (int32[d]): the words of its trained arrays less the words of the arrays it started from.

    It started from `dequantise(base)`, whose own words can differ from `base` where the dtype is coarser than the fixed
    point; so who trains nothing sends zeros. Raises like `quantise`, and where a difference does not fit int32.
    """
    trained = quantise(arrays, layout, scale)
    started = quantise(dequantise(base, layout, scale), layout, scale)
    update = trained.astype(np.int64) if _may_overflow(trained, started) else trained
    update -= started
    if update.dtype == np.int64:
        outside = np.flatnonzero((update < WORD.min) | (update > WORD.max))
        if outside.size:
            name, index = layout.locate(int(outside[0]))
            raise InvalidTensor(
                f"tensor {name!r} at {list(index)} moved by more than an update can hold. "
                "Lower the learning rate or the task's scale."
            )
    return update.astype(np.int32, copy=False)


def _may_overflow(a: Words, b: Words) -> bool:
    spread = int(a.max()) - int(b.min()), int(a.min()) - int(b.max())
    return spread[0] > WORD.max or spread[1] < WORD.min


def _quantise_floats(flat: NDArray[np.generic], out: Words, tensor: TensorSpec, scale: int) -> None:
    # float32 holds x * 2**scale exactly, and rint of it; float16 would overflow, so it goes through float32.
    working = np.dtype(np.float64 if tensor.dtype == "float64" else np.float32)
    factor = working.type(2.0**scale)
    top = working.type(2.0**31)
    scratch = np.empty(min(BLOCK, flat.size), working)
    for start in range(0, flat.size, BLOCK):
        block = flat[start : start + BLOCK]
        scaled = scratch[: block.size]
        with np.errstate(over="ignore", invalid="ignore"):
            np.multiply(block, factor, out=scaled, casting="unsafe")
            np.rint(scaled, out=scaled)
            # NaN fails both comparisons: min and max propagate it.
            good = scaled.min() >= -top and scaled.max() < top
        if not good:
            bad = int(np.flatnonzero(~((scaled >= -top) & (scaled < top)))[0])
            _refuse(flat, start + bad, tensor, f"+-{2.0 ** (31 - scale):g} at scale {scale}")
        out[start : start + block.size] = scaled


def _copy_integers(flat: NDArray[np.generic], out: Words, tensor: TensorSpec) -> None:
    wide = flat.astype(object if flat.dtype == np.uint64 else np.int64)
    outside = np.flatnonzero((wide < WORD.min) | (wide > WORD.max))
    if outside.size:
        _refuse(flat, int(outside[0]), tensor, f"{WORD.min} to {WORD.max}")
    out[:] = flat


def _refuse(flat: NDArray[np.generic], position: int, tensor: TensorSpec, span: str) -> None:
    index = [int(k) for k in np.unravel_index(position, tensor.shape or (1,))][: len(tensor.shape)]
    value = flat[position]
    remedy = (
        "Training has diverged: lower the learning rate."
        if isinstance(value, np.floating) and not np.isfinite(value)
        else "Keep parameters smaller, or choose a smaller scale for the task."
    )
    raise InvalidTensor(
        f"tensor {tensor.name!r} at {index} is {value}, outside the range {span}. {remedy}"
    )
