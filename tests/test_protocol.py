"""The protocol's promises, tried one by one and then all at once by a machine that tries to break them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tallystick import errors, merkle, protocol
from tallystick.commitment import commitment_digest, entry_bytes
from tallystick.ledger.author import commitment_author
from tallystick.protocol import (
    Admit,
    Balance,
    Commit,
    CommitBatch,
    CreateTask,
    Deposit,
    Exclude,
    Fault,
    Finalise,
    Open,
    Opened,
    Parameters,
    Phase,
    Propose,
    Reason,
    Refuted,
    RefuteTree,
    State,
    TaskCreated,
    TaskId,
    Void,
    Voided,
    Withdraw,
    process,
)
from tallystick.sumtree import SumNode

SPONSOR, AGGREGATOR, RIVAL = (bytes([k]) * 20 for k in (1, 2, 3))
MEMBERS = tuple(bytes([k]) * 20 for k in (10, 11, 12))
ROOT, OTHER = b"\x05" * 32, b"\x06" * 32
SIGNATURE = b"\x07" * 65
BOND = protocol.MIN_BOND
PARAMETERS = Parameters(
    sponsor=SPONSOR,
    layout=b"\x01" * 32,
    genesis=b"\x02" * 32,
    dimension=31,
    scale=24,
    leaf_words=256,
    fan_in=4,
    rule=0,
    rounds=9,
    quorum=2,
    max_weight=1000,
    max_members=3,
    slots=2,
    commit_window=100,
    challenge_window=50,
    bond=BOND,
    bounty=50,
    salt=bytes(32),
)


def begin(members: tuple[bytes, ...] = MEMBERS) -> tuple[State, TaskId]:
    """A ledger with one task, its members, and two bonded aggregators, at time 0."""
    state = State(31337, b"\xc0" * 20, commitment_author)
    (created,) = process(state, CreateTask(PARAMETERS), SPONSOR, 0)
    assert isinstance(created, TaskCreated)
    process(state, Admit(created.task, members), SPONSOR, 0)
    for account in (AGGREGATOR, RIVAL):
        process(state, Deposit(2 * BOND), account, 0)
    return state, created.task


def play_round(state: State, task: TaskId, number: int, now: int) -> None:
    """One undisturbed round up to its proposal."""
    process(state, Open(task, number), AGGREGATOR, now)
    for member in MEMBERS:
        process(state, Commit(task, number, 7, ROOT), member, now)
    process(state, Propose(task, number, 3, ROOT, bytes([number]) * 32), AGGREGATOR, now)


def test_a_round_goes_from_open_to_final_and_frees_its_bond() -> None:
    """A full round ends final, on the proposed model, with the proposer's bond back."""
    state, task = begin()
    play_round(state, task, 1, 0)
    assert protocol.get_balance(state, AGGREGATOR) == Balance(BOND, BOND)
    with pytest.raises(errors.WindowOpen):
        process(state, Finalise(task, 1), RIVAL, 49)
    process(state, Finalise(task, 1), RIVAL, 50)
    assert protocol.get_round(state, task, 1).phase == Phase.FINAL
    assert protocol.get_balance(state, AGGREGATOR) == Balance(2 * BOND, 0)


def test_training_does_not_wait_for_windows_until_slots_are_full() -> None:
    """Rounds open on unfinished ones; only a full ring of slots makes them wait."""
    state, task = begin()
    play_round(state, task, 1, 0)
    play_round(state, task, 2, 0)
    assert protocol.get_round(state, task, 2).parent == 1
    with pytest.raises(errors.NotBonded):
        process(state, Open(task, 3), AGGREGATOR, 0)
    with pytest.raises(errors.SlotsFull):
        process(state, Open(task, 3), RIVAL, 0)
    with pytest.raises(errors.ParentNotFinal):
        process(state, Finalise(task, 2), RIVAL, 60)
    process(state, Finalise(task, 1), RIVAL, 60)
    process(state, Open(task, 3), RIVAL, 60)


