"""The validator: recomputes every proposal, and refutes a false one in one transaction, for the bounty.

It trusts nobody and is trusted by nobody: what it does anybody can do who has an account, the ledger and the store.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

from ..aggregation import combine
from ..encoding import Layout, Words
from ..errors import (
    AlreadyDemanded,
    InvalidProof,
    NotDemanded,
    NotProposed,
    NotRefuted,
    Refused,
    RoundVoid,
    TallystickError,
    WindowPassed,
)
from ..fraud import DOCUMENT, NODE, UPDATE_BYTES, Sought, Vector, pieces
from ..ledger import Ledger, Signer, address_of
from ..ledger import Receipt as Transaction
from ..ledger.author import commitment_author
from ..protocol import (
    Attest,
    Call,
    Demand,
    Deposit,
    Expire,
    Parameters,
    Phase,
    Refuted,
    Reveal,
    Round,
    Settlement,
    Slash,
    Witness,
)
from ..store import Kind, Store
from ..sumtree import Entry
from .batch import Batch, read_batch, rosters, standing
from .evidence import (
    Case,
    Lie,
    Misplaced,
    Truth,
    answer_of,
    find_false_batch,
    find_lie,
    read_vector,
)
from .inquiry import Hidden, Inquiry, Key

log = logging.getLogger("tallystick")


@dataclass(frozen=True)
class Verdict:
    """What came of judging one proposal.

    `lie` is None for a right proposal; `hidden` says what could not be had to judge it, `demanded` how many pieces of it were asked for
    on the ledger. `event` and `gas` tell of the refutation,
    where this validator was the one to make it. `final_at` is when the proposal may become final.
    """

    number: int
    height: int
    proposer: bytes
    final_at: int
    lie: Lie | None = None
    hidden: str | None = None
    demanded: int = 0
    event: Refuted | None = None
    gas: int = 0


Found = Callable[[Verdict], None]
Judged = tuple[int, int, int, bytes, bytes, bool, bytes]
"""Round, attempt, count, sum root, next root, whether it adopts the batch, root of the model it stands on."""


class Validator:
    """Judges the proposals of one task, and does what follows. Without a `signer` it tells and sends nothing. `threads` changes speed only.

    What is false it refutes. What it cannot see it demands, and if nobody reveals it, strikes out. For what is right it answers with its
    stake, if it has one, and answers others' demands. Whoever attested a lie it slashes, and it witnesses withheld updates.

    `found`, if given, is told of a lie before its refutation is sent, so that a killed validator remembers what it saw. Right models
    are put into `keep`, if given, so that nobody who publishes a root and not its model can stop what follows from being judged.
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
        self.inquiry = Inquiry(ledger, task)
        self._keep = keep
        self._signer = signer
        self._found = found
        self._judged: dict[Judged, bool] = {}
        """Whether each proposal is right."""
        self._answered: set[tuple[int, Key]] = set()
        self._attested: set[Judged] = set()

    @cached_property
    def parameters(self) -> Parameters:
        """The task's immutable parameters, from the ledger."""
        return self.ledger.task(self.task).parameters

    def watch(self, height: int | None = None) -> list[Verdict]:
        """Judge what was proposed since the last call, oldest first, and refute the first lie: what builds on it is void.

        Proposals above `height`, if given, are left for another time. Then see to votes, demands and reports.
        """
        self.inquiry.look()
        verdicts: list[Verdict] = []
        right: list[tuple[int, Round, Judged]] = []
        for number, current in self._proposals():
            if height is not None and current.height > height:
                break
            about = self._about(number, current)
            if about not in self._judged:
                verdict = self.judge(number)
                verdicts.append(verdict)
                if verdict.hidden is not None:
                    continue
                self._judged[about] = verdict.lie is None
            if not self._judged[about]:
                break
            right.append((number, current, about))
        if self._signer is not None:
            self._see_to(right)
        return verdicts

    def judge(self, number: int) -> Verdict:
        """Recompute the proposal of a round and refute it if it is false."""
        current = self.ledger.round(self.task, number)
        about = (number, current.height, current.proposer, current.final_at)
        try:
            lie = self._find(number, current)
        except Hidden as hidden:
            late = self._unanswered(number, current, hidden)
            if late is None:
                log.warning("round %d: cannot be judged: %s", number, hidden)
                return Verdict(*about, hidden=str(hidden), demanded=self._demand(number, hidden))
            lie = late
        if lie is None:
            return Verdict(*about)
        log.warning("round %d: false: %s", number, lie.said)
        if self._found is not None:
            self._found(Verdict(*about, lie))
        if self._signer is None:
            return Verdict(*about, lie)
        try:
            sent = self.ledger.send(self._signer, lie.call)[0]
        except (InvalidProof, NotProposed, NotRefuted, RoundVoid, NotDemanded) as refused:
            if self._stands(number, current, refused):
                raise AssertionError(
                    f"evidence that the ledger does not take: {refused}"
                ) from refused
            return Verdict(*about, lie)  # Another validator was first.
        return Verdict(*about, lie, None, event=_refuted(sent), gas=sent.gas)

    def _about(self, number: int, current: Round) -> Judged:
        """What a judgement is about: the proposal, and the root of the model it stands on (a chain may be reorganised)."""
        parent = self.ledger.round(self.task, current.parent).next_root
        claimed = current.attempt, current.count, current.sum_root, current.next_root
        return number, *claimed, current.adopted, parent

    def _stands(self, number: int, judged: Round, refused: Refused) -> bool:
        """Whether the ledger still holds the very proposal that was judged, and would hear of it."""
        now = self.ledger.round(self.task, number)
        return isinstance(refused, InvalidProof | NotRefuted) and (
            replace(now, final_at=0) == replace(judged, final_at=0)
        )

    def _proposals(self) -> list[tuple[int, Round]]:
        """Rounds of the branch whose proposers' bonds can still be lost, oldest first."""
        found = []
        early = self.parameters.settlement != Settlement.WINDOW
        number = self.ledger.task(self.task).head
        while number > 0:
            current = self.ledger.round(self.task, number)
            final = current.phase == Phase.FINAL
            if final and not (early and self.ledger.ballot(self.task, number).bonded):
                break
            if final or current.phase == Phase.PROPOSED:
                found.append((number, current))
            number = current.parent
        return found[::-1]

    def _find(self, number: int, current: Round) -> Lie | None:
        found = self._case(number, current)
        return found if isinstance(found, Lie) else find_lie(found)

    def _case(self, number: int, current: Round) -> Case | Lie:
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
                self.inquiry.revealed,
            )
            if isinstance(found, Lie):
                return found
            batch = found
        required, allowed, candidates = rosters(self.ledger, self.task, number, stands, batch)
        direct = dict(stands.direct)
        return Case(
            self.task, number, current, self.parameters, self.store, required, allowed,
            candidates, frozenset(direct.values()), batch, self.inquiry.revealed,
            self._recompute(current),
        )  # fmt: skip

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
        updates = [
            self._vector(entry.root, f"the update of 0x{entry.member.hex()}") for entry in entries
        ]
        combined = combine(base, entries, updates, p.leaf_words, p.fan_in, self.threads)
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

    def _key(self, current: Round, sought: Sought) -> Key:
        """What the ledger calls a demand."""
        if sought.vector == Vector.TREE:
            return sought.digest, DOCUMENT if sought.path else NODE
        p = self.parameters
        batched = sought.vector == Vector.BATCH
        leaves = current.batch_count if batched else -(-p.dimension // p.leaf_words)
        return sought.digest, pieces(leaves, sought.height, sought.position)

    def _unanswered(self, number: int, current: Round, hidden: Hidden) -> Lie | None:
        """What strikes out a proposal, if something of it was demanded and the time to reveal it has passed."""
        now = self.ledger.now()
        for sought in hidden.sought:
            key = self._key(current, sought)
            demanded = self.inquiry.open.get((number, key))
            if demanded is not None and now > demanded.deadline:
                said = f"nobody revealed what it commits to: {sought.digest.hex()}"
                return Lie(Expire(self.task, number, *key), said)
        return None

    def _demand(self, number: int, hidden: Hidden) -> int:
        """Ask for what is hidden, unless somebody has; return how much of it is waited for."""
        if self._signer is None:
            return 0
        current = self.ledger.round(self.task, number)
        waiting = 0
        for sought in hidden.sought:
            if (number, self._key(current, sought)) not in self.inquiry.open:
                fee = self.parameters.reveal_fee
                missing = fee - self.ledger.balance(address_of(self._signer)).free
                if missing > 0:
                    self.ledger.send(self._signer, Deposit(missing))
                try:
                    self.ledger.send(self._signer, Demand(self.task, number, sought))
                except (AlreadyDemanded, NotProposed, RoundVoid, WindowPassed) as refused:
                    log.info("round %d: %s", number, refused)
                    continue
            waiting += 1
        return waiting

    def _see_to(self, right: list[tuple[int, Round, Judged]]) -> None:
        """Votes for what is right, answers to what was demanded of it, and what the guilty and the silent owe."""
        me = address_of(self._signer) if self._signer else b""
        self.inquiry.look()
        for number, current, _ in right:
            for key in [key for (of, key) in self.inquiry.open if of == number]:
                if (number, key) not in self._answered:
                    self._answered.add((number, key))
                    self._answer(number, current, key)
        new = [each for each in right if each[2] not in self._attested]
        if new or self.inquiry.withheld:
            held = self.ledger.standing(self.task, me)
            for number, current, about in new:
                self._attested.add(about)
                if held.weight and held.since < number and current.phase == Phase.PROPOSED:
                    self._try(Attest(self.task, number, current.sum_root, current.next_root))
            for (number, member), deadline in list(self.inquiry.withheld.items()):
                if not held.weight or held.since >= number or self._is_there(number, member):
                    del self.inquiry.withheld[number, member]
                elif self.ledger.now() > deadline:
                    self._try(Witness(self.task, number, member))
                    del self.inquiry.withheld[number, member]
        for number, account in list(self.inquiry.guilty):
            self.inquiry.guilty.discard((number, account))
            self._try(Slash(self.task, number, account))
        for (number, key), demanded in list(self.inquiry.open.items()):
            stale = not self.ledger.ballot(self.task, number).bonded
            if demanded.demander == me and stale:  # Its fee comes back.
                self._try(Expire(self.task, number, *key))

    def _answer(self, number: int, current: Round, key: Key) -> None:
        case = self._case(number, current)
        if isinstance(case, Lie):
            return
        data = answer_of(case, key)
        if data is not None:
            self._try(Reveal(self.task, number, *key, data))

    def _is_there(self, number: int, member: bytes) -> bool:
        """Whether a member's update can be had, or was never promised by it."""
        stands = standing(self.ledger, self.task, number)
        entry = stands.direct.get(member)
        current = self.ledger.round(self.task, number)
        if entry is None and current.batch_count:
            try:
                position = read_batch(self.store, current.batch_root).positions.get(member)
            except TallystickError:
                position = None
            if position is not None and member == self._author(
                number, position.entry, position.signature
            ):
                entry = position.entry
        if entry is None:
            return True
        try:
            self._vector(entry.root, "an update")
        except Hidden:
            return False
        return True

    def _try(self, call: Call) -> bool:
        """Send what another may have been first to send, or what is not due any more."""
        assert self._signer is not None
        try:
            self.ledger.send(self._signer, call)
        except Refused as refused:
            log.info("%s: %s", type(call).__name__, refused)
            return False
        return True


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
        said |= {"hidden": verdict.hidden, "demanded": verdict.demanded}
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
        "fault": "hidden"
        if isinstance(lie.call, Expire)
        else type(lie.call).__name__.removeprefix("Refute").lower(),
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
