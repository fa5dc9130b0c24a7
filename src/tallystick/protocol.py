"""The executable specification of the ledger.

`contracts/src/Ledger.sol` is the same machine; the conformance tests hold the two to the same states, events and
errors, check by check and in the same order. Standard library only: no numbers, no I/O, no clock (time is an argument).

Read top to bottom: constants, what a caller can say (calls), what the ledger says (events), what it remembers
(state), then `compute_` (pure), `get_` (read), `is_` (predicate), `process_` (mutate).

Addresses are 20 bytes, roots and task ids 32 bytes, money is wei, time is whole seconds of the chain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

from . import errors, merkle
from .commitment import commitment_digest, entry_bytes, task_digest

Address = bytes
Root = bytes
TaskId = bytes

ZERO_ROOT: Root = bytes(32)
ZERO_ADDRESS: Address = bytes(20)

MAX_TOTAL_WEIGHT = 2**32 - 1
"""Weights of one round sum to at most this, so that int64 partial sums of int32 words cannot overflow."""
MAX_DIMENSION = 2**40
MAX_SCALE = 30
MIN_LEAF_WORDS, MAX_LEAF_WORDS = 8, 4096
MIN_FAN_IN, MAX_FAN_IN = 2, 16
MIN_SLOTS, MAX_SLOTS = 2, 64
MAX_ROUNDS = 2**32 - 1
MAX_WINDOW = 365 * 24 * 3600
MIN_BOND = 10**15
"""0.001 ether: a proposal never stands on nothing."""
DIGEST_BYTES = 28
"""A slot keeps this much of a commitment's digest beside its round: 112 bits against collisions, as in SHA-224."""


class Rule(IntEnum):
    """How updates become an aggregate."""

    MEAN = 0


class Phase(IntEnum):
    """Where a round stands. `VOID` is for rounds built on a refuted one."""

    NONE = 0
    OPEN = 1
    PROPOSED = 2
    FINAL = 3
    VOID = 4


class Reason(IntEnum):
    """Why a member is left out of a round."""

    WITHHELD = 1
    WRONG_ROOT = 2
    WRONG_KEYS = 3
    NOT_FINITE = 4
    ABSURD_WEIGHT = 5
    STALE_ROUND = 6
    UNKNOWN_MEMBER = 7
    MALFORMED = 8
    NO_COMMITMENT = 9


@dataclass(frozen=True)
class Parameters:
    """A task's immutable parameters, in the order in which they are hashed into its id."""

    sponsor: Address
    layout: Root
    genesis: Root
    dimension: int
    scale: int
    leaf_words: int
    fan_in: int
    rule: int
    rounds: int
    quorum: int
    max_weight: int
    max_members: int
    slots: int
    commit_window: int
    challenge_window: int
    bond: int
    salt: bytes


@dataclass(frozen=True)
class CreateTask:
    """The sponsor creates a task."""

    parameters: Parameters


@dataclass(frozen=True)
class Admit:
    """The sponsor admits members and prepays their commitment slots."""

    task: TaskId
    members: tuple[Address, ...]


@dataclass(frozen=True)
class Deposit:
    """Anyone adds wei to its balance on the ledger; the amount travels as the transaction's value."""

    amount: int


@dataclass(frozen=True)
class Withdraw:
    """Anyone takes wei out of its free balance."""

    amount: int


@dataclass(frozen=True)
class Open:
    """A bonded aggregator opens the next round, or extends one that nobody could propose for."""

    task: TaskId
    round: int


@dataclass(frozen=True)
class Commit:
    """A member commits to its update before sending it."""

    task: TaskId
    round: int
    weight: int
    root: Root


@dataclass(frozen=True)
class CommitBatch:
    """A bonded aggregator posts the Merkle root of `count` commitments that members signed off chain (EIP-712)."""

    task: TaskId
    round: int
    root: Root
    count: int


