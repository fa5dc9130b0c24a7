"""What is told of a round: plain JSON values, hex without 0x, seconds, gas of whole transactions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flwr.app import MetricRecord

from ..roles.outcome import Closed
from ..roles.receipt import Receipt

Record = dict[str, Any]
"""round (its height: 1 is the first), number (on the ledger), parent (its number), model_root, sum_root, batch_root, members [{member, weight, root, status, transaction}],
excluded [{member, node, reason, detail, on_ledger}], metrics {train, evaluate_members, evaluate}, seconds {by phase, total},
gas {by call; Commit as the members told it}."""


def round_record(
    closed: Closed,
    receipts: Mapping[bytes, Receipt],
    metrics: Mapping[str, MetricRecord | None],
    seconds: Mapping[str, float],
    gas: Mapping[str, int],
) -> Record:
    """The record of a closed round. `receipts` are the members' own, by member."""
    used = dict(gas)
    commits = sum(receipts[e.member].gas for e in closed.entries if e.member in receipts)
    if commits:
        used["Commit"] = commits
    return {
        "round": closed.height,
        "number": closed.number,
        "parent": closed.parent,
        "model_root": closed.next_root.hex(),
        "sum_root": closed.sum_root.hex(),
        "batch_root": closed.batch_root.hex(),
        "members": [
            {
                "member": entry.member.hex(),
                "weight": entry.weight,
                "root": entry.root.hex(),
                "status": "counted",
                "transaction": receipts[entry.member].transaction.hex()
                if entry.member in receipts
                else "",
            }
            for entry in closed.entries
        ],
        "excluded": [
            {
                "member": each.member.hex(),
                "node": each.node,
                "reason": each.reason.name.lower(),
                "detail": each.detail,
                "on_ledger": each.recorded,
            }
            for each in closed.exclusions
        ],
        "metrics": {name: dict(found) for name, found in metrics.items() if found is not None},
        "seconds": {name: round(value, 6) for name, value in seconds.items()},
        "gas": used,
    }
