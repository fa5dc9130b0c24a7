"""The aggregator: opens rounds, checks what members send, and proposes the next model behind a bond.

It decides nothing about numbers: whoever holds the bond and the store's blobs comes to the same proposal, and can take
over between any two calls here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

import numpy as np

from .. import merkle
from ..aggregation import Entry, combine, sort_roster
from ..blob import HEADER_BYTES
from ..commitment import entry_bytes
from ..encoding import Layout, Words, as_bytes
from ..errors import InvalidParameter, InvalidProposal, ModelMismatch, Refused
from ..ledger import Cursor, Ledger, Signer
from ..ledger import Receipt as Transaction
from ..protocol import (
    DIGEST_BYTES,
    CommitBatch,
    Committed,
    Exclude,
    Excluded,
    Finalise,
    Open,
    Parameters,
    Phase,
    Propose,
    Reason,
    Round,
)
from ..store import Kind, Store
from .receipt import Place, Receipt, Reply, commitment_author, reply_author

log = logging.getLogger("tallystick")

ENTRY_LEAF = 56
"""A batch's document has one roster entry per leaf, so that its blob is named by the batch root itself."""


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


@dataclass
class Closed:
    """What a round came to."""

    number: int
    parent: int
    entries: tuple[Entry, ...]
    exclusions: tuple[Exclusion, ...]
    sum_root: bytes
    next_root: bytes
    batch_root: bytes = b""
    signatures: bytes = b""
    """Root of the document of EIP-712 signatures (65 bytes each, in the batch's order); empty without a batch."""
    gas: dict[str, int] = field(default_factory=dict)
    transactions: list[bytes] = field(default_factory=list)


