"""What a caller can say. Field order is that of the contract's arguments."""

from __future__ import annotations

from dataclasses import dataclass

from ..fraud import Accused, Opening, Placed, Signed, Sought
from ..sumtree import Entry, SumNode
from .terms import ZERO_ROOT, Address, Parameters, Root, TaskId


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

    `seen` and `seen_hash` are a block that the aggregator saw all of this in, one of the last 256: on a chain that does not hold it, a
    reorganised one, the proposal is refused instead of being false of commitments that are not there. A hash of zeros names no block.
    """

    task: TaskId
    round: int
    count: int
    sum_root: Root
    next_root: Root
    adopt: bool = False
    seen: int = 0
    seen_hash: Root = ZERO_ROOT


@dataclass(frozen=True)
class Finalise:
    """Anyone finalises a proposal that is settled: see `Settlement`."""

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


@dataclass(frozen=True)
class Lapse:
    """Anyone voids a proposal that was not settled before its window passed, where the task asks for votes or a proof."""

    task: TaskId
    round: int


@dataclass(frozen=True)
class Release:
    """Anyone frees the bond of a round that became final before its window had passed, once it has."""

    task: TaskId
    round: int


@dataclass(frozen=True)
class Stake:
    """Anyone puts free wei at stake in a task: to vote as a validator, or to be admitted where members need a stake."""

    task: TaskId
    amount: int


@dataclass(frozen=True)
class Unstake:
    """An account takes its whole stake back, once nothing that it attested can be refuted any more."""

    task: TaskId


@dataclass(frozen=True)
class Grade:
    """The task's scorer sets what validators' votes weigh."""

    task: TaskId
    accounts: tuple[Address, ...]
    qualities: tuple[int, ...]


@dataclass(frozen=True)
class Attest:
    """A validator answers with its stake for a proposal that it has recomputed. The roots say which, should a chain be reorganised."""

    task: TaskId
    round: int
    sum_root: Root
    next_root: Root


@dataclass(frozen=True)
class Slash:
    """Anyone takes the stake of a validator that attested a proposal which was refuted, and earns the bounty's share of it."""

    task: TaskId
    round: int
    account: Address


@dataclass(frozen=True)
class Witness:
    """A validator says that the update of a member who was excluded as withheld is still nowhere to be had."""

    task: TaskId
    round: int
    member: Address


@dataclass(frozen=True)
class Demand:
    """Anyone asks for something that a proposal commits to and nobody published, and puts up the fee of whoever reveals it."""

    task: TaskId
    round: int
    sought: Sought


@dataclass(frozen=True)
class Reveal:
    """Anyone answers a demand: `data` are the bytes of a leaf (`pieces` 0) or of a node or entry of the sum tree
    (`fraud.DOCUMENT`; its top: `fraud.NODE`), or `pieces` digests of a Merkle tree."""

    task: TaskId
    round: int
    digest: Root
    pieces: int
    data: bytes


@dataclass(frozen=True)
class Expire:
    """Anyone ends a demand that nobody answered in time: the proposal is struck out as hidden, and the demander paid."""

    task: TaskId
    round: int
    digest: Root
    pieces: int


@dataclass(frozen=True)
class SettleRoster:
    """Anyone shows the ledger the whole roster of a proposal: `people` are all members of the task, in order, and `entries` who counts."""

    task: TaskId
    round: int
    people: tuple[Address, ...]
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class SettleLeaf:
    """Anyone has the ledger aggregate one leaf of the model itself: `parts` open the leaf in the update of each of `entries`."""

    task: TaskId
    round: int
    leaf: int
    entries: tuple[Entry, ...]
    parts: tuple[Opening, ...]
    base: Opening
    following: Opening


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
    | Lapse
    | Release
    | Stake
    | Unstake
    | Grade
    | Attest
    | Slash
    | Witness
    | Demand
    | Reveal
    | Expire
    | SettleRoster
    | SettleLeaf
)
