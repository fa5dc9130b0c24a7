"""What the ledger remembers, and what anyone can read of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from .. import errors
from ..sumtree import Entry
from .terms import (
    DIGEST_BYTES,
    ZERO_ADDRESS,
    ZERO_ROOT,
    Address,
    Parameters,
    Phase,
    Root,
    TaskId,
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
class Ballot:
    """How a round's proposal stands.

    `electorate` is the weight of all validators when the round was opened, `votes` that of those who attested the proposal of
    `attempt`, `demands` how many are unanswered. `bonded` says that the proposer's bond can still be lost, `settled` how many leaves
    the ledger itself has aggregated.
    """

    electorate: int = 0
    votes: int = 0
    attempt: int = 0
    demands: int = 0
    bonded: bool = False
    settled: int = 0


@dataclass(frozen=True)
class Standing:
    """An account's stake in a task (wei), the weight of its vote, the quality that the scorer gave it; it votes in rounds opened
    after round `since`."""

    stake: int = 0
    weight: int = 0
    quality: int = 0
    since: int = 0


@dataclass(frozen=True)
class Demanding:
    """A demand: who made it, of which attempt's proposal, until when it can be answered."""

    demander: Address
    attempt: int
    deadline: int


@dataclass(frozen=True)
class TaskView:
    """What anyone can read of a task."""

    parameters: Parameters
    members: int
    opened: int
    head: int
    pending: int
    votes: int = 0


@dataclass(frozen=True)
class Balance:
    """Wei of one account on the ledger: free to withdraw, and locked as bonds, stakes and fees."""

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
    votes: int = 0
    """Weight of all validators now."""
    standings: dict[Address, Standing] = field(default_factory=dict)
    ballots: dict[int, Ballot] = field(default_factory=dict)
    attested: dict[tuple[Address, int], tuple[int, int]] = field(default_factory=dict)
    """(validator, round % slots) -> (round, attempt)."""
    reports: dict[tuple[int, Address, bool], int] = field(default_factory=dict)
    """(round, member, whether its commitment was direct) -> until when an update that was excluded as withheld can be revealed."""
    witnessed: dict[tuple[int, Address], dict[Address, int]] = field(default_factory=dict)
    """(round, member) -> the validators that could not get its update, with their weights."""
    demands: dict[tuple[int, Root, int], Demanding] = field(default_factory=dict)
    """(round, digest, pieces) -> who demanded it."""
    rosters: dict[tuple[int, int], tuple[Entry, ...]] = field(default_factory=dict)
    """(round, attempt) -> the roster that the ledger itself has checked."""
    leaves: dict[tuple[int, int], set[int]] = field(default_factory=dict)
    """(round, attempt) -> the leaves that the ledger itself has aggregated."""


Author = Callable[[int, Address, TaskId, int, Entry, bytes], Address]
"""(chain id, contract, task, round, entry, signature) -> the account that signed, or zeros."""


def get_no_hash(number: int) -> Root:
    """Of a ledger without blocks."""
    return ZERO_ROOT


@dataclass
class State:
    """State of a ledger: what the contract's storage holds."""

    chain_id: int
    contract: Address
    author: Author
    """Who signed a commitment: the one thing here that a standard library cannot tell."""
    block_hash: Callable[[int], Root] = get_no_hash
    """The hash of one of the 256 blocks before the one being made, by number; zeros for any other (`BLOCKHASH`, Yellow Paper)."""
    slashed: int = 0
    tasks: dict[TaskId, Task] = field(default_factory=dict)
    balances: dict[Address, Balance] = field(default_factory=dict)


def get_task(state: State, task: TaskId) -> Task:
    """The task, or `UnknownTask`."""
    try:
        return state.tasks[task]
    except KeyError:
        raise errors.UnknownTask(task) from None


def get_task_view(state: State, task: TaskId) -> TaskView:
    """What anyone can read of a task, or `UnknownTask`."""
    found = get_task(state, task)
    return TaskView(
        found.parameters, len(found.members), found.opened, found.head, found.pending, found.votes
    )


def get_round(state: State, task: TaskId, number: int) -> Round:
    """The round, all zeros if it was never opened, or `UnknownTask`."""
    return get_task(state, task).rounds.get(number, Round())


def get_ballot(state: State, task: TaskId, number: int) -> Ballot:
    """How a round's proposal stands: what was said of earlier attempts counts for nothing."""
    found = get_task(state, task)
    ballot, attempt = found.ballots.get(number, Ballot()), get_round(state, task, number).attempt
    return (
        ballot
        if ballot.attempt == attempt
        else replace(ballot, attempt=attempt, votes=0, settled=0)
    )


def get_standing(state: State, task: TaskId, account: Address) -> Standing:
    """An account's stake in a task."""
    return get_task(state, task).standings.get(account, Standing())


def get_attested(state: State, task: TaskId, number: int, account: Address) -> int | None:
    """Which attempt's proposal of a round a validator attested, while its slot holds that round; else None."""
    found = get_task(state, task)
    held, attempt = found.attested.get((account, number % found.parameters.slots), (0, 0))
    return attempt if number and held == number else None


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
