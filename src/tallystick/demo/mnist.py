"""Handwritten digits: members train a small convolutional network. Needs the torch extra.

Data: MNIST, 60,000 images to train on and 10,000 held out (LeCun, Cortes and Burges 1998), out of the package `data.MNIST`.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ..errors import InvalidData, Unavailable
from . import data
from .job import Array, Job, Model, Shard, Trained, generator
from .partition import split

_ROUNDS = 10
_EPOCHS = 2
_BATCH = 64
_RATE = 0.1
_MOMENTUM = 0.9
_DECAY = 1e-4
_SHIFT = 1
"""Training images are moved by up to so many pixels, at random."""

_SHAPES: dict[str, tuple[int, ...]] = {
    "conv1.weight": (16, 1, 3, 3),
    "conv1.bias": (16,),
    "conv2.weight": (32, 16, 3, 3),
    "conv2.bias": (32,),
    "hidden.weight": (64, 800),
    "hidden.bias": (64,),
    "out.weight": (10, 64),
    "out.bias": (10,),
}


def _needs(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise Unavailable(
            f"the mnist demo needs {module.partition('.')[0]}. Install it with: pip install 'tallystick[torch]'."
        ) from error


@lru_cache(maxsize=1)
def _images() -> tuple[Shard, Shard]:
    """Train and test: x uint8[n, 28, 28], y uint8[n]."""
    for module in ("numcodecs", "torch"):
        _needs(module)  # Said before the download.
    try:
        with zipfile.ZipFile(io.BytesIO(data.load(data.MNIST))) as archive:
            train, test = (
                Shard(
                    _array(archive, f"{part}_images", (count, 28, 28), 1024),
                    _array(archive, f"{part}_labels", (count,), 8192),
                )
                for part, count in (("train", 60000), ("test", 10000))
            )
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InvalidData(f"{data.MNIST.file} is not the pinned file: {error}.") from error
    return train, test


def _array(
    archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], chunk: int
) -> NDArray[np.uint8]:
    """An array of the file, which is a zip of a Zarr 3 group: chunks of `chunk` examples, Blosc over bytes."""
    blosc = _needs("numcodecs.blosc")
    path = f"{name}/c/{{}}" + "/0" * (len(shape) - 1)
    pieces = [
        np.frombuffer(blosc.decompress(archive.read(path.format(k))), np.uint8)
        for k in range(-(-shape[0] // chunk))
    ]
    # The last chunk is filled up with zeros to its full length.
    return np.concatenate(pieces)[: int(np.prod(shape))].reshape(shape)


def initial(seed: int) -> dict[str, Array]:
    """He's initialisation (2015): normal with variance 2 / inputs; biases zero."""
    random = generator(seed)
    return {
        name: np.zeros(shape, np.float32)
        if len(shape) == 1
        else (random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)
        for name, shape in _SHAPES.items()
    }


def shard(member: int, members: int, seed: int, partition: str) -> Shard:
    """A member's images."""
    whole, _ = _images()
    rows = _rows(members, seed, partition)[member]
    return Shard(whole.x[rows], whole.y[rows])


@lru_cache(maxsize=2)
def _rows(members: int, seed: int, partition: str) -> list[NDArray[np.int64]]:
    labels = _images()[0].y
    return split({"label": labels}, labels, members, seed, partition)


def test(seed: int) -> Shard:
    """MNIST's own 10,000 held-out images, whatever the seed."""
    return _images()[1]


@contextmanager
def _deterministic() -> Iterator[Any]:
    """Torch with one thread and deterministic algorithms; what was set before is set again afterwards."""
    torch = _needs("torch")
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        yield torch
    finally:
        torch.use_deterministic_algorithms(strict)
        torch.set_num_threads(threads)


def _logits(torch: Any, parameters: dict[str, Any], images: NDArray[np.uint8]) -> Any:
    net = torch.nn.functional
    x = torch.from_numpy(images).unsqueeze(1).to(torch.float32).div_(255)
    x = x.contiguous(memory_format=torch.channels_last)
    for layer in ("conv1", "conv2"):
        x = net.conv2d(x, parameters[f"{layer}.weight"], parameters[f"{layer}.bias"])
        x = net.relu(net.max_pool2d(x, 2))
    x = net.relu(net.linear(x.flatten(1), parameters["hidden.weight"], parameters["hidden.bias"]))
    return net.linear(x, parameters["out.weight"], parameters["out.bias"])


def _parameters(torch: Any, model: Model, trained: bool) -> dict[str, Any]:
    parameters = {}
    for name in _SHAPES:
        tensor = torch.from_numpy(np.array(model[name], np.float32))
        if tensor.ndim == 4:
            # About twice as fast on a processor; the values and their order in the model stay the same.
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        parameters[name] = tensor.requires_grad_(trained)
    return parameters


def train(model: Model, shard: Shard, seed: int, member: int, round: int) -> Trained:
    """Momentum SGD over shifted images; the step size falls with the round. Torch draws no random number."""
    random = generator(seed, member, round)
    rate = _RATE * 0.5 * (1 + np.cos(np.pi * min(round - 1, _ROUNDS - 1) / _ROUNDS))
    labels = shard.y.astype(np.int64)
    padded = np.pad(shard.x, ((0, 0), (_SHIFT, _SHIFT), (_SHIFT, _SHIFT)))
    windows = sliding_window_view(padded, (28, 28), axis=(1, 2))
    losses: list[float] = []
    with _deterministic() as torch:
        parameters = _parameters(torch, model, trained=True)
        optimiser = torch.optim.SGD(
            parameters.values(), lr=rate, momentum=_MOMENTUM, weight_decay=_DECAY, nesterov=True
        )
        for _ in range(_EPOCHS):
            order = random.permutation(len(shard))
            for rows in np.array_split(order, max(1, len(order) // _BATCH)):
                down, right = random.integers(0, 2 * _SHIFT + 1, (2, len(rows)))
                logits = _logits(torch, parameters, windows[rows, down, right])
                loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels[rows]))
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                losses.append(float(loss.detach()))
        arrays = {
            name: np.ascontiguousarray(tensor.detach().numpy())
            for name, tensor in parameters.items()
        }
    return arrays, len(shard), {"loss": float(np.mean(losses))}


def evaluate(model: Model, test: Shard) -> dict[str, float]:
    """Mean cross-entropy and accuracy."""
    loss, right = 0.0, 0
    with _deterministic() as torch, torch.no_grad():
        parameters = _parameters(torch, model, trained=False)
        for start in range(0, len(test), 500):
            labels = torch.from_numpy(test.y[start : start + 500].astype(np.int64))
            logits = _logits(torch, parameters, test.x[start : start + 500]).double()
            loss += float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
            right += int((logits.argmax(1) == labels).sum())
    return {"loss": loss / len(test), "accuracy": right / len(test)}


JOB = Job(
    name="mnist",
    title="Handwritten digits, a convolutional network",
    members=10,
    rounds=_ROUNDS,
    metric="accuracy",
    higher_is_better=True,
    initial=initial,
    shard=shard,
    test=test,
    train=train,
    evaluate=evaluate,
    requires="torch",
)
