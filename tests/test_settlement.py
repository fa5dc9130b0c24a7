"""The ledger aggregates a small model itself: every way to have it count the wrong members or the wrong words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scenes import (
    AGGREGATOR,
    BOND,
    LIE,
    MEMBERS,
    OTHER,
    RIVAL,
    ROOT,
    STRANGER,
    VALIDATORS,
    WINDOW,
    Small,
    attest,
    refuted,
    words,
)
from tallystick import errors, merkle, protocol
from tallystick.fraud import Opening
from tallystick.protocol import (
    Balance,
    Deposit,
    Exclude,
    Finalise,
    Lapse,
    LeafSettled,
    Open,
    Phase,
    Propose,
    Release,
    RosterSettled,
    SettleLeaf,
    Settlement,
    SettleRoster,
    State,
    TaskId,
    Void,
    process,
)
from tallystick.sumtree import Entry

SMALL = Small()
LEAVES = 3
PROVEN = {"settlement": Settlement.PROVEN}


def opening(values: tuple[int, ...] | list[int], leaf: int) -> Opening:
    data, size = words(values, 4), 4 * SMALL.leaf_words
    path = merkle.path(merkle.leaf_hashes(data, size), leaf)
    return Opening(data[leaf * size : (leaf + 1) * size], path)


def roster(task: TaskId) -> SettleRoster:
    return SettleRoster(task, 1, MEMBERS, SMALL.entries)


def leaf(task: TaskId, number: int) -> SettleLeaf:
    parts = tuple(opening(update, number) for update in SMALL.updates)
    return SettleLeaf(
        task, 1, number, SMALL.entries, parts, opening(SMALL.base, number), opening(SMALL.next, number),
    )  # fmt: skip


def proposed(**changes: object) -> tuple[State, TaskId]:
    """The honest proposal of three members, made at 0."""
    state, task = SMALL.begin(**changes)
    SMALL.propose(state, task, 0)
    return state, task


def settle(state: State, task: TaskId, now: int = 0) -> None:
    process(state, roster(task), STRANGER, now)
    for number in range(LEAVES):
        process(state, leaf(task, number), STRANGER, now)


def part_of(call: protocol.Call, state: State, now: int = 0) -> str:
    """The part of the evidence that is refused."""
    with pytest.raises(errors.InvalidProof) as caught:
        process(state, call, STRANGER, now)
    return str(caught.value.arguments[0])


def test_a_model_that_the_ledger_has_aggregated_is_final_without_anybodys_word() -> None:
    """Before the window has passed, and only with the last leaf; the bond answers for the rest of the proposal until then."""
    state, task = proposed(**PROVEN)
    assert process(state, roster(task), STRANGER, 0) == (RosterSettled(task, 1),)
    for number in (2, 0, 1):
        with pytest.raises(errors.WindowOpen):
            process(state, Finalise(task, 1), STRANGER, 0)
        told = process(state, leaf(task, number), STRANGER, 0)
        assert told == (LeafSettled(task, 1, number),)
    process(state, Finalise(task, 1), STRANGER, 0)
    assert protocol.get_balance(state, AGGREGATOR) == Balance(BOND, BOND)
    process(state, Release(task, 1), STRANGER, WINDOW)


@pytest.mark.parametrize("settlement", Settlement)
def test_a_proof_is_enough_whatever_the_task_asks_for(settlement: Settlement) -> None:
    """Also where nobody has voted, or the window has not passed."""
    state, task = proposed(settlement=settlement)
    settle(state, task)
    process(state, Finalise(task, 1), STRANGER, 0)


def test_where_a_proof_is_asked_for_nothing_else_will_do() -> None:
    """Not time, not unanimity: the proposal lapses."""
    state, task = proposed(validators=1, **PROVEN)
    attest(state, task, 1, VALIDATORS[0], 0)
    process(state, roster(task), STRANGER, 0)
    for number in (0, 1):
        process(state, leaf(task, number), STRANGER, 0)
    with pytest.raises(errors.NotSettled):
        process(state, Finalise(task, 1), STRANGER, WINDOW)
    process(state, Lapse(task, 1), STRANGER, WINDOW)
    with pytest.raises(errors.NotProposed):
        process(state, leaf(task, 2), STRANGER, WINDOW)


def test_what_is_proven_does_not_lapse() -> None:
    """Nobody voids what needs only to be finalised."""
    state, task = proposed(**PROVEN)
    settle(state, task)
    with pytest.raises(errors.AlreadySettled):
        process(state, Lapse(task, 1), STRANGER, WINDOW)


def test_nothing_is_settled_twice() -> None:
    """One leaf, shown as often as there are leaves, is one leaf."""
    state, task = proposed(**PROVEN)
    process(state, roster(task), STRANGER, 0)
    with pytest.raises(errors.AlreadySettled):
        process(state, roster(task), STRANGER, 0)
    process(state, leaf(task, 1), STRANGER, 0)
    with pytest.raises(errors.AlreadySettled):
        process(state, leaf(task, 1), STRANGER, 0)
    assert protocol.get_ballot(state, task, 1).settled == 1


def test_nothing_is_settled_without_a_proposal() -> None:
    """Not in another task, nor before there is a proposal, nor after it is past doubt."""
    state, task = SMALL.begin()
    nothing = b"\x77" * 32
    for call in (replace(roster(task), task=nothing), replace(leaf(task, 0), task=nothing)):
        with pytest.raises(errors.UnknownTask):
            process(state, call, STRANGER, 0)
    with pytest.raises(errors.NotProposed):
        process(state, roster(task), STRANGER, 0)
    assert part_of(leaf(task, 0), state) == "entries"
    SMALL.propose(state, task, 0)
    process(state, Finalise(task, 1), STRANGER, WINDOW)
    with pytest.raises(errors.NotProposed):
        process(state, roster(task), STRANGER, WINDOW)


def test_what_builds_on_a_lie_is_not_settled() -> None:
    """A void round's model is proven to nobody."""
    state, task = SMALL.begin()
    process(state, Deposit(9 * BOND), AGGREGATOR, 0)
    process(state, Propose(task, 1, 3, LIE.digest, OTHER), AGGREGATOR, 0)
    process(state, Open(task, 2), AGGREGATOR, 0)
    process(state, Propose(task, 2, 3, ROOT, OTHER), AGGREGATOR, 101)
    refuted(state, task, 1, 101)
    with pytest.raises(errors.RoundVoid):
        process(state, SettleRoster(task, 2, MEMBERS, SMALL.entries), STRANGER, 101)
    process(state, Void(task, 2), STRANGER, 101)
    with pytest.raises(errors.NotProposed):
        process(state, SettleRoster(task, 2, MEMBERS, SMALL.entries), STRANGER, 101)


