"""Aggregation of 100 members x 10M words: ours, from the store and with the sum tree, against Flower's own.

`python -m benchmarks.aggregation` writes benchmarks/results/aggregation.md and aggregation.json. It needs 5 GB of disk in the
temporary folder, and as much memory, most of it for Flower.

ours     what `roles.aggregator` does when a round closes: memory maps of the stored updates, `aggregation.combine` (weighted
         mean, every partial sum hashed into the sum tree, the next model and its root).
flower   `aggregate_arrayrecords` of flwr, on the same updates as float32 in the records that its FedAvg keeps of all replies.

Each repetition is a process of its own, the kinds in turn. Loading is not timed on either side: Flower's records are in
memory, the store's files in the page cache, as both are when the last member has just replied.

Memory is counted from after the imports: `anonymous` is the peak of what the process alone holds (sampled every 10 ms),
`resident` the peak with the pages of mapped files, which the kernel takes back whenever it needs them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import table
from benchmarks.memory import Memory
from benchmarks.record import Figure, save
from tallystick import store
from tallystick.aggregation import Entry, combine
from tallystick.blob import HEADER_BYTES
from tallystick.encoding import default_fan_in, default_leaf_words
from tallystick.store import Kind

MEMBERS, SIZE, TENSORS, SCALE = 100, 10_000_000, 10, 24
MEMORY_TARGET = 0.5e9
Case = dict[str, Any]


def prepare(folder: Path, members: int, size: int) -> list[tuple[str, int]]:
    """Store every member's update; return root and weight of each."""
    kept, roster = store.open(str(folder)), []
    for member in range(members):
        random = np.random.default_rng([3, member])
        update = random.integers(-(2**20), 2**20, size, np.int32)
        root = kept.put(Kind.UPDATE, update, default_leaf_words(size))
        roster.append((root.hex(), int(random.integers(100, 2000))))
        if (member + 1) % 10 == 0:
            print(f"  {member + 1} of {members} updates stored", flush=True)
    return roster


def ours(folder: Path, roster: list[tuple[str, int]], case: Case) -> dict[str, float]:
    """Combine the stored updates; seconds and memory."""
    kept, size = store.open(str(folder)), case["size"]
    for root, _ in roster:
        _read(kept.path(bytes.fromhex(root)))
    base = np.zeros(size, np.int32)
    memory = Memory()
    started = time.perf_counter(), time.process_time()
    entries = [Entry(k.to_bytes(20, "big"), w, bytes.fromhex(r)) for k, (r, w) in enumerate(roster)]
    paths = [kept.path(entry.root) for entry in entries]
    updates = [np.memmap(path, "<i4", "r", HEADER_BYTES, (size,)) for path in paths]
    combine(base, entries, updates, default_leaf_words(size), case["fan_in"], case["threads"])
    return _spent(started) | memory.peaks()


def flower(folder: Path, roster: list[tuple[str, int]], case: Case) -> dict[str, float]:
    """Aggregate the same updates as flwr's FedAvg does; seconds and memory, its records included."""
    from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
    from flwr.serverapp.strategy.strategy_utils import aggregate_arrayrecords

    kept, size = store.open(str(folder)), case["size"]
    memory, records = Memory(), []
    for root, weight in roster:
        words = np.memmap(kept.path(bytes.fromhex(root)), "<i4", "r", HEADER_BYTES, (size,))
        values = words.astype(np.float32) * np.float32(2.0**-SCALE)
        parts = np.array_split(values, case["tensors"])
        arrays = ArrayRecord({f"w{k}": Array(part) for k, part in enumerate(parts)})
        metrics = MetricRecord({"num-examples": weight})
        records.append(RecordDict({"arrays": arrays, "metrics": metrics}))
        del words, values, parts
    started = time.perf_counter(), time.process_time()
    aggregate_arrayrecords(records, "num-examples")
    return _spent(started) | memory.peaks()


def _spent(started: tuple[float, float]) -> dict[str, float]:
    return {"seconds": time.perf_counter() - started[0], "cpu": time.process_time() - started[1]}


def _read(path: Path) -> None:
    """Bring a file into the page cache without mapping it."""
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 22):
            pass


def one(folder: Path, case: Case) -> dict[str, float]:
    """One measurement in a new process."""
    command = [sys.executable, "-m", "benchmarks.aggregation", "--folder", str(folder), "--case", json.dumps(case)]  # fmt: skip
    environment = {**os.environ, "FLWR_TELEMETRY_ENABLED": "0"}
    told = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found: dict[str, float] = json.loads(told.stdout.splitlines()[-1])
    return found