@dataclass(frozen=True)
class Exclude:
    """A bonded aggregator leaves a committed member out, and says why.

    `path` and `index` show the entry in the batch; both are empty for a direct commitment.
    """

    task: TaskId
    round: int
    member: Address
    weight: int
    root: Root
    reason: int
    index: int = 0
    path: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Propose:
    """A bonded aggregator claims the round's sum tree over `count` members and the next model."""

    task: TaskId
    round: int
    count: int
    sum_root: Root
    next_root: Root


@dataclass(frozen=True)
class Finalise:
    """Anyone finalises a proposal whose window has passed."""

    task: TaskId
    round: int


Call = (
    CreateTask
    | Admit
    | Deposit
    | Withdraw
    | Open
    | Commit
    | CommitBatch
    | Exclude
    | Propose
    | Finalise
)


@dataclass(frozen=True)
class TaskCreated:
    task: TaskId
    parameters: Parameters


@dataclass(frozen=True)
class Admitted:
    task: TaskId
    member: Address


@dataclass(frozen=True)
class Deposited:
    account: Address
    amount: int


@dataclass(frozen=True)
class Withdrawn:
    account: Address
    amount: int


@dataclass(frozen=True)
class Opened:
    task: TaskId
    round: int
    parent: int
    commit_deadline: int


@dataclass(frozen=True)
class Committed:
    task: TaskId
    member: Address
    round: int
    weight: int
    root: Root


@dataclass(frozen=True)
class Batched:
    task: TaskId
    round: int
    root: Root
    count: int


@dataclass(frozen=True)
class Excluded:
    task: TaskId
    round: int
    member: Address
    reason: int


@dataclass(frozen=True)
class Proposed:
    task: TaskId
    round: int
    proposer: Address
    count: int
    sum_root: Root
    next_root: Root
    final_at: int


@dataclass(frozen=True)
class Finalised:
    task: TaskId
    round: int
    next_root: Root


Event = (
    TaskCreated
    | Admitted
    | Deposited
    | Withdrawn
    | Opened
    | Committed
    | Batched
    | Excluded
    | Proposed
    | Finalised
)


@dataclass(frozen=True)
class Round:
    """One round of a task. Round 0 is the genesis model and final from the start."""

    phase: Phase = Phase.NONE
    parent: int = 0
    commit_deadline: int = 0
    final_at: int = 0
    excluded: int = 0
    count: int = 0
    batch_count: int = 0
    batch_root: Root = ZERO_ROOT
    sum_root: Root = ZERO_ROOT
    next_root: Root = ZERO_ROOT
    proposer: Address = ZERO_ADDRESS


@dataclass(frozen=True)
class TaskView:
    """What anyone can read of a task."""

    parameters: Parameters
    members: int
    opened: int
    head: int


@dataclass(frozen=True)
class Balance:
    """Wei of one account on the ledger: free to withdraw, and locked as bonds."""

    free: int = 0
    locked: int = 0


@dataclass
class Task:
    """State of one task. `opened` is the newest round opened, `head` the newest proposed."""

    parameters: Parameters
    opened: int = 0
    head: int = 0
    members: set[Address] = field(default_factory=set)
    rounds: dict[int, Round] = field(default_factory=dict)
    commitments: dict[tuple[Address, int], tuple[int, bytes]] = field(default_factory=dict)
    """(member, round % slots) -> (round, digest). An excluded commitment keeps its round and loses its digest."""
    batch_excluded: set[tuple[int, Address]] = field(default_factory=set)


@dataclass
class State:
    """State of a ledger: what the contract's storage holds."""

    chain_id: int
    contract: Address
    tasks: dict[TaskId, Task] = field(default_factory=dict)
    balances: dict[Address, Balance] = field(default_factory=dict)


