"""An aggregator that lies, for `demo --liar` and tests: at one height it adds one step to one weight of the next model.

It goes on as if nothing were, and members train on: the false model's root is what the ledger says. Once refuted, its bond is gone,
and an honest aggregator takes over from ledger and store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .. import merkle
from ..aggregation import Combined, Readable
from ..encoding import as_bytes
from ..ledger import Signer
from ..roles.aggregator import Aggregator
from ..roles.outcome import Closed
from ..sumtree import Entry


class Liar(Aggregator):
    """Lies at `height`; `successor` holds the key of the honest one."""

    def __init__(self, *arguments: Any, height: int, successor: Signer, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._lies_at = height
        self._successor = successor

    def combine(self, entries: Sequence[Entry], updates: Sequence[Readable]) -> Combined:
        right = super().combine(entries, updates)
        if self.height != self._lies_at:
            return right
        self._lies_at = 0
        false = right.next_words.copy()
        false[false.size // 2] += 1
        root = merkle.root(as_bytes(false), 4 * self.parameters.leaf_words)
        return replace(right, next_words=false, next_root=root)

    def recover(self) -> Closed | None:
        if self.is_refuted():
            self._lies_at, self._signer = 0, self._successor
        return super().recover()
