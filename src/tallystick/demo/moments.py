"""Standardising columns without pooling them: the mean and the mean square are part of the model.

Until a model has moments, a member trains nothing and sends those of its own examples. The ledger's weighted mean of them
is then the moments of everybody's examples, exactly, and nobody has seen another's. From the next round on all
standardise with them and train. What a member gives away thereby is what it gives away anyway: one vector a round.
"""

from __future__ import annotations

import numpy as np

from .job import Array, Floats, Model

MEAN, SQUARE = "feature_mean", "feature_square"


def unknown(columns: int) -> dict[str, Array]:
    """The moments of a model that has none yet (float64[columns] each)."""
    return {MEAN: np.zeros(columns), SQUARE: np.zeros(columns)}


def known(model: Model) -> bool:
    """Whether a round has given the model its moments."""
    return bool(np.any(model[SQUARE]))


def local(features: Floats) -> dict[str, Array]:
    """The moments of some examples (float64[examples, columns])."""
    return {MEAN: features.mean(0), SQUARE: np.square(features).mean(0)}


def standardise(model: Model, features: Floats) -> Floats:
    """Columns with the model's mean taken off and its deviation divided out; as they are while it has no moments."""
    if not known(model):
        return features
    mean = np.asarray(model[MEAN], np.float64)
    variance = np.asarray(model[SQUARE], np.float64) - np.square(mean)
    # A column that never varies would be divided by rounding noise: it becomes zero instead.
    varies = variance > 1e-6
    scale = np.where(varies, 1.0 / np.sqrt(np.where(varies, variance, 1.0)), 0.0)
    standardised: Floats = (features - mean) * scale
    return standardised
