"""A demo job as an ordinary Flower app: nothing here but the mod and the strategy's wrapper knows of ledgers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from .. import demo, flower, keys
from ..flower.messages import arrays_in, arrays_record
from ..flower.record import Record
from ..roles.aggregator import Aggregator
from . import hostile
from .liar import Liar
from .plan import Plan, PlanOf

PLAN, RECORDS = "plan", "records"
"""Keys of the run's configuration."""
OnRound = Callable[[Record], None]


def plan_in(context: Context) -> Plan:
    """The plan in the run's configuration. A demo may trust it: its keys are worthless, its ledger its own."""
    return Plan.from_json(str(context.run_config[PLAN]))


def client_app(plan: Plan | None = None) -> ClientApp:
    """Every member's app. Without a plan, it is read from the run's configuration."""

    def plan_of(context: Context) -> Plan:
        return plan_in(context) if plan is None else plan

    app = ClientApp(mods=[hostile.mod(plan_of), _mod(plan_of)])

    @app.train()
    def train(message: Message, context: Context) -> Message:
        plan, member = plan_of(context), _index(context)
        number = message.content["config"]["server-round"]
        arrays, examples, metrics = demo.get(plan.job).train(
            arrays_in(message.content),
            _shard(plan.job, member, plan.members, plan.seed, plan.partition),
            plan.seed,
            member,
            int(number),  # type: ignore[arg-type]
        )
        measured = MetricRecord({"num-examples": examples, **metrics})
        content = RecordDict({"arrays": arrays_record(arrays), "metrics": measured})
        return Message(content, reply_to=message)

    return app


def server_app(plan: Plan | None = None, on_round: OnRound | None = None) -> ServerApp:
    """The aggregator's app. Without a plan it is read from the run's configuration, and records go to the file named there."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        if plan is None:
            path = Path(str(context.run_config[RECORDS]))
            try:
                serve(grid, plan_in(context), lambda record: append(path, record))
            except BaseException as error:
                append(path, {"error": f"{type(error).__name__}: {error}"})
                raise
            append(path, {"done": True})
        else:
            serve(grid, plan, on_round)

    return app


def serve(grid: Grid, plan: Plan, on_round: OnRound | None) -> list[Record]:
    """Run the job's rounds on a grid; return their records."""
    job = demo.get(plan.job)
    test = job.test(plan.seed)
    strategy = flower.Verifiable(
        FedAvg(
            fraction_evaluate=0.0, min_train_nodes=plan.members, min_available_nodes=plan.members
        ),
        ledger=plan.ledger,
        store=plan.store,
        task=plan.task,
        signer=keys.demo(plan.seed, "aggregator", 1 if plan.liar else 0),
        aggregator=_aggregator(plan),
        batched=plan.batched,
        threads=plan.threads,
        recorded=plan.recorded,
        on_round=on_round,
    )

    def evaluate(number: int, arrays: Any) -> MetricRecord:
        return MetricRecord(dict(job.evaluate(arrays_in(RecordDict({"arrays": arrays})), test)))

    strategy.start(
        grid,
        arrays_record(job.initial(plan.seed)),
        num_rounds=plan.rounds,
        timeout=plan.timeout,
        evaluate_fn=evaluate,
    )
    return strategy.history


def _aggregator(plan: Plan) -> Callable[..., Aggregator]:
    if not plan.liar:
        return Aggregator
    return partial(Liar, height=plan.liar, successor=keys.demo(plan.seed, "aggregator", 0))


def append(path: Path, record: Record) -> None:
    """Add a line to a records file, synced."""
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _mod(plan_of: PlanOf) -> Any:
    return flower.mod(
        ledger=lambda context: plan_of(context).ledger,
        store=lambda context: plan_of(context).store,
        task=lambda context: plan_of(context).task,
        signer=lambda context: keys.demo(plan_of(context).seed, "member", _index(context)),
    )


def _index(context: Context) -> int:
    return int(context.node_config["partition-id"])


@lru_cache(maxsize=16)
def _shard(job: str, member: int, members: int, seed: int, partition: str) -> Any:
    return demo.get(job).shard(member, members, seed, partition)
