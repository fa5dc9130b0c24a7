"""Cases of quantise.json and mean.json."""

from __future__ import annotations

import struct
from typing import Any

import naive
from naive import Case, seeded


def _tensor(name: str, shape: list[int], dtype: str, data: bytes | None = None) -> Case:
    size = struct.calcsize(naive.FLOATS.get(dtype) or naive.INTEGERS[dtype])
    for length in shape:
        size *= length
    return {"name": name, "shape": shape, "dtype": dtype, "bytes": bytes(size) if data is None else data}  # fmt: skip


def _floats(dtype: str, values: list[float]) -> bytes:
    return b"".join(struct.pack(naive.FLOATS[dtype], value) for value in values)


def _integers(dtype: str, values: list[int]) -> bytes:
    return b"".join(struct.pack(naive.INTEGERS[dtype], value) for value in values)


def quantise() -> Case:
    """Tensors to words and words to tensors, and tensors without words."""
    half = 2.0**-25
    ties = [n * half for n in (0, 1, -1, 2, 3, -3, 5, 7)]
    edges = {"float16": 127.9375, "float32": 127.99999237060547, "float64": 128 - 1.5 * half}
    valid: list[Case] = []
    for dtype in naive.FLOATS:
        values = [0.0, -0.0, 1.0, -1.0, 0.1, -0.3, edges[dtype], -128.0]
        valid.append({"name": f"{dtype}_ordinary", "scale": 24, "tensors": [_tensor("w", [2, 4], dtype, _floats(dtype, values))]})  # fmt: skip
        more = [x for x in ties if dtype != "float16"] or [2.0**-24, 3 * 2.0**-24, -(2.0**-24), 0.5, 1.5, 2.5, -2.5, 65504.0]  # fmt: skip
        scale = 0 if dtype == "float16" else 24
        valid.append({"name": f"{dtype}_ties_to_even", "scale": scale, "tensors": [_tensor("w", [8], dtype, _floats(dtype, more))]})  # fmt: skip
        noise = seeded(dtype)
        drawn = [noise.randint(-(2**26), 2**26) / 2**29 for _ in range(24)]
        valid.append({"name": f"{dtype}_random", "scale": 30, "tensors": [_tensor("w", [3, 8], dtype, _floats(dtype, drawn))]})  # fmt: skip
    valid.append({"name": "float64_below_the_lowest_rounds_in", "scale": 24, "tensors": [_tensor("w", [1], "float64", _floats("float64", [-128 - half / 2]))]})  # fmt: skip
    valid.append({"name": "denormals_are_zero", "scale": 24, "tensors": [_tensor("w", [2], "float32", bytes.fromhex("0100000001000080"))]})  # fmt: skip
    for dtype in naive.INTEGERS:
        low, high = (0, 2**31 - 1) if dtype[0] == "u" else (-(2**31), 2**31 - 1)
        size = struct.calcsize(naive.INTEGERS[dtype])
        if size < 4:
            low, high = (0, 2 ** (8 * size) - 1) if dtype[0] == "u" else (-(2 ** (8 * size - 1)), 2 ** (8 * size - 1) - 1)  # fmt: skip
        valid.append({"name": f"{dtype}_whole_range", "scale": 24, "tensors": [_tensor("n", [3], dtype, _integers(dtype, [low, 1, high]))]})  # fmt: skip
    several = [
        _tensor("layer.weight", [2, 3], "float32", _floats("float32", [k / 8 for k in range(6)])),
        _tensor("empty", [0, 5], "float64"),
        _tensor("scalar", [], "float16", _floats("float16", [0.5])),
        _tensor("batches \u00e9", [2], "int64", _integers("int64", [-7, 8])),
    ]
    valid.append({"name": "several_tensors_in_order", "scale": 20, "tensors": several})
    for case in valid:
        document = naive.layout_json([(t["name"], t["shape"], t["dtype"]) for t in case["tensors"]])
        words = [word for t in case["tensors"] for word in naive.quantise(t["bytes"], t["dtype"], case["scale"])]  # fmt: skip
        case |= {"layout": document.decode(), "layout_digest": naive.root(naive.leaves(document, 1024)), "words": words}  # fmt: skip
    back = []
    for dtype in (*naive.FLOATS, *naive.INTEGERS):
        for scale in (0, 24, 30) if dtype in naive.FLOATS else (24,):
            words = [naive.LOW, naive.LOW + 1, -(2**24) - 1, -1, 0, 1, 255, 2**24 + 1, 2**24 + 3, naive.HIGH - 1, naive.HIGH]  # fmt: skip
            back.append({"name": f"{dtype}_scale_{scale}", "dtype": dtype, "scale": scale, "words": words, "bytes": naive.dequantise(words, dtype, scale)})  # fmt: skip
    return {"valid": valid, "dequantise": back, "negatives": _without_words()}


