"""Validators answer with their stakes for what they attest: every way to vote without right, or to get away with a lie."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scenes import (
    AGGREGATOR,
    BOND,
    LIE,
    MEMBERS,
    OTHER,
    PARAMETERS,
    REVEAL,
    RIVAL,
    ROOT,
    SCORER,
    SPONSOR,
    STAKE,
    STRANGER,
    VALIDATORS,
    WINDOW,
    attest,
    begin,
    commit,
    give_stake,
    play_a_lie,
    play_round,
    refuted,
)
from tallystick import errors, merkle, protocol
from tallystick.commitment import entry_bytes
from tallystick.fraud import Opening
from tallystick.protocol import (
    GWEI,
    MAX_STAKE,
    Admit,
    Attest,
    Attested,
    Balance,
    Commit,
    CommitBatch,
    Deposit,
    Exclude,
    Finalise,
    Grade,
    Graded,
    Lapse,
    Lapsed,
    Open,
    Opened,
    Phase,
    Propose,
    Reason,
    RefuteNext,
    RefuteSum,
    Release,
    Released,
    Settlement,
    Slash,
    Slashed,
    Stake,
    Standing,
    State,
    TaskId,
    Unstake,
    Unstaked,
    Void,
    Voting,
    Witness,
    Witnessed,
    process,
)

EARLY, QUORUM = {"settlement": Settlement.EARLY}, {"settlement": Settlement.QUORUM}
NOBODY = b"\x77" * 32
"""No task."""


def test_a_stake_is_more_than_nothing_and_is_there() -> None:
    """Nothing, more than the most, and more than is free are refused; what is staked is locked."""
    state, task = begin()
    process(state, Deposit(MAX_STAKE + 1), STRANGER, 0)
    for amount in (0, MAX_STAKE + 1, 2**256 - 1):
        with pytest.raises(errors.InvalidStake):
            process(state, Stake(task, amount), STRANGER, 0)
    with pytest.raises(errors.UnknownTask):
        process(state, Stake(NOBODY, BOND), STRANGER, 0)
    with pytest.raises(errors.InsufficientBalance):
        process(state, Stake(task, 3 * BOND), RIVAL, 0)
    process(state, Stake(task, MAX_STAKE), STRANGER, 0)
    with pytest.raises(errors.InvalidStake):
        process(state, Stake(task, 1), STRANGER, 0)
    assert protocol.get_balance(state, STRANGER) == Balance(1, MAX_STAKE)


def test_a_vote_bought_after_a_round_opened_does_not_count_in_it() -> None:
    """Who sees a proposal coming cannot buy a vote on it: the electorate is fixed when the round is opened."""
    state, task = begin(validators=1)
    commit(state, task, 1, 0)
    give_stake(state, task, VALIDATORS[1])
    process(state, Propose(task, 1, 3, ROOT, OTHER), AGGREGATOR, 0)
    with pytest.raises(errors.NotValidator):
        attest(state, task, 1, VALIDATORS[1], 0)
    assert protocol.get_ballot(state, task, 1).electorate == 1
    play_round(state, task, 2, 0)
    attest(state, task, 2, VALIDATORS[1], 0)
    assert protocol.get_ballot(state, task, 2).electorate == 2


def test_a_vote_that_changes_weighs_nothing_in_rounds_under_way() -> None:
    """More money staked after a round was opened buys no more of its votes, and gives up the one that was there."""
    state, task = begin(validators=1, voting=Voting.STAKE)
    play_round(state, task, 1, 0)
    give_stake(state, task, VALIDATORS[0])
    with pytest.raises(errors.NotValidator):
        attest(state, task, 1, VALIDATORS[0], 0)
    play_round(state, task, 2, 0)
    attest(state, task, 2, VALIDATORS[0], 0)
    assert protocol.get_ballot(state, task, 2).votes == 2 * BOND // GWEI


@pytest.mark.parametrize(
    ("voting", "stake", "quality", "weight"),
    [
        (Voting.EQUAL, BOND, 0, 1),
        (Voting.EQUAL, 9 * BOND, 5, 1),
        (Voting.STAKE, BOND + GWEI - 1, 0, BOND // GWEI),
        (Voting.STAKE, MAX_STAKE, 0, MAX_STAKE // GWEI),
        (Voting.QUALITY, BOND, 5, 5),
        (Voting.QUALITY, BOND, 0, 0),
        (Voting.EQUAL, BOND - 1, 0, 0),
        (Voting.STAKE, BOND - 1, 0, 0),
        (Voting.QUALITY, BOND - 1, 5, 0),
    ],
)
def test_what_a_vote_weighs(voting: Voting, stake: int, quality: int, weight: int) -> None:
    """One each, the stake in gwei, or the scorer's quality; and nothing below the task's least stake."""
    p = replace(PARAMETERS, voting=voting)
    assert protocol.compute_weight(p, stake, quality) == weight


def test_only_the_scorer_grades() -> None:
    """Nobody sets its own quality, and every account needs one."""
    state, task = begin(validators=2, voting=Voting.QUALITY, scorer=SCORER)
    with pytest.raises(errors.NotScorer):
        process(state, Grade(task, VALIDATORS[:1], (9,)), VALIDATORS[0], 0)
    with pytest.raises(errors.NotScorer):
        process(state, Grade(task, VALIDATORS[:1], (9,)), SPONSOR, 0)
    with pytest.raises(errors.InvalidGrades):
        process(state, Grade(task, VALIDATORS[:2], (9,)), SCORER, 0)
    with pytest.raises(errors.UnknownTask):
        process(state, Grade(NOBODY, (), ()), SCORER, 0)
    play_round(state, task, 1, 0)
    with pytest.raises(errors.NotValidator):
        attest(state, task, 1, VALIDATORS[0], 0)
    graded = process(state, Grade(task, VALIDATORS[:2], (9, 4)), SCORER, 0)
    assert graded == (Graded(task, VALIDATORS[0], 9), Graded(task, VALIDATORS[1], 4))
    assert protocol.get_task_view(state, task).votes == 13
    play_round(state, task, 2, 0)
    attest(state, task, 2, VALIDATORS[0], 0)
    process(state, Grade(task, VALIDATORS[1:2], (5,)), SCORER, 0)
    with pytest.raises(errors.NotValidator):
        attest(state, task, 2, VALIDATORS[1], 0)
    ballot = protocol.get_ballot(state, task, 2)
    assert (ballot.votes, ballot.electorate) == (9, 13)


def test_a_grade_without_a_stake_is_no_vote() -> None:
    """An account that the scorer praises votes only once it has something to lose."""
    state, task = begin(voting=Voting.QUALITY, scorer=SCORER)
    process(state, Grade(task, (STRANGER,), (7,)), SCORER, 0)
    assert protocol.get_task_view(state, task).votes == 0
    give_stake(state, task, STRANGER)
    assert protocol.get_standing(state, task, STRANGER) == Standing(BOND, 7, 7, 0)


def test_an_attestation_is_of_the_proposal_that_stands() -> None:
    """Without a proposal there is nothing to attest, and other roots than its are another's."""
    state, task = begin(validators=1)
    good = Attest(task, 1, ROOT, OTHER)
    with pytest.raises(errors.NotProposed):
        process(state, replace(good, task=NOBODY), VALIDATORS[0], 0)
    commit(state, task, 1, 0)
    with pytest.raises(errors.NotProposed):
        process(state, good, VALIDATORS[0], 0)
    process(state, Propose(task, 1, 3, ROOT, OTHER), AGGREGATOR, 0)
    for bad in (replace(good, sum_root=OTHER), replace(good, next_root=ROOT)):
        with pytest.raises(errors.InvalidAttestation):
            process(state, bad, VALIDATORS[0], 0)
    with pytest.raises(errors.NotValidator):
        process(state, good, STRANGER, 0)
    assert process(state, good, VALIDATORS[0], 0) == (Attested(task, 1, VALIDATORS[0], 1, OTHER),)
    assert protocol.get_attested(state, task, 1, VALIDATORS[0]) == 0
    with pytest.raises(errors.AlreadyAttested):
        process(state, good, VALIDATORS[0], 0)
    process(state, Finalise(task, 1), RIVAL, WINDOW)
    with pytest.raises(errors.NotProposed):
        process(state, good, VALIDATORS[0], WINDOW)


