"""Whoever asks gets what a proposal commits to, or the proposal is struck out: every way to hide, to stall and to cheat."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from scenes import (
    AGGREGATOR,
    BOND,
    LIE,
    MEMBERS,
    OTHER,
    REVEAL,
    RIVAL,
    ROOT,
    STRANGER,
    VALIDATORS,
    WINDOW,
    Small,
    attest,
    begin,
    commit,
    play_a_lie,
    play_round,
    refuted,
    words,
)
from tallystick import errors, fraud, merkle, protocol
from tallystick.fraud import Sought, Vector
from tallystick.protocol import (
    MIN_REVEAL_FEE,
    Balance,
    Demand,
    Demanded,
    Deposit,
    Expire,
    Expired,
    Fault,
    Finalise,
    Lapse,
    Open,
    Phase,
    Propose,
    Refuted,
    Release,
    Reveal,
    Revealed,
    Settlement,
    Slash,
    State,
    TaskId,
    Void,
    process,
)

FEE = MIN_REVEAL_FEE
TOP = Sought(Vector.TREE, (), 0, (), 0, 0, LIE.digest, ())
SMALL = Small()


def proposed(validators: int = 0, **changes: Any) -> tuple[State, TaskId]:
    """A proposal with `LIE` on top, made at 0, and a stranger with money for ten fees."""
    state, task = begin(validators=validators, **changes)
    play_a_lie(state, task, 1, 0)
    process(state, Deposit(10 * FEE), STRANGER, 0)
    return state, task


def answer(task: TaskId) -> Reveal:
    return Reveal(task, 1, LIE.digest, fraud.NODE, LIE.data)


def expiry(task: TaskId) -> Expire:
    return Expire(task, 1, LIE.digest, fraud.NODE)


def test_whoever_reveals_gets_the_fee_of_whoever_asked() -> None:
    """Anyone may ask, anyone may answer, and what was asked for is on the record."""
    state, task = proposed()
    asked = process(state, Demand(task, 1, TOP), STRANGER, 5)
    assert asked == (Demanded(task, 1, STRANGER, LIE.digest, fraud.NODE, 5 + REVEAL),)
    assert protocol.get_balance(state, STRANGER) == Balance(9 * FEE, FEE)
    before = protocol.get_balance(state, RIVAL).free
    told = process(state, answer(task), RIVAL, 6)
    assert told == (Revealed(task, 1, LIE.digest, fraud.NODE, RIVAL, LIE.data),)
    assert protocol.get_balance(state, STRANGER) == Balance(9 * FEE, 0)
    assert protocol.get_balance(state, RIVAL).free == before + FEE
    assert protocol.get_ballot(state, task, 1).demands == 0
    with pytest.raises(errors.NotDemanded):
        process(state, answer(task), RIVAL, 6)


def test_who_hides_loses_the_bond() -> None:
    """Once its time has passed anyone ends the demand; the fee is back, the bounty is the demander's, the round is open again."""
    state, task = proposed()
    process(state, Demand(task, 1, TOP), STRANGER, 5)
    with pytest.raises(errors.RevealOpen):
        process(state, expiry(task), RIVAL, 5 + REVEAL)
    told = process(state, expiry(task), RIVAL, 6 + REVEAL)
    assert told == (
        Expired(task, 1, LIE.digest, fraud.NODE, STRANGER),
        Refuted(task, 1, AGGREGATOR, STRANGER, Fault.HIDDEN, BOND // 2),
    )
    assert protocol.get_balance(state, STRANGER) == Balance(10 * FEE + BOND // 2, 0)
    assert protocol.get_round(state, task, 1).phase == Phase.OPEN
    with pytest.raises(errors.NotDemanded):
        process(state, expiry(task), RIVAL, 6 + REVEAL)
    process(state, Propose(task, 1, 3, ROOT, OTHER), RIVAL, 6 + REVEAL)


def test_nobody_earns_by_hiding_from_itself() -> None:
    """A liar that demands what it hides gets back less than it loses."""
    state, task = proposed()
    process(state, Demand(task, 1, TOP), AGGREGATOR, 5)
    process(state, expiry(task), AGGREGATOR, 6 + REVEAL)
    assert protocol.get_balance(state, AGGREGATOR) == Balance(BOND + BOND // 2, 0)
    assert state.slashed == BOND - BOND // 2


def test_late_is_better_than_never() -> None:
    """An answer is good until somebody ends the demand, and whoever asked has time to make use of it."""
    state, task = proposed()
    process(state, Demand(task, 1, TOP), STRANGER, WINDOW - 1)
    late = WINDOW + 2 * REVEAL
    with pytest.raises(errors.DemandsOpen):
        process(state, Finalise(task, 1), AGGREGATOR, late)
    process(state, answer(task), AGGREGATOR, late)
    with pytest.raises(errors.NotDemanded):
        process(state, expiry(task), STRANGER, late)
    with pytest.raises(errors.WindowOpen):
        process(state, Finalise(task, 1), AGGREGATOR, late + REVEAL - 1)
    refuted(state, task, 1, late + REVEAL - 1)


def test_a_prompt_answer_delays_nothing() -> None:
    """The window ends when it would have, if that is later than the time to make use of the answer."""
    state, task = proposed()
    process(state, Demand(task, 1, TOP), STRANGER, 0)
    process(state, answer(task), AGGREGATOR, WINDOW - REVEAL)
    process(state, Finalise(task, 1), AGGREGATOR, WINDOW)


def test_nothing_passes_while_a_demand_is_open() -> None:
    """A proposal becomes neither final, nor free of its bond, nor lapses, before it is known whether it hides."""
    state, task = proposed()
    process(state, Demand(task, 1, TOP), STRANGER, 0)
    with pytest.raises(errors.DemandsOpen):
        process(state, Finalise(task, 1), AGGREGATOR, WINDOW)
    state, task = proposed(settlement=Settlement.QUORUM)
    process(state, Demand(task, 1, TOP), STRANGER, 0)
    with pytest.raises(errors.DemandsOpen):
        process(state, Lapse(task, 1), AGGREGATOR, WINDOW)
    state, task = proposed(validators=1, settlement=Settlement.EARLY)
    attest(state, task, 1, VALIDATORS[0], 0)
    process(state, Finalise(task, 1), AGGREGATOR, 0)
    process(state, Demand(task, 1, TOP), STRANGER, 0)
    with pytest.raises(errors.DemandsOpen):
        process(state, Release(task, 1), AGGREGATOR, WINDOW)


def test_what_votes_made_final_is_not_hidden_for_free() -> None:
    """The round stays final; bond and stakes are gone as for any other lie."""
    state, task = proposed(validators=1, settlement=Settlement.EARLY)
    attest(state, task, 1, VALIDATORS[0], 0)
    process(state, Finalise(task, 1), AGGREGATOR, 0)
    process(state, Demand(task, 1, TOP), STRANGER, 0)
    process(state, expiry(task), STRANGER, REVEAL + 1)
    assert protocol.get_round(state, task, 1).phase == Phase.FINAL
    assert protocol.get_balance(state, AGGREGATOR) == Balance(BOND, 0)
    process(state, Slash(task, 1, VALIDATORS[0]), STRANGER, REVEAL + 1)


@pytest.mark.parametrize(
    "data",
    [b"", LIE.data[:-1], LIE.data + bytes(32), LIE.digest, SMALL.top.data, SMALL.entries[0].data],
    ids=["nothing", "cut", "more", "its digest", "another node", "an entry"],
)
def test_nothing_but_what_was_asked_for_is_an_answer(data: bytes) -> None:
    """No other bytes take the fee or save the bond."""
    state, task = proposed()
    process(state, Demand(task, 1, TOP), STRANGER, 0)
    with pytest.raises(errors.InvalidProof) as caught:
        process(state, replace(answer(task), data=data), RIVAL, 0)
    assert caught.value.arguments == ("data",)
    assert protocol.get_ballot(state, task, 1).demands == 1


def test_a_top_that_is_no_node_cannot_be_revealed() -> None:
    """Who claims an entry or arbitrary bytes as the top of a sum tree is struck out by asking for it."""
    for data in (SMALL.entries[0].data, b"rubbish", b"\x03" + bytes(43)):
        state, task = begin()
        commit(state, task, 1, 0)
        root = merkle.leaf_hash(data)
        process(state, Propose(task, 1, 3, root, OTHER), AGGREGATOR, 0)
        process(state, Demand(task, 1, replace(TOP, digest=root)), RIVAL, 0)
        with pytest.raises(errors.InvalidProof):
            process(state, Reveal(task, 1, root, fraud.NODE, data), AGGREGATOR, 0)
        with pytest.raises(errors.NotDemanded):
            process(state, Reveal(task, 1, root, 0, data), AGGREGATOR, 0)
        process(state, Expire(task, 1, root, fraud.NODE), RIVAL, REVEAL + 1)


def test_an_answer_needs_a_question() -> None:
    """Nothing is paid for what nobody asked for, in this task, round, digest and number of pieces."""
    state, task = proposed()
    process(state, Demand(task, 1, TOP), STRANGER, 0)
    good = answer(task)
    for bad in (replace(good, round=2), replace(good, digest=ROOT), replace(good, pieces=0)):
        with pytest.raises(errors.NotDemanded):
            process(state, bad, RIVAL, 0)
        with pytest.raises(errors.NotDemanded):
            process(state, Expire(task, bad.round, bad.digest, bad.pieces), RIVAL, 99)
    for call in (replace(good, task=ROOT), replace(expiry(task), task=ROOT)):
        with pytest.raises(errors.UnknownTask):
            process(state, call, RIVAL, 0)


def test_only_a_proposal_in_doubt_is_asked_for_data() -> None:
    """Not in another task, before a proposal, after its window, or on top of a lie."""
    state, task = begin()
    commit(state, task, 1, 0)
    with pytest.raises(errors.UnknownTask):
        process(state, Demand(ROOT, 1, TOP), RIVAL, 0)
    for number in (0, 1, 2):
        with pytest.raises(errors.NotProposed):
            process(state, Demand(task, number, TOP), RIVAL, 0)
    process(state, Propose(task, 1, 3, LIE.digest, OTHER), AGGREGATOR, 0)
    with pytest.raises(errors.WindowPassed):
        process(state, Demand(task, 1, TOP), RIVAL, WINDOW)
    process(state, Deposit(BOND), AGGREGATOR, 0)
    process(state, Open(task, 2), AGGREGATOR, 0)
    process(state, Propose(task, 2, 3, LIE.digest, OTHER), AGGREGATOR, 101)
    refuted(state, task, 1, 101)
    with pytest.raises(errors.RoundVoid):
        process(state, Demand(task, 2, TOP), RIVAL, 102)


def test_a_demand_is_paid_for_and_made_once() -> None:
    """Nobody asks on credit, or twice at a time; once answered, it may be asked again."""
    state, task = proposed()
    with pytest.raises(errors.InsufficientBalance):
        process(state, Demand(task, 1, TOP), MEMBERS[0], 0)
    process(state, Demand(task, 1, TOP), STRANGER, 0)
    for account in (STRANGER, RIVAL):
        with pytest.raises(errors.AlreadyDemanded):
            process(state, Demand(task, 1, TOP), account, 0)
    process(state, answer(task), RIVAL, 0)
    process(state, Demand(task, 1, TOP), STRANGER, 0)


def two_demands() -> tuple[State, TaskId, Sought]:
    """Two open demands of one proposal: its top, and a child of that."""
    state, task = proposed()
    child = Sought(Vector.TREE, (LIE,), 1, (), 0, 0, OTHER, ())
    process(state, Demand(task, 1, TOP), STRANGER, 0)
    process(state, Demand(task, 1, child), RIVAL, 0)
    assert protocol.get_ballot(state, task, 1).demands == 2
    return state, task, child


def test_demands_of_a_proposal_that_is_gone_only_give_their_fees_back() -> None:
    """One strike an attempt: who asked too gets the fee, at any time, and nobody can answer for what is gone."""
    state, task, child = two_demands()
    process(state, expiry(task), STRANGER, REVEAL + 1)
    slashed = state.slashed
    process(state, Propose(task, 1, 3, LIE.digest, OTHER), AGGREGATOR, REVEAL + 1)
    assert protocol.get_ballot(state, task, 1).demands == 0
    with pytest.raises(errors.NotDemanded):
        process(state, Reveal(task, 1, OTHER, fraud.DOCUMENT, b""), RIVAL, REVEAL + 1)
    with pytest.raises(errors.AlreadyDemanded):
        process(state, Demand(task, 1, child), RIVAL, REVEAL + 1)
    told = process(state, Expire(task, 1, OTHER, fraud.DOCUMENT), STRANGER, REVEAL + 1)
    assert told == (Expired(task, 1, OTHER, fraud.DOCUMENT, RIVAL),)
    assert protocol.get_balance(state, RIVAL) == Balance(2 * BOND, 0)
    assert state.slashed == slashed
    assert protocol.get_round(state, task, 1).phase == Phase.PROPOSED
    process(state, Demand(task, 1, child), RIVAL, REVEAL + 1)


def test_demands_end_with_a_refutation_too() -> None:
    """Evidence found elsewhere strikes the proposal once; the open demand costs its author nothing."""
    state, task = proposed()
    process(state, Demand(task, 1, TOP), STRANGER, 0)
    refuted(state, task, 1, 1)
    assert len(process(state, expiry(task), RIVAL, 1)) == 1
    assert protocol.get_balance(state, STRANGER) == Balance(10 * FEE, 0)


def test_what_stands_on_a_lie_need_not_be_revealed() -> None:
    """An honest proposer whose round is void loses nothing by a demand that it leaves unanswered."""
    state, task = proposed()
    process(state, Deposit(BOND), AGGREGATOR, 0)
    play_round(state, task, 2, 0)
    process(state, Demand(task, 2, replace(TOP, digest=ROOT)), STRANGER, 0)
    refuted(state, task, 1, 1)
    told = process(state, Expire(task, 2, ROOT, fraud.NODE), RIVAL, 99)
    assert len(told) == 1
    process(state, Void(task, 2), RIVAL, 99)
    assert protocol.get_balance(state, STRANGER) == Balance(10 * FEE, 0)


def leaves(values: Any, size: int) -> list[bytes]:
    data, step = words(values, size), size * SMALL.leaf_words
    return [data[k : k + step] for k in range(0, len(data), step)]


def sought_in(vector: Vector, values: Any, size: int, member: int = 0) -> Sought:
    """The second of three leaves of a vector of the small model."""
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves(values, size)]
    path = () if vector == Vector.NEXT else (SMALL.top,)
    entries = SMALL.entries[member : member + 1] if vector == Vector.UPDATE else ()
    return Sought(vector, path, member, entries, 0, 1, hashes[1], merkle.path(hashes, 1))


@pytest.mark.parametrize(
    ("vector", "values", "size", "member"),
    [
        (Vector.SUMS, SMALL.sums, 8, 0),
        (Vector.NEXT, SMALL.next, 4, 0),
        (Vector.UPDATE, SMALL.updates[2], 4, 2),
    ],
)
def test_leaves_are_asked_for_and_revealed(
    vector: Vector, values: Any, size: int, member: int
) -> None:
    """A leaf of sums, of an update or of the next model: its bytes, no others."""
    state, task = SMALL.begin()
    SMALL.propose(state, task, 0)
    sought = sought_in(vector, values, size, member)
    process(state, Demand(task, 1, sought), RIVAL, 0)
    first, second, _ = leaves(values, size)
    with pytest.raises(errors.InvalidProof):
        process(state, Reveal(task, 1, sought.digest, 0, first), AGGREGATOR, 0)
    process(state, Reveal(task, 1, sought.digest, 0, second), AGGREGATOR, 0)


def test_nodes_of_a_vector_are_asked_for_and_revealed_in_pieces() -> None:
    """A Merkle node is answered by the digests below it, all of them and in order; one with one child is asked for there."""
    state, task = SMALL.begin()
    SMALL.propose(state, task, 0)
    digests = [merkle.leaf_hash(leaf) for leaf in leaves(SMALL.next, 4)]
    top = Sought(Vector.NEXT, (), 0, (), 2, 0, SMALL.next_root, ())
    process(state, Demand(task, 1, top), RIVAL, 0)
    for data in (b"".join(digests[::-1]), b"".join(digests[:2]), b"".join(digests) + bytes(1)):
        with pytest.raises(errors.InvalidProof):
            process(state, Reveal(task, 1, SMALL.next_root, 3, data), AGGREGATOR, 0)
    process(state, Reveal(task, 1, SMALL.next_root, 3, b"".join(digests)), AGGREGATOR, 0)
    left = merkle.node_hash(digests[0], digests[1])
    alone = Sought(Vector.NEXT, (), 0, (), 1, 1, digests[2], (left,))
    with pytest.raises(errors.InvalidProof) as caught:
        process(state, Demand(task, 1, alone), RIVAL, 0)
    assert caught.value.arguments == ("height",)


def test_nothing_is_asked_for_that_the_proposal_does_not_commit_to() -> None:
    """What no honest proposer has, it need not show: each invention is refused by its part."""
    state, task = SMALL.begin()
    SMALL.propose(state, task, 0)
    top = replace(TOP, digest=SMALL.top.digest)
    entry = Sought(Vector.TREE, (SMALL.top,), 0, (), 0, 0, SMALL.entries[0].digest, ())
    sums = sought_in(Vector.SUMS, SMALL.sums, 8)
    update = sought_in(Vector.UPDATE, SMALL.updates[2], 4, 2)
    following = sought_in(Vector.NEXT, SMALL.next, 4)
    cases = [
        (replace(top, digest=ROOT), "node"),
        (replace(entry, index=1), "node"),
        (replace(entry, index=3), "path"),
        (replace(entry, index=4), "path"),
        (replace(entry, path=(LIE,)), "path"),
        (replace(entry, path=(SMALL.top, SMALL.top)), "path"),
        (replace(sums, index=1), "path"),
        (replace(sums, path=()), "path"),
        (replace(sums, position=0), "leaf"),
        (replace(sums, position=3), "leaf"),
        (replace(sums, digest=ROOT), "leaf"),
        (replace(sums, siblings=sums.siblings[:1]), "leaf"),
        (replace(sums, height=1), "leaf"),
        (replace(following, height=41), "data"),
        (replace(following, vector=Vector.BATCH), "leaf"),
        (replace(following, vector=5), "vector"),
        (replace(update, entries=()), "entry"),
        (replace(update, entries=SMALL.entries), "entry"),
        (replace(update, index=1), "entry"),
        (replace(update, entries=SMALL.entries[:1]), "entry"),
    ]
    for bad, part in cases:
        with pytest.raises(errors.InvalidProof) as caught:
            process(state, Demand(task, 1, bad), RIVAL, 0)
        assert caught.value.arguments == (part,), bad
    for good in (top, entry, sums, update, following):
        process(state, Demand(task, 1, good), RIVAL, 0)
