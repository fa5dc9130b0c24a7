"""The sponsor: creates a task around an initial model, admits its members, and puts up the aggregator's bond."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from decimal import Decimal

from .. import protocol
from ..blob import DOCUMENT_LEAF
from ..commitment import task_digest
from ..encoding import Arrays, default_fan_in, default_leaf_words, layout_of, quantise
from ..errors import InvalidParameter, UnknownTask
from ..ledger import Ledger, Signer, address_of
from ..store import Kind, Store

BOND = 10**16
"""0.01 ether a proposal."""
BOUNTY = 50
"""Percent of a refuted proposal's bond, or of a slashed stake, that goes to whoever showed it."""
STAKE = 10**16
"""0.01 ether, at least, for a validator's vote."""
MAX_PROVEN_LEAVES = 64
"""Leaves of a model that it is sensible to have the ledger aggregate itself."""
REVEAL_FEE = 10**15
"""0.001 ether to whoever reveals what was demanded."""
ADMISSION_GAS = 12_000_000
"""Gas that one transaction of admissions stays below: chains bound a block, and some (EIP-7825: 16.8 million) a transaction."""
MEMBER_GAS, SLOT_GAS = 10_000, 22_500
"""What the admission of a member costs at most, and each of its slots."""


def create_task(
    ledger: Ledger,
    store: Store,
    signer: Signer,
    arrays: Arrays,
    *,
    members: Sequence[bytes],
    rounds: int,
    scale: int = 24,
    leaf_words: int | None = None,
    fan_in: int | None = None,
    quorum: int = 1,
    max_members: int | None = None,
    max_weight: int | None = None,
    slots: int = 16,
    commit_window: int = 3600,
    challenge_window: int = 600,
    bond: int = BOND,
    bounty: int = BOUNTY,
    settlement: int = protocol.Settlement.WINDOW,
    voting: int = protocol.Voting.EQUAL,
    vote_quorum: int = 67,
    reveal_window: int = 3600,
    stake: int = STAKE,
    scorer: bytes = protocol.ZERO_ADDRESS,
    member_stake: int = 0,
    reveal_fee: int = REVEAL_FEE,
    salt: bytes | None = None,
) -> bytes:
    """Put the initial model and its layout in the store, create the task on the ledger and admit the members.

    Returns the task id. Members are addresses of 20 bytes, admitted in transactions of bounded gas; windows are seconds. Raises what `encoding.quantise` and
    the ledger raise. A task that exists already, with all its members, is left as it is, so a crashed setup can be run
    again with the same `salt`.
    """
    layout = layout_of(arrays)
    leaf = leaf_words or default_leaf_words(layout.size)
    leaves = -(-layout.size // leaf)
    if settlement == protocol.Settlement.PROVEN and leaves > MAX_PROVEN_LEAVES:
        raise InvalidParameter(
            f"a proof on the ledger takes a transaction a leaf, and this model has {leaves} leaves. "
            f"Use larger leaves or another settlement above {MAX_PROVEN_LEAVES}."
        )
    genesis = store.put(Kind.MODEL, quantise(arrays, layout, scale), leaf)
    store.put(Kind.DOCUMENT, layout.to_json(), DOCUMENT_LEAF)
    most = max_members or len(members)
    parameters = protocol.Parameters(
        sponsor=address_of(signer),
        layout=layout.digest,
        genesis=genesis,
        dimension=layout.size,
        scale=scale,
        leaf_words=leaf,
        fan_in=fan_in or default_fan_in(layout.size),
        rule=protocol.Rule.MEAN,
        rounds=rounds,
        quorum=quorum,
        max_weight=max_weight or protocol.MAX_TOTAL_WEIGHT // most,
        max_members=most,
        slots=slots,
        commit_window=commit_window,
        challenge_window=challenge_window,
        bond=bond,
        bounty=bounty,
        settlement=settlement,
        voting=voting,
        vote_quorum=vote_quorum,
        reveal_window=reveal_window,
        stake=stake,
        scorer=scorer,
        member_stake=member_stake,
        reveal_fee=reveal_fee,
        salt=secrets.token_bytes(32) if salt is None else salt,
    )
    task = task_digest(ledger.chain_id, ledger.contract, parameters)
    there = set(admitted(ledger, task))
    if not _exists(ledger, task):
        ledger.send(signer, protocol.CreateTask(parameters))
    missing = tuple(member for member in members if member not in there)
    at_once = max(1, ADMISSION_GAS // (MEMBER_GAS + SLOT_GAS * slots))
    for start in range(0, len(missing), at_once):
        ledger.send(signer, protocol.Admit(task, missing[start : start + at_once]))
    return task


def bond(ledger: Ledger, signer: Signer, task: bytes, proposals: int) -> None:
    """Deposit what an aggregator needs to have `proposals` of a task in flight at once."""
    parameters = ledger.task(task).parameters
    held = ledger.balance(address_of(signer))
    missing = parameters.bond * proposals - held.free - held.locked
    if missing > 0:
        ledger.send(signer, protocol.Deposit(missing))


def wei(ether: float) -> int:
    """Wei of an amount in ether, as people write it."""
    found = Decimal(str(ether)) * 10**18
    if not found.is_finite() or found < 0 or found != int(found):
        raise InvalidParameter(f"{ether} is no amount of ether.")
    return int(found)


def stake(ledger: Ledger, signer: Signer, task: bytes, amount: int) -> None:
    """Bring an account's stake in a task up to `amount` wei; what its free balance lacks is deposited."""
    account = address_of(signer)
    missing = amount - ledger.standing(task, account).stake
    if missing <= 0:
        return
    lacking = missing - ledger.balance(account).free
    if lacking > 0:
        ledger.send(signer, protocol.Deposit(lacking))
    ledger.send(signer, protocol.Stake(task, missing))


def admitted(ledger: Ledger, task: bytes) -> list[bytes]:
    """All members of a task (addresses of 20 bytes), in the order of their admission."""
    events = ledger.events(task, None)
    return [event.member for _, event in events if isinstance(event, protocol.Admitted)]


def _exists(ledger: Ledger, task: bytes) -> bool:
    try:
        ledger.task(task)
    except UnknownTask:
        return False
    return True
