"""Challenges: what strikes out a false proposal."""

from __future__ import annotations

from dataclasses import replace

from .. import errors, fraud
from ..commitment import commitment_digest
from ..fraud import Claim
from ..sumtree import Entry
from .calls import (
    Refutation,
    RefuteBatch,
    RefuteEntry,
    RefuteNext,
    RefuteOmission,
    RefuteOrder,
    RefuteSum,
    RefuteTree,
    RefuteVector,
)
from .events import Event, Refuted
from .rounds import is_void
from .state import Balance, Ballot, Round, State, Task, get_balance, get_commitment, get_task
from .terms import DIGEST_BYTES, OPAQUE_RULES, ZERO_ROOT, Address, Fault, Phase, TaskId


def is_open_to_challenge(task: Task, number: int) -> bool:
    """Whether a bond stands behind a round's proposal: it is not final, or became so before its window had passed."""
    phase = task.rounds.get(number, Round()).phase
    return phase == Phase.PROPOSED or (
        phase == Phase.FINAL and task.ballots.get(number, Ballot()).bonded
    )


def get_claim(state: State, id: TaskId, number: int) -> tuple[Task, Round, Claim]:
    """The proposal that evidence is about, with what it must stand under."""
    task = get_task(state, id)
    p = task.parameters
    current = task.rounds.get(number, Round())
    if not is_open_to_challenge(task, number):
        raise errors.NotProposed(number)
    if is_void(task, number):
        raise errors.RoundVoid(number)
    return (
        task,
        current,
        Claim(
            count=current.count,
            sum_root=current.sum_root,
            next_root=current.next_root,
            base_root=task.rounds[current.parent].next_root,
            batch_root=current.batch_root if current.adopted else ZERO_ROOT,
            batch_count=current.batch_count if current.adopted else 0,
            dimension=p.dimension,
            leaf_words=p.leaf_words,
            fan_in=p.fan_in,
        ),
    )


def is_false(state: State, call: Refutation) -> tuple[bool, Fault]:
    """Whether the evidence shows a fault, and which. Raises `InvalidProof` for evidence of something else."""
    if isinstance(call, RefuteSum | RefuteNext) and (
        get_task(state, call.task).parameters.rule >= OPAQUE_RULES
    ):
        raise errors.InvalidProof("rule")
    task, _, claim = get_claim(state, call.task, call.round)
    match call:
        case RefuteSum():
            return fraud.is_wrong_sum(
                claim,
                call.path,
                call.index,
                call.word,
                call.total,
                call.nodes,
                call.entries,
                call.parts,
            ), Fault.SUM
        case RefuteNext():
            return fraud.is_wrong_next(
                claim, call.top, call.word, call.base, call.total, call.following
            ), Fault.NEXT
        case RefuteTree():
            return fraud.is_wrong_tree(
                claim, call.path, call.index, call.nodes, call.entries
            ), Fault.TREE
        case RefuteVector():
            return fraud.is_wrong_vector(claim, call.accused), Fault.VECTOR
        case RefuteEntry():
            return is_uncommitted(state, task, claim, call), Fault.ENTRY
        case RefuteOrder():
            return fraud.is_unordered(claim, call.left, call.right), Fault.ORDER
        case RefuteOmission():
            return is_omitted(state, task, claim, call), Fault.OMISSION
        case RefuteBatch():
            return is_false_batch(state, task, claim, call), Fault.BATCH


def is_uncommitted(state: State, task: Task, claim: Claim, call: RefuteEntry) -> bool:
    """Whether a roster entry is neither the member's direct commitment nor in the adopted batch, or was excluded by the proposer.

    Either of a member's two commitments is right: one that it adds at the last moment makes nobody a liar who has the other.
    """
    entry = call.placed.entry
    if fraud.is_wrong_place(claim, call.placed):
        return True
    if entry.member not in task.members or not 1 <= entry.weight <= task.parameters.max_weight:
        return True
    who, proposer = (call.round, entry.member), task.rounds[call.round].proposer
    if task.excluders.get(who) == proposer:
        return True
    # Also if another account excluded it.
    held = task.commitments.get((entry.member, call.round % task.parameters.slots))
    if held == (call.round, compute_commitment(state, call.task, call.round, entry)):
        return False
    if claim.batch_count == 0 or task.batch_excluders.get(who) == proposer:
        return True
    return fraud.is_absent_from_batch(claim, entry, call.batch)