def _without_words() -> list[Case]:
    negatives: list[Case] = []

    def add(name: str, error: str, tensors: list[Case], **more: Any) -> None:
        negatives.append({"name": name, "error": error, "scale": 24, "tensors": tensors, **more})

    def one(dtype: str, value: float) -> list[Case]:
        return [_tensor("first", [2], "float32"), _tensor("bad", [2, 2], dtype, _floats(dtype, [0, 0, value, 0]))]  # fmt: skip

    where = {"tensor": "bad", "index": [1, 0]}
    for dtype in naive.FLOATS:
        for name, value in {"nan": float("nan"), "infinity": float("inf"), "minus_infinity": float("-inf"), "out_of_range": 128.0, "out_of_range_below": -128.125, "far_out_of_range": 65504.0}.items():  # fmt: skip
            add(f"{name}_{dtype}", "InvalidTensor", one(dtype, value), **where)
    add("rounds_out_of_range_float64", "InvalidTensor", one("float64", 128 - 2.0**-26), **where)
    for dtype, value in {"int64": 2**31, "uint32": 2**31, "uint64": 2**64 - 1}.items():
        add(f"out_of_range_{dtype}", "InvalidTensor", [_tensor("bad", [2], dtype, _integers(dtype, [0, value]))], tensor="bad", index=[1])  # fmt: skip
    add("out_of_range_below_int64", "InvalidTensor", [_tensor("bad", [1], "int64", _integers("int64", [-(2**31) - 1]))], tensor="bad", index=[0])  # fmt: skip
    for name, dtype, size in (("bool_tensor", "bool", 1), ("complex_tensor", "complex64", 8)):
        add(name, "InvalidLayout", [{"name": "bad", "shape": [1], "dtype": dtype, "bytes": bytes(size)}])  # fmt: skip
    add("no_tensors", "InvalidLayout", [])
    add("only_empty_tensors", "InvalidLayout", [_tensor("w", [0, 3], "float32")])
    wanted = naive.layout_json([("a", [2], "float32"), ("b", [2], "float32")]).decode()
    a, b = _tensor("a", [2], "float32"), _tensor("b", [2], "float32")
    add("missing_tensor", "InvalidLayout", [a], layout=wanted)
    add("added_tensor", "InvalidLayout", [a, b, _tensor("c", [1], "float32")], layout=wanted)
    add("renamed_tensor", "InvalidLayout", [a, {**b, "name": "c"}], layout=wanted)
    add("reshaped_tensor", "InvalidLayout", [a, {**b, "shape": [2, 1]}], layout=wanted)
    add("other_dtype", "InvalidLayout", [a, _tensor("b", [2], "float64")], layout=wanted)
    for name, document in {
        "layout_with_a_space": wanted.replace(",", ", ", 1),
        "layout_with_an_added_key": wanted[:-1] + ',"x":1}',
        "layout_with_a_tensor_listed_twice": wanted.replace('"b"', '"a"'),
        "layout_that_is_truncated": wanted[:-2],
        "layout_with_a_negative_shape": wanted.replace("[2]", "[-2]"),
    }.items():
        add(name, "InvalidLayout", [a, b], layout=document)
    return negatives


def mean() -> Case:
    """Weighted means over extreme and random words, by big integers."""
    low, high = naive.LOW, naive.HIGH
    given: dict[str, tuple[list[list[int]], list[int], list[int]]] = {
        "one_member": ([[0, 1, -1, low, high]], [7], [0, 1, -1, 0, 0]),
        "two_equal_halves_round_up": ([[1, -1, 0, 3, -3], [0, 0, 1, 2, -2]], [1, 1], [0] * 5),
        "thirds": ([[1, -1, 2, -2], [0, 0, 0, 0]], [1, 2], [0] * 4),
        "lowest_with_largest_weights": ([[low] * 2] * 2, [2**31, 2**31 - 1], [0, 5]),
        "highest_with_largest_weights": ([[high] * 2] * 2, [2**31, 2**31 - 1], [0, -5]),
        "opposite_extremes": ([[low, high, low], [high, low, low]], [2**31, 2**31 - 1], [0] * 3),
        "one_weight_of_all": ([[low, high]], [2**32 - 1], [0, 0]),
        "next_held_at_the_top": ([[1, high, 5]], [3], [high, high, high - 5]),
        "next_held_at_the_bottom": ([[-1, low, -5]], [3], [low, low, low + 5]),
    }
    for k in range(12):
        draw = seeded(f"mean {k}")
        members, size = draw.randint(1, 9), draw.randint(1, 6)
        span = draw.choice([1, 1000, 2**24, high])
        updates = [[draw.randint(-span - (span == high), span) for _ in range(size)] for _ in range(members)]  # fmt: skip
        weights = [draw.randint(1, draw.choice([1, 600, (2**32 - 1) // members])) for _ in range(members)]  # fmt: skip
        given[f"random_{k}"] = updates, weights, [draw.randint(low, high) for _ in range(size)]
    valid = []
    for name, (updates, weights, base) in given.items():
        found = naive.mean(updates, weights)
        valid.append({"name": name, "updates": updates, "weights": weights, "base": base, "mean": found, "next": naive.following(base, found)})  # fmt: skip
    two = [[1, 2], [3, 4]]
    negatives = [
        {"name": name, "error": error, "updates": updates, "weights": weights}
        for name, error, updates, weights in (
            ("no_members", "InvalidParameter", [], []),
            ("more_weights_than_updates", "InvalidParameter", two, [1, 1, 1]),
            ("fewer_weights_than_updates", "InvalidParameter", two, [1]),
            ("weight_zero", "InvalidWeight", two, [1, 0]),
            ("weight_negative", "InvalidWeight", two, [1, -1]),
            ("weight_of_a_half", "InvalidWeight", two, [1, 0.5]),
            ("weights_that_could_overflow", "InvalidWeight", two, [2**31, 2**31]),
            ("lengths_that_differ", "InvalidLayout", [[1, 2], [3]], [1, 1]),
        )
    ]
    return {"valid": valid, "negatives": negatives}