def test_no_member_is_left_out_of_a_roster() -> None:
    """All members are gone through, each once, and in order; who committed and was not excluded counts."""
    state, task = proposed()
    good, people = roster(task), MEMBERS
    outsider = (*people[:2], VALIDATORS[0])
    for bad in (people[:2], (people[0], people[0], people[2]), outsider):
        assert part_of(replace(good, people=bad), state) == "people"
    assert part_of(replace(good, people=people[::-1]), state) == "entry"
    assert part_of(replace(good, entries=SMALL.entries[:2]), state) == "people"
    state, task = SMALL.begin()
    process(state, Propose(task, 1, 2, ROOT, OTHER), AGGREGATOR, 101)
    for entries in (SMALL.entries[:2], SMALL.entries[1:]):
        assert part_of(replace(roster(task), entries=entries), state, 101) == "entry"


@pytest.mark.parametrize(
    "attack", ["another weight", "another root", "out of order", "a member twice", "a stranger"]
)
def test_only_what_was_committed_is_in_a_roster(attack: str) -> None:
    """Nobody is reweighted, given another update, counted twice or slipped in."""
    state, task = proposed()
    a, b, c = SMALL.entries
    entries = {
        "another weight": (a, replace(b, weight=2), c),
        "another root": (a, replace(b, root=OTHER), c),
        "out of order": (b, a, c),
        "a member twice": (a, a, c),
        "a stranger": (a, b, Entry(STRANGER, 1, ROOT)),
    }[attack]
    assert part_of(replace(roster(task), entries=entries), state) == "entry"


def test_nobody_takes_the_place_of_whom_another_excluded() -> None:
    """A roster that is long enough because a stranger stands at its end is none."""
    state, task = SMALL.begin()
    a, b, c = SMALL.entries
    process(state, Exclude(task, 1, c.member, c.weight, c.root, 2), RIVAL, 0)
    process(state, Propose(task, 1, 3, ROOT, OTHER), AGGREGATOR, 101)
    entries = (a, b, Entry(VALIDATORS[0], 1, ROOT))
    assert part_of(replace(roster(task), entries=entries), state, 101) == "entry"


