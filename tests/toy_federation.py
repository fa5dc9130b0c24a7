"""A small federation for tests: a ledger, a store, keys, a task, and a ClientApp that nudges its arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg, Result

from tallystick import flower, keys, store
from tallystick.demo import hostile
from tallystick.demo.plan import Plan
from tallystick.flower.local import LocalGrid
from tallystick.ledger import Ledger, address_of
from tallystick.roles import sponsor
from tallystick.store import Store

SEED = 1
ROUNDS = 50


def initial(size: int = 20) -> dict[str, np.ndarray[Any, Any]]:
    return {"w": np.linspace(-1, 1, size, dtype=np.float32), "b": np.array(0.5)}


def records(arrays: dict[str, np.ndarray[Any, Any]]) -> ArrayRecord:
    return ArrayRecord({name: Array(np.asarray(array)) for name, array in arrays.items()})


@dataclass
class Federation:
    folder: Path
    members: int = 3
    size: int = 20
    on: bool = True
    hostile: dict[int, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    ledger: Ledger | None = None
    store: Store = field(init=False)
    task: bytes = bytes(32)

    def __post_init__(self) -> None:
        self.store = store.open(str(self.folder / "store"))
        self.aggregator = keys.demo(SEED, "aggregator", 0)
        self.keys = [keys.demo(SEED, "member", index) for index in range(self.members)]
        self.url = f"hashchain:{self.folder / 'ledger.sqlite'}?difficulty=0"
        if not self.on:
            return
        if self.ledger is None:
            self.ledger = flower.ledger_at(self.url)
        self.task = sponsor.create_task(
            self.ledger,
            self.store,
            keys.demo(SEED, "sponsor", 0),
            initial(self.size),
            members=[address_of(key) for key in self.keys],
            rounds=ROUNDS,
            salt=bytes(32),
            **self.options,
        )
        sponsor.bond(self.ledger, self.aggregator, self.task, 20)

    def app(self, train: Any = None, mods: tuple[Any, ...] = ()) -> ClientApp:
        plan = Plan("toy", self.members, ROUNDS, SEED, self.url, "", "", hostile=self.hostile)
        verify = flower.mod(
            ledger=self.ledger,
            store=self.store,
            task=self.task,
            signer=lambda context: self.keys[int(context.node_config["partition-id"])],
        )
        app = ClientApp(mods=[hostile.mod(lambda _: plan), verify, *mods])
        app.train()(train or nudge)
        app.evaluate()(measure)
        return app

    def strategy(self, inner: Any = None, **options: Any) -> flower.Verifiable:
        return flower.Verifiable(
            inner or FedAvg(fraction_evaluate=0.0),
            ledger=self.ledger,
            store=self.store,
            task=self.task,
            signer=self.aggregator,
            **options,
        )

    def run(
        self, rounds: int = 3, app: ClientApp | None = None, strategy: Any = None, **options: Any
    ) -> tuple[Result, list[dict[str, Any]]]:
        strategy = strategy or self.strategy(**options)
        grid = LocalGrid(app or self.app(), self.members)
        result = strategy.start(grid, records(initial(self.size)), num_rounds=rounds, timeout=60)
        return result, strategy.history


def nudge(message: Message, context: Context) -> Message:
    """Move every number by an amount of the member's own, exactly representable."""
    member = int(context.node_config["partition-id"]) + 1
    arrays = {name: array.numpy() for name, array in message.content["arrays"].items()}
    moved = {name: array + array.dtype.type(member / 64) for name, array in arrays.items()}
    metrics = MetricRecord({"num-examples": 10 * member, "loss": 1.0 / member})
    content = RecordDict({"arrays": records(moved), "metrics": metrics})
    return Message(content, reply_to=message)


def measure(message: Message, context: Context) -> Message:
    value = float(message.content["arrays"]["w"].numpy()[0])
    metrics = MetricRecord({"num-examples": 5, "first": value})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)


def excluded(record: dict[str, Any]) -> dict[str, str]:
    """Reasons by member (hex; empty for a node that is none)."""
    return {each["member"]: each["reason"] for each in record["excluded"]}
