"""A multilayer perceptron in numpy: ReLU between linear layers, Adam with decoupled weight decay.

It computes in float64 and one thread, so that rounding differences between machines stay far below the fixed point.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from .job import Array, Floats, Model, one_thread

Parameters = list[Floats]
"""Weight (inputs, outputs) and bias (outputs), layer after layer."""
Slope = Callable[[Floats, Floats], Floats]
"""The loss's derivative at the outputs, per example, given outputs and targets (each float64[examples, outputs])."""

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


def initial(sizes: Sequence[int], random: np.random.Generator) -> dict[str, Array]:
    """He's initialisation (2015), biases zero, as float32; `sizes` are the layers' widths, inputs first."""
    arrays: dict[str, Array] = {}
    for number, (inputs, outputs) in enumerate(pairwise(sizes), 1):
        drawn = random.standard_normal((inputs, outputs)) * np.sqrt(2 / inputs)
        arrays[f"layer{number}.weight"] = drawn.astype(np.float32)
        arrays[f"layer{number}.bias"] = np.zeros(outputs, np.float32)
    return arrays


def outputs(model: Model, x: Floats) -> Floats:
    """What the network says of each row of x (float64[examples, outputs])."""
    with one_thread():
        return _forward([np.asarray(model[name], np.float64) for name in _names(model)], x)[-1]


def train(
    model: Model,
    x: Floats,
    targets: Floats,
    slope: Slope,
    random: np.random.Generator,
    *,
    epochs: int,
    batch: int,
    rate: float,
    decay: float = 0.0,
) -> dict[str, Array]:
    """The network's arrays after some epochs of Adam (Kingma and Ba 2015; decay after Loshchilov and Hutter 2019)."""
    names = _names(model)
    parameters = [np.array(model[name], np.float64) for name in names]
    means = [np.zeros_like(each) for each in parameters]
    squares = [np.zeros_like(each) for each in parameters]
    step = 0
    with one_thread():
        for _ in range(epochs):
            order = random.permutation(len(x))
            for rows in np.array_split(order, max(1, len(order) // batch)):
                step += 1
                gradients = _backward(parameters, x[rows], targets[rows], slope)
                pace = rate * np.sqrt(1 - _BETA2**step) / (1 - _BETA1**step)
                for k, gradient in enumerate(gradients):
                    means[k] += (1 - _BETA1) * (gradient - means[k])
                    squares[k] += (1 - _BETA2) * (np.square(gradient) - squares[k])
                    if parameters[k].ndim == 2:
                        parameters[k] *= 1 - rate * decay
                    parameters[k] -= pace * means[k] / (np.sqrt(squares[k]) + _EPSILON)
    return {name: each.astype(np.float32) for name, each in zip(names, parameters, strict=True)}


def _names(model: Model) -> list[str]:
    layers = sum(name.startswith("layer") for name in model) // 2
    return [f"layer{n}.{part}" for n in range(1, layers + 1) for part in ("weight", "bias")]


def _forward(parameters: Parameters, x: Floats) -> list[Floats]:
    """The inputs, each hidden layer's values, the outputs."""
    values = [x]
    for k in range(0, len(parameters), 2):
        value = values[-1] @ parameters[k] + parameters[k + 1]
        if k < len(parameters) - 2:
            np.maximum(value, 0.0, out=value)
        values.append(value)
    return values


def _backward(parameters: Parameters, x: Floats, targets: Floats, slope: Slope) -> Parameters:
    values = _forward(parameters, x)
    delta = slope(values[-1], targets) / len(x)
    gradients = [np.empty(0)] * len(parameters)
    for k in range(len(parameters) - 2, -1, -2):
        before = values[k // 2]
        gradients[k], gradients[k + 1] = before.T @ delta, delta.sum(0)
        if k:
            delta = (delta @ parameters[k].T) * (before > 0)
    return gradients
