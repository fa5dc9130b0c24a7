"""Availability: whoever asks gets what a proposal commits to, or the proposal is struck out."""

from __future__ import annotations

from dataclasses import replace

from .. import errors, fraud
from .calls import Demand, Expire, Reveal
from .challenges import get_claim, is_open_to_challenge, strike
from .events import Demanded, Event, Expired, Revealed
from .rounds import is_void
from .state import Balance, Demanding, State, Task, get_balance, get_task
from .terms import Address, Fault


def process_demand(state: State, call: Demand, sender: Address, now: int) -> tuple[Event, ...]:
    """Everything that stands under an honest proposal's roots was in its proposer's hands, so it can answer any demand, and is
    paid the fee for it. Nothing becomes final while a demand is open."""
    task, current, claim = get_claim(state, call.task, call.round)
    pieces = fraud.check_sought(claim, call.sought)
    if now >= current.final_at:
        raise errors.WindowPassed(current.final_at)
    key = (call.round, call.sought.digest, pieces)
    if key in task.demands:
        raise errors.AlreadyDemanded(call.sought.digest)
    held, fee = get_balance(state, sender), task.parameters.reveal_fee
    if held.free < fee:
        raise errors.InsufficientBalance(held.free, fee)
    state.balances[sender] = Balance(held.free - fee, held.locked + fee)
    deadline = now + task.parameters.reveal_window
    task.demands[key] = Demanding(sender, current.attempt, deadline)
    ballot = task.ballots[call.round]
    task.ballots[call.round] = replace(ballot, demands=ballot.demands + 1)
    return (Demanded(call.task, call.round, sender, call.sought.digest, pieces, deadline),)


def process_reveal(state: State, call: Reveal, sender: Address, now: int) -> tuple[Event, ...]:
    """Late is better than never: an answer is good until somebody calls the demand expired. The demander gets another reveal window
    to make use of it."""
    task = get_task(state, call.task)
    key = (call.round, call.digest, call.pieces)
    demand = task.demands.get(key)
    if demand is None or is_stale(task, call.round, demand):
        raise errors.NotDemanded(call.digest)
    if not fraud.is_answer(call.digest, call.pieces, call.data):
        raise errors.InvalidProof("data")
    pay_fee(state, task, demand, sender)
    del task.demands[key]
    current, ballot = task.rounds[call.round], task.ballots[call.round]
    task.ballots[call.round] = replace(ballot, demands=ballot.demands - 1)
    final_at = max(current.final_at, now + task.parameters.reveal_window)
    task.rounds[call.round] = replace(current, final_at=final_at)
    return (Revealed(call.task, call.round, call.digest, call.pieces, sender, call.data),)


def process_expire(state: State, call: Expire, sender: Address, now: int) -> tuple[Event, ...]:
    """Whoever made the demand is paid, whoever calls. A demand of a proposal that is gone only gets its fee back."""
    task = get_task(state, call.task)
    key = (call.round, call.digest, call.pieces)
    demand = task.demands.get(key)
    if demand is None:
        raise errors.NotDemanded(call.digest)
    stale = is_stale(task, call.round, demand)
    if not stale and now <= demand.deadline:
        raise errors.RevealOpen(demand.deadline)
    pay_fee(state, task, demand, demand.demander)
    del task.demands[key]
    expired = Expired(call.task, call.round, call.digest, call.pieces, demand.demander)
    if stale:
        return (expired,)
    return expired, strike(state, call.task, call.round, demand.demander, Fault.HIDDEN, now)


def is_stale(task: Task, number: int, demand: Demanding) -> bool:
    """Whether the proposal that a demand was about is gone, or past doubt."""
    return (
        demand.attempt != task.rounds[number].attempt
        or not is_open_to_challenge(task, number)
        or is_void(task, number)
    )


def pay_fee(state: State, task: Task, demand: Demanding, to: Address) -> None:
    """The fee behind a demand goes to an account."""
    fee = task.parameters.reveal_fee
    held = get_balance(state, demand.demander)
    state.balances[demand.demander] = Balance(held.free, held.locked - fee)
    paid = get_balance(state, to)
    state.balances[to] = Balance(paid.free + fee, paid.locked)
