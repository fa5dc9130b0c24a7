"""Demos on real data: `get(name)` gives one, `names()` lists them."""

from __future__ import annotations

from importlib import import_module

from ..errors import InvalidParameter
from .job import Job, Shard

__all__ = ["Job", "Shard", "get", "names"]

_NAMES = ("cancer", "digits", "mnist", "housing", "churn")


def names() -> tuple[str, ...]:
    """The demos' names, the default first."""
    return _NAMES


def get(name: str) -> Job:
    """The demo of that name; its data and libraries are loaded when it runs. Raises `InvalidParameter`."""
    if name not in _NAMES:
        raise InvalidParameter(f"there is no demo {name!r}. Choose one of {', '.join(_NAMES)}.")
    job: Job = import_module(f".{name}", __name__).JOB
    return job
