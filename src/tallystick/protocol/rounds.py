"""Tasks, money, and a round's way from opening to finality."""

from __future__ import annotations

from dataclasses import replace

from .. import errors, merkle
from ..commitment import commitment_digest, entry_bytes, task_digest
from .calls import (
    Admit,
    Commit,
    CommitBatch,
    CreateTask,
    Deposit,
    Exclude,
    Finalise,
    Lapse,
    Open,
    Propose,
    Release,
    Void,
    Withdraw,
)
from .events import (
    Admitted,
    Batched,
    Committed,
    Deposited,
    Event,
    Excluded,
    Finalised,
    Lapsed,
    Opened,
    Proposed,
    Released,
    TaskCreated,
    Voided,
    Withdrawn,
)
from .state import (
    Balance,
    Ballot,
    Round,
    State,
    Task,
    get_balance,
    get_ballot,
    get_standing,
    get_task,
)
from .terms import (
    DIGEST_BYTES,
    ZERO_ADDRESS,
    ZERO_ROOT,
    Address,
    Parameters,
    Phase,
    Reason,
    Settlement,
    compute_invalid_parameter,
)


def is_bonded(state: State, task: Task, account: Address) -> bool:
    """Whether the account could stand behind a proposal now."""
    return get_balance(state, account).free >= task.parameters.bond


def is_void(task: Task, number: int) -> bool:
    """Whether a proposal that a round builds on, at any height below it, is refuted or lapsed.

    Were only the parent asked, a lie built on a refuted lie could be refuted too, and leave the task pending on a void round.
    """
    height = task.rounds[number].height
    return height >= len(task.branch) or task.branch[height] != number


