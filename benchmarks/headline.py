"""The demos' headline results: the median of three seeds.

`python -m benchmarks.headline [JOB ...]` writes benchmarks/results/headline.md and headline.json, and prints the table.
Each run is the demo itself: Flower in this process, every update committed on an embedded EVM, the run audited at its end.
`--integers` leaves Flower, ledger and store out; it must come to the same model, and so it is a check of them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tallystick import demo
from tallystick.aggregation import next_model, weighted_mean
from tallystick.demo import run as demo_run
from tallystick.encoding import dequantise, layout_of, quantise, update_of

from .record import Figure, conditions, read, save

SCALE = 24
Metrics = dict[str, float]
Run = Callable[[str, int, int, int, str], Metrics]


@dataclass(frozen=True)
class Target:
    """A metric of a job to report: what must be reached, and the published result that it stands beside."""

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    reference: str = ""

    def is_met(self, value: float) -> bool:
        """Whether the value reaches the target, if there is one."""
        if self.at_least is not None and value < self.at_least:
            return False
        return self.at_most is None or value <= self.at_most


TARGETS: dict[str, tuple[Target, ...]] = {
    "cancer": (Target("accuracy", at_least=0.97, reference="central logistic regression 0.982"),),
    "digits": (Target("accuracy", at_least=0.95),),
    "churn": (Target("auc", at_least=0.838, reference="central logistic regression 0.842"),),
    "housing": (Target("mse", at_most=0.30, reference="to beat: 0.4387; central MLP 0.282"),),
    "mnist": (
        Target("accuracy", at_least=0.99, reference="to beat: 0.9565"),
        Target("loss", at_most=0.035, reference="to beat: 0.1557"),
    ),
}


def run(job: str, members: int, rounds: int, seed: int, partition: str = "iid") -> Metrics:
    """Run a demo, audit included; return the metrics of its last global model. Raises what the audit finds."""
    options = demo_run.Options(
        job=job,
        members=members,
        rounds=rounds,
        seed=seed,
        ledger="embedded:ledger.sqlite",
        engine="local",
        partition=partition,
    )
    with tempfile.TemporaryDirectory() as folder:
        told = demo_run.start(options, Path(folder) / "run", lambda phase, record: None)
    return dict(told["metrics"])


def run_integers(job: str, members: int, rounds: int, seed: int, partition: str = "iid") -> Metrics:
    """The same training and the same integers, with nothing around them."""
    it = demo.get(job)
    arrays = it.initial(seed)
    layout = layout_of(arrays)
    words = quantise(arrays, layout, SCALE)
    shards = [it.shard(member, members, seed, partition) for member in range(members)]
    for number in range(1, rounds + 1):
        model = dequantise(words, layout, SCALE)
        updates, weights = [], []
        for member, shard in enumerate(shards):
            trained, examples, _ = it.train(model, shard, seed, member, number)
            updates.append(update_of(trained, words, layout, SCALE))
            weights.append(examples)
        words = next_model(words, weighted_mean(updates, weights))
    return it.evaluate(dequantise(words, layout, SCALE), it.test(seed))


def measure(job: str, seeds: list[int], partition: str, run: Run) -> list[dict[str, object]]:
    """One row for each of the job's targets."""
    it = demo.get(job)
    started = time.perf_counter()
    outcomes = [run(job, it.members, it.rounds, seed, partition) for seed in seeds]
    seconds = (time.perf_counter() - started) / len(seeds)
    rows: list[dict[str, object]] = []
    measured = conditions()
    for target in TARGETS[job]:
        values = [outcome[target.metric] for outcome in outcomes]
        median = statistics.median(values)
        rows.append(
            {
                "job": job,
                "members": it.members,
                "rounds": it.rounds,
                "partition": partition,
                "metric": target.metric,
                "median": median,
                "seeds": dict(zip(map(str, seeds), values, strict=True)),
                "target": target.at_least if target.at_least is not None else target.at_most,
                "met": target.is_met(median),
                "reference": target.reference,
                "seconds_per_run": round(seconds, 2),
                "measured": measured,
            }
        )
    return rows


def table(rows: list[dict[str, object]]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| job | members | rounds | metric | median | each seed | target | met | stands beside | s per run | measured |",
        "|---|---:|---:|---|---:|---|---:|---|---|---:|---|",
    ]
    for row in rows:
        seeds = row["seeds"]
        assert isinstance(seeds, dict)
        each = ", ".join(f"{seed}: {value:.4f}" for seed, value in seeds.items())
        lines.append(
            f"| {row['job']} | {row['members']} | {row['rounds']} | {row['metric']} | {row['median']:.4f} | {each} "
            f"| {row['target']} | {'yes' if row['met'] else 'NO'} | {row['reference']} | {row['seconds_per_run']} | {when(row)} |"
        )
    return "\n".join(lines)


def when(row: dict[str, Any]) -> str:
    """When a row was measured: those of jobs not asked for are kept from an earlier run, which the last line is not about."""
    return str(row.get("measured", {}).get("date", "earlier; conditions not recorded"))


def figure(row: dict[str, Any]) -> Figure:
    """A row's line in the index."""
    target = next(each for each in TARGETS[row["job"]] if each.metric == row["metric"])
    sign = "≥" if target.at_least is not None else "≤"
    what = f"{row['job']}, held-out {row['metric']}, median of {len(row['seeds'])} seeds"
    if not row.get("measured"):
        what += " (kept from an earlier run; conditions not recorded)"
    elif any(row["measured"][key] != now for key, now in conditions().items()):
        what += f" (kept from {row['measured']['date']})"
    return Figure(what, f"{row['median']:.4f}", f"{sign} {row['target']}", row["met"])


def main() -> int:
    """Measure the named jobs, keeping the rows of the others; 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("jobs", nargs="*", default=[], help="jobs to measure (all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--partition", default="iid")
    parser.add_argument("--integers", action="store_true", help="without Flower, ledger and store")
    parser.add_argument("--dry", action="store_true", help="print only, write nothing")
    parser.add_argument("--quick", action="store_true", help="the first seed only")
    chosen = parser.parse_args()
    seeds = chosen.seeds[:1] if chosen.quick else chosen.seeds
    before = read("headline").get("rows", [])
    rows: list[dict[str, Any]] = []
    for job in TARGETS:
        if chosen.jobs and job not in chosen.jobs:
            rows += [row for row in before if row["job"] == job]
        else:
            way = run_integers if chosen.integers else run
            rows += measure(job, seeds, chosen.partition, way)
    if chosen.dry or chosen.integers:
        print(table(rows))
        return 0 if all(row["met"] for row in rows) else 1
    about = (
        "Whole demo runs (Flower in process, every update committed on an embedded EVM, audited at the end), scored on "
        "data that no member trained on. The last line tells of the jobs measured in the last run"
        + (
            f" ({', '.join(chosen.jobs)}); the others' rows are kept from earlier ones."
            if chosen.jobs
            else ": all of them."
        )
    )
    quick = any(len(row["seeds"]) == 1 for row in rows)
    figures = [figure(row) for row in rows]
    return int(not save("headline", "Headline results", about, table(rows), rows, figures, quick))


if __name__ == "__main__":
    raise SystemExit(main())