class Aggregator:
    """A bonded aggregator of one task. Call `start`, then for each round `open`, `accept` per reply, `close`.

    `words` is the current global model (int32[d]), `number` the round being worked on. `threads` changes speed only.
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
        self.words: Words = np.zeros(0, np.int32)
        self._signer = signer
        self._cursor: Cursor | None = None
        self._begin()

    def _begin(self) -> None:
        self._accepted: dict[bytes, Entry] = {}
        self._rejected: dict[bytes, tuple[int | None, Rejected]] = {}
        self._strangers: list[Exclusion] = []
        self._committed: dict[bytes, Entry] = {}
        self._excluded: dict[bytes, Reason] = {}
        self._signed: dict[bytes, tuple[Entry, bytes]] = {}
        self._batch: dict[bytes, tuple[Entry, int, tuple[bytes, ...]]] = {}
        self._batch_root = self._signatures = b""
        self._gas: dict[str, int] = {}
        self._transactions: list[bytes] = []

    @cached_property
    def parameters(self) -> Parameters:
        """The task's immutable parameters, from the ledger."""
        return self.ledger.task(self.task).parameters

    def start(self, initial: Words) -> int:
        """Load the newest proposed model and return its round: 0 for a fresh task.

        `initial` (int32[d]) is the model that a fresh task starts from; its root must be the task's genesis. Raises
        `ModelMismatch` if it or the layout is another.
        """
        if self.layout.digest != self.parameters.layout:
            raise ModelMismatch(
                f"this model's layout {self.layout.digest.hex()} is not task {self.task.hex()}'s "
                f"{self.parameters.layout.hex()}. Start with the tensors that the task was created with."
            )
        head = self.ledger.task(self.task).head
        root = self.ledger.round(self.task, head).next_root
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
        self.number = head
        return head

    def open(self) -> int:
        """Open the next round, or carry on with one that is open. Waits for finality only where all slots are full."""
        task = self.ledger.task(self.task)
        self._begin()
        self.number = task.head + 1
        if task.opened == task.head:
            self._free_slot(self.number)
            self._send(Open(self.task, self.number))
        else:
            self._sync()
            self._revive()
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

    def reject(self, node: int, reason: Reason, detail: str) -> None:
        """Record that a node's reply did not count and could not be put down to a member."""
        self._strangers.append(Exclusion(b"", node, reason, detail, False))

    def post_batch(self) -> dict[bytes, tuple[Entry, int, tuple[bytes, ...]]]:
        """Post the signed commitments as one root. Returns (entry, index, path) by member, to ask for updates with.

        Where the ledger holds a batch of this round already (before a restart), that one stands.
        """
        current = self.ledger.round(self.task, self.number)
        if current.batch_count:
            roster = self._read_batch(current.batch_root)
        else:
            roster = sort_roster(entry for entry, _ in self._signed.values())
        if not roster:
            return {}
        raw = [entry_bytes(e.member, e.weight, e.root) for e in roster]
        leaves = [merkle.leaf_hash(data) for data in raw]
        root = merkle.root_of(leaves)
        if not current.batch_count:
            self.store.put(Kind.DOCUMENT, b"".join(raw), ENTRY_LEAF)
            signatures = b"".join(self._signed[entry.member][1] for entry in roster)
            self._signatures = self.store.put(Kind.DOCUMENT, signatures)
            self._send(CommitBatch(self.task, self.number, root, len(roster)))
        self._batch_root = root
        self._batch = {e.member: (e, i, merkle.path(leaves, i)) for i, e in enumerate(roster)}
        return self._batch

    def quorum_missing(self) -> int:
        """How many accepted members the round still lacks to be proposed."""
        return max(0, self.parameters.quorum - len(self._accepted))

    def close(self) -> Closed:
        """Exclude who committed and did not deliver, combine, store and propose the next model.

        Waits for the commit deadline where members have yet to commit. Raises `InvalidProposal` below the quorum: `open`
        again gives the round a new window.
        """
        self._exclude()
        current = self.ledger.round(self.task, self.number)
        members = self.ledger.task(self.task).members
        if len(self._accepted) + current.excluded != members:
            self.ledger.wait(current.commit_deadline + 1)
            self._exclude()
        entries = sort_roster(self._accepted.values())
        if len(entries) < self.parameters.quorum:
            raise InvalidProposal()
        p = self.parameters
        updates = [self._mapped(entry.root) for entry in entries]
        result = combine(self.words, entries, updates, p.leaf_words, p.fan_in, self.threads)
        self.store.put(Kind.MODEL, result.next_words, p.leaf_words)
        self._send(
            Propose(self.task, self.number, len(entries), result.tree.root, result.next_root)
        )
        self.words = result.next_words
        return Closed(
            self.number,
            current.parent,
            entries,
            self._exclusions(),
            result.tree.root,
            result.next_root,
            self._batch_root,
            self._signatures,
            dict(self._gas),
            list(self._transactions),
        )

    def finalise_due(self) -> int:
        """Finalise every proposal whose window has passed; return how many."""
        now = self.ledger.now()
        due = []
        for number, proposal in self._unfinished():
            if proposal.final_at > now:
                break
            due.append(Finalise(self.task, number))
        self._send(*due)
        return len(due)

    def settle(self) -> int:
        """Wait for all windows and finalise everything proposed; return how many rounds became final."""
        rounds = self._unfinished()
        for number, proposal in rounds:
            self.ledger.wait(proposal.final_at)
            self._send(Finalise(self.task, number))
        return len(rounds)

    def _place(self) -> Place:
        return Place(self.ledger.chain_id, self.ledger.contract, self.task, self.number)

    def _send(self, *calls: Open | CommitBatch | Exclude | Propose | Finalise) -> list[Transaction]:
        receipts = self.ledger.send(self._signer, *calls) if calls else []
        for receipt in receipts:
            name = type(receipt.call).__name__
            self._gas[name] = self._gas.get(name, 0) + receipt.gas
            self._transactions.append(receipt.transaction)
        return receipts

    def _sync(self) -> None:
        """Read what the ledger says of this round since the last look."""
        for cursor, event in self.ledger.events(self.task, self._cursor):
            self._cursor = cursor
            if isinstance(event, Committed) and event.round == self.number:
                self._committed[event.member] = Entry(event.member, event.weight, event.root)
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

    def _free_slot(self, number: int) -> None:
        oldest = number - self.parameters.slots
        if oldest < 1:
            return
        for each, proposal in self._unfinished():
            if each <= oldest:
                self.ledger.wait(proposal.final_at)
                self._send(Finalise(self.task, each))

    def _unfinished(self) -> list[tuple[int, Round]]:
        """Proposed rounds that are not final, oldest first."""
        found: list[tuple[int, Round]] = []
        number = self.ledger.task(self.task).head
        while number > 0:
            state = self.ledger.round(self.task, number)
            if state.phase == Phase.FINAL:
                break
            if state.phase == Phase.PROPOSED:
                found.append((number, state))
            number = state.parent
        return found[::-1]

    def _authenticate(self, reply: Reply, place: Place) -> None:
        receipt = reply.receipt
        claimed = Place(place.chain_id, place.contract, receipt.task, receipt.round)
        if reply_author(receipt, claimed, reply.node) != receipt.member:
            detail = f"the receipt in the name of 0x{receipt.member.hex()} is not signed by it"
        elif not self.ledger.is_member(self.task, receipt.member):
            detail = f"0x{receipt.member.hex()} is not a member of the task"
        else:
            return
        rejected = Rejected(Reason.UNKNOWN_MEMBER, detail)
        self.reject(reply.node, rejected.reason, rejected.detail)
        raise rejected

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
        elif entry.member not in self._batch:
            raise Rejected(Reason.NO_COMMITMENT, "sent an update without committing to it")
        elif self._batch[entry.member][0] != entry:
            raise Rejected(
                Reason.WRONG_ROOT, f"the batch holds no commitment to {entry.root.hex()}"
            )

    def _accept_signature(self, receipt: Receipt, place: Place, entry: Entry) -> Entry:
        if commitment_author(receipt, place) != receipt.member:
            raise Rejected(
                Reason.NO_COMMITMENT, "the batched commitment is not signed by its member"
            )
        if entry.member in self._signed:
            raise Rejected(Reason.MALFORMED, "a second commitment in the same round")
        self._signed[entry.member] = entry, receipt.commitment
        return entry

    def _keep(self, entry: Entry, words: Words) -> None:
        """Store an update whose words hash to the committed root."""
        p = self.parameters
        if self.store.has(entry.root):
            try:
                held = self.store.get(entry.root, Kind.UPDATE, p.leaf_words, p.dimension)
                if np.array_equal(held, words):
                    return
            except Exception as error:  # Damaged: what arrived may repair it.
                log.warning("stored update %s: %s", entry.root.hex(), error)
        found = merkle.root(as_bytes(words), 4 * p.leaf_words)
        if found != entry.root:
            raise Rejected(
                Reason.WRONG_ROOT, f"committed to {entry.root.hex()} and sent {found.hex()}"
            )
        self.store.put(Kind.UPDATE, words, p.leaf_words)

    def _blame(self, member: bytes, node: int, rejected: Rejected) -> None:
        self._rejected.setdefault(member, (node, rejected))

    def _exclude(self) -> None:
        """Exclude on the ledger whoever committed to this round and is not accepted, each once."""
        self._sync()
        calls = []
        for member, entry in sorted(self._committed.items()):
            if member not in self._accepted and member not in self._excluded:
                reason = self._reason(member)
                calls.append(
                    Exclude(self.task, self.number, member, entry.weight, entry.root, reason)
                )
        for member, (entry, index, path) in sorted(self._batch.items()):
            if member in self._accepted or member in self._excluded or member in self._committed:
                continue
            reason = self._reason(member)
            calls.append(
                Exclude(
                    self.task,
                    self.number,
                    member,
                    entry.weight,
                    entry.root,
                    reason,
                    index,
                    path,
                )
            )
        for call in calls:
            try:
                self._send(call)
            except Refused as refused:
                log.warning("cannot exclude 0x%s: %s", call.member.hex(), refused)
            self._excluded[call.member] = Reason(call.reason)

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

    def _read_batch(self, root: bytes) -> tuple[Entry, ...]:
        data = self.store.get(root, Kind.DOCUMENT, ENTRY_LEAF).tobytes()
        if len(data) % ENTRY_LEAF:
            raise InvalidParameter(f"batch {root.hex()} is not a list of entries.")
        rows: Iterable[bytes] = (data[i : i + ENTRY_LEAF] for i in range(0, len(data), ENTRY_LEAF))
        return tuple(Entry(r[:20], int.from_bytes(r[20:24], "big"), r[24:]) for r in rows)

    def _mapped(self, root: bytes) -> Words:
        """An accepted update as a memory map. It was hashed on arrival, so it is not hashed again."""
        count = self.parameters.dimension
        return np.memmap(self.store.path(root), "<i4", "r", HEADER_BYTES, (count,))
