"""What is hidden is demanded on the ledger: revealed piece by piece until it convicts, or not revealed, which does as well."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from court import FAN_IN, LEAF, Claim, Court
from tallystick import ledger, merkle
from tallystick.encoding import as_bytes
from tallystick.errors import NotSlashable
from tallystick.fraud import DOCUMENT, NODE, Sought, Vector, check_sought
from tallystick.fraud import Claim as Stated
from tallystick.ledger import Ledger, address_of
from tallystick.protocol import (
    Attest,
    Demand,
    Deposit,
    Exclude,
    Fault,
    Phase,
    Reason,
    Reveal,
    Settlement,
    Slash,
    Stake,
)
from tallystick.roles import finality
from tallystick.roles.evidence import seek
from tallystick.roles.inquiry import Hidden, Inquiry, answer, uncover
from tallystick.roles.validator import Verdict
from tallystick.store import Kind

Make = Callable[..., Court]


@pytest.fixture(scope="module")
def shared() -> Iterator[Ledger]:
    chain = ledger.open("embedded:")
    yield chain
    chain.close()


@pytest.fixture
def court(shared: Ledger, tmp_path: Any) -> Make:
    return lambda members=3, **options: Court(shared, tmp_path, members, **options)


def cut(words: Any) -> list[bytes]:
    data, size = bytes(as_bytes(words)), words.itemsize * LEAF
    return [data[k : k + size] for k in range(0, len(data), size)]


def disclose(at: Court, claim: Claim, vectors: list[Any]) -> int:
    """The liar answers whatever is demanded of it, from what it claimed; returns how often."""
    inquiry = Inquiry(at.ledger, at.task)
    inquiry.look()
    documents = {node.digest: node.data for level in claim.levels for node in level}
    told = 0
    for number, key in list(inquiry.open):
        data = answer(documents, iter([cut(words) for words in vectors]), key)
        assert data is not None, key
        at.ledger.send(at.liar, Reveal(at.task, number, *key, data))
        told += 1
    return told


def lie(at: Court, what: str) -> tuple[Claim, list[Any]]:
    """A round with a lie of which nothing is in the store but members' updates; the vectors that the liar could show."""
    right = at.open()
    shown: list[Any] = []

    def alter(level: int, index: int, sums: Any) -> Any:
        altered = sums.copy()
        altered[37] += what == "sums" and level == 2
        shown.append(altered)
        return altered

    claim = at.claim(right, alter_sums=alter, publish=False)
    words = claim.next_words(at.base())
    words[3] += what == "next"
    at.propose(len(right), claim.top, at.root(words))
    return claim, [*shown, words]


@pytest.mark.parametrize(("what", "fault"), [("sums", Fault.SUM), ("next", Fault.NEXT)])
def test_a_liar_that_answers_every_demand_convicts_itself(
    court: Make, what: str, fault: Fault
) -> None:
    """Promise: a lie of which nothing was published is uncovered by demands alone, and refuted by what they bring to light."""
    at = court(3)
    claim, vectors = lie(at, what)
    judge = at.validator()
    verdict = Verdict(0, 0, b"", 0)
    looks = 0
    while looks < 12:
        looks += 1
        (verdict,) = judge.watch()
        if verdict.event is not None:
            break
        assert verdict.demanded > 0
        assert disclose(at, claim, vectors) == verdict.demanded
    assert verdict.event is not None
    assert verdict.event.fault == fault
    assert looks <= 7
    assert verdict.lie is not None
    assert verdict.lie.word == {"sums": 37, "next": 3}[what]
    paid = at.ledger.balance(address_of(at.key))
    assert paid.locked == 0


@pytest.mark.parametrize("what", ["sums", "next"])
def test_a_liar_that_hides_is_struck_out(court: Make, what: str) -> None:
    """Promise: a proposal of which something demanded is not revealed in time costs its bond, and the demander gets its fee back."""
    at = court(3)
    claim, vectors = lie(at, what)
    right = at.truth(tuple(at.entry(k) for k in order(at)))
    judge = at.validator()
    free = at.ledger.balance(address_of(at.key)).free
    (verdict,) = judge.watch()
    assert verdict.demanded == 1
    disclose(at, claim, vectors)
    (verdict,) = judge.watch()
    assert verdict.demanded >= 1
    assert judge.watch()[0].event is None
    at.ledger.wait(at.ledger.now() + at.parameters.reveal_window + 2)
    (verdict,) = judge.watch()
    assert verdict.event is not None
    assert verdict.event.fault == Fault.HIDDEN
    judge.watch()
    bounty = at.parameters.bond * at.parameters.bounty // 100
    balance = at.ledger.balance(address_of(at.key))
    assert balance.locked == 0
    # What it had to deposit for fees is free again, but for the one that the liar earned by its first answer.
    fees = at.parameters.reveal_fee * (1 + verdict_demands(at))
    assert free + bounty <= balance.free <= free + bounty + fees
    boss = at.aggregator()
    boss.start(at.base())
    closed = boss.recover()
    assert closed is not None
    assert (closed.sum_root, closed.next_root) == right