def compute_invalid_parameter(p: Parameters) -> str | None:
    """Name of the first parameter outside its bounds, in the contract's words and order, or None."""
    bounds = (
        ("layout", p.layout != ZERO_ROOT),
        ("genesis", p.genesis != ZERO_ROOT),
        ("dimension", 1 <= p.dimension <= MAX_DIMENSION),
        ("scale", 0 <= p.scale <= MAX_SCALE),
        ("leafWords", MIN_LEAF_WORDS <= p.leaf_words <= MAX_LEAF_WORDS),
        ("fanIn", MIN_FAN_IN <= p.fan_in <= MAX_FAN_IN),
        ("rule", p.rule == Rule.MEAN),
        ("rounds", 1 <= p.rounds <= MAX_ROUNDS),
        ("maxMembers", 1 <= p.max_members <= MAX_TOTAL_WEIGHT),
        ("quorum", 1 <= p.quorum <= p.max_members),
        ("maxWeight", 1 <= p.max_weight and p.max_weight * p.max_members <= MAX_TOTAL_WEIGHT),
        ("slots", MIN_SLOTS <= p.slots <= MAX_SLOTS),
        ("commitWindow", 1 <= p.commit_window <= MAX_WINDOW),
        ("challengeWindow", 1 <= p.challenge_window <= MAX_WINDOW),
        ("bond", MIN_BOND <= p.bond < 2**96),
    )
    return next((name for name, good in bounds if not good), None)


def get_task(state: State, task: TaskId) -> Task:
    """The task, or `UnknownTask`."""
    try:
        return state.tasks[task]
    except KeyError:
        raise errors.UnknownTask(task) from None


def get_task_view(state: State, task: TaskId) -> TaskView:
    """What anyone can read of a task, or `UnknownTask`."""
    found = get_task(state, task)
    return TaskView(found.parameters, len(found.members), found.opened, found.head)


def get_round(state: State, task: TaskId, number: int) -> Round:
    """The round, all zeros if it was never opened, or `UnknownTask`."""
    return get_task(state, task).rounds.get(number, Round())


def get_balance(state: State, account: Address) -> Balance:
    """An account's wei on the ledger."""
    return state.balances.get(account, Balance())


def get_commitment(state: State, task: TaskId, number: int, member: Address) -> bytes | None:
    """First 28 bytes of the member's direct commitment to a round, while its slot holds that round; else None.

    All zeros for a commitment that was excluded.
    """
    found = get_task(state, task)
    held_round, digest = found.commitments.get((member, number % found.parameters.slots), (0, b""))
    return digest if number > 0 and held_round == number else None


def is_member(state: State, task: TaskId, account: Address) -> bool:
    """Whether the sponsor admitted the account."""
    return account in get_task(state, task).members


def is_bonded(state: State, task: Task, account: Address) -> bool:
    """Whether the account could stand behind a proposal now."""
    return get_balance(state, account).free >= task.parameters.bond


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
    """Open the round after the newest one, on the newest model proposed: training does not wait for windows.

    A round whose commits closed a whole commit window ago with no proposal may be given a new window instead: too
    few had committed.
    """
    task = get_task(state, call.task)
    if not is_bonded(state, task, sender):
        raise errors.NotBonded(sender)
    p = task.parameters
    deadline = now + p.commit_window
    if call.round == task.opened and call.round > 0:
        stalled = task.rounds[call.round]
        if stalled.phase != Phase.OPEN:
            raise errors.WrongRound(task.opened + 1)
        if now <= stalled.commit_deadline + p.commit_window:
            raise errors.CommitsOpen(stalled.commit_deadline + p.commit_window)
        task.rounds[call.round] = replace(stalled, commit_deadline=deadline)
        return (Opened(call.task, call.round, stalled.parent, deadline),)
    if call.round != task.opened + 1 or task.head != task.opened or call.round > p.rounds:
        raise errors.WrongRound(task.opened + (1 if task.head == task.opened else 0))
    if call.round > p.slots and task.rounds[call.round - p.slots].phase != Phase.FINAL:
        raise errors.SlotsFull(call.round - p.slots)
    task.rounds[call.round] = Round(phase=Phase.OPEN, parent=task.head, commit_deadline=deadline)
    task.opened = call.round
    return (Opened(call.task, call.round, task.head, deadline),)


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
    """Direct commitments are looked up first: where a member is in the batch too, the direct one counts.

    Only direct exclusions are counted, for only they cannot be forged: an aggregator that batches and excludes entries
    which nobody signed must not be able to close the round on members who have yet to commit.
    """
    task = get_task(state, call.task)
    current = task.rounds.get(call.round, Round())
    if current.phase != Phase.OPEN:
        raise errors.RoundNotOpen(call.round)
    if not is_bonded(state, task, sender):
        raise errors.NotBonded(sender)
    if call.reason not in set(Reason):
        raise errors.InvalidReason(call.reason)
    slot = (call.member, call.round % task.parameters.slots)
    held_round, held = task.commitments.get(slot, (0, b""))
    if held_round == call.round:
        if held == bytes(DIGEST_BYTES):
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
        task.commitments[slot] = (call.round, bytes(DIGEST_BYTES))
        task.rounds[call.round] = replace(current, excluded=current.excluded + 1)
    else:
        if (call.round, call.member) in task.batch_excluded:
            raise errors.AlreadyExcluded(call.member)
        entry = merkle.leaf_hash(entry_bytes(call.member, call.weight, call.root))
        if call.member not in task.members or not merkle.is_included(
            current.batch_root, entry, call.index, current.batch_count, call.path
        ):
            raise errors.NotCommitted(call.member)
        task.batch_excluded.add((call.round, call.member))
    return (Excluded(call.task, call.round, call.member, call.reason),)


