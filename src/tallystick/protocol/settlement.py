"""Settlement on the ledger: for a small model, the contract aggregates it itself, leaf by leaf."""

from __future__ import annotations

from dataclasses import replace

from .. import errors, fraud
from .calls import SettleLeaf, SettleRoster
from .challenges import compute_commitment, get_claim
from .events import Event, LeafSettled, RosterSettled
from .state import State, get_ballot, get_round, get_task
from .terms import OPAQUE_RULES, Address


def process_settle_roster(
    state: State, call: SettleRoster, sender: Address, now: int
) -> tuple[Event, ...]:
    """Direct commitments only. All members are gone through, so that nobody can be left out; whom another than the proposer
    excluded may be counted or not."""
    task = get_task(state, call.task)
    if task.parameters.rule >= OPAQUE_RULES:
        raise errors.InvalidProof("rule")
    key = (call.round, get_round(state, call.task, call.round).attempt)
    if key in task.rosters:
        raise errors.AlreadySettled(call.round)
    _, current, claim = get_claim(state, call.task, call.round)
    people = call.people
    if len(people) != len(task.members) or len(call.entries) != claim.count:
        raise errors.InvalidProof("people")
    counted = 0
    for place, member in enumerate(people):
        if (place and people[place - 1] >= member) or member not in task.members:
            raise errors.InvalidProof("people")
        excluder = task.excluders.get((call.round, member))
        held = task.commitments.get((member, call.round % task.parameters.slots), (0, b""))
        committed = held[0] == call.round
        if counted < len(call.entries) and call.entries[counted].member == member:
            entry = call.entries[counted]
            if held != (call.round, compute_commitment(state, call.task, call.round, entry)):
                raise errors.InvalidProof("entry")
            if excluder == current.proposer:
                raise errors.InvalidProof("entry")
            counted += 1
        elif committed and excluder is None:
            raise errors.InvalidProof("entry")
    if counted != len(call.entries):
        raise errors.InvalidProof("entry")
    task.rosters[key] = call.entries
    return (RosterSettled(call.task, call.round),)


def process_settle_leaf(
    state: State, call: SettleLeaf, sender: Address, now: int
) -> tuple[Event, ...]:
    task = get_task(state, call.task)
    key = (call.round, get_round(state, call.task, call.round).attempt)
    if task.rosters.get(key) != call.entries:
        raise errors.InvalidProof("entries")
    settled = task.leaves.get(key, set())
    if call.leaf in settled:
        raise errors.AlreadySettled(call.round)
    _, _, claim = get_claim(state, call.task, call.round)
    if not fraud.is_right_leaf(
        claim, call.leaf, call.entries, call.parts, call.base, call.following
    ):
        raise errors.InvalidProof("following")
    task.leaves[key] = settled | {call.leaf}
    ballot = get_ballot(state, call.task, call.round)
    task.ballots[call.round] = replace(ballot, settled=ballot.settled + 1)
    return (LeafSettled(call.task, call.round, call.leaf),)