def order(at: Court) -> list[int]:
    return list(range(at.members))


def verdict_demands(at: Court) -> int:
    inquiry = Inquiry(at.ledger, at.task)
    inquiry.look()
    return len(inquiry.revealed) + len(inquiry.open) + 8


def honest(at: Court, publish: bool = True) -> Claim:
    right = at.open()
    claim = at.claim(right, publish=publish)
    at.propose(len(right), claim.top, at.publish(claim.next_words(at.base())))
    return claim


def test_an_honest_proposal_outlives_every_demand(court: Make) -> None:
    """Promise: whatever is demanded of a right proposal, any validator can answer, and earns the fee."""
    at = court(3)
    claim = honest(at, publish=False)
    current = at.ledger.round(at.task, at.number)
    top = claim.levels[-1][0]
    leaves = -(-45 // LEAF)
    height = (leaves - 1).bit_length()
    asked = [
        Sought(Vector.TREE, (), 0, (), 0, 0, top.digest, ()),
        Sought(Vector.TREE, (top,), 1, (), 0, 0, top.children[1], ()),
        seek(Vector.NEXT)(height, 0, current.next_root, ()),
        seek(Vector.SUMS, (top,))(height, 0, top.vector_root, ()),
    ]
    at.ledger.send(at.stranger, Deposit(at.parameters.reveal_fee * len(asked)))
    for sought in asked:
        at.ledger.send(at.stranger, Demand(at.task, at.number, sought))
    assert at.ledger.ballot(at.task, at.number).demands == len(asked)
    before = at.ledger.balance(address_of(at.key)).free
    (verdict,) = at.validator().watch()
    assert verdict.lie is None and verdict.hidden is None
    assert at.ledger.ballot(at.task, at.number).demands == 0
    earned = at.ledger.balance(address_of(at.key)).free - before
    assert earned == at.parameters.reveal_fee * len(asked)
    finality.settle(at.ledger, at.honest, at.task)
    assert at.ledger.round(at.task, at.number).phase == Phase.FINAL


def test_an_update_that_only_the_proposer_has_must_be_shown(court: Make) -> None:
    """Promise: a counted update of a small model that is in no store is demanded leaf by leaf; shown, the proposal is judged by it."""
    at = court(2)
    claim = honest(at)
    entry = at.entry(0)
    words = at.words(entry).copy()
    at.store.delete(entry.root)
    judge = at.validator()
    (verdict,) = judge.watch()
    assert verdict.hidden is not None and verdict.demanded == 1
    for _ in range(3):
        disclose(at, claim, [words])
        (verdict, *_) = judge.watch() or (verdict,)
    assert verdict.lie is None and verdict.hidden is None
    assert np.array_equal(at.words(entry), words)


def staked(at: Court, *signers: Any) -> None:
    for signer in signers:
        stake = at.parameters.stake
        at.ledger.send(signer, Deposit(stake), Stake(at.task, stake))


def test_votes_make_a_right_proposal_final_before_its_window(court: Make) -> None:
    """Promise: validators attest what they have recomputed, a quorum ends the window early, and the bond follows when it has passed."""
    at = court(2, settlement=Settlement.EARLY)
    staked(at, at.key, at.second)
    honest(at)
    number, final_at = at.number, at.ledger.round(at.task, at.number).final_at
    at.validator().watch()
    finality.finalise_due(at.ledger, at.honest, at.task)
    assert at.ledger.round(at.task, number).phase == Phase.PROPOSED
    at.validator(at.second).watch()
    assert at.ledger.ballot(at.task, number).votes == 2
    finality.finalise_due(at.ledger, at.honest, at.task)
    assert at.ledger.round(at.task, number).phase == Phase.FINAL
    assert at.ledger.now() < final_at
    assert at.ledger.ballot(at.task, number).bonded
    at.ledger.wait(final_at + 1)
    finality.finalise_due(at.ledger, at.honest, at.task)
    assert not at.ledger.ballot(at.task, number).bonded


@pytest.mark.parametrize("final", [False, True])
def test_a_lazy_validator_loses_its_stake(court: Make, final: bool) -> None:
    """Promise: who attests without recomputing is slashed with the liar, even if the votes had made the lie final."""
    at = court(2, settlement=Settlement.EARLY)
    staked(at, at.second, *([] if final else [at.key]))
    right = at.open()
    claim = at.claim(right)
    words = claim.next_words(at.base())
    words[7] += 1
    at.propose(len(right), claim.top, at.publish(words))
    current = at.ledger.round(at.task, at.number)
    at.ledger.send(at.second, Attest(at.task, at.number, current.sum_root, current.next_root))
    finality.finalise_due(at.ledger, at.liar, at.task)
    assert at.ledger.round(at.task, at.number).phase == (Phase.FINAL if final else Phase.PROPOSED)
    judge = at.validator()
    before = at.ledger.balance(address_of(at.key)).free
    (verdict,) = judge.watch()
    assert verdict.event is not None
    judge.watch()
    assert at.ledger.standing(at.task, address_of(at.second)).stake == 0
    share = (at.parameters.bond + at.parameters.stake) * at.parameters.bounty // 100
    assert at.ledger.balance(address_of(at.key)).free == before + share
    with pytest.raises(NotSlashable):
        at.ledger.send(at.key, Slash(at.task, at.number, address_of(at.second)))


@pytest.mark.parametrize("shows", [False, True])
def test_a_member_that_withholds_its_update_loses_its_stake(court: Make, shows: bool) -> None:
    """Promise: what was committed and is nowhere costs the member its stake once a quorum of validators says so; in the store, nothing."""
    at = court(2, vote_quorum=60)
    # Three votes of one each, of which two make the quorum of 60 percent.
    staked(at, at.key, at.second, at.keys[0])
    entries = at.open()
    mine = next(e for e in entries if e.member == address_of(at.keys[0]))
    words = at.words(mine).copy()
    at.store.delete(mine.root)
    boss = at.honest
    shown = Exclude(at.task, at.number, mine.member, mine.weight, mine.root, Reason.WITHHELD)
    at.ledger.send(boss, shown)
    judge = at.validator()
    judge.watch()
    if shows:
        at.store.put(Kind.UPDATE, words, LEAF)
    before = at.ledger.balance(address_of(at.honest)).free
    at.ledger.wait(at.ledger.now() + at.parameters.reveal_window + 2)
    judge.watch()
    at.validator(at.second).watch()
    stake = at.parameters.stake
    lost = 0 if shows else stake
    assert at.ledger.standing(at.task, mine.member).stake == stake - lost
    share = lost * at.parameters.bounty // 100
    assert at.ledger.balance(address_of(at.honest)).free == before + share


@pytest.mark.parametrize("seed", range(40))
def test_uncovering_finds_the_first_difference_of_any_tree(seed: int) -> None:
    """Promise: from a root alone, answered demands lead to the first false leaf and its audit path, each of them one the ledger takes."""
    rng = random.Random(seed)
    count = rng.choice([1, 2, 3, 5, 127, 128, 129, 130, 255, 257, 300, 1000])
    right = [rng.randbytes(32) for _ in range(count)]
    false = list(right)
    for place in rng.sample(range(count), rng.randint(1, min(3, count))):
        false[place] = rng.randbytes(32)
    first = next(k for k in range(count) if false[k] != right[k])
    root = merkle.root_of([merkle.leaf_hash(leaf) for leaf in false])
    claim = Stated(1, bytes(32), root, bytes(32), b"", 0, count * 8, 8, FAN_IN)
    hashes = [merkle.leaf_hash(leaf) for leaf in right]
    revealed: dict[tuple[bytes, int], bytes] = {}
    while True:
        try:
            leaf, data, siblings = uncover(seek(Vector.NEXT), root, hashes, revealed)
            break
        except Hidden as hidden:
            (sought,) = hidden.sought
            key = sought.digest, check_sought(claim, sought)
            assert key[1] not in {NODE, DOCUMENT} and key not in revealed
            data = answer({}, iter([false]), key) or b""
            revealed[key] = data
    assert (leaf, data) == (first, false[first])
    assert merkle.is_included(root, merkle.leaf_hash(data), leaf, count, siblings)
    assert len(revealed) <= 3