def test_a_quorum_makes_a_proposal_final_before_its_window_has_passed() -> None:
    """At the quorum, not below it; the bond is free only when the window has passed, and once."""
    state, task = begin(validators=3, **EARLY)
    play_round(state, task, 1, 0)
    attest(state, task, 1, VALIDATORS[0], 0)
    attest(state, task, 1, VALIDATORS[1], 0)
    with pytest.raises(errors.WindowOpen):
        process(state, Finalise(task, 1), STRANGER, 1)
    attest(state, task, 1, VALIDATORS[2], 1)
    process(state, Finalise(task, 1), STRANGER, 1)
    assert protocol.get_round(state, task, 1).phase == Phase.FINAL
    assert protocol.get_balance(state, AGGREGATOR) == Balance(BOND, BOND)
    with pytest.raises(errors.WindowOpen):
        process(state, Release(task, 1), STRANGER, WINDOW - 1)
    assert process(state, Release(task, 1), STRANGER, WINDOW) == (Released(task, 1),)
    assert protocol.get_balance(state, AGGREGATOR) == Balance(2 * BOND, 0)
    with pytest.raises(errors.NotProposed):
        process(state, Release(task, 1), STRANGER, WINDOW)


def test_only_what_was_final_early_is_released() -> None:
    """No bond comes free by release while its proposal is not final, nor of a round that is none."""
    state, task = begin()
    play_round(state, task, 1, 0)
    for number in (0, 1, 2):
        with pytest.raises(errors.NotProposed):
            process(state, Release(task, number), AGGREGATOR, 2 * WINDOW)
    with pytest.raises(errors.UnknownTask):
        process(state, Release(NOBODY, 1), AGGREGATOR, 0)


