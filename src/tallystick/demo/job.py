"""What a demo is: data cut among members, a model, how one member trains it and how anyone scores it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

Array = NDArray[Any]
Model = Mapping[str, Array]
Floats = NDArray[np.float64]
Trained = tuple[dict[str, Array], int, dict[str, float]]
"""A member's arrays, the number of examples it trained on (its weight), and its own metrics."""


@dataclass(frozen=True)
class Shard:
    """Examples: `x` has one row each, `y` one label or target each. A member's own, or the held-out ones."""

    x: Array
    y: Array

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True)
class Job:
    """A demo.

    `initial(seed)` gives the first global model; `shard(member, members, seed, partition)` a member's examples, members
    counted from 0; `test(seed)` the held-out ones; `train(model, shard, seed, member, round)` what the member sends;
    `evaluate(model, test)` the metrics of any model of the job, trained or not: `loss` and the headline `metric` among
    them. `requires` names the extra of the package that the job needs, or is empty.

    All are functions of their arguments alone: the same ones give the same bits, in whichever process. (On one machine:
    another processor may round an exponential differently. Aggregation, which is what is audited, is exact everywhere.)
    """

    name: str
    title: str
    members: int
    rounds: int
    metric: str
    higher_is_better: bool
    initial: Callable[[int], dict[str, Array]]
    shard: Callable[[int, int, int, str], Shard]
    test: Callable[[int], Shard]
    train: Callable[[Model, Shard, int, int, int], Trained]
    evaluate: Callable[[Model, Shard], dict[str, float]]
    requires: str = ""


def generator(seed: int, *place: int) -> np.random.Generator:
    """The random numbers of one place in a run, such as (member, round): the same ones whoever asks, and when."""
    return np.random.default_rng([seed, *place])


@cache
def _pools() -> ThreadpoolController:
    return ThreadpoolController()


def one_thread() -> Any:
    """A context in which linear algebra uses one thread: more of them may add in another order, giving other bits."""
    return _pools().limit(limits=1)
