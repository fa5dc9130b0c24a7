"""Votes: validators answer with their stakes for proposals that they have recomputed."""

from __future__ import annotations

from dataclasses import replace

from .. import errors
from .calls import Attest, Grade, Slash, Stake, Unstake, Witness
from .events import Attested, Event, Graded, Slashed, Staked, Unstaked, Witnessed
from .state import (
    Balance,
    Ballot,
    Round,
    Standing,
    State,
    Task,
    get_attested,
    get_balance,
    get_ballot,
    get_standing,
    get_task,
)
from .terms import GWEI, MAX_STAKE, Address, Parameters, Phase, TaskId, Voting


def compute_weight(p: Parameters, stake: int, quality: int) -> int:
    """What a validator's vote weighs: nothing below the task's least stake."""
    if stake < p.stake:
        return 0
    return {Voting.EQUAL: 1, Voting.STAKE: stake // GWEI, Voting.QUALITY: quality}[Voting(p.voting)]


def process_stake(state: State, call: Stake, sender: Address, now: int) -> tuple[Event, ...]:
    """The vote counts in rounds opened from now on: nobody can buy one for a proposal that is there already."""
    task = get_task(state, call.task)
    standing = get_standing(state, call.task, sender)
    if call.amount == 0 or standing.stake + call.amount > MAX_STAKE:
        raise errors.InvalidStake()
    held = get_balance(state, sender)
    if held.free < call.amount:
        raise errors.InsufficientBalance(held.free, call.amount)
    state.balances[sender] = Balance(held.free - call.amount, held.locked + call.amount)
    weigh(task, sender, standing.stake + call.amount, standing.quality)
    return (Staked(call.task, sender, call.amount),)


def process_unstake(state: State, call: Unstake, sender: Address, now: int) -> tuple[Event, ...]:
    """The whole stake, and only once nothing that it answers for can be refuted. A member's, where members need one, once the
    task is complete."""
    task = get_task(state, call.task)
    standing = get_standing(state, call.task, sender)
    if standing.stake == 0:
        raise errors.NotStaked(sender)
    head, p = task.rounds[task.head], task.parameters
    complete = head.phase == Phase.FINAL and head.height == p.rounds
    if p.member_stake and sender in task.members and not complete:
        raise errors.StakeLocked(task.head)
    for slot in range(p.slots):
        check_released(task, *task.attested.get((sender, slot), (0, 0)))
    held = get_balance(state, sender)
    state.balances[sender] = Balance(held.free + standing.stake, held.locked - standing.stake)
    weigh(task, sender, 0, standing.quality)
    return (Unstaked(call.task, sender, standing.stake),)


def process_grade(state: State, call: Grade, sender: Address, now: int) -> tuple[Event, ...]:
    task = get_task(state, call.task)
    if sender != task.parameters.scorer:
        raise errors.NotScorer()
    if len(call.accounts) != len(call.qualities):
        raise errors.InvalidGrades()
    for account, quality in zip(call.accounts, call.qualities, strict=True):
        weigh(task, account, get_standing(state, call.task, account).stake, quality)
    return tuple(map(Graded, [call.task] * len(call.accounts), call.accounts, call.qualities))


def process_attest(state: State, call: Attest, sender: Address, now: int) -> tuple[Event, ...]:
    """A validator can answer for as many rounds at a time as there are slots."""
    task = state.tasks.get(call.task)
    current = task.rounds.get(call.round, Round()) if task else Round()
    if task is None or current.phase != Phase.PROPOSED:
        raise errors.NotProposed(call.round)
    if (call.sum_root, call.next_root) != (current.sum_root, current.next_root):
        raise errors.InvalidAttestation()
    weight = get_vote(task, call.round, sender)
    slot = (sender, call.round % task.parameters.slots)
    held, attempt = task.attested.get(slot, (0, 0))
    if held == call.round:
        raise errors.AlreadyAttested(sender)
    check_released(task, held, attempt)
    task.attested[slot] = (call.round, current.attempt)
    ballot = get_ballot(state, call.task, call.round)
    task.ballots[call.round] = replace(ballot, votes=ballot.votes + weight)
    return (Attested(call.task, call.round, sender, weight, call.next_root),)


def process_slash(state: State, call: Slash, sender: Address, now: int) -> tuple[Event, ...]:
    task = get_task(state, call.task)
    attempt = get_attested(state, call.task, call.round, call.account)
    standing = get_standing(state, call.task, call.account)
    if attempt is None or attempt == task.rounds[call.round].attempt or standing.stake == 0:
        raise errors.NotSlashable(call.account)
    del task.attested[call.account, call.round % task.parameters.slots]
    return (forfeit(state, call.task, call.round, call.account, sender),)


def process_witness(state: State, call: Witness, sender: Address, now: int) -> tuple[Event, ...]:
    """Nobody can prove that data are missing, so a quorum of validators must say so. The member then loses its stake.

    Only after its time to reveal has passed, and not for ever: what was there may be pruned one day.
    """
    task = get_task(state, call.task)
    who, p = (call.round, call.member), task.parameters
    direct = (*who, True) in task.reports
    deadline = task.reports.get((*who, direct))
    if deadline is None:
        raise errors.NotReported(call.member)
    if now <= deadline:
        raise errors.RevealOpen(deadline)
    if now > deadline + p.reveal_window:
        raise errors.RevealClosed(deadline + p.reveal_window)
    weight = get_vote(task, call.round, sender)
    heard = task.witnessed.setdefault(who, {})
    if sender in heard:
        raise errors.AlreadyAttested(sender)
    before = sum(heard.values())
    heard[sender] = weight
    said = Witnessed(call.task, call.round, call.member, sender, weight)
    enough = task.ballots[call.round].electorate * p.vote_quorum
    if not before * 100 < enough <= (before + weight) * 100:
        return (said,)
    if get_standing(state, call.task, call.member).stake == 0:
        return (said,)
    reporter = (task.excluders if direct else task.batch_excluders)[who]
    return said, forfeit(state, call.task, call.round, call.member, reporter)


def get_vote(task: Task, number: int, account: Address) -> int:
    """What an account's vote weighs in a round, or `NotValidator`."""
    standing = task.standings.get(account, Standing())
    if standing.weight == 0 or standing.since >= number:
        raise errors.NotValidator(account)
    return standing.weight


def check_released(task: Task, number: int, attempt: int) -> None:
    """Raise `StakeLocked` if what was attested in a round was refuted, or still can be."""
    if number == 0:
        return
    current, ballot = task.rounds[number], task.ballots.get(number, Ballot())
    if current.attempt != attempt or (ballot.bonded and current.phase != Phase.VOID):
        raise errors.StakeLocked(number)


def weigh(task: Task, account: Address, stake: int, quality: int) -> None:
    """Note an account's stake and quality, and from which round on its vote has the new weight."""
    before = task.standings.get(account, Standing())
    weight = compute_weight(task.parameters, stake, quality)
    since = before.since if weight == before.weight else task.opened
    task.standings[account] = Standing(stake, weight, quality, since)
    task.votes += weight - before.weight


def forfeit(state: State, id: TaskId, number: int, account: Address, by: Address) -> Slashed:
    """An account loses its whole stake in a task; the bounty's share of it goes to `by`."""
    task = state.tasks[id]
    standing = task.standings[account]
    amount = standing.stake
    bounty = amount * task.parameters.bounty // 100
    held = get_balance(state, account)
    state.balances[account] = Balance(held.free, held.locked - amount)
    paid = get_balance(state, by)
    state.balances[by] = Balance(paid.free + bounty, paid.locked)
    state.slashed += amount - bounty
    weigh(task, account, 0, standing.quality)
    return Slashed(id, number, account, by, amount, bounty)
