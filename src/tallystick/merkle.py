"""Merkle trees over SHA-256 in the shape of RFC 6962: a leaf is H(0x00 | data), a node H(0x01 | left | right).

Roots and hashes are 32 bytes. The empty tree's root is H("").
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

EMPTY_ROOT = sha256(b"").digest()
DOCUMENT_LEAF = 1024
"""Bytes per leaf of a document (anything that is not a vector of words)."""


def leaf_hash(data: bytes | memoryview) -> bytes:
    """Hash of one leaf (RFC 6962, section 2.1)."""
    return sha256(b"\x00" + bytes(data)).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node (RFC 6962, section 2.1)."""
    return sha256(b"\x01" + left + right).digest()


def leaf_hashes(data: bytes | memoryview, leaf_bytes: int) -> list[bytes]:
    """Hashes of the leaves of `data` cut every `leaf_bytes` bytes; the last leaf may be short."""
    view = memoryview(data).cast("B")
    prefix = sha256(b"\x00")
    hashes = []
    for start in range(0, len(view), leaf_bytes):
        leaf = prefix.copy()  # A copied state, unlike a prepended byte, needs no copy of the data.
        leaf.update(view[start : start + leaf_bytes])
        hashes.append(leaf.digest())
    return hashes


def root_of(hashes: Sequence[bytes]) -> bytes:
    """Root over leaf hashes, in order."""
    if not hashes:
        return EMPTY_ROOT
    level, prefix = hashes, sha256(b"\x01")
    while len(level) > 1:
        pairs, above = iter(level), []
        for left, right in zip(pairs, pairs, strict=False):
            node = prefix.copy()
            node.update(left + right)
            above.append(node.digest())
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0]


def root(data: bytes | memoryview, leaf_bytes: int) -> bytes:
    """Root of `data` cut in leaves of `leaf_bytes` bytes."""
    return root_of(leaf_hashes(data, leaf_bytes))


def path(hashes: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Audit path of leaf `index`, from the leaf upwards (RFC 9162, section 2.1.3)."""
    siblings: list[bytes] = []
    level = list(hashes)
    while len(level) > 1:
        if index ^ 1 < len(level):
            siblings.append(level[index ^ 1])
        level = [
            node_hash(level[i], level[i + 1]) if i + 1 < len(level) else level[i]
            for i in range(0, len(level), 2)
        ]
        index //= 2
    return tuple(siblings)


def is_included(root: bytes, leaf: bytes, index: int, count: int, path: Sequence[bytes]) -> bool:
    """Whether `path` shows leaf hash `leaf` at `index` of `count` under `root` (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < count:
        return False
    position, last, current = index, count - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if position & 1 or position == last:
            current = node_hash(sibling, current)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            current = node_hash(current, sibling)
        position >>= 1
        last >>= 1
    return last == 0 and current == root


def repair(leaf: bytes, digest: bytes) -> bytes | None:
    """The leaf that hashes to `digest` and differs from `leaf` in one bit, or None: finds out which bit was flipped."""
    if leaf_hash(leaf) == digest:
        return leaf
    trial = bytearray(b"\x00" + leaf)
    for place in range(1, len(trial)):
        for bit in range(8):
            trial[place] ^= 1 << bit
            if sha256(trial).digest() == digest:
                return bytes(trial[1:])
            trial[place] ^= 1 << bit
    return None
