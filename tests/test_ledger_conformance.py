"""The same scenarios give the same events, refusals and state on the specification and on every ledger."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tallystick import errors, keys, ledger, merkle, protocol
from tallystick.aggregation import combine
from tallystick.commitment import entry_bytes
from tallystick.encoding import Words, as_bytes
from tallystick.fraud import Accused, Opening, Placed, Signed, Vector
from tallystick.ledger import address_of
from tallystick.ledger.author import commitment_author
from tallystick.ledger.ethereum import EthereumLedger
from tallystick.protocol import (
    MIN_BOND,
    Admit,
    Call,
    Commit,
    CommitBatch,
    CreateTask,
    Deposit,
    Exclude,
    Finalise,
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
    State,
    TaskCreated,
    Void,
    Withdraw,
)
from tallystick.sumtree import Entry

SIGNERS = [
    keys.demo(5, role, k) for role, k in (("sponsor", 0), ("aggregator", 0), ("aggregator", 1))
]
SIGNERS += [keys.demo(5, "member", k) for k in range(3)]
SPONSOR, AGGREGATOR = SIGNERS[0], SIGNERS[1]
MEMBERS = sorted(address_of(signer) for signer in SIGNERS[3:])
WINDOW, CHALLENGE = 40_000, 20_000
"""Longer than a scenario has blocks, so that only jumps decide what is open."""
ROOTS = [bytes([k]) * 32 for k in range(3)]
TIMES = {"commit_deadline", "deadline", "final_at"}
PASSED = {errors.CommitsClosed, errors.CommitsOpen, errors.WindowOpen}
"""Refusals whose argument is a time."""
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
                vector = [*Vector, 4][bent % 5]
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


def timeless(found: Any) -> Any:
    return replace(found, **dict.fromkeys(TIMES & set(found.__dataclass_fields__), 0))


class Specification:
    """protocol.py with a clock that ticks once per call."""

    def __init__(self) -> None:
        self.state = State(1, b"\x01" * 20, commitment_author)
        self.time = 0

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


class Sameness(RuleBasedStateMachine):
    """Any calls in any order, made on all of them."""

    signers = st.sampled_from(SIGNERS)
    numbers = st.integers(0, 5)
    roots = st.sampled_from(ROOTS)
    chains: list[Any]

    def open_chains(self) -> list[Any]:
        return [ledger.open("hashchain:?difficulty=1"), ledger.open("embedded:")]

    @initialize()
    def set_up(self) -> None:
        self.chains = [Specification(), *self.open_chains()]
        salt = time.time_ns().to_bytes(32, "big")
        self.parameters = Parameters(
            sponsor=address_of(SPONSOR), layout=ROOTS[1], genesis=merkle.root(as_bytes(BASE), 32), dimension=8, scale=24,
            leaf_words=8, fan_in=4, rule=0, rounds=4, quorum=2, max_weight=100, max_members=3, slots=2,
            commit_window=WINDOW, challenge_window=CHALLENGE, bond=MIN_BOND, bounty=50, salt=salt,
        )  # fmt: skip
        self.tasks = []
        for chain in self.chains:
            sent = self.one(chain, SPONSOR, CreateTask(self.parameters))
            assert isinstance(sent[0], TaskCreated)
            self.tasks.append(sent[0].task)
        self.everywhere(SPONSOR, lambda task: Admit(task, tuple(MEMBERS)))
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
        self.compare()

    def compare(self) -> None:
        """What can be read is the same everywhere."""
        views = []
        for chain, task, start in zip(self.chains, self.tasks, self.starts(), strict=True):
            views.append(
                (
                    chain.task(task),
                    [timeless(chain.round(task, n)) for n in range(6)],
                    [[_held(chain, task, n, m) for n in range(6)] for m in MEMBERS],
                    [chain.balance(address_of(s)) for s in SIGNERS[2:]],
                    chain.balance(address_of(AGGREGATOR)).free - start,
                    chain.is_member(task, MEMBERS[0]),
                    chain.is_member(task, address_of(SPONSOR)),
                )
            )
        assert all(view == views[0] for view in views), views

    def starts(self) -> list[int]:
        return getattr(self, "start", [0] * len(self.chains))

    @rule(jump=st.sampled_from([CHALLENGE, WINDOW, 2 * WINDOW]))
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
        for signer in SIGNERS[3:]:
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

    @rule(signer=signers, number=numbers, count=st.integers(0, 4), root=roots, adopt=st.booleans())
    def propose(self, signer: Any, number: int, count: int, root: bytes, adopt: bool) -> None:
        self.everywhere(signer, lambda task: Propose(task, number, count, root, ROOTS[1], adopt))

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
    max_examples=6, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
LONG = settings(QUICK, max_examples=60, stateful_step_count=40)


def test_specification_hashchain_and_embedded_agree() -> None:
    """Generated scenarios give the same outcome on protocol.py, the hashchain and the contract."""
    run_state_machine_as_test(Sameness, settings=QUICK)  # type: ignore[no-untyped-call]


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
            views = [
                (
                    chain.task(task),
                    [timeless(chain.round(task, n)) for n in range(6)],
                    [[_held(chain, task, n, m) for n in range(6)] for m in MEMBERS],
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
    snapshot = ask("evm_snapshot", [])["result"]
    chain.give(address_of(SIGNERS[2]))
    chain.send(SIGNERS[2], Deposit(1))
    cursor = chain.head()
    ask("evm_revert", [snapshot])
    chain.send(SIGNERS[2], Deposit(2))
    with pytest.raises(errors.LedgerUnavailable, match="reorganisation"):
        list(chain.events(bytes(32), cursor))
