"""Rounds without a server: members that share nothing but a ledger and a store, and take turns to aggregate.

Whatever is due next follows from the ledger, so that any of them can be killed, restarted or replaced at any moment: the one
whose turn it is does it, and after a while the next.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import cast

from ..encoding import Arrays, Layout, Words, dequantise
from ..errors import (
    BlobUnavailable,
    InvalidBlob,
    InvalidProposal,
    LedgerUnavailable,
    NotBonded,
    Refused,
    RootMismatch,
)
from ..ledger import Ledger, Signer, address_of
from ..protocol import Admitted, Committed, Excluded, Finalise, Phase, Refuted, Round
from ..store import Kind, Store
from . import finality
from .aggregator import Aggregator
from .participant import Participant
from .sponsor import admitted, bond
from .validator import Validator, Verdict

log = logging.getLogger("tallystick")

Train = Callable[[Arrays, int], tuple[Arrays, int]]
"""(the model's arrays, height) -> (trained arrays, number of examples)."""
Tell = Callable[[str, int], None]
"""(what was done, in which height)."""
DONE = "done"


class Peer:
    """One process of a serverless run: trains if it is given `train`, and aggregates in its turn if `bonded`.

    `own` keeps this process's updates and the models that it has recomputed; `shared` is where everybody's updates are. A turn comes
    `patience` seconds after the one before it. Nobody's aggregate is believed: each proposal is recomputed, and a false one refuted.
    `root` is the last model's, once `run` has returned.
    """

    def __init__(
        self,
        ledger: Ledger,
        own: Store,
        shared: Store,
        signer: Signer,
        task: bytes,
        train: Train | None = None,
        *,
        bonded: bool = True,
        patience: float = 5.0,
        threads: int = 1,
        tell: Tell = lambda what, height: None,
    ) -> None:
        self.ledger, self.own, self.shared, self.task = ledger, own, shared, task
        self.member = address_of(signer)
        self.parameters = ledger.task(task).parameters
        self.layout = Layout.from_json(shared.document(self.parameters.layout))
        self.validator = Validator(ledger, shared, signer, task, threads=threads, keep=own)
        self.verdicts: list[Verdict] = []
        self._signer = signer
        self._train, self._bonded, self._patience, self._tell = train, bonded, patience, tell
        self._participant = Participant(ledger, own, signer, task)
        self._boss = Aggregator(ledger, shared, signer, task, self.layout, threads=threads)
        self._due: tuple[object, float] = (None, 0.0)
        self._flaw = ""
        self.root = bytes(32)
        genesis = shared.get(self.parameters.genesis, Kind.MODEL)
        own.put(Kind.MODEL, genesis, self.parameters.leaf_words)

    def run(self, every: float = 0.5) -> None:
        """Work until the task is complete and final. Trouble with the ledger is waited out, with growing pauses."""
        pause = every
        while True:
            try:
                if self.step() == DONE:
                    return
                pause = every
            except LedgerUnavailable as error:
                pause = min(60.0, pause * 2)
                log.warning("%s Trying again in %g s.", error, pause)
            time.sleep(pause)

    def step(self) -> str | None:
        """Do the next thing that is due and say what it was; None if nothing is. Raises what the ledger and the store raise."""
        try:
            done = self._step()
        except NotBonded as refused:
            self._put_up_again(refused)
            return None
        except Refused as refused:  # Another was first; the ledger will tell what is due now.
            log.info("%s", refused)
            return None
        if done is not None and done != DONE:
            log.info("%s", done)
        return done

    def _put_up_again(self, refused: Refused) -> None:
        """Deposit again what a reorganisation took back. Who was refuted leaves aggregation to others: its money is not drained."""
        events = self.ledger.events(self.task, None)
        if any(isinstance(e, Refuted) and e.proposer == self.member for _, e in events):
            log.warning("%s This account was refuted: leaving aggregation to others.", refused)
            self._bonded = False
            return
        log.warning("%s The deposit is not on the chain any more: making it again.", refused)
        bond(self.ledger, self._signer, self.task, self.parameters.slots)

    def _step(self) -> str | None:
        self.verdicts += self.validator.watch()
        task = self.ledger.task(self.task)
        head = self.ledger.round(self.task, task.head)
        if task.pending == 0 and head.height == self.parameters.rounds:
            return self._finish(head)
        if task.pending == 0:
            return self._open(task.head, head)
        current = self.ledger.round(self.task, task.pending)
        if self._train is not None and self._may_commit(task.pending, current):
            return self._work(task.pending, current)
        return self._close(task.pending, current)

    def _finish(self, head: Round) -> str | None:
        if head.phase == Phase.FINAL:
            self.root = head.next_root
            return DONE
        for number, due in finality.unfinished(self.ledger, self.task)[:1]:
            if due.final_at <= self.ledger.now() and self._my_turn(number, due):
                self.ledger.send(self._signer, Finalise(self.task, number))
                return self._did("finalised", due.height)
        return None

    def _open(self, number: int, head: Round) -> str | None:
        if not self._my_turn(number, head):
            return None
        finality.finalise_due(self.ledger, self._signer, self.task)
        self._boss.open()
        return self._did("opened", head.height + 1)

    def _may_commit(self, number: int, current: Round) -> bool:
        if current.attempt or self.ledger.now() > current.commit_deadline:
            return False
        return self.ledger.commitment(self.task, number, self.member) is None

    def _work(self, number: int, current: Round) -> str | None:
        parent = self.ledger.round(self.task, current.parent)
        root = parent.next_root
        if not (self.own.has(root) or self._fetch(parent)):
            return None  # Its proposal could not be recomputed yet.
        base = cast(Words, self.own.get(root, Kind.MODEL))
        train = cast(Train, self._train)
        arrays, examples = train(
            dequantise(base, self.layout, self.parameters.scale), current.height
        )
        update = self._participant.update(arrays, base, self.layout)
        _, update = self._participant.commit(number, update, examples, node=0)
        self.shared.put(Kind.UPDATE, update, self.parameters.leaf_words)
        return self._did("committed", current.height)

    def _fetch(self, final: Round) -> bool:
        """Take a model that this process never recomputed, for it came late or lost its disk, from the shared store.

        Only a final one: others it judges itself. Whoever gave it, its bytes must hash to what the ledger says.
        """
        if final.phase != Phase.FINAL:
            return False
        p = self.parameters
        try:
            words = self.shared.get(final.next_root, Kind.MODEL, p.leaf_words, p.dimension)
        except (BlobUnavailable, InvalidBlob, RootMismatch) as error:
            if str(error) != self._flaw:
                log.warning("not training: the model of height %d: %s", final.height, error)
            self._flaw = str(error)
            return False
        self.own.put(Kind.MODEL, words, p.leaf_words)
        return True

    def _close(self, number: int, current: Round) -> str | None:
        """Propose once everybody has delivered, or once the time to is over; before, see that this process has."""
        members, committed = self._people(number)
        root = committed.get(self.member)
        if root is not None and not self.shared.has(root) and self.own.has(root):
            self.shared.put(
                Kind.UPDATE, self.own.get(root, Kind.UPDATE), self.parameters.leaf_words
            )
            return self._did("delivered", current.height)
        complete = len(committed) == members and all(map(self.shared.has, committed.values()))
        # Who committed in the last moment is given as long again to deliver.
        late = current.commit_deadline + self.parameters.commit_window
        if not (complete or current.attempt or self.ledger.now() > late):
            return None
        if not self._my_turn((number, current.attempt), current):
            return None
        if self._boss.recover() is None:
            self._boss.gather()
            try:
                self._boss.close()
            except InvalidProposal:
                self._boss.extend()
                return self._did("extended", current.height)
        return self._did("proposed", current.height)

    def _people(self, number: int) -> tuple[int, dict[bytes, bytes]]:
        """How many members there are who may still count, and the roots that they committed to."""
        members: set[bytes] = set()
        roots: dict[bytes, bytes] = {}
        for _, event in self.ledger.events(self.task, None):
            if isinstance(event, Admitted):
                members.add(event.member)
            elif isinstance(event, Committed) and event.round == number:
                roots[event.member] = event.root
            elif isinstance(event, Excluded) and event.round == number:
                members.discard(event.member)
                roots.pop(event.member, None)
        return len(members), roots

    def _my_turn(self, what: object, current: Round) -> bool:
        """Whether it is this process's turn to do something: others' turns before it take `patience` seconds each."""
        if not self._bonded:
            return False
        if self._due[0] != (what, current.phase):
            self._due = ((what, current.phase), time.monotonic())
        return time.monotonic() - self._due[1] >= self._place(current.height) * self._patience

    def _place(self, height: int) -> int:
        """How many turns come before this account's: members take them in order of their accounts, from another each height."""
        order = sorted(admitted(self.ledger, self.task))
        if self.member not in order:
            return 0
        return (order.index(self.member) - height) % len(order)

    def _did(self, what: str, height: int) -> str:
        self._tell(what, height)
        return f"round {height}: {what}"
