"""Write the test vectors: `python vectors/generate.py`, or `--check` that they are what this file writes.

Everything is computed by `naive.py`, never by the package.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from bound import commitment
from hashed import blob, merkle, sum_tree
from numeric import mean, quantise
from revealed import reveal

HERE = Path(__file__).parent


FILES = {
    each.__name__: each for each in (merkle, commitment, quantise, mean, sum_tree, blob, reveal)
}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def text(name: str) -> str:
    """What vectors/NAME.json must hold: one case a line."""
    parts = []
    for key, cases in FILES[name]().items():
        rows = ",\n".join("    " + json.dumps(_plain(case), ensure_ascii=True) for case in cases)
        parts.append(f'  "{key}": [\n{rows}\n  ]')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main(arguments: list[str]) -> int:
    """Write, or check; 1 if a file differs."""
    stale = []
    for name in FILES:
        path, wanted = HERE / f"{name}.json", text(name)
        if arguments == ["--check"]:
            if not path.exists() or path.read_text("ascii") != wanted:
                stale.append(path.name)
        else:
            path.write_text(wanted, "ascii")
    if stale:
        print(f"differ from what vectors/generate.py writes: {', '.join(stale)}")
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