def process_propose(state: State, call: Propose, sender: Address, now: int) -> tuple[Event, ...]:
    """The roster is fixed once the window has passed, or once every member is counted in or directly excluded."""
    task = get_task(state, call.task)
    p = task.parameters
    current = task.rounds.get(call.round, Round())
    if current.phase != Phase.OPEN:
        raise errors.RoundNotOpen(call.round)
    if now <= current.commit_deadline and call.count + current.excluded != len(task.members):
        raise errors.CommitsOpen(current.commit_deadline)
    if (
        call.sum_root == ZERO_ROOT
        or call.next_root == ZERO_ROOT
        or call.count < p.quorum
        or call.count + current.excluded > len(task.members)
    ):
        raise errors.InvalidProposal()
    held = get_balance(state, sender)
    if held.free < p.bond:
        raise errors.NotBonded(sender)
    state.balances[sender] = Balance(held.free - p.bond, held.locked + p.bond)
    task.rounds[call.round] = replace(
        current,
        phase=Phase.PROPOSED,
        count=call.count,
        sum_root=call.sum_root,
        next_root=call.next_root,
        proposer=sender,
        final_at=now + p.challenge_window,
    )
    task.head = call.round
    return (
        Proposed(
            call.task,
            call.round,
            sender,
            call.count,
            call.sum_root,
            call.next_root,
            now + p.challenge_window,
        ),
    )


def process_finalise(state: State, call: Finalise, sender: Address, now: int) -> tuple[Event, ...]:
    task = get_task(state, call.task)
    current = task.rounds.get(call.round, Round())
    if current.phase != Phase.PROPOSED:
        raise errors.NotProposed(call.round)
    if now < current.final_at:
        raise errors.WindowOpen(current.final_at)
    if task.rounds[current.parent].phase != Phase.FINAL:
        raise errors.ParentNotFinal(current.parent)
    task.rounds[call.round] = replace(current, phase=Phase.FINAL)
    bond = task.parameters.bond
    held = get_balance(state, current.proposer)
    state.balances[current.proposer] = Balance(held.free + bond, held.locked - bond)
    return (Finalised(call.task, call.round, current.next_root),)


def process(state: State, call: Call, sender: Address, now: int) -> tuple[Event, ...]:
    """Apply one call. Either it returns the events and the state has changed, or it raises `Refused` and has not."""
    handler: Callable[[State, Any, Address, int], tuple[Event, ...]] = _HANDLERS[type(call)]
    return handler(state, call, sender, now)


_HANDLERS: dict[type[Any], Callable[[State, Any, Address, int], tuple[Event, ...]]] = {
    CreateTask: process_create_task,
    Admit: process_admit,
    Deposit: process_deposit,
    Withdraw: process_withdraw,
    Open: process_open,
    Commit: process_commit,
    CommitBatch: process_commit_batch,
    Exclude: process_exclude,
    Propose: process_propose,
    Finalise: process_finalise,
}