def test_votes_hurry_nothing_where_the_task_does_not_say_so() -> None:
    """Unanimity before the window has passed makes nothing final in a task that waits for its window."""
    state, task = begin(validators=3)
    play_round(state, task, 1, 0)
    for account in VALIDATORS:
        attest(state, task, 1, account, 0)
    with pytest.raises(errors.WindowOpen):
        process(state, Finalise(task, 1), STRANGER, WINDOW - 1)


@pytest.mark.parametrize("changes", [EARLY, QUORUM], ids=["early", "quorum"])
def test_nobody_is_no_quorum(changes: dict[str, Settlement]) -> None:
    """All of no votes settle nothing."""
    state, task = begin(**changes)
    play_round(state, task, 1, 0)
    with pytest.raises(errors.WindowOpen):
        process(state, Finalise(task, 1), STRANGER, WINDOW - 1)


def test_early_finality_is_not_needed() -> None:
    """Where votes may hurry finality, the window's end is enough without them."""
    state, task = begin(validators=1, **EARLY)
    play_round(state, task, 1, 0)
    process(state, Finalise(task, 1), STRANGER, WINDOW)
    with pytest.raises(errors.NotProposed):
        process(state, Release(task, 1), STRANGER, WINDOW)


def test_a_proposal_without_the_quorum_that_it_needs_lapses() -> None:
    """It can never be final, its bond is free, and its height is done again under a new number."""
    state, task = begin(validators=3, **QUORUM)
    play_round(state, task, 1, 0)
    attest(state, task, 1, VALIDATORS[0], 0)
    with pytest.raises(errors.WindowOpen):
        process(state, Lapse(task, 1), STRANGER, WINDOW - 1)
    with pytest.raises(errors.NotSettled):
        process(state, Finalise(task, 1), STRANGER, WINDOW)
    assert process(state, Lapse(task, 1), STRANGER, WINDOW) == (Lapsed(task, 1),)
    assert protocol.get_round(state, task, 1).phase == Phase.VOID
    assert protocol.get_balance(state, AGGREGATOR) == Balance(2 * BOND, 0)
    for call in (Finalise(task, 1), Lapse(task, 1)):
        with pytest.raises(errors.NotProposed):
            process(state, call, STRANGER, WINDOW)
    process(state, Unstake(task), VALIDATORS[0], WINDOW)
    (opened,) = process(state, Open(task, 2), AGGREGATOR, WINDOW)
    assert isinstance(opened, Opened)
    assert (opened.parent, opened.height) == (0, 1)