def cases(options: argparse.Namespace) -> list[Case]:
    """Flower twice, then ours in several settings; the first of ours is what the targets are about."""
    threads = options.threads
    size = {"size": options.size}
    usual = default_fan_in(options.size)
    other = 12 - usual
    return [
        {"name": "flwr, 1 tensor", "tensors": 1, **size},
        {"name": f"flwr, {options.tensors} tensors", "tensors": options.tensors, **size},
        {"name": f"ours, fan-in {usual}, {threads} threads", "fan_in": usual, "threads": threads, **size},
        {"name": f"ours, fan-in {usual}, 1 thread", "fan_in": usual, "threads": 1, **size},
        {"name": f"ours, fan-in {other}, {threads} threads", "fan_in": other, "threads": threads, **size},
    ]  # fmt: skip


def measure(folder: Path, options: argparse.Namespace) -> list[Case]:
    """All cases in turn, as often as asked."""
    roster = prepare(folder, options.members, options.size)
    (folder / "roster.json").write_text(json.dumps(roster))
    rows: list[Case] = [{**case, "each": []} for case in cases(options)]
    for repetition in range(2 if options.quick else options.repetitions):
        for case, row in zip(cases(options), rows, strict=True):
            found = one(folder, case)
            row["each"].append(found)
            print(
                f"  {repetition + 1}: {case['name']}: {found['seconds']:.2f} s, {found['anonymous'] / 1e9:.2f} GB",
                flush=True,
            )
    for row in rows:
        row["ratios"] = [
            statistics.median(mine["seconds"] / theirs["seconds"] for mine, theirs in zip(row["each"], other["each"], strict=True))
            for other in rows[:2]
        ]  # fmt: skip
    for row in rows:
        for name in ("seconds", "cpu", "anonymous", "resident"):
            row[name] = statistics.median(each[name] for each in row["each"])
    return rows


def main() -> int:
    """Measure, write, print; 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--members", type=int, default=MEMBERS)
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--tensors", type=int, default=TENSORS, help="Flower's tensors")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="2 repetitions")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        roster = json.loads((options.folder / "roster.json").read_text())
        kind = flower if "tensors" in options.case else ours
        print(json.dumps(kind(options.folder, roster, options.case)))
        return 0
    load = os.getloadavg()[0]
    folder = Path(tempfile.mkdtemp(prefix="tallystick-bench-"))
    try:
        rows = measure(folder, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    mine = rows[2]
    tensors = options.tensors
    lines = [
        (row["name"], f"{row['seconds']:.2f}", *(f"{ratio:.2f}" for ratio in row["ratios"]), f"{row['cpu']:.2f}",
         f"{row['anonymous'] / 1e9:.2f}", f"{row['resident'] / 1e9:.2f}")
        for row in rows
    ]  # fmt: skip
    heads = ("", "s", "of flwr, 1 tensor", f"of flwr, {tensors} tensors", "processor s", "anonymous GB", "resident GB")  # fmt: skip
    about = f"""{options.members} members x {options.size:,} words. Ours combines memory-mapped updates from the store, hashes every partial sum into
the sum tree and forms the next model with its root. flwr averages records of float32 tensors, and proves nothing; with smaller tensors its
temporaries fit the processor's cache, so it is shown with one tensor and with {tensors}. Medians of {len(mine["each"])}, each a process of its own,
in turn; ratios are medians of the ratios turn by turn. Memory is above that after the imports; resident counts mapped files too, which
are page cache and reclaimable. The fan-in decides how many partial sums are hashed (4: 35 vectors of int64 for 100 members, 8: 16),
and so most of our time. Load average {load:.1f} at the start; seconds of processor over seconds is how many cores the threads really had."""
    whole, split = mine["ratios"]
    figures = [
        Figure(f"{mine['name']}: time over flwr's, 1 tensor", f"{whole:.2f}", "< 1", whole < 1),
        Figure(f"{mine['name']}: time over flwr's, {tensors} tensors", f"{split:.2f}"),
    ]
    held = mine["anonymous"]
    figures.append(Figure(f"{mine['name']}: peak memory, mapped files apart", f"{held / 1e9:.2f} GB", "<= 0.5 GB", held <= MEMORY_TARGET))  # fmt: skip
    page = table.markdown(heads, lines)
    return int(not save("aggregation", "Aggregation", about, page, rows, figures, options.quick))


if __name__ == "__main__":
    raise SystemExit(main())
