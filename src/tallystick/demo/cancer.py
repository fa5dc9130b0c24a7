"""Which breast tumours are malignant? Hospitals fit a logistic regression to 30 measurements of cell nuclei.

Data: Wisconsin Diagnostic Breast Cancer, 569 patients (Street, Wolberg and Mangasarian 1993), as shipped by scikit-learn.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from . import logistic
from .job import Array, Floats, Job, Model, Shard, Trained
from .partition import split

# Mean, standard error and worst value of ten measurements: radius, texture, perimeter, area, smoothness, compactness,
# concavity, concave points, symmetry, fractal dimension. The units are round numbers, not statistics of the patients.
_UNITS = np.array(
    [
        [10, 10, 100, 1000, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1],
        [1, 1, 10, 100, 0.01, 0.1, 0.1, 0.01, 0.01, 0.01],
        [10, 10, 100, 1000, 0.1, 1, 1, 0.1, 1, 0.1],
    ]
).ravel()
_HELD_OUT = 0.2
_STEPS = 15
_RATE = 0.2
_RIDGE = 5e-3


@lru_cache(maxsize=4)
def _patients(seed: int) -> tuple[Shard, Shard]:
    data = load_breast_cancer()
    # In the file 0 is malignant; here 1 is what is looked for.
    x_train, x_test, y_train, y_test = train_test_split(
        data.data, 1 - data.target, test_size=_HELD_OUT, stratify=data.target, random_state=seed
    )
    return Shard(x_train, y_train), Shard(x_test, y_test)


@lru_cache(maxsize=1)
def _columns() -> tuple[str, ...]:
    return tuple(str(name).replace(" ", "_") for name in load_breast_cancer().feature_names)


def _features(x: Array) -> Floats:
    """Each measurement in its unit, and its logarithm (float64[patients, 60])."""
    measured = np.asarray(x, np.float64) / _UNITS
    return np.hstack([measured, np.log(measured + 0.01)])


def initial(seed: int) -> dict[str, Array]:
    """Weights of zero, moments unknown."""
    return logistic.initial(2 * _UNITS.size)


def shard(member: int, members: int, seed: int, partition: str) -> Shard:
    """A hospital's patients."""
    whole, _ = _patients(seed)
    columns = {name: whole.x[:, k] for k, name in enumerate(_columns())} | {"label": whole.y}
    rows = split(columns, whole.y, members, seed, partition)[member]
    return Shard(whole.x[rows], whole.y[rows])


def test(seed: int) -> Shard:
    """The patients that no hospital trains on: a fifth, drawn by the seed, as many of them ill as in the whole."""
    return _patients(seed)[1]


def train(model: Model, shard: Shard, seed: int, member: int, round: int) -> Trained:
    """The moments first; then gradient descent over all of the hospital's patients."""
    features = _features(shard.x)
    arrays = logistic.train(model, features, shard.y, steps=_STEPS, rate=_RATE, ridge=_RIDGE)
    return arrays, len(shard), _score(arrays, features, shard.y)


def evaluate(model: Model, test: Shard) -> dict[str, float]:
    """Mean log loss, accuracy, and sensitivity: the part of the ill that are found."""
    return _score(model, _features(test.x), test.y)


def _score(model: Model, features: Floats, ill: Array) -> dict[str, float]:
    odds = logistic.logits(model, features)
    found = odds > 0
    return {
        "loss": logistic.loss(odds, ill),
        "accuracy": float(np.mean(found == (ill == 1))),
        "sensitivity": float(np.mean(found[ill == 1])) if np.any(ill == 1) else 1.0,
    }


JOB = Job(
    name="cancer",
    title="Breast cancer among hospitals",
    members=10,
    rounds=10,
    metric="accuracy",
    higher_is_better=True,
    initial=initial,
    shard=shard,
    test=test,
    train=train,
    evaluate=evaluate,
)
