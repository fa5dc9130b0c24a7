"""The network of PyTorch's MNIST example, which is of a million parameters, and a member's epoch of training it on a tenth of MNIST.

Source: github.com/pytorch/examples, mnist/main.py; its dropout is left out, so that a round repeats bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tallystick.demo.job import generator, one_thread
from tallystick.demo.mnist import JOB

Arrays = dict[str, np.ndarray[Any, Any]]

MEMBERS = 10
BATCH = 64
RATE = 0.05
SEED = 1
SHAPES: dict[str, tuple[int, ...]] = {
    "conv1.weight": (32, 1, 3, 3),
    "conv1.bias": (32,),
    "conv2.weight": (64, 32, 3, 3),
    "conv2.bias": (64,),
    "fc1.weight": (128, 9216),
    "fc1.bias": (128,),
    "fc2.weight": (10, 128),
    "fc2.bias": (10,),
}


def initial() -> Arrays:
    """The network's arrays (float32), 1,199,882 values."""
    random = generator(SEED)
    arrays = {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}
    for name, shape in SHAPES.items():
        if len(shape) > 1:
            arrays[name] += random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
    return arrays


def epoch(arrays: Arrays, member: int) -> Arrays:
    """One epoch over the member's 6,000 images, in torch, on one thread."""
    import torch

    net = torch.nn.functional
    shard = JOB.shard(member, MEMBERS, SEED, "iid")
    with one_thread():
        torch.set_num_threads(1)
        parameters = {
            name: torch.from_numpy(np.array(arrays[name])).requires_grad_() for name in SHAPES
        }
        optimiser = torch.optim.SGD(parameters.values(), lr=RATE, momentum=0.9)
        for rows in np.array_split(np.arange(len(shard.x)), -(-len(shard.x) // BATCH)):
            x = torch.from_numpy(shard.x[rows]).unsqueeze(1).to(torch.float32).div_(255)
            for layer in ("conv1", "conv2"):
                x = net.relu(
                    net.conv2d(x, parameters[f"{layer}.weight"], parameters[f"{layer}.bias"])
                )
            x = net.max_pool2d(x, 2).flatten(1)
            x = net.relu(net.linear(x, parameters["fc1.weight"], parameters["fc1.bias"]))
            logits = net.linear(x, parameters["fc2.weight"], parameters["fc2.bias"])
            loss = net.cross_entropy(logits, torch.from_numpy(shard.y[rows].astype(np.int64)))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return {name: parameter.detach().numpy() for name, parameter in parameters.items()}