def test_what_was_opened_on_a_lapsed_proposal_is_void() -> None:
    """Nobody proposes on it, and voiding it frees its slot."""
    state, task = begin(validators=1, **QUORUM)
    play_round(state, task, 1, 0)
    process(state, Open(task, 2), RIVAL, 0)
    process(state, Lapse(task, 1), STRANGER, WINDOW)
    with pytest.raises(errors.RoundVoid):
        process(state, Propose(task, 2, 3, ROOT, OTHER), RIVAL, 200)
    process(state, Void(task, 2), STRANGER, 200)
    assert protocol.get_task_view(state, task).pending == 0
    play_round(state, task, 3, 200)
    assert protocol.get_round(state, task, 3).height == 1


@pytest.mark.parametrize("changes", [{}, EARLY, QUORUM], ids=["window", "early", "quorum"])
def test_what_is_settled_does_not_lapse(changes: dict[str, Settlement]) -> None:
    """Nobody voids a proposal that has what its task asks for."""
    state, task = begin(validators=1, **changes)
    with pytest.raises(errors.UnknownTask):
        process(state, Lapse(NOBODY, 1), STRANGER, 0)
    with pytest.raises(errors.NotProposed):
        process(state, Lapse(task, 1), STRANGER, 0)
    play_round(state, task, 1, 0)
    attest(state, task, 1, VALIDATORS[0], 0)
    with pytest.raises(errors.AlreadySettled):
        process(state, Lapse(task, 1), STRANGER, WINDOW)


def test_where_no_leaf_proves_a_sum_wrong_sums_are_for_votes() -> None:
    """Under a rule that the contract does not know, its arithmetic refutes nobody."""
    state, task = begin(validators=1, rule=128, **QUORUM)
    play_a_lie(state, task, 1, 0)
    empty = Opening(b"", ())
    for call in (
        RefuteSum(task, 1, (LIE,), 0, 0, empty, (), (), ()),
        RefuteNext(task, 1, LIE, 0, empty, empty, empty),
    ):
        with pytest.raises(errors.InvalidProof) as caught:
            process(state, call, RIVAL, 0)
        assert caught.value.arguments == ("rule",)
    refuted(state, task, 1, 0)


def lie_attested(**changes: object) -> tuple[State, TaskId]:
    """A task in which the first validator attested a lie in round 1, refuted at 10."""
    state, task = begin(validators=3, **changes)
    play_a_lie(state, task, 1, 0)
    attest(state, task, 1, VALIDATORS[0], 0)
    refuted(state, task, 1, 10)
    return state, task


