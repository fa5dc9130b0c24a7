"""How fast a member commits: quantise, leaf hashes and Merkle root of 10M float32, on one core.

`python -m benchmarks.commit` writes benchmarks/results/commit.md and commit.json. Rates are GB of float32 a second, medians
of wall time after one repetition that warms up. The rate by processor time stands beside, for machines that others share.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from hashlib import sha256

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import table
from benchmarks.record import Figure, save
from tallystick import merkle
from tallystick.encoding import as_bytes, default_leaf_words, layout_of, quantise

SIZE = 10_000_000
SCALE = 24
TARGET = 0.6


def one_core() -> None:
    """Keep this process, and the libraries' threads, on one core."""
    threadpool_limits(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def measure(size: int, repetitions: int) -> list[dict[str, float]]:
    """Wall and processor seconds of every phase, and of the whole, in each repetition."""
    values = np.random.default_rng(1).standard_normal(size, np.float32) * np.float32(0.05)
    arrays = {"w": values}
    layout, leaf_bytes = layout_of(arrays), 4 * default_leaf_words(size)
    rows = []
    for number in range(repetitions + 1):
        clock = [(time.perf_counter(), time.process_time())]
        words = quantise(arrays, layout, SCALE)
        clock.append((time.perf_counter(), time.process_time()))
        hashes = merkle.leaf_hashes(as_bytes(words), leaf_bytes)
        clock.append((time.perf_counter(), time.process_time()))
        merkle.root_of(hashes)
        clock.append((time.perf_counter(), time.process_time()))
        row = {}
        spans = {"quantise": (0, 1), "leaf hashes": (1, 2), "root": (2, 3), "commit": (0, 3)}
        for name, (start, stop) in spans.items():
            row[name] = clock[stop][0] - clock[start][0]
            row[f"{name}, cpu"] = clock[stop][1] - clock[start][1]
        print(f"{number or 'warm-up'}: {row['commit']:.4f} s", flush=True)
        rows.append(row)
    return rows[1:]


def raw_hash_rate(size: int) -> float:
    """GB/s of SHA-256 over one long buffer: the bound for any tree."""
    data = bytes(4 * size)
    started = time.perf_counter()
    sha256(data).digest()
    return len(data) / (time.perf_counter() - started) / 1e9


def main() -> int:
    """Measure, write, print; 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="3 repetitions")
    options = parser.parse_args()
    one_core()
    rows = measure(options.size, 3 if options.quick else options.repetitions)
    medians = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    rates = {name: 4 * options.size / seconds / 1e9 for name, seconds in medians.items()}
    phases = ("quantise", "leaf hashes", "root", "commit")
    lines = [
        (f"**{name}**" if name == "commit" else name, f"{medians[name] * 1000:.1f}", f"{rates[name]:.2f}", f"{rates[f'{name}, cpu']:.2f}")
        for name in phases
    ]  # fmt: skip
    about = (
        f"What a member does to {options.size:,} float32 before it can commit, on one core. Medians of {len(rows)}. "
        f"SHA-256 of one long buffer, the bound: {raw_hash_rate(options.size):.2f} GB/s."
    )
    found = rates["commit"]
    figure = Figure("commit of 10M float32 on one core", f"{found:.2f} GB/s", f">= {TARGET} GB/s", found >= TARGET)  # fmt: skip
    page = table.markdown(("phase", "ms", "GB/s", "GB/s of processor time"), lines)
    return int(not save("commit", "Commit", about, page, rows, [figure], options.quick))


if __name__ == "__main__":
    raise SystemExit(main())
