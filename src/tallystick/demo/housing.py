"""House values in California: members train a perceptron on census tables of districts. Needs the housing extra.

Data: 20,640 districts of the census of 1990, the median value in units of 100,000 dollars (Pace and Barry 1997), out of
the package `data.CALIFORNIA`.
"""

from __future__ import annotations

import io
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split

from ..errors import InvalidData, Unavailable
from . import data, mlp, moments
from .job import Array, Floats, Job, Model, Shard, Trained, generator
from .partition import split

COLUMNS = (
    "MedInc",
    "HouseAge",
    "AveRooms",
    "AveBedrms",
    "Population",
    "AveOccup",
    "Latitude",
    "Longitude",
)
_TARGET = "MedHouseVal"
_LARGEST = 5.00001
"""Values are capped there in the data set, so no prediction goes beyond."""
_HELD_OUT = 0.2
_ROUNDS = 15
_EPOCHS = 3
_BATCH = 64
_RATE = 2e-3
_DECAY = 0.01
_HIDDEN = (128, 64)

_ANGLES = np.pi * np.arange(6) / 6
_OCTAVES = (1, 2, 4, 8, 16)
_PLAIN = 15


def _table() -> Array:
    """The districts (float64[20640, 9]), the target last."""
    try:
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError as error:
        raise Unavailable(
            "the housing demo needs pyarrow. Install it with: pip install 'tallystick[housing]'."
        ) from error
    table = parquet.read_table(io.BytesIO(data.load(data.CALIFORNIA)))
    if set(table.column_names) != {*COLUMNS, _TARGET}:
        raise InvalidData(f"{data.CALIFORNIA.file} is not the pinned file: other columns.")
    return np.stack([table.column(name).to_numpy() for name in (*COLUMNS, _TARGET)], axis=1)


_table_once = lru_cache(maxsize=1)(_table)


@lru_cache(maxsize=4)
def _districts(seed: int) -> tuple[Shard, Shard]:
    train, test = train_test_split(_table_once(), test_size=_HELD_OUT, random_state=seed)
    return Shard(train[:, :-1], train[:, -1]), Shard(test[:, :-1], test[:, -1])


def _features(x: Array) -> tuple[Floats, Floats]:
    """Fifteen plain columns in units of their own, and where the district lies, as waves over the map.

    The waves (sines and cosines of the place along six directions, in five wavelengths from 700 km down) are what lets a
    small network tell one valley from the next. Nothing here was read off the data: units and wavelengths are round.
    """
    income, age, rooms, bedrooms, people, household, latitude, longitude = np.asarray(
        x, np.float64
    ).T
    north, east = latitude - 36, longitude + 119
    plain = [
        np.log(income), income / 5, age / 30, np.log(rooms), np.log(bedrooms), np.log(people) / 5,
        np.log(household), north / 3, east / 3, (north + east) / 3, (north - east) / 3,
        np.log(rooms / bedrooms), np.log(people / household) / 5, age > 51.5, income > 15,
    ]  # fmt: skip
    waves = []
    for angle in _ANGLES:
        along = np.cos(angle) * north + np.sin(angle) * east
        for octave in _OCTAVES:
            waves += [np.sin(octave * along), np.cos(octave * along)]
    return np.stack(plain, axis=1).astype(np.float64), np.stack(waves, axis=1)


def _inputs(model: Model, plain: Floats, waves: Floats) -> Floats:
    # A district with a thousand people a household is an outlier in any unit.
    return np.hstack([np.clip(moments.standardise(model, plain), -6, 6), waves])


def initial(seed: int) -> dict[str, Array]:
    """Random weights of the seed, moments unknown."""
    inputs = _PLAIN + 2 * len(_ANGLES) * len(_OCTAVES)
    return {
        **moments.unknown(_PLAIN),
        **mlp.initial((inputs, *_HIDDEN, 1), generator(seed)),
    }


def shard(member: int, members: int, seed: int, partition: str) -> Shard:
    """A member's districts. By class (Dirichlet), they are cut by the tenth of the values that theirs falls in."""
    whole, _ = _districts(seed)
    columns = {name: whole.x[:, k] for k, name in enumerate(COLUMNS)} | {_TARGET: whole.y}
    tenths = np.argsort(np.argsort(whole.y, kind="stable"), kind="stable") * 10 // len(whole)
    rows = split(columns, tenths, members, seed, partition)[member]
    return Shard(whole.x[rows], whole.y[rows])


def test(seed: int) -> Shard:
    """A fifth of the districts, drawn by the seed."""
    return _districts(seed)[1]


def train(model: Model, shard: Shard, seed: int, member: int, round: int) -> Trained:
    """The moments first; then some epochs of Adam on the squared error, by steps that shrink with the rounds."""
    plain, waves = _features(shard.x)
    arrays: dict[str, Array] = {name: np.array(value) for name, value in model.items()}
    if not moments.known(model):
        arrays |= moments.local(plain)
    else:
        progress = min(max(round - 2, 0), _ROUNDS - 2) / (_ROUNDS - 1)
        arrays |= mlp.train(
            model,
            _inputs(model, plain, waves),
            np.asarray(shard.y, np.float64)[:, None],
            lambda predicted, values: 2 * (predicted - values),
            generator(seed, member, round),
            epochs=_EPOCHS,
            batch=_BATCH,
            rate=_RATE * 0.5 * (1 + np.cos(np.pi * progress)),
            decay=_DECAY,
        )
    return arrays, len(shard), _score(arrays, plain, waves, shard.y)


def evaluate(model: Model, test: Shard) -> dict[str, float]:
    """Mean squared error (of values in units of 100,000 dollars; also the loss) and mean absolute error."""
    return _score(model, *_features(test.x), test.y)


def _score(model: Model, plain: Floats, waves: Floats, values: Array) -> dict[str, float]:
    predicted = mlp.outputs(model, _inputs(model, plain, waves))[:, 0]
    error = np.clip(predicted, 0.0, _LARGEST) - values
    squared = float(np.mean(np.square(error)))
    return {"loss": squared, "mse": squared, "mae": float(np.mean(np.abs(error)))}


JOB = Job(
    name="housing",
    title="House values in California",
    members=5,
    rounds=_ROUNDS,
    metric="mse",
    higher_is_better=False,
    initial=initial,
    shard=shard,
    test=test,
    train=train,
    evaluate=evaluate,
    requires="housing",
)
