"""The updates of a round as memory maps, opened when they are asked for."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import overload

import numpy as np

from ..blob import HEADER_BYTES
from ..encoding import Words
from ..errors import BlobUnavailable
from ..store import Store

KEPT = 128
"""Maps that stay open: each holds a file, of which some systems let a process have 256."""


def mapped(store: Store, roots: Sequence[bytes], count: int) -> Mapped:
    """Vectors of `count` words in a store, by their roots. They are not hashed: verify them first."""

    def one(root: bytes) -> Words:
        path = store.path(root)
        try:
            with path.open("rb") as file:
                held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            return np.frombuffer(held, "<i4", count, HEADER_BYTES)
        except (OSError, ValueError) as error:
            raise BlobUnavailable(
                f"{path} was there and cannot be read any more: {error}. Fetch it from another store."
            ) from error

    return Mapped(lru_cache(KEPT)(one), roots)


class Mapped(Sequence[Words]):
    """Vectors (int32[d] each) by their roots: few files are open at a time, however many there are, and nothing is copied.

    Asking for one raises `BlobUnavailable` where its blob was removed or cut short meanwhile. Safe for threads.
    """

    def __init__(self, open: Callable[[bytes], Words], roots: Sequence[bytes]) -> None:
        self._open = open
        self._roots = roots

    def __len__(self) -> int:
        return len(self._roots)

    @overload
    def __getitem__(self, place: int) -> Words: ...

    @overload
    def __getitem__(self, place: slice) -> Mapped: ...

    def __getitem__(self, place: int | slice) -> Words | Mapped:
        if isinstance(place, int):
            return self._open(self._roots[place])
        return Mapped(self._open, self._roots[place])
