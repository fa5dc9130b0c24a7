"""The protocol's promises, tried one by one and then all at once by a machine that tries to break them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from scenes import (
    AGGREGATOR,
    BOND,
    LIE,
    MEMBERS,
    OTHER,
    PARAMETERS,
    RIVAL,
    ROOT,
    SCORER,
    SPONSOR,
    STRANGER,
    VALIDATORS,
    begin,
    play_a_lie,
    play_round,
    refuted,
)
from tallystick import errors, merkle, protocol
from tallystick.commitment import commitment_digest, entry_bytes
from tallystick.fraud import Sought, Vector
from tallystick.ledger.author import commitment_author
from tallystick.protocol import (
    Admit,
    Attest,
    Balance,
    Commit,
    CommitBatch,
    CreateTask,
    Demand,
    Deposit,
    Exclude,
    Expire,
    Fault,
    Finalise,
    Grade,
    Lapse,
    Open,
    Opened,
    Phase,
    Propose,
    Reason,
    Refuted,
    RefuteTree,
    Release,
    Reveal,
    Settlement,
    Slash,
    Stake,
    State,
    Unstake,
    Void,
    Voided,
    Voting,
    Withdraw,
    Witness,
    process,
)

SIGNATURE = b"\x07" * 65


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


def test_who_excludes_everybody_stops_nobody_else() -> None:
    """A bonded account that excludes all members keeps only itself from proposing."""
    state, task = begin()
    process(state, Open(task, 1), AGGREGATOR, 0)
    for member in MEMBERS:
        process(state, Commit(task, 1, 7, ROOT), member, 0)
        process(state, Exclude(task, 1, member, 7, ROOT, Reason.WITHHELD), RIVAL, 0)
    with pytest.raises(errors.CommitsOpen):
        process(state, Propose(task, 1, 3, ROOT, OTHER), AGGREGATOR, 100)
    with pytest.raises(errors.InvalidProposal):
        process(state, Propose(task, 1, 4, ROOT, OTHER), AGGREGATOR, 101)
    process(state, Propose(task, 1, 3, ROOT, OTHER), AGGREGATOR, 101)


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
        ({"settlement": 4}, "settlement"),
        ({"rule": 128}, "settlement"),
        ({"rule": 128, "settlement": Settlement.PROVEN}, "settlement"),
        ({"rule": 256, "settlement": Settlement.QUORUM}, "rule"),
        ({"voting": 3}, "voting"),
        ({"vote_quorum": 50}, "voteQuorum"),
        ({"vote_quorum": 101}, "voteQuorum"),
        ({"reveal_window": 1}, "revealWindow"),
        ({"reveal_window": protocol.MAX_WINDOW + 1}, "revealWindow"),
        ({"stake": protocol.MIN_BOND - 1}, "stake"),
        ({"stake": protocol.MAX_STAKE + 1}, "stake"),
        ({"scorer": SCORER}, "scorer"),
        ({"voting": Voting.QUALITY}, "scorer"),
        ({"member_stake": protocol.MAX_STAKE + 1}, "memberStake"),
        ({"reveal_fee": protocol.MIN_REVEAL_FEE - 1}, "revealFee"),
        ({"reveal_fee": protocol.MAX_STAKE + 1}, "revealFee"),
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

    accounts = st.sampled_from((SPONSOR, AGGREGATOR, RIVAL, *MEMBERS, *VALIDATORS))
    validators = st.sampled_from((*VALIDATORS, MEMBERS[0], STRANGER))
    numbers = st.integers(0, 7)
    roots = st.sampled_from((ROOT, OTHER, LIE.digest, bytes(32)))

    @initialize(settlement=st.sampled_from(Settlement), voting=st.sampled_from(Voting))
    def set_up(self, settlement: Settlement, voting: Voting) -> None:
        scorer = SCORER if voting == Voting.QUALITY else bytes(20)
        self.state, self.task = begin(
            validators=3, settlement=settlement, voting=voting, scorer=scorer
        )
        self.now = 0
        self.inside = 7 * BOND
        self.final: dict[int, tuple[Any, ...]] = {}
        self.attempts: dict[int, int] = {}
        self.proposed: set[tuple[int, int]] = set()
        if voting == Voting.QUALITY:
            self.grade(5)

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

    @rule(lie=st.booleans())
    def play_a_round(self, lie: bool) -> None:
        """The next round up to its proposal, in the order that gets furthest."""
        view = protocol.get_task_view(self.state, self.task)
        number = view.pending or view.opened + 1
        self.deposit(AGGREGATOR, BOND)
        self.open(AGGREGATOR, number)
        self.everyone_commits(number, 1, ROOT)
        self.propose(AGGREGATOR, number, 3, LIE.digest if lie else ROOT, False)

    @rule(sender=accounts, number=numbers)
    def refute(self, sender: bytes, number: int) -> None:
        before = protocol.get_round(self.state, self.task, number)
        ballot = protocol.get_ballot(self.state, self.task, number)
        if self.attempt(RefuteTree(self.task, number, (LIE,), 0, (), ()), sender):
            assert ballot.bonded and before.sum_root == LIE.digest

    @rule(sender=accounts, number=numbers)
    def void(self, sender: bytes, number: int) -> None:
        self.attempt(Void(self.task, number), sender)

    @rule(sender=accounts, number=numbers)
    def lapse(self, sender: bytes, number: int) -> None:
        self.attempt(Lapse(self.task, number), sender)

    @rule(sender=accounts, number=numbers)
    def release(self, sender: bytes, number: int) -> None:
        self.attempt(Release(self.task, number), sender)

    @rule(sender=accounts, number=numbers)
    def finalise(self, sender: bytes, number: int) -> None:
        if self.attempt(Finalise(self.task, number), sender):
            p = self.state.tasks[self.task].parameters
            ballot = protocol.get_ballot(self.state, self.task, number)
            self.attempts[number] = protocol.get_round(self.state, self.task, number).attempt
            assert p.settlement != Settlement.PROVEN
            assert ballot.demands == 0
            if p.settlement == Settlement.QUORUM:
                assert 0 < ballot.electorate * p.vote_quorum <= ballot.votes * 100

    @rule(sender=validators, amount=st.sampled_from([1, BOND, 3 * BOND]))
    def stake(self, sender: bytes, amount: int) -> None:
        self.deposit(sender, amount)
        self.attempt(Stake(self.task, amount), sender)

    @rule(sender=validators)
    def unstake(self, sender: bytes) -> None:
        self.attempt(Unstake(self.task), sender)

    @rule(quality=st.integers(0, 9))
    def grade(self, quality: int) -> None:
        self.attempt(Grade(self.task, VALIDATORS, (quality, 1, 2)), SCORER)

    @rule(sender=validators, number=numbers, root=roots)
    def attest(self, sender: bytes, number: int, root: bytes) -> None:
        self.attempt(Attest(self.task, number, root, root), sender)

    @rule()
    def all_attest_the_newest(self) -> None:
        for sender in VALIDATORS:
            number = protocol.get_task_view(self.state, self.task).head
            current = protocol.get_round(self.state, self.task, number)
            call = Attest(self.task, number, current.sum_root, current.next_root)
            self.attempt(call, sender)

    @rule(sender=accounts, number=numbers, account=validators)
    def slash(self, sender: bytes, number: int, account: bytes) -> None:
        self.attempt(Slash(self.task, number, account), sender)

    @rule(sender=validators, number=numbers, member=st.sampled_from(MEMBERS))
    def witness(self, sender: bytes, number: int, member: bytes) -> None:
        self.attempt(Witness(self.task, number, member), sender)

    @rule(sender=accounts, number=numbers, root=roots)
    def demand(self, sender: bytes, number: int, root: bytes) -> None:
        sought = Sought(Vector.TREE, (), 0, (), 0, 0, root, ())
        self.attempt(Demand(self.task, number, sought), sender)

    @rule(sender=accounts, number=numbers)
    def reveal(self, sender: bytes, number: int) -> None:
        self.attempt(Reveal(self.task, number, LIE.digest, 0, LIE.data), sender)

    @rule(sender=accounts, number=numbers, root=roots)
    def expire(self, sender: bytes, number: int, root: bytes) -> None:
        self.attempt(Expire(self.task, number, root, 0), sender)

    @invariant()
    def books_balance(self) -> None:
        """Free, locked and slashed wei sum to what went in less what came out, and nothing is negative."""
        held = self.state.balances.values()
        assert sum(b.free + b.locked for b in held) + self.state.slashed == self.inside
        assert all(b.free >= 0 and b.locked >= 0 for b in held)

    @invariant()
    def what_is_locked_stands_behind_something(self) -> None:
        """What is locked is one bond for every proposal that can be refuted, every stake, and one fee for every demand."""
        task = self.state.tasks[self.task]
        bonds = sum(ballot.bonded for ballot in task.ballots.values()) * BOND
        stakes = sum(standing.stake for standing in task.standings.values())
        fees = len(task.demands) * task.parameters.reveal_fee
        assert sum(b.locked for b in self.state.balances.values()) == bonds + stakes + fees
        for number, current in task.rounds.items():
            bonded = number in task.ballots and task.ballots[number].bonded
            assert not bonded or current.phase in {Phase.PROPOSED, Phase.FINAL}
            assert bonded or current.phase != Phase.PROPOSED

    @invariant()
    def votes_are_of_the_electorate(self) -> None:
        """Nobody votes who was not there when the round was opened, nor twice."""
        task = self.state.tasks[self.task]
        assert task.votes == sum(standing.weight for standing in task.standings.values())
        for number in task.ballots:
            ballot = protocol.get_ballot(self.state, self.task, number)
            assert 0 <= ballot.votes <= ballot.electorate

    @invariant()
    def final_rounds_never_change(self) -> None:
        """What a final round says stays as it was, also when those who answered for it pay, and it stands on a final one."""
        rounds = self.state.tasks[self.task].rounds
        found = {
            n: (r.parent, r.height, r.count, r.sum_root, r.next_root, r.proposer)
            for n, r in rounds.items()
            if r.phase == Phase.FINAL
        }
        assert self.final.items() <= found.items()
        self.final = found
        assert all(rounds[kept[0]].phase == Phase.FINAL for kept in found.values())

    @invariant()
    def rounds_in_doubt_fit_the_slots(self) -> None:
        """No commitment can be overwritten while its round may still be challenged, also if votes made it final."""
        task = self.state.tasks[self.task]
        doubted = [n for n, b in task.ballots.items() if b.bonded or task.rounds[n].phase == Phase.OPEN]  # fmt: skip
        assert all(n > task.opened - PARAMETERS.slots for n in doubted)

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
            attempt = self.attempts.get(current.parent, parent.attempt)
            return attempt == current.parent_attempt and stands(parent)

        for number, current in task.rounds.items():
            if current.phase in {Phase.OPEN, Phase.PROPOSED}:
                assert protocol.is_void(task, number) == (not stands(current))


Adversary.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAdversary = Adversary.TestCase
