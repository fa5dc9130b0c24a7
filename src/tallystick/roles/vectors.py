"""The updates of a round, from the store, as they are asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..aggregation import Readable
from ..blob import HEADER_BYTES
from ..encoding import Words
from ..errors import BlobUnavailable
from ..store import Store

MAPPED = 128
"""So many vectors are memory maps, which are fastest. Each holds a file open, of which some systems let a process have 256."""


def stored_vectors(store: Store, roots: Sequence[bytes], count: int) -> list[Readable]:
    """Vectors (int32[count]) of a store by their roots. They are not hashed: verify them first.

    Here or when they are read, `BlobUnavailable` is raised where a blob was removed or cut short since.
    """
    paths = [store.path(root) for root in roots]
    if len(paths) > MAPPED:
        return [StoredVector(path, count) for path in paths]
    return [_mapped(path, count) for path in paths]


class StoredVector:
    """Words (int32[count]) of a blob's file, which is open only while it is read.

    Just what is asked for is read: memory maps of more updates than fit in memory would, for each block of one, read ahead
    megabytes that are gone before their turn.
    """

    dtype = np.dtype(np.int32)

    def __init__(self, path: Path, count: int) -> None:
        self._path = path
        self.shape = (count,)

    def __getitem__(self, part: slice) -> Words:
        start, stop, _ = part.indices(self.shape[0])
        words = np.empty(stop - start, "<i4")
        try:
            with self._path.open("rb") as file:
                if hasattr(os, "posix_fadvise"):
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
                file.seek(HEADER_BYTES + 4 * start)
                read = file.readinto(words.view(np.uint8).data)
        except OSError as error:
            raise _gone(self._path, error) from error
        if read != words.nbytes:
            raise _gone(self._path, f"{read} bytes of {words.nbytes} are there")
        return words


def _mapped(path: Path, count: int) -> Words:
    try:
        return np.memmap(path, "<i4", "r", HEADER_BYTES, (count,))
    except (OSError, ValueError) as error:
        raise _gone(path, error) from error


def _gone(path: Path, why: object) -> BlobUnavailable:
    return BlobUnavailable(
        f"{path} was verified and cannot be read any more: {why}. Fetch it from another store."
    )
