"""Content-addressed blobs, named by the Merkle root of their words. A reader always re-hashes.

`open(url)` gives a `Store`. Backends: `file:FOLDER` (or a bare path).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..blob import DOCUMENT_LEAF, Header, Kind
from ..errors import InvalidParameter

__all__ = ["DOCUMENT_LEAF", "Header", "Kind", "Store", "open"]

Words = NDArray[np.int32] | NDArray[np.int64]


class Store(Protocol):
    """Where updates, models and documents lie."""

    url: str

    def put(
        self,
        kind: Kind,
        payload: Words | bytes,
        leaf_words: int = DOCUMENT_LEAF,
        root: bytes | None = None,
    ) -> bytes:
        """Write words (int32[d] for models and updates, int64[d] for sums) or a document's bytes; return the root.

        Atomic and durable: a reader sees the whole blob or none. What is there already, byte for byte, is left as it is. Raises
        `StoreUnavailable` if the disk is full, and `RootMismatch`, having written nothing, where `root` is given and is another.
        """
        ...

    def get(
        self, root: bytes, kind: Kind, leaf_words: int | None = None, count: int | None = None
    ) -> Words:
        """The words of a blob, re-hashed, as a read-only memory map.

        Raises `BlobUnavailable`, `InvalidBlob` (header, length, or not the kind, leaf size and count asked for) or
        `RootMismatch` (`DamagedLeaf` when the leaf is known).
        """
        ...

    def document(self, root: bytes) -> bytes:
        """A document's bytes, re-hashed."""
        ...

    def header(self, root: bytes) -> Header:
        """What a blob says of itself, its length checked and nothing hashed."""
        ...

    def has(self, root: bytes) -> bool:
        """Whether a blob of this name is there (it may still be damaged)."""
        ...

    def roots(self) -> Iterator[bytes]:
        """Names of all blobs, in no particular order."""
        ...

    def delete(self, root: bytes) -> None:
        """Remove a blob if it is there."""
        ...

    def path(self, root: bytes) -> Path:
        """The file that holds, or would hold, the blob."""
        ...


def open(url: str) -> Store:
    """Open a store: `file:FOLDER` or a path. Raises `InvalidParameter` for another scheme."""
    scheme, separator, rest = url.partition(":")
    if not separator or scheme == "file":
        from .local import LocalStore

        folder = rest if separator else url
        return LocalStore(Path(folder.removeprefix("//") if folder.startswith("///") else folder))
    raise InvalidParameter(f"no store answers to {url!r}. Use file:FOLDER or a path.")