@pytest.mark.parametrize("counted", [2, 3])
@pytest.mark.parametrize("by", [AGGREGATOR, RIVAL], ids=["by itself", "by another"])
def test_an_exclusion_obliges_its_author_in_a_roster_too(by: bytes, counted: int) -> None:
    """Whom the proposer excluded is not counted; whom another did may be, or not."""
    state, task = SMALL.begin()
    last = SMALL.entries[2]
    process(state, Exclude(task, 1, last.member, last.weight, last.root, 2), by, 0)
    process(state, Propose(task, 1, counted, ROOT, OTHER), AGGREGATOR, 101)
    call = replace(roster(task), entries=SMALL.entries[:counted])
    if by == AGGREGATOR and counted == 3:
        assert part_of(call, state, 101) == "entry"
    else:
        process(state, call, STRANGER, 101)


def test_a_leaf_is_the_one_that_the_roots_name() -> None:
    """Other words, another leaf's words, another order, an open too many or too few: each is refused by its part."""
    state, task = proposed()
    process(state, roster(task), STRANGER, 0)
    good = leaf(task, 0)
    flipped = replace(good.base, data=bytes([good.base.data[0] ^ 1]) + good.base.data[1:])
    cases = [
        (replace(good, entries=SMALL.entries[::-1]), "entries"),
        (replace(good, entries=()), "entries"),
        (replace(good, parts=good.parts[:2]), "parts"),
        (replace(good, base=flipped), "leaf"),
        (replace(good, following=flipped), "leaf"),
        (replace(good, parts=(good.parts[0], flipped, good.parts[2])), "leaf"),
        (replace(good, parts=good.parts[::-1]), "leaf"),
        (replace(good, leaf=1), "leaf"),
        (replace(good, leaf=LEAVES), "leaf"),
        (replace(good, base=Opening(b"", good.base.path)), "leaf"),
    ]
    for bad, part in cases:
        assert part_of(bad, state) == part
    process(state, good, STRANGER, 0)


@pytest.mark.parametrize("word", [0, 7, 19])
def test_a_wrong_word_is_never_settled(word: int) -> None:
    """A model that is wrong in one word lacks one leaf for ever; the others are as good as any."""
    state, task = SMALL.begin(**PROVEN)
    wrong = [value + (at == word) for at, value in enumerate(SMALL.next)]
    root = merkle.root(words(wrong, 4), 4 * SMALL.leaf_words)
    process(state, Propose(task, 1, 3, SMALL.top.digest, root), AGGREGATOR, 0)
    process(state, roster(task), STRANGER, 0)
    for number in range(LEAVES):
        call = replace(leaf(task, number), following=opening(wrong, number))
        if number == word // SMALL.leaf_words:
            assert part_of(call, state) == "following"
        else:
            process(state, call, STRANGER, 0)
    assert protocol.get_ballot(state, task, 1).settled == LEAVES - 1


def test_what_was_settled_of_a_refuted_proposal_counts_for_nothing() -> None:
    """The next attempt is shown from the beginning."""
    state, task = SMALL.begin()
    process(state, Propose(task, 1, 3, LIE.digest, SMALL.next_root), AGGREGATOR, 0)
    settle(state, task)
    refuted(state, task, 1, 1)
    process(state, Propose(task, 1, 3, SMALL.top.digest, SMALL.next_root), RIVAL, 1)
    assert protocol.get_ballot(state, task, 1).settled == 0
    assert part_of(leaf(task, 0), state, 1) == "entries"
    settle(state, task, 1)
    process(state, Finalise(task, 1), STRANGER, 1)


def test_a_proof_of_the_model_does_not_excuse_a_false_sum_tree() -> None:
    """The leaves prove the next model. The sum root is answered for by the bond, also after finality."""
    state, task = SMALL.begin()
    process(state, Propose(task, 1, 3, LIE.digest, SMALL.next_root), AGGREGATOR, 0)
    settle(state, task)
    process(state, Finalise(task, 1), STRANGER, 0)
    refuted(state, task, 1, 1)
    assert protocol.get_round(state, task, 1).phase == Phase.FINAL
    assert protocol.get_balance(state, AGGREGATOR) == Balance(BOND, 0)


def test_sums_that_the_contract_does_not_know_are_not_its_to_settle() -> None:
    """Under an opaque rule no roster is taken."""
    state, task = proposed(rule=200, settlement=Settlement.QUORUM)
    assert part_of(roster(task), state) == "rule"
