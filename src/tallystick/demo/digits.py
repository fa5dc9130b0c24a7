"""Small handwritten digits (8 x 8 pixels): members train a perceptron with one hidden layer.

Data: Optical Recognition of Handwritten Digits, 1,797 images (Alpaydin and Kaynak 1998), as shipped by scikit-learn.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from . import mlp
from .job import Array, Floats, Job, Model, Shard, Trained, generator
from .partition import split

_SIZES = (64, 128, 10)
_HELD_OUT = 0.2
_EPOCHS = 10
_BATCH = 16
_RATE = 5e-3


@lru_cache(maxsize=4)
def _images(seed: int) -> tuple[Shard, Shard]:
    images, labels = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        images, labels, test_size=_HELD_OUT, stratify=labels, random_state=seed
    )
    return Shard(x_train, y_train), Shard(x_test, y_test)


def _features(x: Array) -> Floats:
    """Pixels count from 0 to 16, by the data set's definition."""
    features: Floats = np.asarray(x, np.float64) / 16.0
    return features


def initial(seed: int) -> dict[str, Array]:
    """Random weights of the seed."""
    return mlp.initial(_SIZES, generator(seed))


def shard(member: int, members: int, seed: int, partition: str) -> Shard:
    """A member's images."""
    whole, _ = _images(seed)
    rows = split({"label": whole.y}, whole.y, members, seed, partition)[member]
    return Shard(whole.x[rows], whole.y[rows])


def test(seed: int) -> Shard:
    """A fifth of the images, drawn by the seed, with every digit's share."""
    return _images(seed)[1]


def train(model: Model, shard: Shard, seed: int, member: int, round: int) -> Trained:
    """A few epochs of Adam; the step size falls with the rounds."""
    arrays = mlp.train(
        model,
        _features(shard.x),
        np.eye(10)[shard.y],
        lambda logits, targets: _softmax(logits) - targets,
        generator(seed, member, round),
        epochs=_EPOCHS,
        batch=_BATCH,
        rate=_RATE / (1 + 0.2 * (round - 1)),
    )
    return arrays, len(shard), evaluate(arrays, shard)


def evaluate(model: Model, test: Shard) -> dict[str, float]:
    """Mean cross-entropy and accuracy."""
    logits = mlp.outputs(model, _features(test.x))
    likely = np.log(_softmax(logits)[np.arange(len(test)), test.y] + 1e-300)
    return {
        "loss": float(-likely.mean()),
        "accuracy": float(np.mean(logits.argmax(1) == test.y)),
    }


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    shares: Floats = powers / powers.sum(1, keepdims=True)
    return shares


JOB = Job(
    name="digits",
    title="Small handwritten digits, a perceptron",
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
