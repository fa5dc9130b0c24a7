"""What the ledger says. Field order is that of the contract's events."""

from __future__ import annotations

from dataclasses import dataclass

from .terms import Address, Parameters, Root, TaskId


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
    deadline: int


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


@dataclass(frozen=True)
class Lapsed:
    task: TaskId
    round: int


@dataclass(frozen=True)
class Released:
    task: TaskId
    round: int


@dataclass(frozen=True)
class Staked:
    task: TaskId
    account: Address
    amount: int


@dataclass(frozen=True)
class Unstaked:
    task: TaskId
    account: Address
    amount: int


@dataclass(frozen=True)
class Graded:
    task: TaskId
    account: Address
    quality: int


@dataclass(frozen=True)
class Attested:
    task: TaskId
    round: int
    validator: Address
    weight: int
    next_root: Root


@dataclass(frozen=True)
class Slashed:
    task: TaskId
    round: int
    account: Address
    by: Address
    amount: int
    bounty: int


@dataclass(frozen=True)
class Witnessed:
    task: TaskId
    round: int
    member: Address
    validator: Address
    weight: int


@dataclass(frozen=True)
class Demanded:
    task: TaskId
    round: int
    demander: Address
    digest: Root
    pieces: int
    deadline: int


@dataclass(frozen=True)
class Revealed:
    task: TaskId
    round: int
    digest: Root
    pieces: int
    revealer: Address
    data: bytes


@dataclass(frozen=True)
class Expired:
    task: TaskId
    round: int
    digest: Root
    pieces: int
    demander: Address


@dataclass(frozen=True)
class RosterSettled:
    task: TaskId
    round: int


@dataclass(frozen=True)
class LeafSettled:
    task: TaskId
    round: int
    leaf: int


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
    | Lapsed
    | Released
    | Staked
    | Unstaked
    | Graded
    | Attested
    | Slashed
    | Witnessed
    | Demanded
    | Revealed
    | Expired
    | RosterSettled
    | LeafSettled
)