def test_the_roster_is_fixed_before_a_proposal() -> None:
    """Nobody can propose while somebody may still commit, nor commit once a proposal stands."""
    state, task = begin()
    process(state, Open(task, 1), AGGREGATOR, 0)
    for member in MEMBERS[:2]:
        process(state, Commit(task, 1, 7, ROOT), member, 0)
    proposal = Propose(task, 1, 2, ROOT, OTHER)
    with pytest.raises(errors.CommitsOpen):
        process(state, proposal, AGGREGATOR, 100)
    with pytest.raises(errors.CommitsClosed):
        process(state, Commit(task, 1, 7, ROOT), MEMBERS[2], 101)
    process(state, proposal, AGGREGATOR, 101)
    with pytest.raises(errors.RoundNotOpen):
        process(state, Commit(task, 1, 7, ROOT), MEMBERS[2], 50)


def test_a_commitment_cannot_be_changed() -> None:
    """A second commitment in a round is refused, whatever it holds, even after an exclusion."""
    state, task = begin()
    process(state, Open(task, 1), AGGREGATOR, 0)
    process(state, Commit(task, 1, 7, ROOT), MEMBERS[0], 0)
    held = protocol.get_commitment(state, task, 1, MEMBERS[0])
    with pytest.raises(errors.AlreadyCommitted):
        process(state, Commit(task, 1, 7, OTHER), MEMBERS[0], 0)
    assert protocol.get_commitment(state, task, 1, MEMBERS[0]) == held
    process(state, Exclude(task, 1, MEMBERS[0], 7, ROOT, Reason.WITHHELD), AGGREGATOR, 0)
    with pytest.raises(errors.AlreadyCommitted):
        process(state, Commit(task, 1, 7, OTHER), MEMBERS[0], 0)


@pytest.mark.parametrize(
    "change",
    [
        {"chain_id": 1},
        {"contract": b"\xc1" * 20},
        {"task": b"\x07" * 32},
        {"round": 2},
        {"member": MEMBERS[1]},
        {"root": OTHER},
        {"weight": 8},
    ],
    ids=lambda change: "other_" + next(iter(change)),
)
def test_a_commitment_binds_everything_it_names(change: dict[str, Any]) -> None:
    """A commitment cannot be replayed on another chain, contract, task or round, copied, or reweighted."""
    said: dict[str, Any] = {
        "chain_id": 31337, "contract": b"\xc0" * 20, "task": b"\x09" * 32,
        "round": 1, "member": MEMBERS[0], "root": ROOT, "weight": 7,
    }  # fmt: skip
    assert commitment_digest(**said) != commitment_digest(**said | change)


def test_an_exclusion_must_name_what_was_committed() -> None:
    """A member is left out only under its own commitment, once, with a reason that has a name."""
    state, task = begin()
    process(state, Open(task, 1), AGGREGATOR, 0)
    process(state, Commit(task, 1, 7, ROOT), MEMBERS[0], 0)
    good = Exclude(task, 1, MEMBERS[0], 7, ROOT, Reason.WRONG_ROOT)
    for bad, error in (
        (replace(good, weight=8), errors.NotCommitted),
        (replace(good, root=OTHER), errors.NotCommitted),
        (replace(good, member=MEMBERS[1]), errors.NotCommitted),
        (replace(good, reason=0), errors.InvalidReason),
    ):
        with pytest.raises(error):
            process(state, bad, AGGREGATOR, 0)
    with pytest.raises(errors.NotBonded):
        process(state, good, MEMBERS[1], 0)
    process(state, good, AGGREGATOR, 0)
    with pytest.raises(errors.AlreadyExcluded):
        process(state, good, AGGREGATOR, 0)


def test_a_batch_fixes_its_members_and_an_entry_is_excluded_by_its_path() -> None:
    """One root commits the whole roster; leaving out one of it takes that entry's Merkle path."""
    state, task = begin()
    process(state, Open(task, 1), AGGREGATOR, 0)
    hashes = [merkle.leaf_hash(entry_bytes(member, 7, ROOT) + SIGNATURE) for member in MEMBERS]
    process(state, CommitBatch(task, 1, merkle.root_of(hashes), 3), AGGREGATOR, 0)
    with pytest.raises(errors.AlreadyBatched):
        process(state, CommitBatch(task, 1, OTHER, 3), RIVAL, 0)
    path = merkle.path(hashes, 1)
    good = Exclude(task, 1, MEMBERS[1], 7, ROOT, Reason.WITHHELD, SIGNATURE, 1, path)
    for bad in (replace(good, index=2), replace(good, signature=bytes(65)), replace(good, path=())):
        with pytest.raises(errors.NotCommitted):
            process(state, bad, AGGREGATOR, 0)
    process(state, good, AGGREGATOR, 0)
    with pytest.raises(errors.AlreadyExcluded):
        process(state, good, AGGREGATOR, 0)
    process(state, Propose(task, 1, 2, ROOT, OTHER, adopt=True), AGGREGATOR, 101)
    assert protocol.get_round(state, task, 1).adopted


