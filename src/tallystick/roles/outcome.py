"""What becomes of replies and rounds."""

from __future__ import annotations

from dataclasses import dataclass

from ..protocol import Reason
from ..sumtree import Entry


class Rejected(Exception):
    """A reply that does not count, and why."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason.name.lower()}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Exclusion:
    """A member (20 bytes), or a node that is no member (empty), left out of a round.

    `recorded` says whether the ledger holds the exclusion; it can only exclude who committed.
    """

    member: bytes
    node: int | None
    reason: Reason
    detail: str
    recorded: bool


@dataclass(frozen=True)
class Closed:
    """What a round came to."""

    number: int
    parent: int
    height: int
    entries: tuple[Entry, ...]
    exclusions: tuple[Exclusion, ...]
    sum_root: bytes
    next_root: bytes
    batch_root: bytes = b""
    """Of the batch that the proposal adopted; empty without one."""
