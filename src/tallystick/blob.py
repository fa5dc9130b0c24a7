"""The one file format of the store: a header, the words, and the hash of every leaf.

    0   4  magic "TLYB"
    4   1  version, 1
    5   1  kind (see `Kind`)
    6   1  bytes per word: 4 (model, update), 8 (partial sums), 1 (document)
    7   1  zero
    8   4  words per leaf, little-endian
   12   4  zero
   16   8  number of words, little-endian
   24   8  zero
   32   .  the words, little-endian
    .   .  SHA-256 hash of each leaf (RFC 6962), 32 bytes each

A blob is named by the Merkle root of its words. The leaf hashes add nothing to trust: they hash up to the same root.
They let a reader say WHICH leaf was damaged, and open one leaf without reading the others.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from . import merkle
from .errors import InvalidBlob, RootMismatch

MAGIC = b"TLYB"
VERSION = 1
HEADER = struct.Struct("<4sBBBBIIQQ")
HEADER_BYTES = HEADER.size
DOCUMENT_LEAF = merkle.DOCUMENT_LEAF
MAX_LEAF_WORDS = 4096
MAX_COUNT = 2**40


class Kind(IntEnum):
    """What a blob holds."""

    MODEL = 1
    UPDATE = 2
    SUMS = 3
    DOCUMENT = 4


WORD_BYTES = {Kind.MODEL: 4, Kind.UPDATE: 4, Kind.SUMS: 8, Kind.DOCUMENT: 1}


@dataclass(frozen=True)
class Header:
    """What a blob says of itself."""

    kind: Kind
    leaf_words: int
    count: int

    @property
    def payload_bytes(self) -> int:
        return self.count * WORD_BYTES[self.kind]

    @property
    def leaf_bytes(self) -> int:
        return self.leaf_words * WORD_BYTES[self.kind]

    @property
    def leaves(self) -> int:
        return -(-self.payload_bytes // self.leaf_bytes)

    @property
    def total_bytes(self) -> int:
        return HEADER_BYTES + self.payload_bytes + 32 * self.leaves


def encode_header(header: Header) -> bytes:
    """The 32 bytes of a header."""
    return HEADER.pack(
        MAGIC,
        VERSION,
        header.kind,
        WORD_BYTES[header.kind],
        0,
        header.leaf_words,
        0,
        header.count,
        0,
    )


def decode_header(data: bytes, source: str) -> Header:
    """Read a header, or raise `InvalidBlob` naming the field of `source` that is wrong."""
    if len(data) < HEADER_BYTES:
        raise InvalidBlob(
            f"{source} is truncated: {len(data)} bytes are no {HEADER_BYTES}-byte header. "
            "Fetch it again from another store."
        )
    magic, version, kind, word_bytes, zero1, leaf_words, zero2, count, zero3 = HEADER.unpack_from(
        data
    )
    checks = (
        ("magic", magic == MAGIC),
        ("version", version == VERSION),
        ("kind", kind in set(Kind)),
        ("word size", kind in set(Kind) and word_bytes == WORD_BYTES[Kind(kind)]),
        ("reserved bytes", zero1 == zero2 == zero3 == 0),
        ("words per leaf", 1 <= leaf_words <= MAX_LEAF_WORDS),
        ("number of words", count <= MAX_COUNT),
    )
    for field, good in checks:
        if not good:
            raise InvalidBlob(
                f"{source} has a wrong header: its {field} is not what a Tallystick blob has. "
                "It is damaged, or not a blob; fetch it again from another store."
            )
    return Header(Kind(kind), leaf_words, count)


def check(
    root: bytes, header: Header, payload: memoryview, table: bytes | memoryview, source: str
) -> None:
    """Re-hash a blob: raise `RootMismatch` naming the first damaged leaf unless everything is as `root` says."""
    actual = merkle.leaf_hashes(payload, header.leaf_bytes)
    if b"".join(actual) == table and merkle.root_of(actual) == root:
        return
    stored = [bytes(table[i : i + 32]) for i in range(0, len(table), 32)]
    if merkle.root_of(stored) == root:
        leaf = next(
            i for i, pair in enumerate(zip(stored, actual, strict=True)) if pair[0] != pair[1]
        )
        raise DamagedLeaf(
            f"{source}: leaf {leaf} (words {leaf * header.leaf_words} to "
            f"{min((leaf + 1) * header.leaf_words, header.count) - 1}) does not hash to what root "
            f"{root.hex()} commits to. Fetch the blob again from another store.",
            leaf,
        )
    if merkle.root_of(actual) == root:
        leaf = next(
            i for i, pair in enumerate(zip(stored, actual, strict=True)) if pair[0] != pair[1]
        )
        raise DamagedLeaf(
            f"{source}: the stored hash of leaf {leaf} was changed; the words themselves are intact. "
            "Fetch the blob again, or write it again from its words.",
            leaf,
        )
    raise RootMismatch(
        f"{source} does not hash to its root {root.hex()}, and neither do its leaf hashes: "
        "it is another blob, or damaged in several places. Fetch it again from another store."
    )


class DamagedLeaf(RootMismatch):
    """A blob with exactly located damage: `leaf` counts from 0."""

    def __init__(self, message: str, leaf: int) -> None:
        super().__init__(message)
        self.leaf = leaf