def test_nobody_answers_for_a_batch_that_another_posted() -> None:
    """A proposal may leave the batch alone, and can adopt one only where there is one."""
    state, task = begin()
    process(state, Open(task, 1), AGGREGATOR, 0)
    for member in MEMBERS[:2]:
        process(state, Commit(task, 1, 7, ROOT), member, 0)
    with pytest.raises(errors.NoBatch):
        process(state, Propose(task, 1, 2, ROOT, OTHER, adopt=True), AGGREGATOR, 101)
    process(state, CommitBatch(task, 1, OTHER, 3), RIVAL, 0)
    process(state, Propose(task, 1, 2, ROOT, OTHER), AGGREGATOR, 101)
    assert not protocol.get_round(state, task, 1).adopted


def test_forged_batch_entries_cannot_shut_members_out() -> None:
    """An aggregator that batches and excludes what nobody signed can neither close a round early nor wedge it."""
    state, task = begin()
    process(state, Open(task, 1), AGGREGATOR, 0)
    hashes = [merkle.leaf_hash(entry_bytes(member, 1, OTHER) + bytes(65)) for member in MEMBERS]
    process(state, CommitBatch(task, 1, merkle.root_of(hashes), 3), AGGREGATOR, 0)
    for index in (0, 1):
        path = merkle.path(hashes, index)
        forged = Exclude(task, 1, MEMBERS[index], 1, OTHER, 1, bytes(65), index, path)
        process(state, forged, AGGREGATOR, 0)
    with pytest.raises(errors.CommitsOpen):
        process(state, Propose(task, 1, 2, ROOT, OTHER), AGGREGATOR, 0)
    for member in MEMBERS:
        process(state, Commit(task, 1, 7, ROOT), member, 0)
    process(state, Propose(task, 1, 3, ROOT, OTHER), RIVAL, 0)


LIE = SumNode(9, 21, ROOT, (OTHER,) * 3)
"""Top of a tree that claims nine members where there are three."""


def refuted(state: State, task: TaskId, number: int, now: int) -> tuple[protocol.Event, ...]:
    """Strike out a proposal whose sum root is `LIE`'s."""
    return process(state, RefuteTree(task, number, (LIE,), 0, (), ()), RIVAL, now)


def play_a_lie(state: State, task: TaskId, number: int, now: int) -> None:
    process(state, Open(task, number), AGGREGATOR, now)
    for member in MEMBERS:
        process(state, Commit(task, number, 7, ROOT), member, now)
    process(state, Propose(task, number, 3, LIE.digest, OTHER), AGGREGATOR, now)


