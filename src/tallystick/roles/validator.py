"""The validator: recomputes every proposal, and refutes a false one in one transaction, for the bounty.

It trusts nobody and is trusted by nobody: what it does anybody can do who has an account, the ledger and the store.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from ..aggregation import combine
from ..encoding import Layout, Words
from ..errors import (
    BlobUnavailable,
    InvalidProof,
    NotProposed,
    NotRefuted,
    Refused,
    RoundVoid,
    TallystickError,
)
from ..fraud import UPDATE_BYTES
from ..ledger import Ledger, Signer
from ..ledger import Receipt as Transaction
from ..ledger.author import commitment_author
from ..protocol import Parameters, Phase, Refuted, Round
from ..store import Kind, Store
from ..sumtree import Entry
from .batch import Batch, rosters, standing
from .evidence import Case, Hidden, Lie, Misplaced, Truth, find_false_batch, find_lie, read_vector
from .vectors import stored_vectors

log = logging.getLogger("tallystick")


@dataclass(frozen=True)
class Verdict:
    """What came of judging one proposal.

    `lie` is None for a right proposal; `hidden` says what could not be had to judge it. `event` and `gas` tell of the refutation,
    where this validator was the one to make it. `final_at` is when the proposal may become final.
    """

    number: int
    height: int
    proposer: bytes
    final_at: int
    lie: Lie | None = None
    hidden: str | None = None
    event: Refuted | None = None
    gas: int = 0


Found = Callable[[Verdict], None]


class Validator:
    """Judges the proposals of one task. Without a `signer` it tells and sends nothing. `threads` changes speed only.

    `found`, if given, is told of a lie before its refutation is sent, so that a killed validator remembers what it saw. Right models
    are put into `keep`, if given, so that nobody who publishes a root and not its model can stop what follows from being judged.
    `keep` is a store for the models that were recomputed.
    """

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        signer: Signer | None,
        task: bytes,
        *,
        threads: int = 1,
        found: Found | None = None,
        keep: Store | None = None,
    ) -> None:
        self.ledger = ledger
        self.store = store
        self.task = task
        self.threads = threads
        self._keep = keep
        self._signer = signer
        self._found = found
        self._keep = keep
        self._judged: dict[tuple[int, Round, bytes], bool] = {}
        """Proposals with the root of the model they stand on (a chain may be reorganised): whether each is right."""

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
            key = (number, current, self.ledger.round(self.task, current.parent).next_root)
            if key not in self._judged:
                verdict = self.judge(number)
                verdicts.append(verdict)
                if verdict.hidden is not None:
                    continue
                self._judged[key] = verdict.lie is None
            if not self._judged[key]:
                break
        return verdicts

    def judge(self, number: int) -> Verdict:
        """Recompute the proposal of a round and refute it if it is false."""
        current = self.ledger.round(self.task, number)
        about = (number, current.height, current.proposer, current.final_at)
        try:
            lie = self._find(number, current)
        except Hidden as hidden:
            log.warning("round %d: cannot be judged: %s", number, hidden)
            return Verdict(*about, hidden=str(hidden))
        if lie is None:
            return Verdict(*about)
        log.warning("round %d: false: %s", number, lie.said)
        if self._found is not None:
            self._found(Verdict(*about, lie))
        if self._signer is None:
            return Verdict(*about, lie)
        try:
            sent = self.ledger.send(self._signer, lie.call)[0]
        except (InvalidProof, NotProposed, NotRefuted, RoundVoid) as refused:
            if self._stands(number, current, refused):
                raise AssertionError(
                    f"evidence that the ledger does not take: {refused}"
                ) from refused
            return Verdict(*about, lie)  # Another validator was first.
        return Verdict(*about, lie, None, _refuted(sent), sent.gas)

    def _stands(self, number: int, judged: Round, refused: Refused) -> bool:
        """Whether the ledger still holds the very proposal that was judged, and would hear of it."""
        return isinstance(refused, InvalidProof | NotRefuted) and (
            self.ledger.round(self.task, number) == judged
        )

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
        stands = standing(self.ledger, self.task, number)
        batch: Batch | None = None
        if current.adopted:
            found = find_false_batch(
                self.store,
                self.task,
                number,
                current,
                lambda entry, signature: (
                    entry.member not in stands.members
                    or not 1 <= entry.weight <= self.parameters.max_weight
                    or entry.member != self._author(number, entry, signature)
                ),
            )
            if isinstance(found, Lie):
                return found
            batch = found
        required, allowed, candidates = rosters(self.ledger, self.task, number, stands, batch)
        direct = dict(stands.direct)
        case = Case(
            self.task, number, current, self.parameters, self.store, required, allowed,
            candidates, frozenset(direct.values()), batch, self._recompute(current),
        )  # fmt: skip
        return find_lie(case)

    def _recompute(self, current: Round) -> Callable[[tuple[Entry, ...]], Truth]:
        """What rosters of a round come to, each worked out once."""
        return cache(lambda entries: self._truth(current, entries))

    def _author(self, number: int, entry: Entry, signature: bytes) -> bytes:
        ledger = self.ledger
        return commitment_author(
            ledger.chain_id, ledger.contract, self.task, number, entry, signature
        )

    def _truth(self, current: Round, entries: tuple[Entry, ...]) -> Truth:
        """What the round comes to, from memory maps. Raises `Hidden` where a vector, or any member to count, is missing."""
        if not entries:
            raise Hidden("nobody's commitment counts in this round")
        p = self.parameters
        root = self.ledger.round(self.task, current.parent).next_root
        kept = self._keep is not None and self._keep.has(root)
        base = self._vector(root, "the model", self._keep if kept else self.store)
        for entry in entries:
            self._vector(entry.root, f"the update of 0x{entry.member.hex()}")
        try:
            updates = stored_vectors(self.store, [entry.root for entry in entries], p.dimension)
            combined = combine(base, entries, updates, p.leaf_words, p.fan_in, self.threads)
        except BlobUnavailable as gone:
            raise Hidden(f"an update: {gone}") from gone
        if self._keep is not None and combined.next_root == current.next_root:
            self._keep.put(Kind.MODEL, combined.next_words, p.leaf_words)
        return Truth(p, entries, base, updates, combined)

    def _vector(self, root: bytes, name: str, store: Store | None = None) -> Words:
        p = self.parameters
        try:
            found = read_vector(store or self.store, root, UPDATE_BYTES, p.dimension, p.leaf_words)
        except Hidden as hidden:
            raise Hidden(f"{name}: {hidden}") from hidden
        if isinstance(found, Misplaced):
            raise Hidden(f"{name}: {root.hex()} is no vector of {p.dimension} words")
        return found  # type: ignore[return-value]  # int32, as it was asked for.


def tell(verdict: Verdict, ledger: Ledger, store: Store, task: bytes) -> dict[str, Any]:
    """A verdict as plain values, for people and for JSON: `verdict` is right, lie or hidden.

    `claimed` and `right` are words, in which `scale` bits are a fraction (times the weights, where a sum is false). `challenger`
    is None, and `gas` 0, where this validator refuted nothing. A layout that is not in the store leaves tensors unnamed.
    """
    lie, event = verdict.lie, verdict.event
    said: dict[str, Any] = {
        "round": verdict.height,
        "number": verdict.number,
        "proposer": "0x" + verdict.proposer.hex(),
        "verdict": "lie" if lie else "hidden" if verdict.hidden else "right",
    }
    if verdict.hidden:
        said["hidden"] = verdict.hidden
    if lie is None:
        return said
    view = ledger.task(task)
    p = view.parameters
    tensor, index, scale = "", [], 0
    if lie.word is not None:
        with suppress(TallystickError):
            layout = Layout.from_json(store.document(p.layout))
            tensor, found = layout.locate(lie.word)
            dtype = next(each.dtype for each in layout.tensors if each.name == tensor)
            index, scale = list(found), p.scale if "float" in dtype else 0
    return said | {
        "fault": type(lie.call).__name__.removeprefix("Refute").lower(),
        "said": lie.said,
        "tensor": tensor,
        "index": index,
        "leaf": None if lie.word is None else lie.word // p.leaf_words,
        "claimed": lie.claimed,
        "right": lie.right,
        "scale": scale,
        "challenger": "0x" + event.challenger.hex() if event else None,
        "bond": p.bond,
        "bounty": event.bounty if event else p.bond * p.bounty // 100,
        "gas": verdict.gas,
        "voided": view.opened - verdict.number,
    }


def _refuted(sent: Transaction) -> Refuted | None:
    return next((event for event in sent.events if isinstance(event, Refuted)), None)