def compute_settled(p: Parameters, ballot: Ballot, final_at: int, now: int) -> bool:
    """Whether a proposal has all that its task asks for to be final."""
    passed = now >= final_at
    voted = 0 < ballot.electorate * p.vote_quorum <= ballot.votes * 100
    if ballot.settled == -(-p.dimension // p.leaf_words):
        return True
    return {
        Settlement.WINDOW: passed,
        Settlement.EARLY: passed or voted,
        Settlement.QUORUM: voted,
        Settlement.PROVEN: False,
    }[Settlement(p.settlement)]


def is_settled(state: State, call: Finalise | Lapse, now: int) -> bool:
    """Whether a round's proposal has all that its task asks for to be final."""
    task = get_task(state, call.task)
    ballot = get_ballot(state, call.task, call.round)
    return compute_settled(task.parameters, ballot, task.rounds[call.round].final_at, now)


def process_create_task(
    state: State, call: CreateTask, sender: Address, now: int
) -> tuple[Event, ...]:
    p = call.parameters
    if p.sponsor != sender:
        raise errors.NotSponsor()
    invalid = compute_invalid_parameter(p)
    if invalid is not None:
        raise errors.InvalidTask(invalid)
    task = task_digest(state.chain_id, state.contract, p)
    if task in state.tasks:
        raise errors.TaskExists(task)
    state.tasks[task] = Task(p, rounds={0: Round(phase=Phase.FINAL, next_root=p.genesis)})
    return (TaskCreated(task, p),)


def process_admit(state: State, call: Admit, sender: Address, now: int) -> tuple[Event, ...]:
    task = get_task(state, call.task)
    if task.parameters.sponsor != sender:
        raise errors.NotSponsor()
    members = set(task.members)
    for member in call.members:
        if member == ZERO_ADDRESS:
            raise errors.InvalidMember()
        if member in members:
            raise errors.AlreadyAdmitted(member)
        if get_standing(state, call.task, member).stake < task.parameters.member_stake:
            raise errors.NotStaked(member)
        members.add(member)
    if len(members) > task.parameters.max_members:
        raise errors.TooManyMembers()
    task.members = members
    return tuple(Admitted(call.task, member) for member in call.members)


def process_deposit(state: State, call: Deposit, sender: Address, now: int) -> tuple[Event, ...]:
    held = get_balance(state, sender)
    state.balances[sender] = Balance(held.free + call.amount, held.locked)
    return (Deposited(sender, call.amount),)


def process_withdraw(state: State, call: Withdraw, sender: Address, now: int) -> tuple[Event, ...]:
    held = get_balance(state, sender)
    if held.free < call.amount:
        raise errors.InsufficientBalance(held.free, call.amount)
    state.balances[sender] = Balance(held.free - call.amount, held.locked)
    return (Withdrawn(sender, call.amount),)


def process_open(state: State, call: Open, sender: Address, now: int) -> tuple[Event, ...]:
    """Open a round on the newest model proposed: training does not wait for windows.

    A round whose commits closed a whole commit window ago with no proposal may be given a new window instead: too
    few had committed.

    A round takes the slots of the one before it in the ring, so that one must be past doubt: while a bond stands behind it, also
    if votes or a proof made it final early, evidence is held to its commitments.
    """
    task = get_task(state, call.task)
    if not is_bonded(state, task, sender):
        raise errors.NotBonded(sender)
    p = task.parameters
    deadline = now + p.commit_window
    if task.pending != 0:
        if call.round != task.pending:
            raise errors.WrongRound(task.pending)
        stalled = task.rounds[call.round]
        if now <= stalled.commit_deadline + p.commit_window:
            raise errors.CommitsOpen(stalled.commit_deadline + p.commit_window)
        task.rounds[call.round] = replace(stalled, commit_deadline=deadline)
        return (Opened(call.task, call.round, stalled.parent, stalled.height, deadline),)
    below = task.rounds[task.head]
    if call.round != task.opened + 1 or below.height >= p.rounds:
        raise errors.WrongRound(task.opened + 1)
    if call.round > p.slots:
        oldest = call.round - p.slots
        if task.rounds[oldest].phase == Phase.OPEN or task.ballots[oldest].bonded:
            raise errors.SlotsFull(oldest)
    task.rounds[call.round] = Round(
        phase=Phase.OPEN,
        parent=task.head,
        height=below.height + 1,
        parent_attempt=below.attempt,
        commit_deadline=deadline,
    )
    task.ballots[call.round] = Ballot(electorate=task.votes)
    task.opened = call.round
    task.pending = call.round
    task.branch.append(call.round)
    return (Opened(call.task, call.round, task.head, below.height + 1, deadline),)


def process_commit(state: State, call: Commit, sender: Address, now: int) -> tuple[Event, ...]:
    """The hot path. The contract reads two slots and writes one, so an unknown task is a round that is not open."""
    task = state.tasks.get(call.task)
    current = task.rounds.get(call.round, Round()) if task else Round()
    if task is None or current.phase != Phase.OPEN:
        raise errors.RoundNotOpen(call.round)
    if now > current.commit_deadline:
        raise errors.CommitsClosed(current.commit_deadline)
    if call.root == ZERO_ROOT or not 1 <= call.weight <= task.parameters.max_weight:
        raise errors.InvalidCommitment()
    if sender not in task.members:
        raise errors.NotMember(sender)
    slot = (sender, call.round % task.parameters.slots)
    if task.commitments.get(slot, (0, b""))[0] == call.round:
        raise errors.AlreadyCommitted(sender)
    digest = commitment_digest(
        state.chain_id, state.contract, call.task, call.round, sender, call.root, call.weight
    )
    task.commitments[slot] = (call.round, digest[:DIGEST_BYTES])
    return (Committed(call.task, sender, call.round, call.weight, call.root),)


def process_commit_batch(
    state: State, call: CommitBatch, sender: Address, now: int
) -> tuple[Event, ...]:
    task = get_task(state, call.task)
    current = task.rounds.get(call.round, Round())
    if current.phase != Phase.OPEN:
        raise errors.RoundNotOpen(call.round)
    if now > current.commit_deadline:
        raise errors.CommitsClosed(current.commit_deadline)
    if not is_bonded(state, task, sender):
        raise errors.NotBonded(sender)
    if current.batch_count != 0:
        raise errors.AlreadyBatched(call.round)
    if call.root == ZERO_ROOT or not 1 <= call.count <= len(task.members):
        raise errors.InvalidCommitment()
    task.rounds[call.round] = replace(current, batch_root=call.root, batch_count=call.count)
    return (Batched(call.task, call.round, call.root, call.count),)


def process_exclude(state: State, call: Exclude, sender: Address, now: int) -> tuple[Event, ...]:
    """Direct commitments are looked up first, also where a member is in the batch too.

    An exclusion allows every proposal to do without the member, and obliges its author's own: if it bound the others', it could be
    slipped in ahead of an honest proposal to make that false, and earn the bounty. Only direct exclusions are counted, for only they cannot be forged: an aggregator that batches and excludes entries
    which nobody signed must not be able to close the round on members who have yet to commit.

    Whoever is excluded as withheld has until the reveal window's end to publish its update: see `process_witness`.
    """
    task = get_task(state, call.task)
    current = task.rounds.get(call.round, Round())
    if current.phase != Phase.OPEN:
        raise errors.RoundNotOpen(call.round)
    if not is_bonded(state, task, sender):
        raise errors.NotBonded(sender)
    if call.reason not in set(Reason):
        raise errors.InvalidReason(call.reason)
    who = (call.round, call.member)
    slot = (call.member, call.round % task.parameters.slots)
    held_round, held = task.commitments.get(slot, (0, b""))
    if held_round == call.round:
        if who in task.excluders:
            raise errors.AlreadyExcluded(call.member)
        digest = commitment_digest(
            state.chain_id,
            state.contract,
            call.task,
            call.round,
            call.member,
            call.root,
            call.weight,
        )
        if digest[:DIGEST_BYTES] != held:
            raise errors.NotCommitted(call.member)
        task.excluders[who] = sender
        task.rounds[call.round] = replace(current, excluded=current.excluded + 1)
    else:
        if who in task.batch_excluders:
            raise errors.AlreadyExcluded(call.member)
        entry = merkle.leaf_hash(entry_bytes(call.member, call.weight, call.root) + call.signature)
        if call.member not in task.members or not merkle.is_included(
            current.batch_root, entry, call.index, current.batch_count, call.path
        ):
            raise errors.NotCommitted(call.member)
        task.batch_excluders[who] = sender
    deadline = 0
    if call.reason == Reason.WITHHELD:
        deadline = now + task.parameters.reveal_window
        task.reports[(*who, held_round == call.round)] = deadline
    return (Excluded(call.task, call.round, call.member, call.reason, deadline),)


def process_propose(state: State, call: Propose, sender: Address, now: int) -> tuple[Event, ...]:
    """The roster is fixed once the window has passed, or once every member is counted in or directly excluded.

    Whom others excluded may be counted: were the count held to the rest, one account that excludes everybody could end the task.
    """
    task = get_task(state, call.task)
    p = task.parameters
    current = task.rounds.get(call.round, Round())
    if current.phase != Phase.OPEN:
        raise errors.RoundNotOpen(call.round)
    if call.round != task.pending:
        raise errors.RoundVoid(call.round)
    if now <= current.commit_deadline and call.count + current.excluded != len(task.members):
        raise errors.CommitsOpen(current.commit_deadline)
    if (
        call.sum_root == ZERO_ROOT
        or call.next_root == ZERO_ROOT
        or not p.quorum <= call.count <= len(task.members)
    ):
        raise errors.InvalidProposal()
    if call.adopt and current.batch_count == 0:
        raise errors.NoBatch()
    if call.seen_hash not in (ZERO_ROOT, state.block_hash(call.seen)):
        raise errors.Reorganised(call.seen)
    held = get_balance(state, sender)
    if held.free < p.bond:
        raise errors.NotBonded(sender)
    state.balances[sender] = Balance(held.free - p.bond, held.locked + p.bond)
    final_at = now + p.challenge_window
    task.rounds[call.round] = replace(
        current,
        phase=Phase.PROPOSED,
        count=call.count,
        sum_root=call.sum_root,
        next_root=call.next_root,
        proposer=sender,
        final_at=final_at,
        adopted=call.adopt,
    )
    task.ballots[call.round] = replace(task.ballots[call.round], bonded=True)
    task.head = call.round
    task.pending = 0
    return (
        Proposed(
            call.task,
            call.round,
            sender,
            call.count,
            call.sum_root,
            call.next_root,
            final_at,
            call.adopt,
        ),
    )


def process_finalise(state: State, call: Finalise, sender: Address, now: int) -> tuple[Event, ...]:
    """A final round never changes. Where that comes before its window has passed, by votes or by proof, the bond stays behind it
    until then: who lied is struck all the same."""
    task = get_task(state, call.task)
    current = task.rounds.get(call.round, Round())
    check_proposed(task, call.round)
    if not is_settled(state, call, now):
        if now < current.final_at:
            raise errors.WindowOpen(current.final_at)
        raise errors.NotSettled(call.round)
    if task.ballots[call.round].demands:
        raise errors.DemandsOpen(call.round)
    if task.rounds[current.parent].phase != Phase.FINAL:
        raise errors.ParentNotFinal(current.parent)
    task.rounds[call.round] = replace(current, phase=Phase.FINAL)
    if now >= current.final_at:
        release_bond(state, task, call.round)
    return (Finalised(call.task, call.round, current.next_root),)


def process_release(state: State, call: Release, sender: Address, now: int) -> tuple[Event, ...]:
    task = get_task(state, call.task)
    current = task.rounds.get(call.round, Round())
    ballot = task.ballots.get(call.round, Ballot())
    if current.phase != Phase.FINAL or not ballot.bonded:
        raise errors.NotProposed(call.round)
    if now < current.final_at:
        raise errors.WindowOpen(current.final_at)
    if ballot.demands:
        raise errors.DemandsOpen(call.round)
    release_bond(state, task, call.round)
    return (Released(call.task, call.round),)


def process_lapse(state: State, call: Lapse, sender: Address, now: int) -> tuple[Event, ...]:
    """Nothing was shown to be wrong with the proposal, so its bond is free. Its height is done again under a new number."""
    task = get_task(state, call.task)
    current = task.rounds.get(call.round, Round())
    check_proposed(task, call.round)
    if now < current.final_at:
        raise errors.WindowOpen(current.final_at)
    if is_settled(state, call, now):
        raise errors.AlreadySettled(call.round)
    if task.ballots[call.round].demands:
        raise errors.DemandsOpen(call.round)
    task.rounds[call.round] = replace(current, phase=Phase.VOID)
    release_bond(state, task, call.round)
    task.head = current.parent
    task.pending = 0
    del task.branch[current.height :]
    return (Lapsed(call.task, call.round),)


def process_void(state: State, call: Void, sender: Address, now: int) -> tuple[Event, ...]:
    """Rounds are voided one by one, in any order, so that a refutation costs the same however many there are."""
    task = get_task(state, call.task)
    current = task.rounds.get(call.round, Round())
    if current.phase not in {Phase.OPEN, Phase.PROPOSED} or not is_void(task, call.round):
        raise errors.NotVoid()
    task.rounds[call.round] = replace(current, phase=Phase.VOID)
    if current.phase == Phase.PROPOSED:
        release_bond(state, task, call.round)
    return (Voided(call.task, call.round),)


def check_proposed(task: Task, number: int) -> None:
    """Raise unless a round holds a proposal that builds on nothing refuted."""
    if task.rounds.get(number, Round()).phase != Phase.PROPOSED:
        raise errors.NotProposed(number)
    if is_void(task, number):
        raise errors.RoundVoid(number)


def release_bond(state: State, task: Task, number: int) -> None:
    """Free the bond behind a round's proposal."""
    bond, proposer = task.parameters.bond, task.rounds[number].proposer
    held = get_balance(state, proposer)
    state.balances[proposer] = Balance(held.free + bond, held.locked - bond)
    task.ballots[number] = replace(task.ballots[number], bonded=False, demands=0)
