"""Round time with a ledger over the same loop without: 10 members, a model of 1M float32, in process and on Ray.

    python -m benchmarks.round_time [--engines local,ray] [--members-do bare,training,mnist] [--ledger embedded:] [--validators 2] [--quick]

Three kinds of member:
  bare       returns its arrays unchanged: nothing is measured but Flower and Tallystick. The worst case, and no training.
  training   one epoch of a 784-1000-200-10 network (987,210 parameters) over EXAMPLES images of 28x28, drawn at random, in batches of 32, in numpy, one
             thread: half a second, about the least that a million parameters can be trained for.
  mnist      one epoch of the network of PyTorch's MNIST example (1,199,882 parameters) over a tenth of MNIST, in torch, one thread. On Ray only.

With the ledger on, every member checks the model's root, hashes and stores its update, commits in its own transaction; the server
re-hashes each, builds the sum tree, stores the next model and proposes. With it off, the same strategy sums the same integers.
Medians over ROUNDS rounds of each after one that warms up, in one process; rounds with and without alternate, so that a busy
machine slows both. Once more on Ray with members that train, VALIDATORS processes of `tallystick validate` recompute every
proposal on the same cores. They do so while the next round trains, so there rounds with the ledger follow each other.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from tallystick import flower, keys, store
from tallystick.demo.job import one_thread
from tallystick.flower.local import LocalGrid
from tallystick.flower.messages import Order, arrays_in, arrays_record
from tallystick.flower.record import Record
from tallystick.flower.settings import close_ledgers
from tallystick.ledger import address_of
from tallystick.roles import sponsor

from . import convnet
from .record import Figure, save

MEMBERS = 10
ROUNDS = 5
EXAMPLES = 6000
BATCH = 32
SIZES = (784, 1000, 200, 10)
SEED = 1
LIMITS = {("local", "training"): 1.25, ("ray", "training"): 1.25, ("ray", "mnist"): 1.10}
"""What the ratio is held to, by engine and members, without validators beside."""
VALIDATORS = 2
PATIENCE = 300
"""Seconds that a validator may take to judge a round."""

Arrays = dict[str, np.ndarray[Any, Any]]
Seconds = dict[str, list[float]]
Judged = Callable[[int], None]


def initial() -> Arrays:
    """The network's arrays (float32)."""
    random = np.random.default_rng(SEED)
    arrays: Arrays = {}
    for k, (before, after) in enumerate(itertools.pairwise(SIZES)):
        arrays[f"w{k}"] = (random.standard_normal((before, after)) / before**0.5).astype(np.float32)
        arrays[f"b{k}"] = np.zeros(after, np.float32)
    return arrays


def epoch(arrays: Arrays, member: int) -> Arrays:
    """One epoch of stochastic gradient descent on images drawn at random."""
    random = np.random.default_rng([SEED, member])
    images = random.random((EXAMPLES, SIZES[0]), dtype=np.float32)
    labels = random.integers(SIZES[-1], size=EXAMPLES)
    arrays = {name: array.copy() for name, array in arrays.items()}
    layers = range(len(SIZES) - 1)
    for start in range(0, EXAMPLES, BATCH):
        x, y = images[start : start + BATCH], labels[start : start + BATCH]
        outputs = [x]
        for k in layers:
            z = outputs[-1] @ arrays[f"w{k}"] + arrays[f"b{k}"]
            outputs.append(np.maximum(z, 0) if k < len(SIZES) - 2 else z)
        logits = outputs[-1]
        p = np.exp(logits - logits.max(1, keepdims=True))
        delta = p / p.sum(1, keepdims=True)
        delta[np.arange(len(y)), y] -= 1
        delta /= len(y)
        for k in reversed(layers):
            gradient, shift = outputs[k].T @ delta, delta.sum(0)
            if k:
                delta = (delta @ arrays[f"w{k}"].T) * (outputs[k] > 0)
            arrays[f"w{k}"] -= np.float32(0.01) * gradient
            arrays[f"b{k}"] -= np.float32(0.01) * shift
    return arrays


def unchanged(arrays: Arrays, member: int) -> Arrays:
    """No training."""
    return arrays


KINDS = {
    "bare": (initial, unchanged),
    "training": (initial, epoch),
    "mnist": (convnet.initial, convnet.epoch),
}
"""By what members do: the first arrays, and what a member makes of arrays."""


