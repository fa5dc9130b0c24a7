"""Round time with a ledger over the same loop without: 10 members, a model of 1M float32, in process and on Ray.

    python benchmarks/round_time.py [--engines local,ray] [--ledger embedded:] [--json FILE]

Two kinds of member:
  bare       returns its arrays unchanged: nothing is measured but Flower and Tallystick. The worst case, and no training.
  training   one epoch of a 784-1000-200-10 network (987,210 parameters) over EXAMPLES images of 28x28 (MNIST among ten), in batches of 32, in numpy, one thread.

With the ledger on, every member checks the model's root, hashes and stores its update, commits in its own transaction; the server
re-hashes each, builds the sum tree, stores the next model and proposes. With it off, the same strategy sums the same integers.
Medians over ROUNDS rounds after one that warms up; the two settings alternate, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import shutil
import statistics
import tempfile
import time
import warnings
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
from tallystick.flower.messages import arrays_in, arrays_record
from tallystick.ledger import address_of
from tallystick.roles import sponsor

MEMBERS = 10
ROUNDS = 5
EXAMPLES = 6000
BATCH = 32
SIZES = (784, 1000, 200, 10)
SEED = 1
LIMIT = 1.25


def initial() -> dict[str, np.ndarray[Any, Any]]:
    """The network's arrays (float32)."""
    random = np.random.default_rng(SEED)
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for k, (before, after) in enumerate(itertools.pairwise(SIZES)):
        arrays[f"w{k}"] = (random.standard_normal((before, after)) / before**0.5).astype(np.float32)
        arrays[f"b{k}"] = np.zeros(after, np.float32)
    return arrays


def epoch(arrays: dict[str, np.ndarray[Any, Any]], member: int) -> dict[str, np.ndarray[Any, Any]]:
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


def client(training: bool, settings: dict[str, Any]) -> ClientApp:
    """A member's app, with the mod; what it is given decides whether there is a ledger."""
    app = ClientApp(
        mods=[
            flower.mod(
                ledger=settings["ledger"],
                store=settings["store"],
                task=settings["task"],
                signer=lambda context: keys.demo(
                    SEED, "member", int(context.node_config["partition-id"])
                ),
            )
        ]
    )

    @app.train()
    def train(message: Message, context: Context) -> Message:
        arrays = arrays_in(message.content)
        if training:
            with one_thread():
                arrays = epoch(arrays, int(context.node_config["partition-id"]))
        metrics = MetricRecord({"num-examples": EXAMPLES})
        content = RecordDict({"arrays": arrays_record(arrays), "metrics": metrics})
        return Message(content, reply_to=message)

    return app


def rounds(engine: str, training: bool, url: str | None, count: int) -> list[float]:
    """Seconds of `count` rounds after the first."""
    folder = Path(tempfile.mkdtemp(prefix="tallystick-bench-"))
    settings: dict[str, Any] = {"ledger": None, "store": str(folder / "store"), "task": bytes(32)}
    if url is not None:
        scheme, _, query = url.partition("?")
        settings["ledger"] = f"{scheme}{folder / 'ledger.sqlite'}{'?' + query if query else ''}"
        chain = flower.ledger_at(settings["ledger"])
        settings["task"] = sponsor.create_task(
            chain,
            store.open(settings["store"]),
            keys.demo(SEED, "sponsor", 0),
            initial(),
            members=[address_of(keys.demo(SEED, "member", k)) for k in range(MEMBERS)],
            rounds=1000,
        )
        sponsor.bond(chain, keys.demo(SEED, "aggregator", 0), settings["task"], 16)
    seconds: list[float] = []

    def run(grid: Grid) -> None:
        strategy = flower.Verifiable(
            FedAvg(fraction_evaluate=0.0, min_train_nodes=MEMBERS, min_available_nodes=MEMBERS),
            **settings,
            signer=keys.demo(SEED, "aggregator", 0),
        )
        strategy.start(grid, arrays_record(initial()), num_rounds=count + 1)
        seconds.extend(record["seconds"]["total"] for record in strategy.history[1:])

    try:
        app = client(training, settings)
        if engine == "local":
            run(LocalGrid(app, MEMBERS))
        else:
            _on_ray(app, run)
    finally:
        flower.settings.close_ledgers()
        shutil.rmtree(folder, ignore_errors=True)
    return seconds


def _on_ray(app: ClientApp, run: Any) -> None:
    from flwr.simulation import run_simulation

    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        run(grid)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run_simulation(
            server,
            app,
            MEMBERS,
            backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
        )


def main() -> None:
    """Measure, print a table, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--engines", default="local,ray")
    parser.add_argument("--members-do", default="bare,training")
    parser.add_argument("--ledger", default="embedded:")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    logging.getLogger("flwr").setLevel(logging.ERROR)
    rows = []
    print(
        f"{MEMBERS} members x {sum(a.size for a in initial().values()):,} float32, ledger {options.ledger}"
    )
    print("engine  members   off s/round  on s/round  ratio  (s more a round)")
    for engine in options.engines.split(","):
        for kind in options.members_do.split(","):
            began = time.perf_counter()
            times: dict[bool, list[float]] = {False: [], True: []}
            for on in (False, True, True, False):
                half = ROUNDS // 2 + 1
                url = options.ledger if on else None
                times[on] += rounds(engine, kind == "training", url, half)
            off, on_ = statistics.median(times[False]), statistics.median(times[True])
            row = {
                "engine": engine,
                "members": kind,
                "off_seconds": round(off, 4),
                "on_seconds": round(on_, 4),
                "ratio": round(on_ / off, 3),
                "rounds_each": len(times[True]),
                "took_seconds": round(time.perf_counter() - began, 1),
            }
            rows.append(row)
            print(
                f"{engine:7} {kind:9} {off:11.3f} {on_:11.3f} {on_ / off:6.2f}  ({on_ - off:.3f})",
                flush=True,
            )
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
