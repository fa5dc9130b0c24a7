"""Fail unless lcov.info shows at least N percent of Ledger.sol's lines and branches covered: `coverage.py N`."""

from __future__ import annotations

import sys
from pathlib import Path

LCOV = Path(__file__).resolve().parent.parent / "lcov.info"


def main() -> int:
    """Print both figures; exit 1 if one is short."""
    wanted = float(sys.argv[1])
    figures: dict[str, int] = {}
    here = False
    for line in LCOV.read_text().splitlines():
        key, _, value = line.partition(":")
        if key == "SF":
            here = value.endswith("src/Ledger.sol")
        elif here and key in ("LF", "LH", "BRF", "BRH"):
            figures[key] = int(value)
    lines = 100 * figures["LH"] / figures["LF"]
    branches = 100 * figures["BRH"] / figures["BRF"]
    print(f"Ledger.sol: lines {lines:.1f}%, branches {branches:.1f}% (at least {wanted:g}% wanted)")
    return int(min(lines, branches) < wanted)


if __name__ == "__main__":
    sys.exit(main())
