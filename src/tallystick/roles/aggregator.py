"""The aggregator: opens rounds, checks what members send, and proposes the next model behind a bond.

It decides nothing about numbers: whoever holds the bond and the store's blobs comes to the same proposal, and can take
over between any two calls here.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import cast

import numpy as np

from .. import merkle
from ..aggregation import Combined, Readable, combine, sort_roster
from ..encoding import Layout, Words, as_bytes
from ..errors import (
    AlreadyExcluded,
    BlobUnavailable,
    InvalidBlob,
    InvalidProposal,
    LedgerUnavailable,
    ModelMismatch,
    NotCommitted,
    Reorganised,
    RootMismatch,
)
from ..ledger import Cursor, Head, Ledger, Signer
from ..ledger import Receipt as Transaction
from ..protocol import (
    DIGEST_BYTES,
    Call,
    CommitBatch,
    Committed,
    Exclude,
    Excluded,
    Open,
    Parameters,
    Phase,
    Propose,
    Proposed,
    Reason,
    Settlement,
    Void,
)
from ..store import Kind, Store
from ..sumtree import Entry
from . import finality
from .batch import Batch, Position, make_batch, roster, write_batch
from .inquiry import Inquiry
from .outcome import Closed, Exclusion, Rejected
from .receipt import Place, Receipt, Reply, reply_author, signed_by_member
from .settlement import settle_leaves
from .sponsor import admitted
from .validator import Validator
from .vectors import stored_vectors

log = logging.getLogger("tallystick")


class Aggregator:
    """A bonded aggregator of one task. Call `start`, then for each round `open`, `accept` per reply, `close`.

    `words` is the current global model (int32[d]), `number` the round being worked on and `height` how many rounds its branch has
    with it (the two differ once a proposal was refuted), `gas` what this round's own calls used,
    by their names. `threads` changes speed only.
    """

    def __init__(
        self,
        ledger: Ledger,
        store: Store,
        signer: Signer,
        task: bytes,
        layout: Layout,
        *,
        threads: int = 1,
    ) -> None:
        self.ledger = ledger
        self.store = store
        self.task = task
        self.layout = layout
        self.threads = threads
        self.number = 0
        self.height = 0
        self.words: Words = np.zeros(0, np.int32)
        self._signer = signer
        self._began: Cursor | None = None
        """A block before the round's first."""
        self._pending: list[tuple[int, int]] = []
        self._members: set[bytes] = set()
        self._inquiry = Inquiry(ledger, task)
        self._begin()

    def _begin(self) -> None:
        self._accepted: dict[bytes, Entry] = {}
        self._rejected: dict[bytes, tuple[int | None, Rejected]] = {}
        self._strangers: list[Exclusion] = []
        self._committed: dict[bytes, Entry] = {}
        self._excluded: dict[bytes, Reason] = {}
        self._signed: dict[bytes, tuple[Entry, bytes]] = {}
        self._batch = Batch((), ())
        self.gas: dict[str, int] = {}

    @cached_property
    def parameters(self) -> Parameters:
        """The task's immutable parameters, from the ledger."""
        return self.ledger.task(self.task).parameters

    def start(self, initial: Words) -> int:
        """Load the newest proposed model and return its height: 0 for a fresh task.

        `initial` (int32[d]) is the model that a fresh task starts from; its root must be the task's genesis. Raises
        `ModelMismatch` if it or the layout is another.
        """
        if self.layout.digest != self.parameters.layout:
            raise ModelMismatch(
                f"this model's layout {self.layout.digest.hex()} is not task {self.task.hex()}'s "
                f"{self.parameters.layout.hex()}. Start with the tensors that the task was created with."
            )
        head = self.ledger.task(self.task).head
        top = self.ledger.round(self.task, head)
        root = top.next_root
        if head == 0:
            found = merkle.root(as_bytes(initial), 4 * self.parameters.leaf_words)
            if found != root:
                raise ModelMismatch(
                    f"the initial model has root {found.hex()} where the task starts from {root.hex()}. "
                    "Start with the arrays that the task was created with."
                )
            self.store.put(Kind.MODEL, initial, self.parameters.leaf_words)
            self.words = initial
        else:
            self.words = self._model(root)
        self.number, self.height = head, top.height
        self._watch()
        return self.height

    def _watch(self) -> None:
        """Remember which proposals await finality."""
        unfinished = finality.unfinished(self.ledger, self.task)
        self._pending = [(number, proposal.final_at) for number, proposal in unfinished]

    def is_refuted(self) -> bool:
        """Whether a round awaits another proposal because one was refuted."""
        number = self.ledger.task(self.task).pending
        return number > 0 and self.ledger.round(self.task, number).attempt > 0

    def recover(self) -> Closed | None:
        """Where the proposal of a round was refuted, void what was built on it and propose the round again.

        The round's commitments stand, so nobody trains again for it; what came after is to be done again on its model. Returns
        None where there is nothing to recover from.
        """
        if not self.is_refuted():
            self._fall_back()
            return None
        task = self.ledger.task(self.task)
        number = task.pending
        log.warning("round %d: its proposal was refuted; proposing it again", number)
        self._void_after(number, task.opened)
        self.gather()
        closed = self.close()
        self._watch()
        return closed

    def _fall_back(self) -> None:
        """Where proposals lapsed for want of votes or proof, go back to the newest model that stands and void what was built on them."""
        task = self.ledger.task(self.task)
        if (
            self.parameters.settlement == Settlement.WINDOW
            or task.pending
            or task.head >= self.number
        ):
            return
        log.warning("round %d: lapsed; going on from round %d", self.number, task.head)
        self._void_after(task.head, task.opened)
        top = self.ledger.round(self.task, task.head)
        self.words, self.number, self.height = self._model(top.next_root), task.head, top.height
        self._watch()

    def _void_after(self, number: int, opened: int) -> None:
        for later in range(number + 1, opened + 1):
            if self.ledger.round(self.task, later).phase in (Phase.OPEN, Phase.PROPOSED):
                self._send(Void(self.task, later))

    def gather(self) -> None:
        """Take up the round that awaits a proposal with what ledger and store hold, whoever worked on it before."""
        number = self.ledger.task(self.task).pending
        current = self.ledger.round(self.task, number)
        self._begin()
        self.number, self.height = number, current.height
        self.words = self._model(self.ledger.round(self.task, current.parent).next_root)
        self._began = None
        self._sync()
        found = roster(self.ledger, self.store, self.task, number)
        self._batch = found.batch or self._batch
        p = self.parameters
        for entry in found.entries:
            with suppress(BlobUnavailable, InvalidBlob, RootMismatch):
                self.store.get(entry.root, Kind.UPDATE, p.leaf_words, p.dimension)
                self._accepted[entry.member] = entry

    def open(self) -> int:
        """Open the next round, or carry on with one that is open. Waits for finality only where all slots are full."""
        task = self.ledger.task(self.task)
        self._begin()
        if task.pending == 0:
            self.number = task.opened + 1
            self._free_slot(self.number - self.parameters.slots)
            self._began = self.ledger.head()
            self._send(Open(self.task, self.number))
        else:
            self.number = task.pending
            self._began = None
            self._sync()
            self._revive()
        self.height = self.ledger.round(self.task, self.number).height
        return self.number

    def accept(self, reply: Reply) -> Entry:
        """Check a reply and keep its update in the store, or raise `Rejected`.

        A reply without words is a batched member's first: its signed commitment is kept for `post_batch`.
        """
        receipt = reply.receipt
        place = self._place()
        self._authenticate(reply, place)
        member = receipt.member
        try:
            if receipt.task != self.task or receipt.round != self.number:
                raise Rejected(
                    Reason.STALE_ROUND,
                    f"the receipt is for round {receipt.round}, not {self.number}",
                )
            if reply.flaw is not None:
                raise reply.flaw
            entry = self._check_weight(reply)
            if reply.words is None:
                return self._accept_signature(receipt, place, entry)
            self._check_commitment(entry, place)
            if member in self._accepted:
                raise Rejected(Reason.MALFORMED, "a second update in the same round")
            self._keep(entry, reply.words)
        except Rejected as rejected:
            if member not in self._accepted:
                self._blame(member, reply.node, rejected)
            raise
        self._accepted[member] = entry
        self._rejected.pop(member, None)
        return entry

    def reject(self, node: int, reason: Reason, detail: str, member: bytes | None = None) -> None:
        """Record that nothing usable came from a node, or from the member that is known to be there."""
        if member is None:
            self._strangers.append(Exclusion(b"", node, reason, detail, False))
        elif member not in self._accepted:
            self._blame(member, node, Rejected(reason, detail))

    def post_batch(self) -> dict[bytes, Position]:
        """Post the signed commitments as one root. Returns each member's position in it, to ask for updates with.

        Where the ledger holds a batch of this round already (before a restart), that one stands.
        """
        current = self.ledger.round(self.task, self.number)
        if current.batch_count:
            found = roster(self.ledger, self.store, self.task, self.number)
            if found.batch is None:
                log.warning("round %d: not answering for its batch: %s", self.number, found.flaw)
            self._batch = found.batch or Batch((), ())
        elif self._signed:
            self._batch = make_batch(dict(self._signed.values()))
            write_batch(self.store, self._batch)
            count = len(self._batch.roster)
            self._send(CommitBatch(self.task, self.number, self._batch.root, count))
        return self._batch.positions

    def quorum_missing(self) -> int:
        """How many accepted members the round still lacks to be proposed."""
        return max(0, self.parameters.quorum - len(self._accepted))

    def close(self) -> Closed:
        """Exclude who committed and did not deliver, combine, store and propose the next model.

        Waits for the commit deadline where members have yet to commit. Raises `InvalidProposal` below the quorum: `open`
        again gives the round a new window. Where the chain is reorganised under the proposal, it is made again on what is there then.
        """
        while True:
            seen, entries = self._fix_roster()
            try:
                return self._propose(seen, entries)
            except Reorganised as refused:
                log.warning("round %d: %s", self.number, refused)

    def _fix_roster(self) -> tuple[Head, tuple[Entry, ...]]:
        """A block, and who counts as of it: whoever else committed is excluded there, and nobody can commit any more.

        All is read again from the ledger: an earlier answer may have been of blocks that a reorganisation took back.
        """
        waited = False
        while True:
            seen = self.ledger.head()
            self._sync()
            held = self._held()
            if self._exclude(held):
                continue
            entries = sort_roster(
                position.entry for member, position in held.items() if member in self._accepted
            )
            current = self.ledger.round(self.task, self.number)
            members = self.ledger.task(self.task).members
            if waited or len(entries) + current.excluded == members:
                return seen, entries
            log.info("round %d: waiting for the commit deadline", self.number)
            self.ledger.wait(current.commit_deadline + 1)
            waited = True

    def _propose(self, seen: Head, entries: tuple[Entry, ...]) -> Closed:
        if len(entries) < self.parameters.quorum:
            raise InvalidProposal()
        current = self.ledger.round(self.task, self.number)
        p = self.parameters
        # They were hashed on arrival, so they are not hashed again.
        updates = stored_vectors(self.store, [entry.root for entry in entries], p.dimension)
        result = self.combine(entries, updates)
        self.store.put(Kind.MODEL, result.next_words, p.leaf_words)
        adopted = bool(self._batch.roster)
        tops = (result.tree.root, result.next_root)
        receipts = self._send(
            Propose(self.task, self.number, len(entries), *tops, adopted, seen.number, seen.hash)
        )
        self._pending += [
            (event.round, event.final_at)
            for receipt in receipts
            for event in receipt.events
            if isinstance(event, Proposed)
        ]
        if self.parameters.settlement == Settlement.PROVEN:
            self._note(
                settle_leaves(
                    self.ledger, self._signer, self.task, self.number,
                    admitted(self.ledger, self.task), entries, self.words, updates, result.next_words,
                )
            )  # fmt: skip
        self.words = result.next_words
        return Closed(
            self.number,
            current.parent,
            current.height,
            entries,
            self._exclusions(),
            result.tree.root,
            result.next_root,
            self._batch.root if adopted else b"",
        )

    def combine(self, entries: Sequence[Entry], updates: Sequence[Readable]) -> Combined:
        """What the round comes to: whoever has its updates (int32[d] each) finds the same."""
        p = self.parameters
        return combine(self.words, entries, updates, p.leaf_words, p.fan_in, self.threads)

    def finalise_due(self) -> None:
        """Finalise every proposal that is settled, and answer what was demanded of one; waits for nothing."""
        self._answer()
        now = self.ledger.now()
        early = self.parameters.settlement != Settlement.WINDOW
        if early or (self._pending and self._pending[0][1] <= now):
            self._note(finality.finalise_due(self.ledger, self._signer, self.task))
            self._pending = [each for each in self._pending if each[1] > now]

    def _answer(self) -> None:
        """Reveal what was demanded of right proposals: whoever does not loses its bond."""
        self._inquiry.look()
        if self._inquiry.open:
            Validator(
                self.ledger, self.store, self._signer, self.task, threads=self.threads
            ).answer_all()

    def _free_slot(self, oldest: int) -> None:
        """A round's slots are used again once that round is final."""
        if self._pending and self._pending[0][0] <= oldest:
            self._note(finality.settle(self.ledger, self._signer, self.task, oldest))
            self._pending = [each for each in self._pending if each[0] > oldest]

    def _place(self) -> Place:
        return Place(self.ledger.chain_id, self.ledger.contract, self.task, self.number)

    def _send(self, *calls: Call) -> list[Transaction]:
        return self._note(self.ledger.send(self._signer, *calls))

    def _note(self, receipts: list[Transaction]) -> list[Transaction]:
        for receipt in receipts:
            name = type(receipt.call).__name__
            self.gas[name] = self.gas.get(name, 0) + receipt.gas
        return receipts

    def _sync(self) -> None:
        """Read what the ledger says of this round."""
        try:
            self._read()
        except LedgerUnavailable:
            if self._began is None:
                raise
            self._began = None  # Perhaps a reorganisation took that block back.
            self._read()

    def _read(self) -> None:
        self._committed, self._excluded = {}, {}
        for _, event in self.ledger.events(self.task, self._began):
            if isinstance(event, Committed) and event.round == self.number:
                self._committed[event.member] = Entry(event.member, event.weight, event.root)
                # Only its entry in the batch can have been excluded before, and that counts no more.
                self._excluded.pop(event.member, None)
            elif isinstance(event, Excluded) and event.round == self.number:
                self._excluded[event.member] = Reason(event.reason)

    def _revive(self) -> None:
        """Give an open round that closed without a quorum of commitments a new window."""
        current = self.ledger.round(self.task, self.number)
        if self.ledger.now() <= current.commit_deadline:
            return
        if (
            current.batch_count + len(self._committed) - len(self._excluded)
            >= self.parameters.quorum
        ):
            return
        self.extend()

    def extend(self) -> None:
        """Wait until the open round may have a new commit window, and open it again."""
        current = self.ledger.round(self.task, self.number)
        self.ledger.wait(current.commit_deadline + self.parameters.commit_window + 1)
        self._send(Open(self.task, self.number))

    def _authenticate(self, reply: Reply, place: Place) -> None:
        receipt = reply.receipt
        claimed = Place(place.chain_id, place.contract, receipt.task, receipt.round)
        if reply_author(receipt, claimed, reply.node) != receipt.member:
            detail = f"the receipt in the name of 0x{receipt.member.hex()} is not signed by it"
            named = b""
        elif not self._is_member(receipt.member):
            detail = f"0x{receipt.member.hex()} is not a member of the task"
            named = receipt.member
        else:
            return
        reason = Reason.UNKNOWN_MEMBER
        self._strangers.append(Exclusion(named, reply.node, reason, detail, False))
        raise Rejected(reason, detail)

    def _is_member(self, account: bytes) -> bool:
        """Nobody is ever unadmitted, so the ledger is asked until it says yes."""
        if account not in self._members and self.ledger.is_member(self.task, account):
            self._members.add(account)
        return account in self._members

    def _check_weight(self, reply: Reply) -> Entry:
        receipt, most = reply.receipt, self.parameters.max_weight
        if not 1 <= receipt.weight <= most or reply.examples != receipt.weight:
            raise Rejected(
                Reason.ABSURD_WEIGHT,
                f"{reply.examples!r} examples with a committed weight of {receipt.weight} (1 to {most})",
            )
        return Entry(receipt.member, receipt.weight, receipt.root)

    def _check_commitment(self, entry: Entry, place: Place) -> None:
        held = self.ledger.commitment(self.task, self.number, entry.member)
        if held == bytes(DIGEST_BYTES):
            self._sync()
            reason = self._excluded.get(entry.member, Reason.WITHHELD)
            raise Rejected(reason, "excluded from this round already")
        if held is not None:
            if held != place.digest(entry.member, entry.root, entry.weight)[:DIGEST_BYTES]:
                raise Rejected(
                    Reason.WRONG_ROOT, f"the ledger holds no commitment to {entry.root.hex()}"
                )
        elif entry.member in self._excluded:
            # Also after a restart: who excludes a member and counts it is refuted.
            raise Rejected(self._excluded[entry.member], "excluded from this round already")
        elif entry.member not in self._batch.positions:
            raise Rejected(Reason.NO_COMMITMENT, "sent an update without committing to it")
        elif self._batch.positions[entry.member].entry != entry:
            raise Rejected(
                Reason.WRONG_ROOT, f"the batch holds no commitment to {entry.root.hex()}"
            )

    def _accept_signature(self, receipt: Receipt, place: Place, entry: Entry) -> Entry:
        if not signed_by_member(receipt, place):
            raise Rejected(
                Reason.NO_COMMITMENT, "the batched commitment is not signed by its member"
            )
        if entry.member in self._signed:
            raise Rejected(Reason.MALFORMED, "a second commitment in the same round")
        self._signed[entry.member] = entry, receipt.commitment
        return entry

    def _keep(self, entry: Entry, words: Words) -> None:
        """Store an update whose words hash to the committed root."""
        try:
            self.store.put(Kind.UPDATE, words, self.parameters.leaf_words, entry.root)
        except RootMismatch as error:
            raise Rejected(Reason.WRONG_ROOT, str(error)) from None

    def _blame(self, member: bytes, node: int | None, rejected: Rejected) -> None:
        self._rejected.setdefault(member, (node, rejected))

    def _held(self) -> dict[bytes, Position]:
        """What the ledger holds of each member, as it was last read; a direct commitment counts before the batch's."""
        direct = {member: Position(entry, b"", 0, ()) for member, entry in self._committed.items()}
        return {**self._batch.positions, **direct}

    def _exclude(self, held: dict[bytes, Position]) -> bool:
        """Exclude on the ledger whoever committed to this round and is not accepted, each once. Whether there was anybody."""
        anybody = False
        for member, position in held.items():
            entry = position.entry
            if self._accepted.get(member, entry) != entry:
                # Its direct commitment came after its update, which was of the batch; the direct one counts.
                del self._accepted[member]
                detail = "committed directly to another update than the batch's"
                self._blame(member, None, Rejected(Reason.WRONG_ROOT, detail))
            if member in self._accepted or member in self._excluded:
                continue
            anybody = True
            with suppress(AlreadyExcluded, NotCommitted):  # The ledger has changed: look again.
                self._send(
                    Exclude(
                        self.task, self.number, member, entry.weight, entry.root, self._reason(member),
                        position.signature, position.index, position.path,
                    )
                )  # fmt: skip
        return anybody

    def _reason(self, member: bytes) -> Reason:
        if member in self._rejected:
            return self._rejected[member][1].reason
        return Reason.WITHHELD

    def _exclusions(self) -> tuple[Exclusion, ...]:
        found = list(self._strangers)
        for member, reason in self._excluded.items():
            node, rejected = self._rejected.get(member, (None, None))
            detail = rejected.detail if rejected else "committed, and sent no update"
            found.append(Exclusion(member, node, reason, detail, True))
        for member, (node, rejected) in self._rejected.items():
            if member not in self._excluded and member not in self._accepted:
                found.append(Exclusion(member, node, rejected.reason, rejected.detail, False))
        return tuple(sorted(found, key=lambda each: (each.member, each.node or 0)))

    def _model(self, root: bytes) -> Words:
        p = self.parameters
        words = self.store.get(root, Kind.MODEL, p.leaf_words, p.dimension)
        return cast(Words, words)
