"""Three ways to run the same app: in this process, in a Ray simulation, and as a deployment of separate processes."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path

from ..errors import InvalidParameter, Unavailable
from ..flower.local import LocalGrid
from ..flower.record import Record
from .app import OnRound, client_app, serve, server_app
from .plan import Plan

ENGINES = ("local", "ray", "superlink")
OFFLINE = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def run(engine: str, plan: Plan, folder: Path, on_round: OnRound | None = None) -> list[Record]:
    """Run a plan's rounds, from wherever its ledger stands, and return their records.

    `on_round` is called in this process, once per record and in order. `folder` takes the logs of other processes. Raises
    `InvalidParameter` for an unknown engine, `Unavailable` where another process failed, and what the rounds raise.
    """
    if engine == "local":
        return run_local(plan, on_round)
    if engine == "ray":
        return run_ray(plan, on_round)
    if engine == "superlink":
        from .deployment import run_superlink

        return run_superlink(plan, folder, on_round)
    raise InvalidParameter(f"no engine {engine!r}. Use one of {', '.join(ENGINES)}.")


def run_local(plan: Plan, on_round: OnRound | None = None) -> list[Record]:
    """All members in this process, one after the other."""
    _quiet()
    return serve(LocalGrid(client_app(plan), plan.members), plan, on_round)


def run_ray(plan: Plan, on_round: OnRound | None = None) -> list[Record]:
    """Members in Ray's worker processes, each of which opens the ledger and the store itself."""
    os.environ.update(OFFLINE)
    try:
        import ray  # noqa: F401
    except ImportError:
        raise Unavailable("Ray is not installed. Run: pip install 'tallystick[ray]'.") from None
    from flwr.simulation import run_simulation

    _quiet()
    records: list[Record] = []

    def heard(record: Record) -> None:
        records.append(record)
        if on_round is not None:
            on_round(record)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run_simulation(
            server_app=server_app(plan, heard),
            client_app=client_app(plan),
            num_supernodes=plan.members,
            backend_config={
                "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
                "init_args": {"include_dashboard": False},
            },
        )
    return records


def _quiet() -> None:
    """Flower tells of every message and of its own plans; a demo has its own progress to show."""
    logging.getLogger("flwr").setLevel(logging.ERROR)
