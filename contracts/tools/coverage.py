"""Fail unless lcov.info shows at least N percent of each contract's lines and branches covered: `coverage.py N`."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

LCOV = Path(__file__).resolve().parent.parent / "lcov.info"
SOURCES = (
    "src/Ledger.sol",
    "src/Referee.sol",
    "src/libraries/Fraud.sol",
    "src/libraries/Merkle.sol",
)


def main() -> int:
    """Print the figures; exit 1 if one is short or a source is missing."""
    wanted = float(sys.argv[1])
    figures: dict[str, Counter[str]] = {}
    here = Counter[str]()
    for line in LCOV.read_text().splitlines():
        key, _, value = line.partition(":")
        if key == "SF":
            here = figures.setdefault(value, Counter())
        elif key in ("LF", "LH", "BRF", "BRH"):
            here[key] += int(value)
    short = False
    for source in SOURCES:
        found = next((f for path, f in figures.items() if path.endswith(source)), Counter[str]())
        lines = 100 * found["LH"] / max(found["LF"], 1)
        # A source without a branch has none uncovered.
        branches = 100 * found["BRH"] / found["BRF"] if found["BRF"] else 100.0
        print(
            f"{source}: lines {lines:.1f}%, branches {branches:.1f}% (at least {wanted:g}% wanted)"
        )
        short = short or min(lines, branches) < wanted
    return int(short)


if __name__ == "__main__":
    sys.exit(main())
