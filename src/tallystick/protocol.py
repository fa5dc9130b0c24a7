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

from . import errors, fraud, merkle
from .commitment import commitment_digest, entry_bytes, task_digest
from .fraud import Accused, Claim, Opening, Placed, Signed
from .sumtree import Entry, SumNode

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
MIN_CHALLENGE_WINDOW = 2
"""Seconds: a chain needs a block for the challenge after the proposal's. Real tasks take hours."""
MIN_BOUNTY, MAX_BOUNTY = 10, 90
"""Percent of a liar's bond that the challenger gets. The rest is lost, so that nobody refutes its own lie for free."""
DIGEST_BYTES = 28
"""A slot keeps this much of a commitment's digest beside its round: 112 bits against collisions, as in SHA-224."""


class Fault(IntEnum):
    """What was shown to be wrong with a proposal."""

    SUM = 1
    NEXT = 2
    TREE = 3
    VECTOR = 4
    ENTRY = 5
    ORDER = 6
    OMISSION = 7
    BATCH = 8


class Rule(IntEnum):
    """How updates become an aggregate."""

    MEAN = 0


class Phase(IntEnum):
    """Where a round stands. `VOID` is for good: it was built on a refuted proposal."""

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
    bounty: int
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

    `signature`, `index` and `path` show the entry in the batch; all are empty for a direct commitment.
    """

    task: TaskId
    round: int
    member: Address
    weight: int
    root: Root
    reason: int
    signature: bytes = b""
    index: int = 0
    path: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Propose:
    """A bonded aggregator claims the round's sum tree over `count` members and the next model.

    With `adopt` it answers for the round's batch too: that it is sorted, and that its members signed it. Without, the
    batch counts for nothing; nobody needs to answer for what another posted. Direct commitments always count.
    """

    task: TaskId
    round: int
    count: int
    sum_root: Root
    next_root: Root
    adopt: bool = False


@dataclass(frozen=True)
class Finalise:
    """Anyone finalises a proposal whose window has passed."""

    task: TaskId
    round: int


@dataclass(frozen=True)
class RefuteSum:
    """Node `index` of its level, at the end of `path`, is not the sum of its children in word `word`.

    Its children are `entries` in the level above the roster and `nodes` elsewhere; `total` opens the node's leaf, `parts` theirs.
    """

    task: TaskId
    round: int
    path: tuple[SumNode, ...]
    index: int
    word: int
    total: Opening
    nodes: tuple[SumNode, ...]
    entries: tuple[Entry, ...]
    parts: tuple[Opening, ...]


@dataclass(frozen=True)
class RefuteNext:
    """Word `word` of the next model is not that of the round's base plus the mean of the top node's sums."""

    task: TaskId
    round: int
    top: SumNode
    word: int
    base: Opening
    total: Opening
    following: Opening


@dataclass(frozen=True)
class RefuteTree:
    """Node `index` of its level, at the end of `path`, has the wrong count, number of children, or weight."""

    task: TaskId
    round: int
    path: tuple[SumNode, ...]
    index: int
    nodes: tuple[SumNode, ...]
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class RefuteVector:
    """A vector under the proposal is not a Merkle tree of the right number of right leaves."""

    task: TaskId
    round: int
    accused: Accused


@dataclass(frozen=True)
class RefuteEntry:
    """A roster entry was not committed; `batch` shows its neighbours in an adopted batch, or the member's other entry."""

    task: TaskId
    round: int
    placed: Placed
    batch: tuple[Signed, ...] = ()


@dataclass(frozen=True)
class RefuteOrder:
    """Two neighbours of the roster are not in ascending order."""

    task: TaskId
    round: int
    left: Placed
    right: Placed


@dataclass(frozen=True)
class RefuteOmission:
    """A commitment, direct or (`batch`) in an adopted batch, is not in the roster: its neighbours there leave no place for it."""

    task: TaskId
    round: int
    entry: Entry
    batch: tuple[Signed, ...]
    neighbours: tuple[Placed, ...]


@dataclass(frozen=True)
class RefuteBatch:
    """An adopted batch has an entry that its member did not sign, or two neighbours that are not in ascending order."""

    task: TaskId
    round: int
    entries: tuple[Signed, ...]


@dataclass(frozen=True)
class Void:
    """Anyone voids a round that builds on a refuted proposal, and frees its proposer's bond."""

    task: TaskId
    round: int


