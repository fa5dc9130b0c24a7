"""The words of the specification: constants, enumerations, and a task's parameters with their bounds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

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
MIN_VOTE_QUORUM, MAX_VOTE_QUORUM = 51, 100
"""Percent of a round's voting weight."""
MAX_STAKE = 10**25
"""Wei of one account: ten million ether, so that weights in gwei fit 64 bits."""
MIN_REVEAL_WINDOW = 2
MIN_REVEAL_FEE = 10**14
"""0.0001 ether: whoever demands data pays at least about what it costs to reveal them."""
GWEI = 10**9
OPAQUE_RULES = 128
"""Rules from here on are known to validators only: the contract cannot tell their sums from others, so votes must settle them."""
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
    HIDDEN = 9


class Rule(IntEnum):
    """How updates become an aggregate."""

    MEAN = 0


class Settlement(IntEnum):
    """What makes a proposal final: its window's end; or a quorum of votes before it; nothing but such a quorum; nothing but a
    proof of every leaf on the ledger itself (which is enough in the other three, too)."""

    WINDOW = 0
    EARLY = 1
    QUORUM = 2
    PROVEN = 3


class Voting(IntEnum):
    """What a validator's vote weighs: one; its stake in gwei; or the quality that the task's scorer gave it."""

    EQUAL = 0
    STAKE = 1
    QUALITY = 2


class Phase(IntEnum):
    """Where a round stands. `VOID` is for good: it was built on a refuted proposal, or lapsed itself."""

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
    settlement: int = Settlement.WINDOW
    voting: int = Voting.EQUAL
    vote_quorum: int = 67
    reveal_window: int = 3600
    stake: int = MIN_BOND
    scorer: Address = ZERO_ADDRESS
    member_stake: int = 0
    reveal_fee: int = MIN_REVEAL_FEE
    salt: bytes = bytes(32)


def compute_invalid_parameter(p: Parameters) -> str | None:
    """Name of the first parameter outside its bounds, in the contract's words and order, or None."""
    settlements = {Settlement.QUORUM} if p.rule >= OPAQUE_RULES else set(Settlement)
    bounds = (
        ("layout", p.layout != ZERO_ROOT),
        ("genesis", p.genesis != ZERO_ROOT),
        ("dimension", 1 <= p.dimension <= MAX_DIMENSION),
        ("scale", 0 <= p.scale <= MAX_SCALE),
        ("leafWords", MIN_LEAF_WORDS <= p.leaf_words <= MAX_LEAF_WORDS),
        ("fanIn", MIN_FAN_IN <= p.fan_in <= MAX_FAN_IN),
        ("rule", p.rule == Rule.MEAN or OPAQUE_RULES <= p.rule < 256),
        ("rounds", 1 <= p.rounds <= MAX_ROUNDS),
        ("maxMembers", 1 <= p.max_members <= MAX_TOTAL_WEIGHT),
        ("quorum", 1 <= p.quorum <= p.max_members),
        ("maxWeight", 1 <= p.max_weight and p.max_weight * p.max_members <= MAX_TOTAL_WEIGHT),
        ("slots", MIN_SLOTS <= p.slots <= MAX_SLOTS),
        ("commitWindow", 1 <= p.commit_window <= MAX_WINDOW),
        ("challengeWindow", MIN_CHALLENGE_WINDOW <= p.challenge_window <= MAX_WINDOW),
        ("bond", MIN_BOND <= p.bond < 2**96),
        ("bounty", MIN_BOUNTY <= p.bounty <= MAX_BOUNTY),
        ("settlement", p.settlement in settlements),
        ("voting", p.voting in set(Voting)),
        ("voteQuorum", MIN_VOTE_QUORUM <= p.vote_quorum <= MAX_VOTE_QUORUM),
        ("revealWindow", MIN_REVEAL_WINDOW <= p.reveal_window <= MAX_WINDOW),
        ("stake", MIN_BOND <= p.stake <= MAX_STAKE),
        ("scorer", (p.scorer != ZERO_ADDRESS) == (p.voting == Voting.QUALITY)),
        ("memberStake", 0 <= p.member_stake <= MAX_STAKE),
        ("revealFee", MIN_REVEAL_FEE <= p.reveal_fee <= MAX_STAKE),
    )
    return next((name for name, good in bounds if not good), None)