def test_who_attested_a_lie_loses_the_whole_stake() -> None:
    """Anyone takes it, for the bounty's share; the rest is lost; and only once."""
    state, task = lie_attested()
    give_stake(state, task, VALIDATORS[0], 2 * BOND)
    before = protocol.get_balance(state, STRANGER).free
    lost = state.slashed
    (slashed,) = process(state, Slash(task, 1, VALIDATORS[0]), STRANGER, 10)
    assert slashed == Slashed(task, 1, VALIDATORS[0], STRANGER, STAKE, STAKE // 2)
    assert protocol.get_balance(state, STRANGER).free == before + STAKE // 2
    assert state.slashed == lost + STAKE - STAKE // 2
    assert protocol.get_balance(state, VALIDATORS[0]) == Balance(0, 0)
    assert protocol.get_standing(state, task, VALIDATORS[0]).weight == 0
    with pytest.raises(errors.NotSlashable):
        process(state, Slash(task, 1, VALIDATORS[0]), STRANGER, 10)


def test_who_has_nothing_left_is_not_slashed_again() -> None:
    """Of two lies that one validator attested, the first takes all; the second takes what it has staked since."""
    state, task = lie_attested(slots=3)
    process(state, Deposit(9 * BOND), AGGREGATOR, 10)
    process(state, Propose(task, 1, 3, ROOT, OTHER), AGGREGATOR, 10)
    play_a_lie(state, task, 2, 10)
    attest(state, task, 2, VALIDATORS[0], 10)
    refuted(state, task, 2, 10)
    process(state, Slash(task, 1, VALIDATORS[0]), STRANGER, 10)
    with pytest.raises(errors.NotSlashable):
        process(state, Slash(task, 2, VALIDATORS[0]), STRANGER, 10)
    give_stake(state, task, VALIDATORS[0])
    process(state, Slash(task, 2, VALIDATORS[0]), STRANGER, 10)


def test_who_attested_no_lie_cannot_be_slashed() -> None:
    """Not who kept silent, not who attested what stands or is final, not in a round that is none."""
    state, task = lie_attested()
    for number, account in ((1, VALIDATORS[1]), (1, STRANGER), (0, VALIDATORS[0]), (2, VALIDATORS[0])):  # fmt: skip
        with pytest.raises(errors.NotSlashable):
            process(state, Slash(task, number, account), RIVAL, 10)
    with pytest.raises(errors.UnknownTask):
        process(state, Slash(NOBODY, 1, VALIDATORS[0]), RIVAL, 10)
    process(state, Propose(task, 1, 3, ROOT, OTHER), AGGREGATOR, 10)
    attest(state, task, 1, VALIDATORS[1], 10)
    process(state, Finalise(task, 1), STRANGER, 10 + WINDOW)
    with pytest.raises(errors.NotSlashable):
        process(state, Slash(task, 1, VALIDATORS[1]), RIVAL, 10 + WINDOW)


def test_a_stake_does_not_run_from_what_it_answers_for() -> None:
    """It is locked while the proposal can be refuted, and for good once it was."""
    state, task = begin(validators=2)
    with pytest.raises(errors.NotStaked):
        process(state, Unstake(task), STRANGER, 0)
    with pytest.raises(errors.UnknownTask):
        process(state, Unstake(NOBODY), STRANGER, 0)
    play_a_lie(state, task, 1, 0)
    attest(state, task, 1, VALIDATORS[0], 0)
    with pytest.raises(errors.StakeLocked):
        process(state, Unstake(task), VALIDATORS[0], 5)
    assert process(state, Unstake(task), VALIDATORS[1], 5) == (Unstaked(task, VALIDATORS[1], BOND),)
    refuted(state, task, 1, 10)
    with pytest.raises(errors.StakeLocked):
        process(state, Unstake(task), VALIDATORS[0], 10_000)
    assert protocol.get_balance(state, VALIDATORS[1]) == Balance(BOND, 0)


def test_a_stake_comes_back_when_all_that_it_answers_for_is_past_doubt() -> None:
    """After finality it is free, whole; and then it has no vote."""
    state, task = begin(validators=1)
    play_round(state, task, 1, 0)
    attest(state, task, 1, VALIDATORS[0], 0)
    process(state, Finalise(task, 1), STRANGER, WINDOW)
    process(state, Unstake(task), VALIDATORS[0], WINDOW)
    assert protocol.get_balance(state, VALIDATORS[0]) == Balance(BOND, 0)
    play_round(state, task, 2, WINDOW)
    with pytest.raises(errors.NotValidator):
        attest(state, task, 2, VALIDATORS[0], WINDOW)


def test_a_stake_behind_a_void_round_is_free_once_that_is_on_the_record() -> None:
    """Who attested an honest round on a lie that somebody else told answers for nothing."""
    state, task = begin(validators=1)
    play_a_lie(state, task, 1, 0)
    play_round(state, task, 2, 0)
    attest(state, task, 2, VALIDATORS[0], 0)
    refuted(state, task, 1, 10)
    with pytest.raises(errors.StakeLocked):
        process(state, Unstake(task), VALIDATORS[0], 10)
    process(state, Void(task, 2), STRANGER, 10)
    with pytest.raises(errors.NotSlashable):
        process(state, Slash(task, 2, VALIDATORS[0]), STRANGER, 10)
    process(state, Unstake(task), VALIDATORS[0], 10)


def test_a_lie_made_final_by_votes_costs_bond_and_stakes() -> None:
    """The round stays what it is, what builds on it stands; those who answered for it pay all the same."""
    state, task = begin(validators=1, **EARLY)
    play_a_lie(state, task, 1, 0)
    attest(state, task, 1, VALIDATORS[0], 0)
    process(state, Finalise(task, 1), STRANGER, 0)
    play_round(state, task, 2, 0)
    kept = protocol.get_round(state, task, 1)
    with pytest.raises(errors.StakeLocked):
        process(state, Unstake(task), VALIDATORS[0], 5)
    assert protocol.get_balance(state, AGGREGATOR) == Balance(0, 2 * BOND)
    refuted(state, task, 1, 10)
    assert protocol.get_balance(state, AGGREGATOR) == Balance(0, BOND)
    found = protocol.get_round(state, task, 1)
    assert found == replace(kept, attempt=1)
    assert (found.phase, protocol.get_task_view(state, task).head) == (Phase.FINAL, 2)
    with pytest.raises(errors.NotVoid):
        process(state, Void(task, 2), STRANGER, 10)
    with pytest.raises(errors.NotProposed):
        refuted(state, task, 1, 10)
    with pytest.raises(errors.NotProposed):
        process(state, Release(task, 1), STRANGER, WINDOW)
    process(state, Slash(task, 1, VALIDATORS[0]), STRANGER, 10)
    process(state, Finalise(task, 2), STRANGER, WINDOW)


def test_a_lie_made_final_by_votes_is_past_doubt_after_its_release() -> None:
    """Once the window has passed and the bond is free, evidence comes too late."""
    state, task = begin(validators=1, **EARLY)
    play_a_lie(state, task, 1, 0)
    attest(state, task, 1, VALIDATORS[0], 0)
    process(state, Finalise(task, 1), STRANGER, 0)
    process(state, Release(task, 1), STRANGER, WINDOW)
    with pytest.raises(errors.NotProposed):
        refuted(state, task, 1, WINDOW)
    process(state, Unstake(task), VALIDATORS[0], WINDOW)


def test_commitments_of_a_round_in_doubt_are_not_overwritten() -> None:
    """Votes make rounds final, not evidence moot: until its bond is free, no later round takes a round's slots."""
    state, task = begin(validators=1, **EARLY)
    process(state, Deposit(9 * BOND), AGGREGATOR, 0)
    for number in (1, 2):
        play_round(state, task, number, 0)
        attest(state, task, number, VALIDATORS[0], 0)
        process(state, Finalise(task, number), STRANGER, 0)
    with pytest.raises(errors.SlotsFull):
        process(state, Open(task, 3), AGGREGATOR, 0)
    process(state, Release(task, 1), STRANGER, WINDOW)
    play_round(state, task, 3, WINDOW)


def test_a_second_proposal_starts_without_votes() -> None:
    """What was said of a refuted proposal counts for nothing, and its voters have no second vote on the round."""
    state, task = lie_attested(**EARLY)
    process(state, Propose(task, 1, 3, ROOT, OTHER), AGGREGATOR, 10)
    assert protocol.get_ballot(state, task, 1).votes == 0
    with pytest.raises(errors.AlreadyAttested):
        attest(state, task, 1, VALIDATORS[0], 10)
    attest(state, task, 1, VALIDATORS[1], 10)
    ballot = protocol.get_ballot(state, task, 1)
    assert (ballot.electorate, ballot.votes, ballot.attempt) == (3, 1, 1)


def test_a_liar_does_not_buy_itself_back_into_the_vote() -> None:
    """A new stake after the old one was taken votes in later rounds only."""
    state, task = lie_attested()
    process(state, Slash(task, 1, VALIDATORS[0]), STRANGER, 10)
    give_stake(state, task, VALIDATORS[0])
    process(state, Deposit(BOND), AGGREGATOR, 10)
    process(state, Propose(task, 1, 3, ROOT, OTHER), AGGREGATOR, 10)
    with pytest.raises(errors.NotValidator):
        attest(state, task, 1, VALIDATORS[0], 10)
    play_round(state, task, 2, 10)
    attest(state, task, 2, VALIDATORS[0], 10)


def test_an_attested_lie_is_not_forgotten_for_another_round() -> None:
    """The slot that holds a refuted attestation holds it until the stake is taken."""
    state, task = lie_attested()
    process(state, Deposit(9 * BOND), AGGREGATOR, 10)
    process(state, Propose(task, 1, 3, ROOT, OTHER), AGGREGATOR, 10)
    process(state, Finalise(task, 1), STRANGER, 100)
    play_round(state, task, 2, 100)
    attest(state, task, 2, VALIDATORS[0], 100)
    play_round(state, task, 3, 100)
    with pytest.raises(errors.StakeLocked):
        attest(state, task, 3, VALIDATORS[0], 100)
    attest(state, task, 3, VALIDATORS[1], 100)
    process(state, Slash(task, 1, VALIDATORS[0]), STRANGER, 100)


def test_members_of_a_task_that_asks_for_it_have_a_stake() -> None:
    """Nobody is admitted without it, or gets it back before the task is complete."""
    state, task = begin((), member_stake=STAKE, rounds=1)
    process(state, Deposit(9 * STAKE), MEMBERS[0], 0)
    for amount in (STAKE - 1, 1):
        with pytest.raises(errors.NotStaked):
            process(state, Admit(task, MEMBERS[:1]), SPONSOR, 0)
        process(state, Stake(task, amount), MEMBERS[0], 0)
    process(state, Admit(task, MEMBERS[:1]), SPONSOR, 0)
    for member in MEMBERS[1:]:
        give_stake(state, task, member, STAKE)
    process(state, Admit(task, MEMBERS[1:]), SPONSOR, 0)
    play_round(state, task, 1, 0)
    with pytest.raises(errors.StakeLocked):
        process(state, Unstake(task), MEMBERS[0], 1)
    process(state, Finalise(task, 1), STRANGER, WINDOW)
    process(state, Unstake(task), MEMBERS[0], WINDOW)


def withheld(reason: Reason = Reason.WITHHELD, **changes: object) -> tuple[State, TaskId]:
    """A round from which a staked member was excluded at 0; it can reveal until 30, and be witnessed against until 60."""
    state, task = begin(validators=3, **changes)
    give_stake(state, task, MEMBERS[0])
    commit(state, task, 1, 0)
    process(state, Exclude(task, 1, MEMBERS[0], 7, ROOT, reason), RIVAL, 0)
    return state, task


def test_a_quorum_that_could_not_get_a_members_update_takes_its_stake() -> None:
    """Not before the quorum, nor again after it; who reported it earns the bounty."""
    state, task = withheld(vote_quorum=75)
    before = protocol.get_balance(state, RIVAL).free
    for account in VALIDATORS[:2]:
        said = process(state, Witness(task, 1, MEMBERS[0]), account, REVEAL + 1)
        assert said == (Witnessed(task, 1, MEMBERS[0], account, 1),)
    assert protocol.get_ballot(state, task, 1).electorate == 4
    (said, slashed) = process(state, Witness(task, 1, MEMBERS[0]), VALIDATORS[2], REVEAL + 1)
    assert slashed == Slashed(task, 1, MEMBERS[0], RIVAL, BOND, BOND // 2)
    assert protocol.get_balance(state, RIVAL).free == before + BOND // 2
    assert protocol.is_member(state, task, MEMBERS[0])
    give_stake(state, task, MEMBERS[0])
    with pytest.raises(errors.NotValidator):
        process(state, Witness(task, 1, MEMBERS[0]), MEMBERS[0], REVEAL + 1)


def test_a_quorum_takes_a_stake_once() -> None:
    """Witnesses beyond the quorum change nothing, and a member with nothing at stake loses nothing."""
    state, task = withheld(vote_quorum=51)
    process(state, Exclude(task, 1, MEMBERS[1], 7, ROOT, 1), RIVAL, 0)
    for member, events in ((MEMBERS[1], [1, 1, 1, 1]), (MEMBERS[0], [1, 1, 2])):
        voters = (MEMBERS[0], *VALIDATORS)[4 - len(events) :]
        told = [process(state, Witness(task, 1, member), v, REVEAL + 1) for v in voters]
        assert [len(each) for each in told] == events
    state, task = withheld(vote_quorum=51)
    told = []
    for voter in (MEMBERS[0], *VALIDATORS):
        told.append(len(process(state, Witness(task, 1, MEMBERS[0]), voter, REVEAL + 1)))
        if told[-1] == 2:
            give_stake(state, task, MEMBERS[0])
    assert told == [1, 1, 2, 1]
    assert protocol.get_standing(state, task, MEMBERS[0]).stake == BOND


def test_a_member_has_time_to_reveal_and_witnesses_have_an_end() -> None:
    """Not before its deadline has passed, and not when data may have been pruned."""
    state, task = withheld()
    call = Witness(task, 1, MEMBERS[0])
    for now, error in ((REVEAL, errors.RevealOpen), (2 * REVEAL + 1, errors.RevealClosed)):
        with pytest.raises(error):
            process(state, call, VALIDATORS[0], now)
    process(state, call, VALIDATORS[0], 2 * REVEAL)


def test_only_what_was_reported_as_withheld_is_witnessed() -> None:
    """Not who was not excluded, nor for another reason, nor in another task or round."""
    state, task = withheld(Reason.WRONG_ROOT)
    for call in (
        Witness(task, 1, MEMBERS[0]),
        Witness(task, 1, MEMBERS[1]),
        Witness(task, 2, MEMBERS[0]),
    ):
        with pytest.raises(errors.NotReported):
            process(state, call, VALIDATORS[0], REVEAL + 1)
    with pytest.raises(errors.UnknownTask):
        process(state, Witness(NOBODY, 1, MEMBERS[0]), VALIDATORS[0], REVEAL + 1)


def test_only_validators_witness_and_each_once() -> None:
    """Who had no vote when the round was opened is no witness, nor is one validator two."""
    state, task = withheld()
    call = Witness(task, 1, MEMBERS[0])
    give_stake(state, task, STRANGER)
    with pytest.raises(errors.NotValidator):
        process(state, call, STRANGER, REVEAL + 1)
    process(state, call, VALIDATORS[0], REVEAL + 1)
    with pytest.raises(errors.AlreadyAttested):
        process(state, call, VALIDATORS[0], REVEAL + 1)


def test_a_direct_commitments_report_goes_first() -> None:
    """Of a member reported for its entry in the batch and for its direct commitment, the latter's deadline and reporter count."""
    state, task = begin(validators=1)
    give_stake(state, task, MEMBERS[0])
    process(state, Open(task, 1), AGGREGATOR, 0)
    leaves = [merkle.leaf_hash(entry_bytes(MEMBERS[0], 7, ROOT) + bytes(65))]
    process(state, CommitBatch(task, 1, merkle.root_of(leaves), 1), AGGREGATOR, 0)
    process(state, Exclude(task, 1, MEMBERS[0], 7, ROOT, 1, bytes(65)), AGGREGATOR, 0)
    process(state, Commit(task, 1, 7, ROOT), MEMBERS[0], 10)
    process(state, Exclude(task, 1, MEMBERS[0], 7, ROOT, 1), RIVAL, 10)
    with pytest.raises(errors.RevealOpen):
        process(state, Witness(task, 1, MEMBERS[0]), VALIDATORS[0], 10 + REVEAL)
    (_, *rest) = process(state, Witness(task, 1, MEMBERS[0]), VALIDATORS[0], 11 + REVEAL)
    assert rest == []
    (_, slashed) = process(state, Witness(task, 1, MEMBERS[0]), MEMBERS[0], 11 + REVEAL)
    assert isinstance(slashed, Slashed)
    assert slashed.by == RIVAL
