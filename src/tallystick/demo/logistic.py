"""Logistic regression over columns that are standardised with federated moments: the model of two demos."""

from __future__ import annotations

import numpy as np

from . import moments
from .job import Array, Floats, Model, one_thread


def initial(columns: int) -> dict[str, Array]:
    """Weights of zero, moments unknown."""
    return {
        **moments.unknown(columns),
        "weight": np.zeros(columns, np.float32),
        "bias": np.zeros(1, np.float32),
    }


def train(
    model: Model, features: Floats, labels: Array, *, steps: int, rate: float, ridge: float
) -> dict[str, Array]:
    """The member's arrays: its moments while the model has none; else after gradient descent over all its examples.

    `features` float64[examples, columns], `labels` 0 or 1 each. No random numbers at all.
    """
    arrays: dict[str, Array] = {name: np.array(value) for name, value in model.items()}
    if not moments.known(model):
        return arrays | moments.local(features)
    standard = moments.standardise(model, features)
    weight, bias = model["weight"].astype(np.float64), float(model["bias"][0])
    with one_thread():
        for _ in range(steps):
            error = _probability(standard @ weight + bias) - labels
            weight -= rate * (standard.T @ error / len(labels) + ridge * weight)
            bias -= rate * float(error.mean())
    return arrays | {"weight": weight.astype(np.float32), "bias": np.array([bias], np.float32)}


def logits(model: Model, features: Floats) -> Floats:
    """The log odds of label 1 (float64[examples])."""
    with one_thread():
        odds = moments.standardise(model, features) @ model["weight"].astype(np.float64)
    shifted: Floats = odds + float(model["bias"][0])
    return shifted


def loss(odds: Floats, labels: Array) -> float:
    """Mean log loss of log odds."""
    return float(np.mean(np.logaddexp(0.0, odds) - labels * odds))


def _probability(odds: Floats) -> Floats:
    probability: Floats = 1.0 / (1.0 + np.exp(-np.clip(odds, -500.0, 500.0)))
    return probability
