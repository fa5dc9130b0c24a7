"""The format written a second time, slowly: standard library only, nothing shared with the package.

Numbers are Python's integers and fractions, trees are the recursive definitions. `generate.py` computes every vector here.
"""

from __future__ import annotations

import json
import random
import struct
from fractions import Fraction
from hashlib import sha256
from typing import Any

Case = dict[str, Any]

FLOATS = {"float16": "<e", "float32": "<f", "float64": "<d"}
INTEGERS = {"int8": "<b", "int16": "<h", "int32": "<i", "int64": "<q", "uint8": "<B", "uint16": "<H", "uint32": "<I", "uint64": "<Q"}  # fmt: skip
LOW, HIGH = -(2**31), 2**31 - 1


def seeded(name: str) -> random.Random:
    """Random numbers that depend on nothing but a name."""
    return random.Random(sha256(name.encode()).digest())


def digest(*parts: bytes) -> bytes:
    """SHA-256 of the parts, one after the other."""
    return sha256(b"".join(parts)).digest()


def leaves(data: bytes, leaf_bytes: int) -> list[bytes]:
    """The data cut every `leaf_bytes` bytes."""
    return [data[i : i + leaf_bytes] for i in range(0, len(data), leaf_bytes)]


def root(parts: list[bytes]) -> bytes:
    """RFC 6962, section 2.1."""
    if not parts:
        return digest()
    if len(parts) == 1:
        return digest(b"\x00", parts[0])
    cut = 1 << (len(parts) - 1).bit_length() - 1
    return digest(b"\x01", root(parts[:cut]), root(parts[cut:]))


def path(parts: list[bytes], index: int) -> list[bytes]:
    """RFC 6962, section 2.1.1."""
    if len(parts) <= 1:
        return []
    cut = 1 << (len(parts) - 1).bit_length() - 1
    if index < cut:
        return [*path(parts[:cut], index), root(parts[cut:])]
    return [*path(parts[cut:], index - cut), root(parts[:cut])]


def word_bytes(words: list[int], size: int = 4) -> bytes:
    """Words as little-endian two's complement."""
    return b"".join(word.to_bytes(size, "little", signed=True) for word in words)


def numbers(data: bytes, dtype: str) -> list[int | Fraction]:
    """The numbers in a tensor's little-endian bytes, exactly."""
    form = FLOATS.get(dtype) or INTEGERS[dtype]
    values = [value for (value,) in struct.iter_unpack(form, data)]
    return [Fraction(value) if dtype in FLOATS else value for value in values]


def quantise(data: bytes, dtype: str, scale: int) -> list[int]:
    """Words of one tensor: Python rounds fractions to the nearest integer, ties to even."""
    return [
        round(number * 2**scale) if dtype in FLOATS else int(number)
        for number in numbers(data, dtype)
    ]


def dequantise(words: list[int], dtype: str, scale: int) -> bytes:
    """Bytes of one tensor: `struct` rounds to the nearest float, ties to even."""
    if dtype in INTEGERS:
        form, size = INTEGERS[dtype], struct.calcsize(INTEGERS[dtype])
        signed = not dtype.startswith("u")
        low, high = (-(2 ** (8 * size - 1)), 2 ** (8 * size - 1) - 1) if signed else (0, 2 ** (8 * size) - 1)  # fmt: skip
        return b"".join(struct.pack(form, min(max(word, low), high)) for word in words)
    return b"".join(_float_bytes(word, dtype, scale) for word in words)


def _float_bytes(word: int, dtype: str, scale: int) -> bytes:
    """The nearest float, or the nearest to it, towards zero, that has a word."""
    form = FLOATS[dtype]
    try:
        data = struct.pack(form, word / 2**scale)
    except OverflowError:
        data = struct.pack(form, 65504.0 if word > 0 else -65504.0)
    while not LOW <= quantise(data, dtype, scale)[0] <= HIGH:
        data = (int.from_bytes(data, "little") - 1).to_bytes(len(data), "little")
    return data


def layout_json(tensors: list[tuple[str, list[int], str]]) -> bytes:
    """The layout document."""
    rows = [[name, shape, dtype] for name, shape, dtype in tensors]
    return json.dumps({"tensors": rows}, separators=(",", ":"), ensure_ascii=True).encode()


def mean(updates: list[list[int]], weights: list[int]) -> list[int]:
    """floor((S + W // 2) / W), word by word."""
    total = sum(weights)
    sums = (sum(w * u[j] for w, u in zip(weights, updates, strict=True)) for j in range(len(updates[0])))  # fmt: skip
    return [(each + total // 2) // total for each in sums]


def following(base: list[int], aggregate: list[int]) -> list[int]:
    """The next model: base + aggregate, held at the ends of int32."""
    return [min(max(b + a, LOW), HIGH) for b, a in zip(base, aggregate, strict=True)]


def abi(value: int | bytes) -> bytes:
    """One ABI word."""
    data = value.to_bytes(32, "big") if isinstance(value, int) else value
    return bytes(32 - len(data)) + data


def entry(member: bytes, weight: int, root: bytes) -> bytes:
    """A roster entry, 56 bytes."""
    return member + weight.to_bytes(4, "big") + root


def sum_tree(
    roster: list[tuple[bytes, int, bytes, list[int]]], leaf_words: int, fan_in: int
) -> list[list[dict[str, object]]]:
    """Levels of nodes over (member, weight, root of the update, update), which must be in ascending order of member."""
    level = [
        (
            1,
            weight,
            [weight * word for word in update],
            digest(b"\x00\x02", entry(member, weight, own)),
        )
        for member, weight, own, update in roster
    ]
    levels: list[list[dict[str, object]]] = []
    while not levels or len(level) > 1:
        groups = [level[i : i + fan_in] for i in range(0, len(level), fan_in)]
        level, nodes = [], []
        for group in groups:
            count, weight = sum(g[0] for g in group), sum(g[1] for g in group)
            sums = [sum(column) for column in zip(*(g[2] for g in group), strict=True)]
            vector_root = root(leaves(word_bytes(sums, 8), 8 * leaf_words))
            children = [g[3] for g in group]
            name = digest(b"\x00\x03", count.to_bytes(4, "big"), weight.to_bytes(8, "big"), vector_root, *children)  # fmt: skip
            level.append((count, weight, sums, name))
            nodes.append({"count": count, "weight": weight, "sums": word_bytes(sums, 8), "vector_root": vector_root, "children": children, "digest": name})  # fmt: skip
        levels.append(nodes)
    return levels


def blob(kind: int, size: int, leaf_words: int, payload: bytes) -> bytes:
    """Header, payload, leaf hashes."""
    header = struct.pack("<4s4BIIQQ", b"TLYB", 1, kind, size, 0, leaf_words, 0, len(payload) // size, 0)  # fmt: skip
    table = [digest(b"\x00", leaf) for leaf in leaves(payload, leaf_words * size)]
    return header + payload + b"".join(table)