def is_omitted(state: State, task: Task, claim: Claim, call: RefuteOmission) -> bool:
    """Whether a commitment that counts is not in the roster."""
    entry = call.entry
    held = get_commitment(state, call.task, call.round, entry.member)
    if not call.batch:
        if held is None or held != compute_commitment(state, call.task, call.round, entry):
            raise errors.InvalidProof("commitment")
    else:
        if held is not None or (call.round, entry.member) in task.batch_excluders:
            raise errors.InvalidProof("commitment")
        if len(call.batch) != 1 or call.batch[0].entry != entry:
            raise errors.InvalidProof("batch")
        fraud.check_signed(claim, call.batch[0])
    return fraud.is_absent(claim, entry.member, call.neighbours)


def is_false_batch(state: State, task: Task, claim: Claim, call: RefuteBatch) -> bool:
    """Whether an adopted batch is unsorted, or holds an entry that no member signed for this round."""
    if len(call.entries) == 2:
        return fraud.is_batch_unordered(claim, *call.entries)
    if len(call.entries) != 1:
        raise errors.InvalidProof("batch")
    signed = call.entries[0]
    fraud.check_signed(claim, signed)
    entry = signed.entry
    author = state.author(
        state.chain_id, state.contract, call.task, call.round, entry, signed.signature
    )
    return (
        author != entry.member
        or entry.member not in task.members
        or not 1 <= entry.weight <= task.parameters.max_weight
    )


def compute_commitment(state: State, task: TaskId, number: int, entry: Entry) -> bytes:
    """What a slot holds of an entry's direct commitment."""
    return commitment_digest(
        state.chain_id, state.contract, task, number, entry.member, entry.root, entry.weight
    )[:DIGEST_BYTES]


def process_refute(state: State, call: Refutation, sender: Address, now: int) -> tuple[Event, ...]:
    """A false proposal is struck out in one call."""
    false, fault = is_false(state, call)
    if not false:
        raise errors.NotRefuted()
    return (strike(state, call.task, call.round, sender, fault, now),)


def strike(
    state: State, id: TaskId, number: int, winner: Address, fault: Fault, now: int
) -> Refuted:
    """Strike out a false proposal: the liar's bond is gone, and the round awaits another proposal.

    Its commitments are what they were: nobody can join late, save whom a false count would have locked out. Whatever was opened
    on the false model is void from now on. To give the round a new commit window takes as long as after any deadline.

    A round that votes have made final stays what it is; those who answered for it pay.
    """
    task = state.tasks[id]
    current, p = task.rounds[number], task.parameters
    bounty = p.bond * p.bounty // 100
    liar = get_balance(state, current.proposer)
    state.balances[current.proposer] = Balance(liar.free, liar.locked - p.bond)
    paid = get_balance(state, winner)
    state.balances[winner] = Balance(paid.free + bounty, paid.locked)
    state.slashed += p.bond - bounty
    task.ballots[number] = replace(task.ballots[number], bonded=False, demands=0)
    task.rounds[number] = replace(current, attempt=current.attempt + 1)
    if current.phase == Phase.PROPOSED:
        task.rounds[number] = replace(
            task.rounds[number],
            phase=Phase.OPEN,
            commit_deadline=max(now - 1, current.commit_deadline),
        )
        task.pending = number
        task.head = current.parent
        del task.branch[current.height + 1 :]
    return Refuted(id, number, current.proposer, winner, fault, bounty)