Refutation = (
    RefuteSum
    | RefuteNext
    | RefuteTree
    | RefuteVector
    | RefuteEntry
    | RefuteOrder
    | RefuteOmission
    | RefuteBatch
)
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
    | Refutation
    | Void
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
    height: int
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
    adopted: bool


@dataclass(frozen=True)
class Finalised:
    task: TaskId
    round: int
    next_root: Root


@dataclass(frozen=True)
class Refuted:
    task: TaskId
    round: int
    proposer: Address
    challenger: Address
    fault: int
    bounty: int


@dataclass(frozen=True)
class Voided:
    task: TaskId
    round: int


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
    | Refuted
    | Voided
)


@dataclass(frozen=True)
class Round:
    """One round of a task. Round 0 is the genesis model and final from the start.

    Rounds are numbered as they are opened and never reused. `height` counts the rounds below it on its branch: after a refuted
    proposal, rounds of the same height are done again under new numbers. `attempt` counts the round's refuted proposals, and
    `parent_attempt` its parent's when it was opened.
    """

    phase: Phase = Phase.NONE
    parent: int = 0
    height: int = 0
    attempt: int = 0
    parent_attempt: int = 0
    commit_deadline: int = 0
    final_at: int = 0
    excluded: int = 0
    count: int = 0
    batch_count: int = 0
    batch_root: Root = ZERO_ROOT
    sum_root: Root = ZERO_ROOT
    next_root: Root = ZERO_ROOT
    proposer: Address = ZERO_ADDRESS
    adopted: bool = False


@dataclass(frozen=True)
class TaskView:
    """What anyone can read of a task."""

    parameters: Parameters
    members: int
    opened: int
    head: int
    pending: int


@dataclass(frozen=True)
class Balance:
    """Wei of one account on the ledger: free to withdraw, and locked as bonds."""

    free: int = 0
    locked: int = 0


@dataclass
class Task:
    """State of one task.

    `opened` is the newest round opened, `head` the newest proposed that builds on nothing refuted, `pending` the one that awaits a
    proposal (0: none).
    """

    parameters: Parameters
    opened: int = 0
    head: int = 0
    pending: int = 0
    branch: list[int] = field(default_factory=lambda: [0])
    """The rounds that build on nothing refuted, by height."""
    members: set[Address] = field(default_factory=set)
    rounds: dict[int, Round] = field(default_factory=dict)
    commitments: dict[tuple[Address, int], tuple[int, bytes]] = field(default_factory=dict)
    """(member, round % slots) -> (round, digest)."""
    excluders: dict[tuple[int, Address], Address] = field(default_factory=dict)
    """(round, member) -> who excluded its direct commitment."""
    batch_excluders: dict[tuple[int, Address], Address] = field(default_factory=dict)
    """(round, member) -> who excluded its entry in the batch."""


Author = Callable[[int, Address, TaskId, int, Entry, bytes], Address]
"""(chain id, contract, task, round, entry, signature) -> the account that signed, or zeros."""


@dataclass
class State:
    """State of a ledger: what the contract's storage holds."""

    chain_id: int
    contract: Address
    author: Author
    """Who signed a commitment: the one thing here that a standard library cannot tell."""
    slashed: int = 0
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
        ("challengeWindow", MIN_CHALLENGE_WINDOW <= p.challenge_window <= MAX_WINDOW),
        ("bond", MIN_BOND <= p.bond < 2**96),
        ("bounty", MIN_BOUNTY <= p.bounty <= MAX_BOUNTY),
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
    return TaskView(found.parameters, len(found.members), found.opened, found.head, found.pending)


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
    if number == 0 or held_round != number:
        return None
    return bytes(DIGEST_BYTES) if (number, member) in found.excluders else digest


