"""Ship what the sources compile to: write `src/tallystick/ledger/abi/Ledger.json`, or `--check` that it is the same.

Needs a `forge build` before. The contract is compiled without metadata, so its bytecode depends on sources and settings alone.
"""

from __future__ import annotations

import json
import sys
from hashlib import sha256
from pathlib import Path

CONTRACTS = Path(__file__).resolve().parent.parent
SHIPPED = CONTRACTS.parent / "src" / "tallystick" / "ledger" / "abi" / "Ledger.json"


def compiled() -> str:
    """The shipped file's text, from forge's output."""
    try:
        built = json.loads((CONTRACTS / "out" / "Ledger.sol" / "Ledger.json").read_text())
    except FileNotFoundError:
        sys.exit("contracts/out is empty. Run forge build first (make contracts does).")
    # The ledger passes on what its referee reverts with, so its ABI has the referee's errors too.
    referee = json.loads((CONTRACTS / "out" / "Referee.sol" / "Referee.json").read_text())
    known = {item["name"] for item in built["abi"] if item["type"] == "error"}
    passed_on = [
        item for item in referee["abi"] if item["type"] == "error" and item["name"] not in known
    ]
    sources = sorted((CONTRACTS / "src").rglob("*.sol"))
    digest = sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    artifact = {
        "contract": "Ledger",
        "sources_sha256": digest,
        "abi": built["abi"] + passed_on,
        "bytecode": built["bytecode"]["object"],
    }
    return json.dumps(artifact, indent=1, sort_keys=True) + "\n"


def main() -> int:
    """Write, or compare and exit 1 on a difference."""
    text = compiled()
    if "--check" in sys.argv:
        same = SHIPPED.exists() and SHIPPED.read_text() == text
        print(
            f"{SHIPPED.name}: "
            + (
                "is what the sources compile to"
                if same
                else "DIFFERS from the sources; run make contracts-write"
            )
        )
        return int(not same)
    SHIPPED.parent.mkdir(parents=True, exist_ok=True)
    SHIPPED.write_text(text)
    print(f"wrote {SHIPPED.name}, {len(text)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
