"""The same scenarios give the same events, refusals and state on the specification and on every ledger."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tallystick import errors, fraud, keys, ledger, merkle, protocol
from tallystick.aggregation import combine
from tallystick.commitment import entry_bytes
from tallystick.encoding import Words, as_bytes
from tallystick.fraud import Accused, Opening, Placed, Signed, Sought, Vector
from tallystick.ledger import Head, address_of
from tallystick.ledger.author import commitment_author
from tallystick.ledger.ethereum import EthereumLedger
from tallystick.protocol import (
    GWEI,
    MAX_STAKE,
    MIN_BOND,
    Admit,
    Attest,
    Call,
    Commit,
    CommitBatch,
    CreateTask,
    Demand,
    Deposit,
    Exclude,
    Expire,
    Finalise,
    Grade,
    Lapse,
    Open,
    Parameters,
    Propose,
    Reason,
    RefuteBatch,
    RefuteEntry,
    RefuteNext,
    RefuteOmission,
    RefuteOrder,
    RefuteSum,
    RefuteTree,
    RefuteVector,
    Release,
    Reveal,
    SettleLeaf,
    Settlement,
    SettleRoster,
    Slash,
    Stake,
    State,
    TaskCreated,
    Unstake,
    Void,
    Voting,
    Withdraw,
    Witness,
)
from tallystick.sumtree import Entry

SIGNERS = [
    keys.demo(5, role, k) for role, k in (("sponsor", 0), ("aggregator", 0), ("aggregator", 1))
]
SIGNERS += [keys.demo(5, "member", k) for k in range(3)]
SIGNERS += [keys.demo(5, "validator", k) for k in range(2)]
SPONSOR, AGGREGATOR, RIVAL = SIGNERS[:3]
VALIDATORS = SIGNERS[6:]
MEMBERS = sorted(address_of(signer) for signer in SIGNERS[3:6])
WINDOW, CHALLENGE, REVEAL = 40_000, 20_000, 10_000
"""Longer than a scenario has blocks, so that only jumps decide what is open."""
ROOTS = [bytes([k]) * 32 for k in range(3)]
TIMES = {"commit_deadline", "final_at", "deadline"}
PASSED = {
    errors.CommitsClosed, errors.CommitsOpen, errors.WindowOpen, errors.WindowPassed, errors.RevealOpen, errors.RevealClosed,
    errors.Reorganised,
}  # fmt: skip
"""Refusals whose argument is a time or a block."""
SEEN = ["none", "newest", "newest", "older", "newer", "other"]
BASE = np.arange(8, dtype=np.int32)
UPDATES = [np.full(8, 1000 * k + 1, np.int32) for k in range(len(MEMBERS))]
ENTRIES = [
    Entry(member, 7, merkle.root(as_bytes(update), 32))
    for member, update in zip(MEMBERS, UPDATES, strict=True)
]
SIGNATURE = b"\x1b" * 65
"""Nobody's: one that binds the chain would make batches differ between ledgers (test_fraud.py has those)."""
LIES = [None, "sum", "next", "tree", "entry", "order", "omission"]