def get_excluders(
    state: State, task: TaskId, number: int, member: Address
) -> tuple[Address, Address]:
    """Who excluded a member's direct commitment to a round, and its entry in the batch; zeros for nobody."""
    found, who = get_task(state, task), (number, member)
    return found.excluders.get(who, ZERO_ADDRESS), found.batch_excluders.get(who, ZERO_ADDRESS)


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
    """Open a round on the newest model proposed: training does not wait for windows.

    A round whose commits closed a whole commit window ago with no proposal may be given a new window instead: too
    few had committed.
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
        oldest = task.rounds[call.round - p.slots]
        if oldest.phase not in {Phase.FINAL, Phase.VOID}:
            raise errors.SlotsFull(call.round - p.slots)
    task.rounds[call.round] = Round(
        phase=Phase.OPEN,
        parent=task.head,
        height=below.height + 1,
        parent_attempt=below.attempt,
        commit_deadline=deadline,
    )
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
    return (Excluded(call.task, call.round, call.member, call.reason),)


def process_propose(state: State, call: Propose, sender: Address, now: int) -> tuple[Event, ...]:
    """The roster is fixed once the window has passed, or once every member is counted in or directly excluded."""
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
        or call.count < p.quorum
        or call.count + current.excluded > len(task.members)
    ):
        raise errors.InvalidProposal()
    if call.adopt and current.batch_count == 0:
        raise errors.NoBatch()
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
    task = get_task(state, call.task)
    current = task.rounds.get(call.round, Round())
    if current.phase != Phase.PROPOSED:
        raise errors.NotProposed(call.round)
    if is_void(task, call.round):
        raise errors.RoundVoid(call.round)
    if now < current.final_at:
        raise errors.WindowOpen(current.final_at)
    if task.rounds[current.parent].phase != Phase.FINAL:
        raise errors.ParentNotFinal(current.parent)
    task.rounds[call.round] = replace(current, phase=Phase.FINAL)
    release_bond(state, task, current.proposer)
    return (Finalised(call.task, call.round, current.next_root),)


def process_void(state: State, call: Void, sender: Address, now: int) -> tuple[Event, ...]:
    """Rounds are voided one by one, in any order, so that a refutation costs the same however many there are."""
    task = get_task(state, call.task)
    current = task.rounds.get(call.round, Round())
    if current.phase not in {Phase.OPEN, Phase.PROPOSED} or not is_void(task, call.round):
        raise errors.NotVoid()
    task.rounds[call.round] = replace(current, phase=Phase.VOID)
    if current.phase == Phase.PROPOSED:
        release_bond(state, task, current.proposer)
    return (Voided(call.task, call.round),)


def is_void(task: Task, number: int) -> bool:
    """Whether a proposal that a round builds on, at any height below it, is refuted.

    Were only the parent asked, a lie built on a refuted lie could be refuted too, and leave the task pending on a void round.
    """
    height = task.rounds[number].height
    return height >= len(task.branch) or task.branch[height] != number


def release_bond(state: State, task: Task, proposer: Address) -> None:
    """Free one proposal's bond."""
    bond, held = task.parameters.bond, get_balance(state, proposer)
    state.balances[proposer] = Balance(held.free + bond, held.locked - bond)


def get_claim(state: State, call: Refutation) -> tuple[Task, Round, Claim]:
    """The proposal that a refutation is about, with what its evidence must stand under."""
    task = get_task(state, call.task)
    p = task.parameters
    current = task.rounds.get(call.round, Round())
    if current.phase != Phase.PROPOSED:
        raise errors.NotProposed(call.round)
    if is_void(task, call.round):
        raise errors.RoundVoid(call.round)
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
    task, _, claim = get_claim(state, call)
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
    """A false proposal is struck out in one call: the liar's bond is gone, and the round awaits another proposal.

    Its commitments are what they were: nobody can join late, save whom a false count would have locked out. Whatever was opened
    on the false model is void from now on. To give the round a new commit window takes as long as after any deadline.
    """
    false, fault = is_false(state, call)
    if not false:
        raise errors.NotRefuted()
    task, current, _ = get_claim(state, call)
    p = task.parameters
    bounty = p.bond * p.bounty // 100
    liar = get_balance(state, current.proposer)
    state.balances[current.proposer] = Balance(liar.free, liar.locked - p.bond)
    winner = get_balance(state, sender)
    state.balances[sender] = Balance(winner.free + bounty, winner.locked)
    state.slashed += p.bond - bounty
    task.rounds[call.round] = replace(
        current,
        phase=Phase.OPEN,
        attempt=current.attempt + 1,
        commit_deadline=max(now - 1, current.commit_deadline),
    )
    task.pending = call.round
    task.head = current.parent
    del task.branch[current.height + 1 :]
    return (Refuted(call.task, call.round, current.proposer, sender, fault, bounty),)


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
    RefuteSum: process_refute,
    RefuteNext: process_refute,
    RefuteTree: process_refute,
    RefuteVector: process_refute,
    RefuteEntry: process_refute,
    RefuteOrder: process_refute,
    RefuteOmission: process_refute,
    RefuteBatch: process_refute,
    Void: process_void,
}
