"""Every benchmark in turn, each in a process of its own: `python -m benchmarks [--only NAME ...] [--quick]`.

One that fails does not stop the others. Ends with an index in benchmarks/results/README.md, and with exit code 1 if
one failed or missed its target, naming which.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from .record import RESULTS, command, read

NAMES = ("gas", "challenge", "commit", "aggregation", "round_time", "scale", "headline")
ROOT = Path(__file__).parent.parent


def run(name: str, quick: bool) -> str:
    """Run one and say what was wrong, or nothing."""
    kept = RESULTS / f"{name}.json"
    before = kept.stat().st_mtime_ns if kept.exists() else 0
    asked = [sys.executable, "-m", f"benchmarks.{name}", *(["--quick"] if quick else [])]
    code = subprocess.run(asked, cwd=ROOT, check=False).returncode
    if not kept.exists() or kept.stat().st_mtime_ns == before:
        return f"failed (exit {code}, nothing saved)"
    missed = [figure for figure in read(name).get("figures", []) if figure["met"] is False]
    if missed:
        said = "; ".join(
            f"{each['what']}: {each['shown']}, not {each['target']}" for each in missed
        )
        return f"missed its target ({said})"
    return f"failed (exit {code})" if code else ""


def index() -> str:
    """The table of what was last measured."""
    lines = [
        "# Results",
        "",
        "`make bench` measures all of this again; `python -m benchmarks --only NAME` some of it.",
        "",
        "| benchmark | command | figure | measured | target | met |",
        "| --- | --- | --- | ---: | ---: | --- |",
    ]
    runs = ["", "| benchmark | date | machine | versions |", "| --- | --- | --- | --- |"]
    for name in NAMES:
        found = read(name)
        if "figures" not in found:
            lines.append(f"| {name} | `{command(name)}` | not measured yet | | | |")
            continue
        lines += [_row(name, found, figure) for figure in found["figures"]]
        quick = " (quick)" if found["quick"] else ""
        runs.append(
            f"| [{name}]({name}.md) | {found['date']}{quick} | {found['machine']} | {found['versions']} |"
        )
    return "\n".join(lines + runs) + "\n"


def _row(name: str, found: dict[str, Any], figure: dict[str, Any]) -> str:
    met = {True: "yes", False: "NO", None: ""}[figure["met"]]
    return (
        f"| [{name}]({name}.md) | `{found['command']}` | {figure['what']} | {figure['shown']} "
        f"| {figure['target']} | {met} |"
    )


def main() -> int:
    """Run what was asked for; 1 if anything failed or missed its target."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions; results say so")
    asked = parser.parse_args()
    wrong = {}
    for place, name in enumerate(asked.only, 1):
        print(f"[{place}/{len(asked.only)}] {name}", flush=True)
        began = time.perf_counter()
        said = run(name, asked.quick)
        print(
            f"[{place}/{len(asked.only)}] {name}: {said or 'done'}, {time.perf_counter() - began:.0f} s",
            flush=True,
        )
        if said:
            wrong[name] = said
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "README.md").write_text(index())
    print(f"index in {(RESULTS / 'README.md').relative_to(ROOT)}")
    for name, said in wrong.items():
        print(f"{name} {said}", file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