class Claimed:
    """A proposal over the three members, with at most one lie in it, and the evidence of each kind against it."""

    def __init__(self, base: Words, lie: str | None) -> None:
        self.base = base
        entries, updates = list(ENTRIES), list(UPDATES)
        if lie == "entry":
            entries[1] = replace(entries[1], weight=8)
        if lie == "omission":
            entries, updates = entries[:2], updates[:2]
        true = combine(base, entries, updates, 8, 4)
        self.sums = sum(
            e.weight * u.astype(np.int64) for e, u in zip(entries, updates, strict=True)
        )
        self.entries, self.updates, self.next_words = entries, updates, true.next_words
        (top,) = true.tree.levels[0]
        if lie == "next":
            self.next_words = true.next_words ^ 1
        if lie == "sum":
            self.sums = self.sums + np.int64(4)
            top = replace(top, vector_root=merkle.root(as_bytes(self.sums), 64))
        if lie == "tree":
            top = replace(top, weight=top.weight + 1)
        if lie == "order":
            self.entries = entries[::-1]
            top = replace(top, children=tuple(e.digest for e in self.entries))
        self.top, self.next_root = top, merkle.root(as_bytes(self.next_words), 32)

    def propose(self, task: bytes, number: int, adopt: bool) -> Propose:
        count = len(self.entries)
        return Propose(task, number, count, self.top.digest, self.next_root, adopt)

    def placed(self, index: int) -> Placed:
        return Placed((self.top,), index, self.entries[index % len(self.entries)])

    def evidence(self, task: bytes, number: int, kind: str, bent: int) -> Call:
        """Evidence of a kind, right in form for `bent` 0, and out of place otherwise."""
        path, word = (self.top,), 3 if bent != 1 else 8
        nodes = (self.top,) if bent == 2 else ()
        entries = tuple(self.entries[: len(self.entries) - (bent == 3)])
        total, base, following = (
            Opening(bytes(as_bytes(vector)), (bytes(32),) if bent == 4 else ())
            for vector in (self.sums, self.base, self.next_words)
        )
        parts = tuple(Opening(bytes(as_bytes(update)), ()) for update in self.updates)
        signed = Signed(ENTRIES[bent % 3], SIGNATURE[: 65 - (bent == 4)], bent % 3, _path(bent % 3))
        match kind:
            case "sum":
                return RefuteSum(
                    task, number, path, int(bent == 5), word, total, nodes, entries, parts
                )
            case "next":
                return RefuteNext(task, number, self.top, word, base, total, following)
            case "tree":
                return RefuteTree(
                    task, number, path * (1 + (bent == 4)), int(bent == 5), nodes, entries
                )
            case "vector":
                vector = [*Vector, 5][bent % 6]
                accused = Accused(
                    vector, path, 0, entries[:1], int(bent == 5), 0, bent == 3, total.data, ()
                )
                return RefuteVector(task, number, accused)
            case "entry":
                return RefuteEntry(task, number, self.placed(1 + bent), (signed,) * (bent % 2))
            case "order":
                return RefuteOrder(task, number, self.placed(0), self.placed(1 + bent % 2))
            case "omission":
                near = (self.placed(0), self.placed(1)) if bent == 1 else (self.placed(1),)
                return RefuteOmission(task, number, ENTRIES[2], (signed,) * (bent // 2), near)
        return RefuteBatch(task, number, (signed,) * (1 + bent // 2))

    def sought(self, kind: str, bent: int) -> tuple[Sought, int, bytes]:
        """Something of a kind under the proposal, how many digests answer for it, and the answer; out of place for other `bent`."""
        path, entries = (self.top,), tuple(self.entries[:1])
        sums, update, following = (
            bytes(as_bytes(each)) for each in (self.sums, self.updates[0], self.next_words)
        )
        tree, inside = Vector.TREE, fraud.DOCUMENT
        found = {
            "top": (Sought(tree, (), 0, (), 0, 0, self.top.digest, ()), fraud.NODE, self.top.data),
            "entry": (Sought(tree, path, 1, (), 0, 0, self.top.children[1], ()), inside, self.entries[1].data),
            "sums": (Sought(Vector.SUMS, path, 0, (), 0, 0, self.top.vector_root, ()), 0, sums),
            "update": (Sought(Vector.UPDATE, path, 0, entries, 0, 0, entries[0].root, ()), 0, update),
            "next": (Sought(Vector.NEXT, (), 0, (), 0, 0, self.next_root, ()), 0, following),
            "batch": (
                Sought(Vector.BATCH, (), 0, (), 2, 0, merkle.root_of(_leaves()), ()), 3, b"".join(_leaves()),
            ),
        }  # fmt: skip
        sought, pieces, data = found[kind]
        changes: dict[str, Any] = {
            1: {"index": 1}, 2: {"digest": ROOTS[2]}, 3: {"height": 1}, 4: {"path": ()}, 5: {"vector": 5},
        }.get(bent, {})  # fmt: skip
        return replace(sought, **changes), pieces, data

    def leaf(self, task: bytes, number: int, bent: int) -> SettleLeaf:
        """The one leaf of the model, right in form for `bent` 0."""
        base, following, *parts = (
            Opening(bytes(as_bytes(vector)), (bytes(32),) if bent == 1 else ())
            for vector in (self.base, self.next_words, *self.updates)
        )
        entries = tuple(self.entries[: len(self.entries) - (bent == 2)])
        shown = tuple(parts[: len(parts) - (bent == 3)])
        return SettleLeaf(task, number, int(bent == 4), entries, shown, base, following)


def _hash_of(number: int) -> bytes:
    return sha256(number.to_bytes(8, "big")).digest()


def timeless(found: Any) -> Any:
    """Times differ between ledgers; whether there is one does not."""
    times = TIMES & set(found.__dataclass_fields__)
    return replace(found, **{name: int(getattr(found, name) > 0) for name in times})


class Specification:
    """protocol/ with a clock that ticks once per call."""

    def __init__(self) -> None:
        self.state = State(1, b"\x01" * 20, commitment_author, self.block_hash)
        self.time = 0

    def block_hash(self, number: int) -> bytes:
        return _hash_of(number) if self.time - 256 <= number < self.time else bytes(32)

    def head(self) -> Head:
        return Head(self.time, _hash_of(self.time))

    def now(self) -> int:
        return self.time

    def wait(self, until: int) -> None:
        self.time = max(self.time, until)

    def send(self, signer: Any, call: Call) -> tuple[Any, ...]:
        self.time += 1
        return protocol.process(self.state, call, address_of(signer), self.time)

    def task(self, task: bytes) -> Any:
        return protocol.get_task_view(self.state, task)

    def round(self, task: bytes, number: int) -> Any:
        return protocol.get_round(self.state, task, number)

    def commitment(self, task: bytes, number: int, member: bytes) -> Any:
        return protocol.get_commitment(self.state, task, number, member)

    def balance(self, account: bytes) -> Any:
        return protocol.get_balance(self.state, account)

    def is_member(self, task: bytes, account: bytes) -> bool:
        return protocol.is_member(self.state, task, account)

    def excluders(self, task: bytes, number: int, member: bytes) -> tuple[bytes, bytes]:
        return protocol.get_excluders(self.state, task, number, member)

    def ballot(self, task: bytes, number: int) -> Any:
        return protocol.get_ballot(self.state, task, number)

    def standing(self, task: bytes, account: bytes) -> Any:
        return protocol.get_standing(self.state, task, account)

    def attested(self, task: bytes, number: int, account: bytes) -> int | None:
        return protocol.get_attested(self.state, task, number, account)


class Sameness(RuleBasedStateMachine):
    """Any calls in any order, made on all of them."""

    signers = st.sampled_from(SIGNERS)
    numbers = st.integers(0, 5)
    roots = st.sampled_from(ROOTS)
    chains: list[Any]

    def open_chains(self) -> list[Any]:
        return [ledger.open("hashchain:?difficulty=1"), ledger.open("embedded:")]

    @initialize(
        settlement=st.sampled_from([*Settlement, Settlement.EARLY]), voting=st.sampled_from(Voting),
        rule=st.sampled_from([0, 0, 0, 128]), staked=st.booleans(),
    )  # fmt: skip
    def set_up(self, settlement: Settlement, voting: Voting, rule: int, staked: bool) -> None:
        self.seen: set[str] = set()
        self.chains = [Specification(), *self.open_chains()]
        salt = time.time_ns().to_bytes(32, "big")
        self.parameters = Parameters(
            sponsor=address_of(SPONSOR), layout=ROOTS[1], genesis=merkle.root(as_bytes(BASE), 32), dimension=8, scale=24,
            leaf_words=8, fan_in=4, rule=rule, rounds=4, quorum=2, max_weight=100, max_members=3, slots=2,
            commit_window=WINDOW, challenge_window=CHALLENGE, bond=MIN_BOND, bounty=50,
            settlement=Settlement.QUORUM if rule else settlement, voting=voting, vote_quorum=60, reveal_window=REVEAL,
            stake=MIN_BOND, scorer=address_of(SPONSOR) if voting == Voting.QUALITY else bytes(20),
            member_stake=MIN_BOND if staked else 0, salt=salt,
        )  # fmt: skip
        self.tasks = []
        for chain in self.chains:
            sent = self.one(chain, SPONSOR, CreateTask(self.parameters))
            assert isinstance(sent[0], TaskCreated)
            self.tasks.append(sent[0].task)
        self.everywhere(SPONSOR, lambda task: Admit(task, tuple(MEMBERS)))
        for signer in SIGNERS[3:] if staked else VALIDATORS:
            self.put_up(signer, MIN_BOND)
        if staked:
            self.everywhere(SPONSOR, lambda task: Admit(task, tuple(MEMBERS)))
        if voting == Voting.QUALITY:
            self.grade(SPONSOR, 3, 2)
        self.start = [chain.balance(address_of(AGGREGATOR)).free for chain in self.chains]
        self.everywhere(AGGREGATOR, lambda _: Deposit(3 * MIN_BOND))
        self.words = {self.parameters.genesis: BASE}
        self.claimed: dict[int, Claimed] = {}

    def one(self, chain: Any, signer: Any, call: Call) -> tuple[Any, ...]:
        if isinstance(chain, Specification):
            return chain.send(signer, call)
        return chain.send(signer, call)[0].events  # type: ignore[no-any-return]

    def everywhere(self, signer: Any, make: Any) -> None:
        """Make a call on all of them and compare what comes of it."""
        outcomes = []
        for chain, task in zip(self.chains, self.tasks, strict=True):
            try:
                events = self.one(chain, signer, make(task))
                outcomes.append(
                    [timeless(replace(e, task=b"") if hasattr(e, "task") else e) for e in events]
                )
            except errors.Refused as refused:
                shown = tuple(a for a in refused.arguments if a != task)
                outcomes.append((type(refused), () if type(refused) in PASSED else shown))
        assert all(outcome == outcomes[0] for outcome in outcomes), outcomes
        (first, *_) = outcomes
        self.seen |= {first[0].__name__} if isinstance(first, tuple) else {type(e).__name__ for e in first}  # fmt: skip
        self.compare()

    def compare(self) -> None:
        """What can be read is the same everywhere."""
        views, numbers = [], self.opened()
        for chain, task, start in zip(self.chains, self.tasks, self.starts(), strict=True):
            views.append(
                (
                    chain.task(task),
                    [timeless(chain.round(task, n)) for n in numbers],
                    [[_held(chain, task, n, m) for n in numbers] for m in MEMBERS],
                    self.votes_of(chain, task, numbers),
                    [chain.balance(address_of(s)) for s in SIGNERS[2:]],
                    chain.balance(address_of(AGGREGATOR)).free - start,
                    chain.is_member(task, MEMBERS[0]),
                    chain.is_member(task, address_of(SPONSOR)),
                )
            )
        assert all(view == views[0] for view in views), views

    def opened(self) -> range:
        """The rounds that there are, and one that is not."""
        return range(self.chains[0].task(self.tasks[0]).opened + 2)

    def votes_of(self, chain: Any, task: bytes, numbers: range) -> Any:
        """All that can be read of votes, stakes and exclusions."""
        voters = [address_of(signer) for signer in (*VALIDATORS, SIGNERS[3])]
        return (
            [chain.ballot(task, n) for n in numbers],
            [chain.standing(task, voter) for voter in voters],
            [[chain.attested(task, n, voter) for n in numbers[1:]] for voter in voters],
            [chain.excluders(task, n, MEMBERS[0]) for n in numbers[1:]],
        )

    def starts(self) -> list[int]:
        return getattr(self, "start", [0] * len(self.chains))

    @rule(jump=st.sampled_from([REVEAL - 5000, REVEAL, CHALLENGE, WINDOW, 2 * WINDOW]))
    def wait(self, jump: int) -> None:
        for chain in self.chains:
            chain.wait(chain.now() + jump + 5000)
        self.everywhere(SPONSOR, lambda _: Deposit(1))

    @rule(signer=signers, number=numbers)
    def open(self, signer: Any, number: int) -> None:
        self.everywhere(signer, lambda task: Open(task, number))

    @rule(signer=signers, number=numbers, weight=st.integers(0, 101), root=roots)
    def commit(self, signer: Any, number: int, weight: int, root: bytes) -> None:
        self.everywhere(signer, lambda task: Commit(task, number, weight, root))

    @rule(number=numbers)
    def everyone_commits(self, number: int) -> None:
        for signer in SIGNERS[3:6]:
            root = ENTRIES[MEMBERS.index(address_of(signer))].root
            self.everywhere(signer, self.commitment(number, root))

    def commitment(self, number: int, root: bytes) -> Any:
        return lambda task: Commit(task, number, 7, root)

    @rule(signer=signers, number=numbers, count=st.integers(0, 4), root=roots, real=st.booleans())
    def batch(self, signer: Any, number: int, count: int, root: bytes, real: bool) -> None:
        if real:
            root, count = merkle.root_of(_leaves()), 3
        self.everywhere(signer, lambda task: CommitBatch(task, number, root, count))

    @rule(
        signer=signers, number=numbers, index=st.integers(0, 3), weight=st.sampled_from([7, 8]),
        reason=st.sampled_from([*Reason, 0, 10]), with_path=st.booleans(),
    )  # fmt: skip
    def exclude(
        self, signer: Any, number: int, index: int, weight: int, reason: int, with_path: bool
    ) -> None:
        member = (*MEMBERS, address_of(SPONSOR))[index]
        path = _path(index) if with_path and index < 3 else ()
        signature = SIGNATURE if with_path else b""
        root = ENTRIES[index % 3].root
        self.everywhere(
            signer,
            lambda task: Exclude(
                task, number, member, weight, root, reason, signature, index, path
            ),
        )

    @rule(
        signer=signers, number=numbers, count=st.integers(0, 4), root=roots, adopt=st.booleans(),
        seen=st.sampled_from(SEEN),
    )  # fmt: skip
    def propose(
        self, signer: Any, number: int, count: int, root: bytes, adopt: bool, seen: str
    ) -> None:
        def make(task: bytes) -> Propose:
            place = self.seen_in(task, seen)
            return Propose(task, number, count, root, ROOTS[1], adopt, *place)

        self.everywhere(signer, make)

    def seen_in(self, task: bytes, what: str) -> tuple[int, bytes]:
        """The block that a proposal names: the newest, none, or one that is not there."""
        head = self.chains[self.tasks.index(task)].head()
        return {
            "none": (0, bytes(32)),
            "newest": (head.number, head.hash),
            "older": (head.number - 1, head.hash),
            "newer": (head.number + 1, head.hash),
            "other": (head.number, ROOTS[1]),
        }[what]

    @rule(lie=st.sampled_from(LIES), batched=st.booleans(), adopt=st.booleans())
    def play_a_round(self, lie: str | None, batched: bool, adopt: bool) -> None:
        """The next round up to its proposal, in the order that gets furthest."""
        view = self.chains[0].task(self.tasks[0])
        number = view.pending or view.opened + 1
        if not view.pending:
            self.everywhere(AGGREGATOR, lambda task: Open(task, number))
        if batched:
            self.batch(AGGREGATOR, number, 0, ROOTS[0], True)
        else:
            self.everyone_commits(number)
        self.claim(AGGREGATOR, number, lie, adopt)

    @rule(signer=signers, number=numbers, lie=st.sampled_from(LIES), adopt=st.booleans())
    def claim(self, signer: Any, number: int, lie: str | None, adopt: bool) -> None:
        parent = self.chains[0].round(self.tasks[0], number).parent
        root = self.chains[0].round(self.tasks[0], parent).next_root
        claimed = Claimed(self.words.get(root, BASE), lie)
        if lie == "omission":
            for chain in self.chains:
                chain.wait(chain.now() + WINDOW + 5000)
        before = self.chains[0].round(self.tasks[0], number).phase
        self.everywhere(signer, lambda task: claimed.propose(task, number, adopt))
        after = self.chains[0].round(self.tasks[0], number).phase
        if before != after:
            self.claimed[number] = claimed
            self.words[claimed.next_root] = claimed.next_words

    @rule(
        signer=signers, number=numbers, bent=st.sampled_from([0, 0, 0, 1, 2, 3, 4, 5]),
        kind=st.sampled_from([*LIES[1:], "vector", "batch"]),
    )  # fmt: skip
    def refute(self, signer: Any, number: int, kind: str, bent: int) -> None:
        claimed = self.claimed.get(number) or Claimed(BASE, None)
        self.everywhere(signer, lambda task: claimed.evidence(task, number, kind, bent))

    @rule(signer=signers, kind=st.sampled_from([*LIES[1:], "batch"]))
    def refute_the_newest(self, signer: Any, kind: str) -> None:
        self.refute(signer, self.chains[0].task(self.tasks[0]).head, kind, 0)

    @rule(signer=signers, number=numbers)
    def void(self, signer: Any, number: int) -> None:
        self.everywhere(signer, lambda task: Void(task, number))

    @rule(signer=signers, number=numbers)
    def finalise(self, signer: Any, number: int) -> None:
        self.everywhere(signer, lambda task: Finalise(task, number))

    def pay(self, *payers: Any) -> None:
        for signer in payers:
            self.everywhere(signer, lambda _: Deposit(3 * MIN_BOND))

    @rule(signer=signers, number=numbers)
    def release(self, signer: Any, number: int) -> None:
        self.everywhere(signer, lambda task: Release(task, number))

    @rule(signer=signers, number=numbers)
    def lapse(self, signer: Any, number: int) -> None:
        self.everywhere(signer, lambda task: Lapse(task, number))

    @rule(
        signer=signers,
        amount=st.sampled_from([MIN_BOND - 1, GWEI, MIN_BOND]),
        refused=st.sampled_from([None, None, None, 0, MAX_STAKE, 2**256 - 1]),
    )
    def put_up(self, signer: Any, amount: int, refused: int | None = None) -> None:
        self.everywhere(signer, lambda _: Deposit(amount))
        staked = amount if refused is None else refused
        self.everywhere(signer, lambda task: Stake(task, staked))

    @rule(signer=signers)
    def unstake(self, signer: Any) -> None:
        self.everywhere(signer, Unstake)

    @rule(signer=st.sampled_from([SPONSOR, RIVAL]), first=st.integers(0, 3), more=st.integers(0, 2))
    def grade(self, signer: Any, first: int, more: int) -> None:
        accounts = tuple(address_of(each) for each in VALIDATORS)
        qualities = (first, 2)[: 1 + (more > 0)]
        self.everywhere(signer, lambda task: Grade(task, accounts, qualities))

    @rule(signer=signers, number=numbers, right=st.sampled_from([True, True, False]))
    def attest(self, signer: Any, number: int, right: bool) -> None:
        current = self.chains[0].round(self.tasks[0], number)
        sum_root = current.sum_root if right else ROOTS[2]
        self.everywhere(signer, lambda task: Attest(task, number, sum_root, current.next_root))

    @rule()
    def all_attest_the_newest(self) -> None:
        for signer in VALIDATORS:
            self.attest(signer, self.chains[0].task(self.tasks[0]).head, True)

    @rule(signer=signers, number=numbers, account=st.sampled_from([*VALIDATORS, SIGNERS[3]]))
    def slash(self, signer: Any, number: int, account: Any) -> None:
        self.everywhere(signer, lambda task: Slash(task, number, address_of(account)))

    @rule(signer=signers, number=numbers, member=st.sampled_from(MEMBERS))
    def witness(self, signer: Any, number: int, member: bytes) -> None:
        self.everywhere(signer, lambda task: Witness(task, number, member))

    @rule(member=st.sampled_from(MEMBERS), late=st.booleans())
    def accuse(self, member: bytes, late: bool) -> None:
        """Report a member of the pending round as withheld, and have the validators say that it is."""
        number = self.chains[0].task(self.tasks[0]).pending
        entry = ENTRIES[MEMBERS.index(member)]
        self.everywhere(
            RIVAL, lambda task: Exclude(task, number, member, 7, entry.root, Reason.WITHHELD)
        )
        for chain in self.chains:
            chain.wait(chain.now() + REVEAL + 2000 + late * REVEAL)
        for signer in VALIDATORS:
            self.witness(signer, number, member)

    asked = st.sampled_from(["top", "entry", "sums", "update", "next", "batch"])
    bends = st.sampled_from([0, 0, 0, 1, 2, 3, 4, 5])

    @rule(signer=signers, number=numbers, kind=asked, bent=bends)
    def demand(self, signer: Any, number: int, kind: str, bent: int) -> None:
        claimed = self.claimed.get(number) or Claimed(BASE, None)
        sought, _, _ = claimed.sought(kind, bent)
        self.everywhere(signer, lambda task: Demand(task, number, sought))

    @rule(kind=asked, ends=st.booleans())
    def ask_for_the_newest(self, kind: str, ends: bool) -> None:
        number = self.chains[0].task(self.tasks[0]).head
        self.demand(RIVAL, number, kind, 0)
        if ends:
            self.wait(REVEAL - 2000)
            self.expire(AGGREGATOR, number, kind)

    @rule(signer=signers, number=numbers, kind=asked, right=st.sampled_from([True, True, False]))
    def reveal(self, signer: Any, number: int, kind: str, right: bool) -> None:
        claimed = self.claimed.get(number) or Claimed(BASE, None)
        sought, pieces, data = claimed.sought(kind, 0)
        given = data if right else data[1:]
        self.everywhere(signer, lambda task: Reveal(task, number, sought.digest, pieces, given))

    @rule(signer=signers, number=numbers, kind=asked)
    def expire(self, signer: Any, number: int, kind: str) -> None:
        claimed = self.claimed.get(number) or Claimed(BASE, None)
        sought, pieces, _ = claimed.sought(kind, 0)
        self.everywhere(signer, lambda task: Expire(task, number, sought.digest, pieces))

    @rule(signer=signers, number=numbers, bent=st.sampled_from([0, 0, 0, 1, 2, 3]))
    def settle_roster(self, signer: Any, number: int, bent: int) -> None:
        claimed = self.claimed.get(number) or Claimed(BASE, None)
        people = MEMBERS[: 3 - (bent == 1)] if bent != 2 else [MEMBERS[0]] * 3
        entries = tuple(claimed.entries[::-1] if bent == 3 else claimed.entries)
        self.everywhere(signer, lambda task: SettleRoster(task, number, tuple(people), entries))

    @rule(signer=signers, number=numbers, bent=st.sampled_from([0, 0, 0, 1, 2, 3, 4]))
    def settle_leaf(self, signer: Any, number: int, bent: int) -> None:
        claimed = self.claimed.get(number) or Claimed(BASE, None)
        self.everywhere(signer, lambda task: claimed.leaf(task, number, bent))

    @rule()
    def settle_the_newest(self) -> None:
        number = self.chains[0].task(self.tasks[0]).head
        self.settle_roster(RIVAL, number, 0)
        self.settle_leaf(RIVAL, number, 0)
        self.finalise(RIVAL, number)

    @rule(amount=st.sampled_from([1, MIN_BOND, 5 * MIN_BOND]))
    def withdraw(self, amount: int) -> None:
        if len({chain.balance(address_of(AGGREGATOR)).free for chain in self.chains}) == 1:
            self.everywhere(AGGREGATOR, lambda _: Withdraw(amount))

    @rule(extra=st.booleans())
    def admit_again(self, extra: bool) -> None:
        who = (address_of(SIGNERS[2]),) if extra else (MEMBERS[0],)
        self.everywhere(SPONSOR, lambda task: Admit(task, who))

    def teardown(self) -> None:
        for chain in getattr(self, "chains", [])[1:]:
            chain.close()


def _leaves() -> list[bytes]:
    return [merkle.leaf_hash(entry_bytes(e.member, e.weight, e.root) + SIGNATURE) for e in ENTRIES]


def _path(index: int) -> tuple[bytes, ...]:
    return merkle.path(_leaves(), index)


def _held(chain: Any, task: bytes, number: int, member: bytes) -> str:
    """Digests bind the chain and so differ; whether there is one, and whether it was excluded, does not."""
    found = chain.commitment(task, number, member)
    return "none" if found is None else "excluded" if found == bytes(28) else "held"


QUICK = settings(
    max_examples=5, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
LONG = settings(QUICK, max_examples=60, stateful_step_count=40)


def test_specification_hashchain_and_embedded_agree() -> None:
    """Generated scenarios give the same outcome on protocol/, the hashchain and the contract."""
    run_state_machine_as_test(Sameness, settings=QUICK)  # type: ignore[no-untyped-call]


def votes_for_a_lie(machine: Sameness) -> None:
    """Final early by votes, refuted all the same; then a proposal that hides, and a member that does."""
    v0, v1 = VALIDATORS
    machine.set_up(Settlement.EARLY, Voting.STAKE, 0, True)
    machine.pay(RIVAL)
    machine.attest(v0, 1, True)
    machine.play_a_round("sum", False, False)
    machine.attest(v0, 1, False)
    machine.attest(RIVAL, 1, True)
    machine.all_attest_the_newest()
    machine.attest(v0, 1, True)
    machine.attest(SIGNERS[3], 1, True)
    for _ in range(2):
        machine.demand(RIVAL, 1, "top", 0)
    machine.demand(SPONSOR, 1, "update", 0)
    machine.finalise(RIVAL, 1)
    machine.expire(RIVAL, 1, "top")
    for right in (False, True, True):
        machine.reveal(AGGREGATOR, 1, "top", right)
    machine.finalise(RIVAL, 1)
    machine.release(RIVAL, 1)
    machine.unstake(v0)
    machine.refute(RIVAL, 1, "sum", 0)
    for account in (v0, v0, AGGREGATOR):
        machine.slash(RIVAL, 1, account)
    machine.put_up(v0, GWEI, 2**256 - 1)
    machine.put_up(v1, GWEI, 2**256 - 1)
    machine.pay(AGGREGATOR)
    machine.play_a_round(None, False, False)
    machine.demand(RIVAL, 2, "sums", 0)
    machine.demand(RIVAL, 2, "next", 0)
    machine.wait(CHALLENGE)
    machine.demand(RIVAL, 2, "entry", 0)
    machine.expire(AGGREGATOR, 2, "sums")
    machine.expire(AGGREGATOR, 2, "next")
    machine.witness(v1, 2, MEMBERS[0])
    machine.accuse(MEMBERS[0], False)
    for signer in (v1, *SIGNERS[3:6]):
        machine.witness(signer, 2, MEMBERS[0])
    machine.wait(REVEAL)
    machine.witness(v1, 2, MEMBERS[0])
    machine.everywhere(
        AGGREGATOR, lambda task: Exclude(task, 2, MEMBERS[1], 7, ENTRIES[1].root, Reason.WITHHELD)
    )
    machine.witness(v1, 2, MEMBERS[1])


def votes_that_are_needed(machine: Sameness) -> None:
    """A proposal lapses without them; with them it does not."""
    machine.set_up(Settlement.QUORUM, Voting.QUALITY, 128, False)
    machine.pay(RIVAL)
    machine.play_a_round("sum", False, False)
    machine.refute(RIVAL, 1, "sum", 0)
    machine.settle_roster(RIVAL, 1, 0)
    machine.lapse(RIVAL, 1)
    machine.open(RIVAL, 2)
    machine.wait(CHALLENGE)
    machine.finalise(RIVAL, 1)
    machine.lapse(RIVAL, 1)
    machine.void(RIVAL, 2)
    machine.play_a_round(None, True, True)
    machine.demand(RIVAL, 3, "batch", 0)
    machine.reveal(AGGREGATOR, 3, "batch", True)
    machine.all_attest_the_newest()
    machine.wait(CHALLENGE)
    machine.lapse(RIVAL, 3)
    machine.finalise(RIVAL, 3)
    machine.grade(RIVAL, 1, 1)
    machine.grade(SPONSOR, 1, 0)
    machine.grade(SPONSOR, 0, 1)
    machine.put_up(VALIDATORS[0], GWEI, 0)
    machine.put_up(VALIDATORS[0], GWEI, MAX_STAKE - MIN_BOND)
    for _ in range(2):
        machine.unstake(VALIDATORS[0])


def a_proof(machine: Sameness) -> None:
    """The ledger aggregates the model itself, and the round's slots are taken only when its bond is free."""
    machine.set_up(Settlement.PROVEN, Voting.EQUAL, 0, False)
    machine.pay(RIVAL)
    machine.settle_leaf(RIVAL, 1, 0)
    machine.play_a_round(None, False, False)
    for bent in (1, 2, 3, 0, 0):
        machine.settle_roster(RIVAL, 1, bent)
    for bent in (1, 2, 3, 4, 0, 0):
        machine.settle_leaf(RIVAL, 1, bent)
    machine.finalise(RIVAL, 1)
    machine.play_a_round(None, False, False)
    machine.open(AGGREGATOR, 3)
    machine.release(RIVAL, 1)
    machine.wait(CHALLENGE)
    machine.release(RIVAL, 1)
    machine.settle_roster(RIVAL, 1, 0)
    machine.settle_leaf(RIVAL, 1, 0)
    machine.open(AGGREGATOR, 3)


EVENTS = {
    "Attested", "Demanded", "Expired", "Graded", "Lapsed", "LeafSettled", "Refuted", "Released", "Revealed", "RosterSettled",
    "Slashed", "Staked", "Unstaked", "Voided", "Witnessed",
}  # fmt: skip
REFUSALS = {
    "AlreadyAttested", "AlreadyDemanded", "AlreadySettled", "DemandsOpen", "InsufficientBalance", "InvalidAttestation",
    "InvalidGrades", "InvalidProof", "InvalidStake", "NotDemanded", "NotProposed", "NotReported", "NotScorer", "NotSettled",
    "NotSlashable", "NotStaked", "NotValidator", "RevealClosed", "RevealOpen", "SlotsFull", "StakeLocked", "WindowOpen",
    "WindowPassed",
}  # fmt: skip


def test_votes_availability_and_settlement_agree() -> None:
    """Every event and every refusal of their calls is the same on protocol/, the hashchain and the contract."""
    seen: set[str] = set()
    for play in (votes_for_a_lie, votes_that_are_needed, a_proof):
        machine = Sameness()
        try:
            play(machine)
        finally:
            machine.teardown()
        seen |= machine.seen
    assert seen >= EVENTS | REFUSALS, (EVENTS | REFUSALS) - seen


@pytest.mark.slow
def test_many_scenarios_agree() -> None:
    """The same, many times over."""
    run_state_machine_as_test(Sameness, settings=LONG)  # type: ignore[no-untyped-call]


class Anvil:
    """A JSON-RPC ledger whose node's clock can be moved."""

    def __init__(self, chain: EthereumLedger) -> None:
        self.chain = chain

    def __getattr__(self, name: str) -> Any:
        return getattr(self.chain, name)

    def wait(self, until: int) -> None:
        ask: Any = self.chain._web3.provider.make_request
        ask("evm_setNextBlockTimestamp", [until])
        ask("evm_mine", [])

    def close(self) -> None:
        pass


def test_a_node_agrees(node: str) -> None:
    """Generated scenarios give the same outcome on a JSON-RPC node, and its receipts and events are read back."""

    class OnNode(Sameness):
        def open_chains(self) -> list[Any]:
            chain = ledger.open(node)
            assert isinstance(chain, EthereumLedger)
            for signer in SIGNERS:
                chain.give(address_of(signer))
                held = chain.balance(address_of(signer))
                if held.free:
                    chain.send(signer, Withdraw(held.free))
            return [Anvil(chain)]

        def compare(self) -> None:
            """Bonds of earlier scenarios stay locked on a shared node, so only this task's views are compared."""
            numbers = self.opened()
            views = [
                (
                    chain.task(task),
                    [timeless(chain.round(task, n)) for n in numbers],
                    [[_held(chain, task, n, m) for n in numbers] for m in MEMBERS],
                    self.votes_of(chain, task, numbers),
                )
                for chain, task in zip(self.chains, self.tasks, strict=True)
            ]
            assert all(view == views[0] for view in views), views

    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        OnNode, settings=settings(QUICK, max_examples=2, stateful_step_count=20)
    )


def test_a_node_that_forgets_answers(node: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node whose answers get lost on the way is asked again, and no transaction is sent twice."""
    from requests import Session
    from requests.exceptions import ConnectionError

    chain = ledger.open(node)
    assert isinstance(chain, EthereumLedger)
    chain.give(address_of(SIGNERS[2]))
    held = chain.balance(address_of(SIGNERS[2])).free
    real, count, rng = Session.post, [0], random.Random(4)

    def lossy(self: Session, *arguments: Any, **options: Any) -> Any:
        count[0] += 1
        answer = real(self, *arguments, **options)
        if rng.random() < 0.2:
            raise ConnectionError("lost on the way back")
        return answer

    monkeypatch.setattr(Session, "post", lossy)
    receipts = chain.send(SIGNERS[2], *[Deposit(1)] * 5)
    monkeypatch.undo()
    assert len({receipt.transaction for receipt in receipts}) == 5
    assert chain.balance(address_of(SIGNERS[2])).free == held + 5
    assert count[0] > 10


def test_the_wrong_chain_or_address_is_refused(node: str) -> None:
    """A node on another chain, and an address without a contract, are named."""
    url = node.partition("?")[0]
    with pytest.raises(errors.InvalidParameter, match="on chain 31337, not 1"):
        ledger.open(f"{node}&chain_id=1")
    with pytest.raises(errors.InvalidParameter, match="no contract at"):
        ledger.open(f"{url}?contract=0x{'12' * 20}")


def test_a_reorganisation_is_noticed(node: str) -> None:
    """A cursor on a block that was replaced is refused, so that the reader reads again."""
    chain = ledger.open(node)
    assert isinstance(chain, EthereumLedger)
    ask: Any = chain._web3.provider.make_request
    chain.give(address_of(SIGNERS[2]))
    snapshot = ask("evm_snapshot", [])["result"]
    chain.send(SIGNERS[2], Deposit(1))
    cursor = chain.head()
    ask("evm_revert", [snapshot])
    ask(
        "anvil_mine", ["0x2"]
    )  # A chain that is replaced grows on: one that is shorter is a node that is behind.
    chain.send(SIGNERS[2], Deposit(2))
    with pytest.raises(errors.LedgerUnavailable, match="reorganisation"):
        list(chain.events(bytes(32), cursor))
