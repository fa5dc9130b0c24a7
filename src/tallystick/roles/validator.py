"""The validator: recomputes every proposal, and refutes a false one in one transaction, for the bounty.

It trusts nobody and is trusted by nobody: what it does anybody can do who has an account, the ledger and the store.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np

from ..aggregation import combine, sort_roster
from ..blob import HEADER_BYTES
from ..encoding import Words
from ..errors import InvalidProof, NotProposed, NotRefuted, RoundVoid, TallystickError
from ..ledger import Ledger, Signer
from ..ledger import Receipt as Transaction
from ..ledger.author import commitment_author
from ..protocol import Admitted, Committed, Excluded, Parameters, Phase, Refuted, Round
from ..store import Kind, Store
from ..sumtree import Entry
from .batch import Batch, read_batch
from .evidence import Case, Hidden, Lie, find_false_batch, find_lie

log = logging.getLogger("tallystick")


@dataclass(frozen=True)
class Verdict:
    """What came of judging one proposal.

    `lie` is None for a right proposal; `hidden` says what could not be had to judge it. `event` and `gas` tell of the refutation,
    where this validator was the one to make it.
    """

    number: int
    height: int
    proposer: bytes
    lie: Lie | None
    hidden: str | None = None
    event: Refuted | None = None
    gas: int = 0


class Validator:
    """Judges the proposals of one task. `threads` changes speed only."""

    def __init__(
        self, ledger: Ledger, store: Store, signer: Signer, task: bytes, *, threads: int = 1
    ) -> None:
        self.ledger = ledger
        self.store = store
        self.task = task
        self.threads = threads
        self._signer = signer
        self._judged: set[tuple[int, int]] = set()

    @cached_property
    def parameters(self) -> Parameters:
        """The task's immutable parameters, from the ledger."""
        return self.ledger.task(self.task).parameters

    def watch(self, height: int | None = None) -> list[Verdict]:
        """Judge what was proposed since the last call, oldest first, and refute the first lie: what builds on it is void.

        Proposals above `height`, if given, are left for another time.
        """
        verdicts: list[Verdict] = []
        for number, current in self._proposals():
            if height is not None and current.height > height:
                break
            if (number, current.attempt) in self._judged:
                continue
            verdict = self.judge(number)
            if verdict.hidden is None:
                self._judged.add((number, current.attempt))
            verdicts.append(verdict)
            if verdict.lie is not None:
                break
        return verdicts

    def judge(self, number: int) -> Verdict:
        """Recompute the proposal of a round and refute it if it is false."""
        current = self.ledger.round(self.task, number)
        about = (number, current.height, current.proposer)
        try:
            lie = self._find(number, current)
        except Hidden as hidden:
            log.warning("round %d: cannot be judged: %s", number, hidden)
            return Verdict(*about, None, str(hidden))
        if lie is None:
            return Verdict(*about, None)
        log.warning("round %d: false: %s", number, lie.said)
        try:
            sent = self.ledger.send(self._signer, lie.call)[0]
        except (NotProposed, RoundVoid):  # Another validator was first.
            return Verdict(*about, lie)
        except (InvalidProof, NotRefuted) as refused:
            raise AssertionError(f"evidence that the ledger does not take: {refused}") from refused
        return Verdict(*about, lie, None, _refuted(sent), sent.gas)

    def _proposals(self) -> list[tuple[int, Round]]:
        """Proposed rounds of the branch that are not final, oldest first."""
        found = []
        number = self.ledger.task(self.task).head
        while number > 0:
            current = self.ledger.round(self.task, number)
            if current.phase != Phase.PROPOSED:
                break
            found.append((number, current))
            number = current.parent
        return found[::-1]

    def _find(self, number: int, current: Round) -> Lie | None:
        p = self.parameters
        members: set[bytes] = set()
        direct: dict[bytes, Entry] = {}
        excluded: set[bytes] = set()
        for _, event in self.ledger.events(self.task, None):
            if isinstance(event, Admitted):
                members.add(event.member)
            elif isinstance(event, Committed) and event.round == number:
                direct[event.member] = Entry(event.member, event.weight, event.root)
            elif isinstance(event, Excluded) and event.round == number:
                excluded.add(event.member)
        batch = self._batch(current) if current.adopted else None
        entries = dict(direct)
        if batch is not None:
            unsigned = [
                entry.member not in members
                or not 1 <= entry.weight <= p.max_weight
                or entry.member
                != commitment_author(
                    self.ledger.chain_id, self.ledger.contract, self.task, number, entry, signature
                )
                for entry, signature in zip(batch.roster, batch.signatures, strict=True)
            ]
            lie = find_false_batch(self.task, number, batch, unsigned)
            if lie is not None:
                return lie
            entries = {entry.member: entry for entry in batch.roster} | direct
        roster = sort_roster(entry for entry in entries.values() if entry.member not in excluded)
        base = self._vector(self.ledger.round(self.task, current.parent).next_root, Kind.MODEL)
        updates = [self._update(entry) for entry in roster]
        truth = combine(base, roster, updates, p.leaf_words, p.fan_in, self.threads)
        case = Case(
            self.task, number, current, p, self.store, base, roster, updates, truth,
            tuple(direct.values()), batch,
        )  # fmt: skip
        return find_lie(case)

    def _batch(self, current: Round) -> Batch:
        try:
            return read_batch(self.store, current.batch_root)
        except TallystickError as error:
            raise Hidden(f"the adopted batch is not to be had: {error}") from error

    def _vector(self, root: bytes, kind: Kind) -> Words:
        p = self.parameters
        try:
            return cast(Words, self.store.get(root, kind, p.leaf_words, p.dimension))
        except TallystickError as error:
            raise Hidden(f"{kind.name.lower()} {root.hex()} is not to be had: {error}") from error

    def _update(self, entry: Entry) -> Words:
        """An update as a memory map, hashed once."""
        self._vector(entry.root, Kind.UPDATE)
        count = self.parameters.dimension
        return np.memmap(self.store.path(entry.root), "<i4", "r", HEADER_BYTES, (count,))


def _refuted(sent: Transaction) -> Refuted | None:
    events: Sequence[object] = sent.events
    return next((event for event in events if isinstance(event, Refuted)), None)