def client(kind: str, settings: dict[str, Any]) -> ClientApp:
    """A member's app. The order says whether the round is on the ledger, and the mod with or without one takes it."""

    def signer(context: Context) -> Any:
        return keys.demo(SEED, "member", int(context.node_config["partition-id"]))

    on, off = flower.mod(**settings, signer=signer), flower.mod(ledger=None)

    def either(message: Message, context: Context, call_next: Any) -> Message:
        order = Order.read(message.content)
        return (on if order and order.verified else off)(message, context, call_next)

    app = ClientApp(mods=[either])

    @app.train()
    def train(message: Message, context: Context) -> Message:
        with one_thread():
            arrays = KINDS[kind][1](
                arrays_in(message.content), int(context.node_config["partition-id"])
            )
        metrics = MetricRecord({"num-examples": EXAMPLES})
        content = RecordDict({"arrays": arrays_record(arrays), "metrics": metrics})
        return Message(content, reply_to=message)

    return app


def run(
    grid: Grid,
    kind: str,
    settings: dict[str, Any],
    count: int,
    told: Callable[[float], None] | None = None,
) -> list[float]:
    """Seconds of `count` rounds after one that warms up. `told` hears of each round, and the next waits for it."""
    seconds: list[float] = []

    def record(found: Record) -> None:
        seconds.append(found["seconds"]["total"])
        if told:
            told(seconds[-1])

    strategy = flower.Verifiable(
        FedAvg(fraction_evaluate=0.0, min_train_nodes=MEMBERS, min_available_nodes=MEMBERS),
        **settings,
        signer=keys.demo(SEED, "aggregator", 0),
        on_round=record,
    )
    strategy.start(grid, arrays_record(KINDS[kind][0]()), num_rounds=count + 1)
    return seconds[1:]


def alternate(grid: Grid, kind: str, settings: dict[str, Any], count: int) -> Seconds:
    """Rounds with the ledger and without in turn."""
    turn = {"on": threading.Semaphore(1), "off": threading.Semaphore(0)}
    given = {"on": settings, "off": {"ledger": None}}

    def loop(which: str) -> list[float]:
        left, other = itertools.count(count, -1), "off" if which == "on" else "on"

        def told(_: float) -> None:
            turn[other].release()
            if next(left):
                turn[which].acquire()

        turn[which].acquire()
        return run(grid, kind, given[which], count, told)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(given, pool.map(loop, given), strict=True))


def watched(
    grid: Grid, kind: str, settings: dict[str, Any], count: int, validators: int
) -> Seconds:
    """Rounds without the ledger, and then rounds with it and validators beside, until they have judged the last."""
    off = run(grid, kind, {"ledger": None}, count)
    with validating(settings, validators) as judged:
        rounds = itertools.count(1)
        on = run(grid, kind, settings, count, lambda _: judged(1) if next(rounds) == 1 else None)
        judged(count + 1)
    return {"on": on, "off": off}


@contextmanager
def validating(settings: dict[str, Any], validators: int) -> Iterator[Judged]:
    """Processes of `tallystick validate`. What this gives waits until all of them have found so many rounds right."""
    command = [sys.executable, "-m", "tallystick", "validate", "--dry-run", "--json", "--every", "0.5"]  # fmt: skip
    command += ["--ledger", settings["ledger"], "--store", settings["store"]]
    command += ["--task", settings["task"].hex()]
    said = [Path(settings["store"]).with_name(f"validator-{k}.jsonl") for k in range(validators)]
    processes = []
    for path in said:
        with path.open("wb") as file:
            processes.append(subprocess.Popen(command, stdout=file, stderr=subprocess.DEVNULL))

    def judged(rounds: int) -> None:
        until = time.monotonic() + PATIENCE
        while min(path.read_text().count('"verdict": "right"') for path in said) < rounds:
            if time.monotonic() > until or any(each.poll() is not None for each in processes):
                raise RuntimeError(f"a validator has not found round {rounds} right. See validate --once.")  # fmt: skip
            time.sleep(0.05)

    try:
        yield judged
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measure(engine: str, kind: str, url: str, count: int, validators: int = 0) -> Seconds:
    """Set up a task in a folder of its own, and run rounds of it with and without the ledger."""
    folder = Path(tempfile.mkdtemp(prefix="tallystick-bench-"))
    scheme, _, query = url.partition("?")
    settings: dict[str, Any] = {
        "ledger": f"{scheme}{folder / 'ledger.sqlite'}{'?' + query if query else ''}",
        "store": str(folder / "store"),
    }
    chain = flower.ledger_at(settings["ledger"])
    settings["task"] = sponsor.create_task(
        chain,
        store.open(settings["store"]),
        keys.demo(SEED, "sponsor", 0),
        KINDS[kind][0](),
        members=[address_of(keys.demo(SEED, "member", k)) for k in range(MEMBERS)],
        rounds=1000,
    )

    def both(grid: Grid) -> Seconds:
        if validators:
            return watched(grid, kind, settings, count, validators)
        return alternate(grid, kind, settings, count)

    try:
        app = client(kind, settings)
        return both(LocalGrid(app, MEMBERS)) if engine == "local" else _on_ray(app, both)
    finally:
        close_ledgers()
        shutil.rmtree(folder, ignore_errors=True)


