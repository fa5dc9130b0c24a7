"""Cutting examples among members: every example to exactly one, every member at least one, the same way for a seed."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidParameter
from .job import Array, generator

Indices = NDArray[np.int64]
_TAG = 0x7A57
"""Keeps the partition's random numbers apart from those of members and rounds."""


def split(
    columns: Mapping[str, Array], classes: Array, members: int, seed: int, partition: str
) -> list[Indices]:
    """The members' row numbers (ascending), by one of three ways of cutting.

    `iid`: at random, equal sizes. `dirichlet:ALPHA`: each class of `classes` (int[examples]) is shared out in proportions
    drawn from Dirichlet(ALPHA), after Hsu et al. 2019 (arXiv:1909.06335): the smaller ALPHA, the more uneven.
    `column:NAME`: sorted by that one of `columns`, ties at random, and cut into equal parts, so that each member holds a
    range of it. Raises `InvalidParameter` for anything else, and for more members than examples.
    """
    count = len(classes)
    if not 1 <= members <= count:
        raise InvalidParameter(
            f"{count} examples cannot be cut among {members} members. Use 1 to {count} members."
        )
    random = generator(seed, _TAG, members)
    order = random.permutation(count)
    kind, _, argument = partition.partition(":")
    if partition == "iid":
        parts = np.array_split(order, members)
    elif kind == "dirichlet":
        parts = _dirichlet(classes, order, members, random, _alpha(partition, argument))
    elif kind == "column":
        if argument not in columns:
            raise InvalidParameter(
                f"this demo has no column {argument!r} to cut by. Choose one of {', '.join(columns)}."
            )
        ranked = order[np.argsort(np.asarray(columns[argument])[order], kind="stable")]
        parts = np.array_split(ranked, members)
    else:
        raise InvalidParameter(
            f"{partition!r} is no way to cut data. Use iid, dirichlet:ALPHA or column:NAME."
        )
    return [np.sort(part).astype(np.int64) for part in parts]


def _alpha(partition: str, argument: str) -> float:
    try:
        alpha = float(argument)
    except ValueError:
        alpha = math.nan
    if not 1e-3 <= alpha <= 1e6:
        raise InvalidParameter(
            f"{partition!r} needs a concentration from 0.001 to 1000000, such as dirichlet:0.5."
        )
    return alpha


def _dirichlet(
    classes: Array, order: Array, members: int, random: np.random.Generator, alpha: float
) -> list[Array]:
    pieces: list[list[Array]] = [[] for _ in range(members)]
    for label in np.unique(classes):
        rows = order[classes[order] == label]
        shares = random.dirichlet(np.full(members, alpha))
        cuts = np.rint(np.cumsum(shares)[:-1] * len(rows)).astype(np.int64)
        for own, piece in zip(pieces, np.split(rows, cuts), strict=True):
            own.append(piece)
    joined = [np.concatenate(own) for own in pieces]
    for poor, part in enumerate(joined):
        if not len(part):
            rich = max(range(members), key=lambda k: len(joined[k]))
            joined[poor], joined[rich] = joined[rich][-1:], joined[rich][:-1]
    return joined
