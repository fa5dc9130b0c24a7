"""The same rounds with the ledger off: what verifiability costs is measured against this."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..aggregation import MAX_TOTAL_WEIGHT, next_model
from ..encoding import Words
from ..errors import InvalidParameter
from ..protocol import Reason
from ..sumtree import Entry
from .outcome import Closed, Exclusion, Rejected
from .receipt import Reply


class Unledgered:
    """Sums updates as they come; takes every sender's word. The same bits as with a ledger, and no receipts."""

    def __init__(self) -> None:
        self.number = self.height = 0
        self.words: Words = np.zeros(0, np.int32)
        self.gas: dict[str, int] = {}
        self._begin()

    def _begin(self) -> None:
        self._entries: list[Entry] = []
        self._exclusions: list[Exclusion] = []
        self._sums: NDArray[np.int64] | None = None

    def start(self, initial: Words) -> int:
        self.words = initial
        return 0

    def open(self) -> int:
        self._begin()
        self.number = self.height = self.number + 1
        return self.number

    def recover(self) -> None:
        """Nothing is refuted where nothing is claimed."""

    def accept(self, reply: Reply) -> Entry:
        receipt = reply.receipt
        if receipt.round != self.number:
            raise self._rejected(reply, Rejected(Reason.STALE_ROUND, f"round {receipt.round}"))
        if reply.flaw is not None or reply.words is None:
            raise self._rejected(reply, reply.flaw or Rejected(Reason.WRONG_KEYS, "no update"))
        entry = Entry(receipt.member, receipt.weight, bytes(32))
        total = sum(each.weight for each in self._entries) + entry.weight
        if entry.weight != reply.examples or entry.weight < 1 or total > MAX_TOTAL_WEIGHT:
            raise self._rejected(reply, Rejected(Reason.ABSURD_WEIGHT, f"{reply.examples!r}"))
        if self._sums is None:
            self._sums = np.zeros(self.words.shape, np.int64)
        self._sums += reply.words * np.int64(entry.weight)
        self._entries.append(entry)
        return entry

    def reject(self, node: int, reason: Reason, detail: str, member: bytes | None = None) -> None:
        self._exclusions.append(Exclusion(member or b"", node, reason, detail, False))

    def quorum_missing(self) -> int:
        return 0 if self._entries else 1

    def extend(self) -> None:
        """Nothing closes, so nothing needs to be opened again."""

    def close(self) -> Closed:
        if self._sums is None:
            raise InvalidParameter("no member sent an update. Look at the members' logs.")
        total = sum(entry.weight for entry in self._entries)
        self.words = next_model(self.words, (self._sums + total // 2) // total)
        entries = tuple(sorted(self._entries, key=lambda entry: entry.member))
        exclusions = tuple(self._exclusions)
        return Closed(self.number, self.number - 1, self.number, entries, exclusions, b"", b"")

    def finalise_due(self) -> None:
        """Nothing waits for finality."""

    def _rejected(self, reply: Reply, rejected: Rejected) -> Rejected:
        self.reject(reply.node, rejected.reason, rejected.detail)
        return rejected
