"""Softmax regression on scikit-learn's digits (1,797 images of 8x8), in numpy."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

Array = NDArray[Any]
STEPS = 30


def initial() -> dict[str, Array]:
    """The model that training starts from (float32)."""
    return {"weight": np.zeros((64, 10), np.float32), "bias": np.zeros(10, np.float32)}


def data(part: int, parts: int) -> tuple[Array, Array, Array, Array]:
    """One member's training images and labels, and everybody's test images and labels."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    images, labels = images[order] / 16.0, labels[order]
    return images[360:][part::parts], labels[360:][part::parts], images[:360], labels[:360]


def train(arrays: dict[str, Array], images: Array, labels: Array, rate: float) -> dict[str, Array]:
    """A few steps of gradient descent."""
    weight, bias = arrays["weight"].astype(np.float64), arrays["bias"].astype(np.float64)
    wanted = np.eye(10)[labels]
    for _ in range(STEPS):
        error = (_softmax(images @ weight + bias) - wanted) / len(labels)
        weight -= rate * images.T @ error
        bias -= rate * error.sum(0)
    return {"weight": weight.astype(np.float32), "bias": bias.astype(np.float32)}


def accuracy(arrays: dict[str, Array], images: Array, labels: Array) -> float:
    """Share of images whose digit is found."""
    found = (images @ arrays["weight"] + arrays["bias"]).argmax(1)
    return float((found == labels).mean())


def _softmax(logits: Array) -> Array:
    powers: Array = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


if __name__ == "__main__":
    np.savez(sys.argv[1], **initial())  # type: ignore[arg-type]
