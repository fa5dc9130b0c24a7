"""A task with few words and small leaves, honest members, and a proposer that can forge any part of a proposal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from tallystick import keys, merkle, store
from tallystick.aggregation import combine, next_model, sort_roster
from tallystick.blob import DOCUMENT_LEAF, Kind
from tallystick.commitment import typed_data
from tallystick.encoding import Words, as_bytes, layout_of, quantise
from tallystick.ledger import Ledger, address_of
from tallystick.protocol import (
    Commit,
    CommitBatch,
    Fault,
    Open,
    Phase,
    Propose,
    Settlement,
)
from tallystick.roles import auditor, finality, sponsor
from tallystick.roles.aggregator import Aggregator
from tallystick.roles.batch import Batch, make_batch, write_batch
from tallystick.roles.validator import Validator, Verdict
from tallystick.sumtree import Entry, SumNode

SIZE, LEAF, FAN_IN = 45, 8, 2
"""Six leaves of which the last is short, and a tree that grows with every member."""
MODEL = {"w": np.linspace(-1, 1, SIZE, dtype=np.float32)}
LAYOUT = layout_of(MODEL)
BASE = quantise(MODEL, LAYOUT, 24)
SEEDS = count(100)

Sums = np.ndarray[Any, np.dtype[np.int64]]
Alter = Callable[[int, int, SumNode], SumNode]
"""(level from 1, index, node) -> the node to claim instead."""
AlterSums = Callable[[int, int, Sums], Sums]


@dataclass
class Claim:
    """What a proposer says: its tree's top and sums, and the next model."""

    top: bytes
    weight: int
    sums: Sums
    levels: list[list[SumNode]]

    def next_words(self, base: Words) -> Words:
        return next_model(base, (self.sums + self.weight // 2) // self.weight)


@dataclass
class Court:
    """One task on a shared ledger, with accounts of its own."""

    ledger: Ledger
    folder: Path
    members: int = 3
    commit_window: int = 600
    pay: bool = False
    """Whether accounts need the node's money for gas."""
    settlement: int = Settlement.WINDOW
    vote_quorum: int = 67
    store: store.Store = field(init=False)

    def __post_init__(self) -> None:
        seed = next(SEEDS)
        self.store = store.open(str(self.folder / f"store-{seed}"))
        names = ("sponsor", "liar", "honest", "validator", "second", "stranger")
        self.sponsor, self.liar, self.honest, self.key, self.second, self.stranger = (
            keys.demo(seed, name, 0) for name in names
        )
        everybody = [keys.demo(seed, "member", k) for k in range(self.members)]
        self.keys = sorted(everybody, key=address_of)
        for key in (self.sponsor, self.liar, self.honest, *self.keys) if self.pay else ():
            self.ledger.give(address_of(key))  # type: ignore[attr-defined]
        self.task = sponsor.create_task(
            self.ledger,
            self.store,
            self.sponsor,
            MODEL,
            members=[address_of(key) for key in self.keys],
            rounds=9,
            leaf_words=LEAF,
            fan_in=FAN_IN,
            commit_window=self.commit_window,
            challenge_window=3600,
            settlement=self.settlement,
            vote_quorum=self.vote_quorum,
        )
        self.parameters = self.ledger.task(self.task).parameters
        for proposer in (self.liar, self.honest):
            sponsor.bond(self.ledger, proposer, self.task, 3)
        self.number = 0

    def update(self, member: int) -> Words:
        rng = np.random.default_rng(self.number * 100 + member)
        return rng.integers(-1000, 1000, SIZE).astype(np.int32)

    def root(self, words: Any) -> bytes:
        return merkle.root(as_bytes(words), words.itemsize * LEAF)

    def publish(self, words: Any) -> bytes:
        return self.store.put(Kind.MODEL, words, LEAF)

    def entry(self, member: int, weight: int | None = None) -> Entry:
        """A member's entry, whose update is in the store."""
        root = self.store.put(Kind.UPDATE, self.update(member), LEAF)
        return Entry(address_of(self.keys[member]), weight or member + 1, root)

    def open(self, committing: Sequence[int] | None = None) -> tuple[Entry, ...]:
        """Open a round on the newest proposal, and have members commit to it."""
        self.number = self.ledger.task(self.task).opened + 1
        self.ledger.send(self.liar, Open(self.task, self.number))
        entries = []
        for member in range(self.members) if committing is None else committing:
            entry = self.entry(member)
            commit = Commit(self.task, self.number, entry.weight, entry.root)
            self.ledger.send(self.keys[member], commit)
            entries.append(entry)
        return sort_roster(entries)

    def sign(self, member: int, entry: Entry, number: int | None = None) -> bytes:
        data = typed_data(
            self.ledger.chain_id, self.ledger.contract, self.task,
            self.number if number is None else number, entry.member, entry.root, entry.weight,
        )  # fmt: skip
        return bytes(self.keys[member].sign_typed_data(full_message=data).signature)

    def batch(self, members: Sequence[int]) -> Batch:
        signed = {entry: self.sign(m, entry) for m in members for entry in [self.entry(m)]}
        return make_batch(signed)

    def post(self, batch: Batch, size: int | None = None, publish: bool = True) -> None:
        if publish:
            write_batch(self.store, batch)
        call = CommitBatch(self.task, self.number, batch.root, size or len(batch.roster))
        self.ledger.send(self.liar, call)

    def base(self) -> Words:
        parent = self.ledger.round(self.task, self.number).parent
        root = self.ledger.round(self.task, parent).next_root
        return self.store.get(root, Kind.MODEL)  # type: ignore[return-value]

    def words(self, entry: Entry) -> Words:
        return self.store.get(entry.root, Kind.UPDATE)  # type: ignore[return-value]

    def truth(self, entries: Sequence[Entry]) -> tuple[bytes, bytes]:
        """The right sum root and next root."""
        found = combine(self.base(), entries, [self.words(e) for e in entries], LEAF, FAN_IN)
        return found.tree.root, found.next_root

    def claim(
        self,
        entries: Sequence[Entry],
        alter: Alter = lambda level, index, node: node,
        alter_sums: AlterSums = lambda level, index, sums: sums,
        publish: bool = True,
    ) -> Claim:
        """A sum tree over entries in the order given, consistent but for what is altered, and published."""
        below: list[tuple[int, int, bytes, Sums]] = [
            (1, e.weight, e.digest, self.words(e) * np.int64(e.weight)) for e in entries
        ]
        levels: list[list[SumNode]] = []
        level = 0
        while level == 0 or len(below) > 1:
            level += 1
            above = []
            levels.append([])
            for index in range(-(-len(below) // FAN_IN)):
                group = below[index * FAN_IN : (index + 1) * FAN_IN]
                sums = alter_sums(
                    level, index, sum((each[3] for each in group), np.zeros(SIZE, np.int64))
                )
                node = SumNode(
                    sum(each[0] for each in group), sum(each[1] for each in group),
                    self.root(sums), tuple(each[2] for each in group),
                )  # fmt: skip
                node = alter(level, index, node)
                if publish:
                    self.store.put(Kind.SUMS, sums, LEAF)
                    self.document(node.data)
                levels[-1].append(node)
                above.append((node.count, node.weight, node.digest, sums))
            below = above
        for entry in entries if publish else ():
            self.document(entry.data)
        return Claim(below[0][2], below[0][1], below[0][3], levels)

    def document(self, data: bytes) -> bytes:
        return self.store.put(Kind.DOCUMENT, data, DOCUMENT_LEAF)

    def propose(
        self, size: int, top: bytes, following: bytes, adopt: bool = False, key: Any = None
    ) -> None:
        current = self.ledger.round(self.task, self.number)
        self.ledger.wait(current.commit_deadline + 1)
        call = Propose(self.task, self.number, size, top, following, adopt)
        self.ledger.send(key or self.liar, call)

    def lie(
        self, entries: Sequence[Entry], *arguments: Any, adopt: bool = False, **options: Any
    ) -> Claim:
        """Claim a tree and propose it with the next model that follows from it."""
        claim = self.claim(entries, *arguments, **options)
        self.propose(len(entries), claim.top, self.publish(claim.next_words(self.base())), adopt)
        return claim

    def validator(self, key: Any = None, **options: Any) -> Validator:
        return Validator(self.ledger, self.store, key or self.key, self.task, **options)

    def aggregator(self) -> Aggregator:
        """Another, honest one, that knows nothing but ledger and store."""
        return Aggregator(self.ledger, self.store, self.honest, self.task, LAYOUT)

    def convict(
        self, fault: Fault, right: Sequence[Entry], excluded: int = 0, store: Any = None
    ) -> Verdict:
        """See the proposal of round `self.number` refuted, and everything come right again.

        The liar's next round stands on its lie. `right` is the honest roster.
        """
        false, bond = self.number, self.parameters.bond
        sum_root, next_root = self.truth(right)
        self._build_on_it()
        before = {who: self.ledger.balance(address_of(who)) for who in (self.liar, self.key)}
        (verdict,) = self.validator().watch()
        assert verdict.lie is not None
        assert verdict.event is not None
        assert (verdict.number, verdict.event.fault) == (false, fault), verdict.lie.said
        bounty = bond * self.parameters.bounty // 100
        after = {who: self.ledger.balance(address_of(who)) for who in (self.liar, self.key)}
        assert after[self.liar] == replace(
            before[self.liar], locked=before[self.liar].locked - bond
        )
        assert after[self.key] == replace(before[self.key], free=before[self.key].free + bounty)

        boss = self.aggregator()
        boss.start(BASE)
        closed = boss.recover()
        assert closed is not None
        assert (closed.sum_root, closed.next_root) == (sum_root, next_root)
        assert len(closed.exclusions) == excluded
        assert self.ledger.round(self.task, false + 1).phase == Phase.VOID
        liar = self.ledger.balance(address_of(self.liar))
        assert liar.locked == before[self.liar].locked - 2 * bond
        assert liar.free == before[self.liar].free + bond
        self.number = false
        assert [v.lie for v in self.validator().watch()][-1:] == [None]
        finality.settle(self.ledger, self.honest, self.task)
        assert self.ledger.round(self.task, false).phase == Phase.FINAL
        audited = auditor.audit(self.ledger, self.store, self.task)
        assert audited.model_root == next_root
        return verdict

    def _build_on_it(self) -> None:
        self.ledger.send(self.liar, Open(self.task, self.number + 1))
        later = self.ledger.round(self.task, self.number + 1)
        self.ledger.wait(later.commit_deadline + 1)
        self.ledger.send(self.liar, Propose(self.task, self.number + 1, 1, b"\7" * 32, b"\7" * 32))