def _on_ray(app: ClientApp, both: Callable[[Grid], Seconds]) -> Seconds:
    from flwr.simulation import run_simulation

    server = ServerApp()
    found: Seconds = {}

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        found.update(both(grid))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run_simulation(
            server,
            app,
            MEMBERS,
            backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
        )
    return found


def main() -> int:
    """Measure, save and print a table; 1 if a ratio is above its limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--engines", default="local,ray")
    parser.add_argument("--members-do", default="bare,training,mnist")
    parser.add_argument("--ledger", default="embedded:")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--validators", type=int, default=VALIDATORS, help="0: not beside any")
    parser.add_argument("--quick", action="store_true", help="two rounds of each")
    parser.add_argument("--dry", action="store_true", help="print only, write nothing")
    options = parser.parse_args()
    logging.getLogger("flwr").setLevel(logging.ERROR)
    rounds = 2 if options.quick else options.rounds
    asked = [
        (engine, kind, validators)
        for engine, kind in itertools.product(
            options.engines.split(","), options.members_do.split(",")
        )
        for validators in ((0, options.validators) if engine == "ray" and kind != "bare" else (0,))
        if engine == "ray" or kind != "mnist"
    ]
    rows: list[dict[str, Any]] = []
    for engine, kind, validators in asked:
        began = time.perf_counter()
        times = measure(engine, kind, options.ledger, rounds, validators)
        off, on = statistics.median(times["off"]), statistics.median(times["on"])
        rows.append(
            {
                "engine": engine,
                "members": kind,
                "parameters": sum(array.size for array in KINDS[kind][0]().values()),
                "validators": validators,
                "off_seconds": round(off, 4),
                "on_seconds": round(on, 4),
                "ratio": round(on / off, 3),
                "rounds_each": len(times["on"]),
                "took_seconds": round(time.perf_counter() - began, 1),
            }
        )
        print(f"{_name(rows[-1])}: {off:.3f} s without, {on:.3f} s with", flush=True)
    lines = [
        "| engine | members | parameters | validators | s/round without | s/round with | ratio | s more a round |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        off, on = row["off_seconds"], row["on_seconds"]
        lines.append(
            f"| {row['engine']} | {row['members']} | {row['parameters']:,} | {row['validators']} | {off:.3f} | {on:.3f} | {row['ratio']:.2f} | {on - off:.3f} |"
        )
    if options.dry:
        print("\n".join(lines))
        return 0
    about = (
        f"Seconds per round with a ledger ({options.ledger}) and without, {MEMBERS} members, float32. Medians of "
        f"{rounds} rounds of each, in turn. *mnist* members do one epoch of the network of PyTorch's MNIST example over a tenth of MNIST in torch. "
        f"*training* members do one epoch over {EXAMPLES:,} images in numpy, half a second each: about the least that a million parameters can be trained for. "
        "*bare* ones return what they got, so that nothing is measured but Flower and Tallystick: the worst case. What the ledger adds depends on the "
        "number of members and of parameters, and not on how long they train. With *validators*, so many processes of "
        "`tallystick validate` recompute every proposal on the same cores, while the next round trains. "
        "Without validators, the ratio is held to 1.10 for mnist members and to 1.25 for training ones; the others are reported beside them, whatever they are."
    )
    figures = [
        Figure(
            f"round time with ledger / without, {_name(row)}",
            f"{row['ratio']:.2f}",
            f"≤ {limit:.2f}" if (limit := _limit(row)) else "not held to one",
            row["ratio"] <= limit if limit else None,
        )
        for row in rows
    ]
    name = "Round time with and without a ledger"
    return int(
        not save("round_time", name, about, "\n".join(lines), rows, figures, rounds < ROUNDS)
    )


def _name(row: dict[str, Any]) -> str:
    beside = f", {row['validators']} validators" if row["validators"] else ""
    return f"{row['engine']}, {row['members']} members{beside}"


def _limit(row: dict[str, Any]) -> float | None:
    return None if row["validators"] else LIMITS.get((row["engine"], row["members"]))


if __name__ == "__main__":
    sys.exit(main())
