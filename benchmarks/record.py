"""What a benchmark leaves behind: NAME.md for people and NAME.json beside it, with the machine that it ran on."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("tallystick", "numpy", "flwr", "web3", "py-evm", "scikit-learn", "torch", "ray")


@dataclass(frozen=True)
class Figure:
    """One number that a benchmark is run for. `shown` has its unit; `met` is None where there is no target."""

    what: str
    shown: str
    target: str = ""
    met: bool | None = None


def save(
    name: str,
    title: str,
    about: str,
    table: str,
    rows: Any,
    figures: Sequence[Figure],
    quick: bool,
    options: str = "",
) -> bool:
    """Write results/NAME.md and NAME.json, print the page, and return whether every target was met.

    `about` says in a sentence what was measured, `table` is Markdown, `rows` is the same as JSON. `options` were given besides.
    """
    date, where, versions = conditions().values()
    warning = "**Quick: fewer repetitions than the full benchmark.**\n\n" if quick else ""
    page = (
        f"# {title}\n\n{warning}{about}\n\n{table.strip()}\n\n"
        f"{where}. {date}. {versions}. Written by `{command(name, quick, options)}`.\n"
    )
    kept = {
        "benchmark": name,
        "title": title,
        "command": command(name, quick, options),
        "quick": quick,
        "date": date,
        "machine": where,
        "versions": versions,
        "figures": [asdict(figure) for figure in figures],
        "rows": rows,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(kept, indent=1) + "\n")
    (RESULTS / f"{name}.md").write_text(page)
    print(page, flush=True)
    return all(figure.met is not False for figure in figures)


def read(name: str) -> dict[str, Any]:
    """What the last run of a benchmark saved; empty if it never ran."""
    try:
        found = json.loads((RESULTS / f"{name}.json").read_text())
    except FileNotFoundError:
        return {}
    return found if isinstance(found, dict) else {}


def command(name: str, quick: bool = False, options: str = "") -> str:
    """What to type to run a benchmark again."""
    return f"python -m benchmarks.{name}{' --quick' if quick else ''}{options and ' ' + options}"


def conditions() -> dict[str, str]:
    """When and on what something is measured now: `date`, `machine`, `versions`."""
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    return {"date": date, "machine": machine(), "versions": packages()}


def machine() -> str:
    """Cores, CPU and memory; nothing that tells whose machine it is."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores of {_cpu()}, {memory:.0f} GB memory, {platform.system()}"


def packages() -> str:
    """Versions of Python and of the packages that figures depend on."""
    found = [f"Python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