def test_a_lie_costs_its_bond_and_the_round_awaits_another_proposal() -> None:
    """The challenger gets the bounty, the rest is lost, commitments stand, and anyone bonded proposes again."""
    state, task = begin()
    play_a_lie(state, task, 1, 0)
    held = protocol.get_commitment(state, task, 1, MEMBERS[0])
    assert refuted(state, task, 1, 10) == (
        Refuted(task, 1, AGGREGATOR, RIVAL, Fault.TREE, BOND // 2),
    )
    assert protocol.get_balance(state, AGGREGATOR) == Balance(BOND, 0)
    assert protocol.get_balance(state, RIVAL) == Balance(2 * BOND + BOND // 2, 0)
    assert state.slashed == BOND - BOND // 2
    view = protocol.get_task_view(state, task)
    assert (view.head, view.pending, view.opened) == (0, 1, 1)
    assert protocol.get_commitment(state, task, 1, MEMBERS[0]) == held
    with pytest.raises(errors.NotProposed):
        refuted(state, task, 1, 10)
    process(state, Propose(task, 1, 3, ROOT, OTHER), RIVAL, 10)
    assert protocol.get_round(state, task, 1).attempt == 1
    process(state, Finalise(task, 1), RIVAL, 60)


def test_a_refutation_lets_nobody_commit_late() -> None:
    """A lie in the commit window leaves it open; one after it does not open it again."""
    state, task = begin()
    process(state, Open(task, 1), AGGREGATOR, 0)
    for member in MEMBERS[:2]:
        process(state, Commit(task, 1, 7, ROOT), member, 0)
    process(state, Propose(task, 1, 2, LIE.digest, OTHER), AGGREGATOR, 101)
    refuted(state, task, 1, 120)
    with pytest.raises(errors.CommitsClosed):
        process(state, Commit(task, 1, 7, ROOT), MEMBERS[2], 120)
    with pytest.raises(errors.CommitsOpen):
        process(state, Open(task, 1), RIVAL, 219)
    process(state, Open(task, 1), RIVAL, 220)


def test_what_was_opened_on_a_lie_is_void() -> None:
    """Its round can be neither proposed nor finalised; voiding frees the honest proposer's bond, and the height is done again."""
    state, task = begin()
    play_a_lie(state, task, 1, 0)
    process(state, Open(task, 2), RIVAL, 0)
    for member in MEMBERS:
        process(state, Commit(task, 2, 7, ROOT), member, 0)
    process(state, Propose(task, 2, 3, ROOT, OTHER), RIVAL, 0)
    with pytest.raises(errors.NotVoid):
        process(state, Void(task, 2), SPONSOR, 0)
    refuted(state, task, 1, 10)
    for call in (Finalise(task, 2), RefuteTree(task, 2, (LIE,), 0, (), ())):
        with pytest.raises(errors.RoundVoid):
            process(state, call, SPONSOR, 100)
    locked = protocol.get_balance(state, RIVAL).locked
    assert process(state, Void(task, 2), SPONSOR, 100) == (Voided(task, 2),)
    assert protocol.get_balance(state, RIVAL).locked == locked - BOND
    with pytest.raises(errors.NotVoid):
        process(state, Void(task, 2), SPONSOR, 100)
    process(state, Propose(task, 1, 3, ROOT, OTHER), RIVAL, 100)
    process(state, Finalise(task, 1), RIVAL, 150)
    (opened,) = process(state, Open(task, 3), RIVAL, 150)
    assert isinstance(opened, Opened)
    assert (opened.round, opened.parent, opened.height) == (3, 1, 2)


def test_the_void_spreads_to_what_stands_on_it() -> None:
    """A round on a void round is void too, once the one below is voided; an open one can never be proposed."""
    state, task = begin()
    play_a_lie(state, task, 1, 0)
    process(state, Open(task, 2), RIVAL, 0)
    refuted(state, task, 1, 10)
    with pytest.raises(errors.RoundVoid):
        process(state, Propose(task, 2, 3, ROOT, OTHER), RIVAL, 300)
    process(state, Propose(task, 1, 3, ROOT, OTHER), RIVAL, 10)
    with pytest.raises(errors.SlotsFull):
        process(state, Open(task, 3), RIVAL, 10)
    process(state, Void(task, 2), SPONSOR, 10)
    process(state, Finalise(task, 1), RIVAL, 60)
    process(state, Open(task, 3), RIVAL, 60)


def test_a_final_proposal_cannot_be_refuted() -> None:
    """After the window, even the truth comes too late: a final round never changes."""
    state, task = begin()
    play_a_lie(state, task, 1, 0)
    process(state, Finalise(task, 1), AGGREGATOR, 50)
    with pytest.raises(errors.NotProposed):
        refuted(state, task, 1, 50)


def test_a_round_without_quorum_is_given_another_window() -> None:
    """Too few commitments stall a round; it can be extended, not proposed."""
    state, task = begin()
    process(state, Open(task, 1), AGGREGATOR, 0)
    process(state, Commit(task, 1, 7, ROOT), MEMBERS[0], 0)
    with pytest.raises(errors.InvalidProposal):
        process(state, Propose(task, 1, 1, ROOT, OTHER), AGGREGATOR, 150)
    with pytest.raises(errors.CommitsOpen):
        process(state, Open(task, 1), RIVAL, 200)
    process(state, Open(task, 1), RIVAL, 201)
    process(state, Commit(task, 1, 7, ROOT), MEMBERS[1], 202)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"layout": bytes(32)}, "layout"),
        ({"genesis": bytes(32)}, "genesis"),
        ({"dimension": 0}, "dimension"),
        ({"scale": 31}, "scale"),
        ({"leaf_words": 7}, "leafWords"),
        ({"fan_in": 1}, "fanIn"),
        ({"rule": 1}, "rule"),
        ({"rounds": 0}, "rounds"),
        ({"max_members": 0}, "maxMembers"),
        ({"quorum": 4}, "quorum"),
        ({"max_weight": 2**32 // 3 + 1}, "maxWeight"),
        ({"slots": 1}, "slots"),
        ({"commit_window": 0}, "commitWindow"),
        ({"challenge_window": 1}, "challengeWindow"),
        ({"bond": 0}, "bond"),
        ({"bounty": 9}, "bounty"),
        ({"bounty": 91}, "bounty"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unsafe_parameters_are_refused_by_name(change: dict[str, Any], named: str) -> None:
    """A task that could overflow, divide by nothing or be had for free is never created."""
    state = State(1, bytes(20), commitment_author)
    with pytest.raises(errors.InvalidTask) as caught:
        process(state, CreateTask(replace(PARAMETERS, **change)), SPONSOR, 0)
    assert caught.value.arguments == (named,)


def test_only_the_sponsor_creates_and_admits() -> None:
    """Nobody else can create a task in the sponsor's name or add members to it."""
    state, task = begin(MEMBERS[:1])
    with pytest.raises(errors.NotSponsor):
        process(state, CreateTask(replace(PARAMETERS, salt=ROOT)), RIVAL, 0)
    with pytest.raises(errors.NotSponsor):
        process(state, Admit(task, (RIVAL,)), RIVAL, 0)
    with pytest.raises(errors.AlreadyAdmitted):
        process(state, Admit(task, MEMBERS[:1]), SPONSOR, 0)
    with pytest.raises(errors.TooManyMembers):
        process(state, Admit(task, (*MEMBERS[1:], RIVAL)), SPONSOR, 0)
    assert not protocol.is_member(state, task, MEMBERS[1]), "a refused call changes nothing"


class Adversary(RuleBasedStateMachine):
    """Anybody calls anything at any time; the invariants hold all the same."""

    accounts = st.sampled_from((SPONSOR, AGGREGATOR, RIVAL, *MEMBERS))
    numbers = st.integers(0, 7)
    roots = st.sampled_from((ROOT, OTHER, LIE.digest, bytes(32)))

    @initialize()
    def set_up(self) -> None:
        self.state, self.task = begin()
        self.now = 0
        self.inside = 4 * BOND
        self.final: dict[int, protocol.Round] = {}
        self.proposed: set[tuple[int, int]] = set()

    def attempt(self, call: protocol.Call, sender: bytes) -> bool:
        before = repr(self.state)
        try:
            process(self.state, call, sender, self.now)
        except errors.Refused:
            assert repr(self.state) == before, "a refused call changed the state"
            return False
        return True

    @rule(seconds=st.integers(1, 130))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule(sender=accounts, amount=st.integers(1, 3 * BOND))
    def deposit(self, sender: bytes, amount: int) -> None:
        self.inside += amount * self.attempt(Deposit(amount), sender)

    @rule(sender=accounts, amount=st.integers(1, 3 * BOND))
    def withdraw(self, sender: bytes, amount: int) -> None:
        self.inside -= amount * self.attempt(Withdraw(amount), sender)

    @rule(sender=accounts, number=numbers)
    def open(self, sender: bytes, number: int) -> None:
        self.attempt(Open(self.task, number), sender)

    @rule(number=numbers, weight=st.integers(0, 1001), root=roots)
    def everyone_commits(self, number: int, weight: int, root: bytes) -> None:
        for member in MEMBERS:
            self.attempt(Commit(self.task, number, weight, root), member)

    @rule(sender=accounts, number=numbers, root=roots, count=st.integers(0, 4))
    def batch(self, sender: bytes, number: int, root: bytes, count: int) -> None:
        self.attempt(CommitBatch(self.task, number, root, count), sender)

    @rule(sender=accounts, number=numbers, member=accounts, weight=st.integers(1, 3), root=roots)
    def exclude(self, sender: bytes, number: int, member: bytes, weight: int, root: bytes) -> None:
        self.attempt(Exclude(self.task, number, member, weight, root, 1), sender)

    @rule(sender=accounts, number=numbers, count=st.integers(0, 4), root=roots, adopt=st.booleans())
    def propose(self, sender: bytes, number: int, count: int, root: bytes, adopt: bool) -> None:
        if self.attempt(Propose(self.task, number, count, root, root, adopt), sender):
            attempt = protocol.get_round(self.state, self.task, number).attempt
            assert (number, attempt) not in self.proposed, "two proposals for one round"
            self.proposed.add((number, attempt))

    @rule(sender=accounts, number=numbers)
    def refute(self, sender: bytes, number: int) -> None:
        before = protocol.get_round(self.state, self.task, number)
        if self.attempt(RefuteTree(self.task, number, (LIE,), 0, (), ()), sender):
            assert before.phase == Phase.PROPOSED and before.sum_root == LIE.digest

    @rule(sender=accounts, number=numbers)
    def void(self, sender: bytes, number: int) -> None:
        self.attempt(Void(self.task, number), sender)

    @rule(sender=accounts, number=numbers)
    def finalise(self, sender: bytes, number: int) -> None:
        self.attempt(Finalise(self.task, number), sender)

    @invariant()
    def books_balance(self) -> None:
        """Free, locked and slashed wei sum to what went in less what came out, and nothing is negative."""
        held = self.state.balances.values()
        assert sum(b.free + b.locked for b in held) + self.state.slashed == self.inside
        assert all(b.free >= 0 and b.locked >= 0 for b in held)

    @invariant()
    def bonds_stand_behind_open_proposals(self) -> None:
        """What is locked is exactly one bond for every proposal that is not final."""
        rounds = self.state.tasks[self.task].rounds.values()
        pending = sum(r.phase == Phase.PROPOSED for r in rounds)
        assert sum(b.locked for b in self.state.balances.values()) == pending * BOND

    @invariant()
    def final_rounds_never_change(self) -> None:
        """A final round stays as it was, and stands on a final one."""
        rounds = self.state.tasks[self.task].rounds
        for number, kept in self.final.items():
            assert rounds[number] == kept
        self.final = {n: r for n, r in rounds.items() if r.phase == Phase.FINAL}
        assert all(rounds[r.parent].phase == Phase.FINAL for r in self.final.values())

    @invariant()
    def rounds_in_flight_fit_the_slots(self) -> None:
        """No commitment can be overwritten while its round may still be challenged."""
        rounds = self.state.tasks[self.task].rounds.values()
        assert sum(r.phase in (Phase.OPEN, Phase.PROPOSED) for r in rounds) <= PARAMETERS.slots

    @invariant()
    def head_and_pending_stand_on_nothing_refuted(self) -> None:
        """What is built on next is valid all the way down, heights count up, and only one round awaits a proposal."""
        task = self.state.tasks[self.task]
        number = task.pending or task.head
        if task.pending:
            assert task.rounds[number].phase == Phase.OPEN
            assert task.rounds[number].parent == task.head
        while number:
            current = task.rounds[number]
            assert not protocol.is_void(task, number)
            assert current.height == task.rounds[current.parent].height + 1
            number = current.parent

    @invariant()
    def void_is_what_builds_on_a_refuted_proposal(self) -> None:
        """One look at a round's height says what following its parents down to a final one does."""
        task = self.state.tasks[self.task]

        def stands(current: protocol.Round) -> bool:
            if current.phase in {Phase.FINAL, Phase.VOID}:
                return current.phase == Phase.FINAL
            parent = task.rounds[current.parent]
            return parent.attempt == current.parent_attempt and stands(parent)

        for number, current in task.rounds.items():
            if current.phase in {Phase.OPEN, Phase.PROPOSED}:
                assert protocol.is_void(task, number) == (not stands(current))


Adversary.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAdversary = Adversary.TestCase
