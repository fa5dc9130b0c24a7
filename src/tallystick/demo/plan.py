"""Everything that an engine's processes need to know of a demo run, in one value that travels as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

from flwr.app import Context

from ..errors import InvalidParameter

HOSTILE = (
    "wrong_root",
    "wrong_keys",
    "nan",
    "absurd_weight",
    "stale_round",
    "unknown_member",
    "withhold",
)
"""Kinds of cheating members; `demo.hostile` says what each does."""


def role(kind: str | None) -> str:
    """Under which role of demo keys a member signs: one that the sponsor never admitted, if that is how it cheats."""
    return "stranger" if kind == "unknown_member" else "member"


@dataclass(frozen=True)
class Plan:
    """A demo run. `ledger` is a URL or "off", `task` its hex id, `recorded` the last round already told of.

    `liar` is the height at which the aggregator lies (0: never). `hostile` maps a member's index (from 0) to a kind of `HOSTILE`. Keys are demo keys of `seed`: worthless, and known to all.
    """

    job: str
    members: int
    rounds: int
    seed: int
    ledger: str
    store: str
    task: str
    partition: str = "iid"
    batched: bool = False
    threads: int = 1
    hostile: Mapping[int, str] = field(default_factory=dict)
    recorded: int = 0
    liar: int = 0
    timeout: float = 3600.0

    def __post_init__(self) -> None:
        for index, kind in self.hostile.items():
            if kind not in HOSTILE or not 0 <= index < self.members:
                raise InvalidParameter(
                    f"no hostile member {index}:{kind}. Use an index below {self.members} and one of {', '.join(HOSTILE)}."
                )
        if self.hostile and self.ledger == "off":
            raise InvalidParameter("without a ledger nobody could tell who is hostile. Use one.")

    def to_json(self) -> str:
        """As text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Read `to_json`'s text."""
        values = json.loads(text)
        values["hostile"] = {int(index): kind for index, kind in values["hostile"].items()}
        return cls(**values)


PlanOf = Callable[[Context], Plan]
"""Where an app finds its plan: baked in, or in the run's configuration."""
