"""Whatever a proposer lies about is refuted in one transaction, and nobody honest loses anything by it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import test_roles as toy
from court import BASE, FAN_IN, LEAF, SIZE, Court
from tallystick import ledger, merkle, store
from tallystick.aggregation import combine, next_model
from tallystick.blob import Kind
from tallystick.errors import Refused
from tallystick.ledger import Ledger, address_of
from tallystick.protocol import Commit, Exclude, Fault, Phase, Reason
from tallystick.roles import auditor, finality
from tallystick.roles.aggregator import Aggregator
from tallystick.roles.batch import Batch
from tallystick.roles.evidence import Truth
from tallystick.roles.outcome import Rejected
from tallystick.roles.receipt import Reply
from tallystick.roles.validator import Validator
from tallystick.sumtree import Entry, SumNode, widths
from toy_federation import Federation

Make = Callable[[int], Court]


@pytest.fixture(scope="module")
def chain() -> Iterator[Ledger]:
    found = ledger.open("embedded:")
    yield found
    found.close()


@pytest.fixture
def court(chain: Ledger, tmp_path: Path) -> Make:
    return lambda members: Court(chain, tmp_path, members)


PLACES = [
    (members, level, index)
    for members in (1, 3, 7)
    for level, width in enumerate(widths(members, FAN_IN), 1)
    for index in {0, width - 1}
]


@pytest.mark.parametrize("members", range(1, 8))
def test_an_honest_proposal_is_left_alone(court: Make, members: int) -> None:
    """Promise: a proposal that `combine` computed is judged right, once, and nothing is sent."""
    at = court(members)
    at.propose(members, *at.truth(at.open()))
    judge, head = at.validator(), at.ledger.head()
    (verdict,) = judge.watch()
    assert (verdict.lie, verdict.hidden, verdict.number) == (None, None, 1)
    assert judge.watch() == []
    assert at.ledger.head() == head


@pytest.mark.parametrize(("members", "level", "index"), PLACES)
def test_a_lie_in_a_sum(court: Make, members: int, level: int, index: int) -> None:
    """Promise: one partial sum, off by one, is refuted at every level of the tree, and the word is named."""
    at = court(members)
    right, word = at.open(), (7 * level + 11 * index) % SIZE

    def alter(here: int, place: int, sums: np.ndarray) -> np.ndarray:
        return sums + (np.arange(SIZE) == word) * ((here, place) == (level, index))

    at.lie(right, alter_sums=alter)
    lie = at.convict(Fault.SUM, right).lie
    assert lie is not None
    assert lie.word == word
    assert lie.claimed == (lie.right or 0) + 1


@pytest.mark.parametrize("word", [0, LEAF - 1, LEAF, SIZE - 1])
@pytest.mark.parametrize("members", [1, 3])
def test_a_lie_in_the_next_model(court: Make, members: int, word: int) -> None:
    """Promise: one weight of the next model, off by one step, is refuted: tree and updates being right does not help."""
    at = court(members)
    right = at.open()
    claim = at.claim(right, publish=False)
    false = claim.next_words(at.base())
    false[word] += 1
    at.propose(members, claim.top, at.publish(false))
    lie = at.convict(Fault.NEXT, right).lie
    assert lie is not None
    assert (lie.word, lie.claimed) == (word, int(false[word]))


@pytest.mark.parametrize(("members", "level", "index"), PLACES)
@pytest.mark.parametrize("what", ["weight", "count", "more", "fewer"])
def test_a_lie_about_a_node(court: Make, members: int, level: int, index: int, what: str) -> None:
    """Promise: a node with a false weight or count, a child too many or too few, is refuted wherever it stands."""
    at = court(members)
    right = at.open()

    def alter(here: int, place: int, node: SumNode) -> SumNode:
        if (here, place) != (level, index):
            return node
        if what == "weight":
            return replace(node, weight=node.weight + 1)
        if what == "count":
            return replace(node, count=node.count + 1)
        if what == "more":
            return replace(node, children=(*node.children, node.children[0]))
        return replace(node, children=node.children[:-1])

    at.lie(right, alter=alter)
    at.convict(Fault.TREE, right)


@pytest.mark.parametrize("members", [3, 7])
def test_a_node_in_a_members_place(court: Make, members: int) -> None:
    """Promise: a tree that goes deeper than its roster is refuted at the node that hangs where an entry belongs."""
    at = court(members)
    right = at.open()
    extra = SumNode(1, 1, bytes(32), (bytes(32),))
    at.document(extra.data)
    last = (members - 1) // FAN_IN

    def alter(level: int, place: int, node: SumNode) -> SumNode:
        if (level, place) != (1, last):
            return node
        return replace(node, children=(*node.children[:-1], extra.digest))

    at.lie(right, alter=alter)
    at.convict(Fault.TREE, right)


@pytest.mark.parametrize("members", [3, 5])
def test_an_entry_in_a_nodes_place(court: Make, members: int) -> None:
    """Promise: a tree that ends too early is refuted at the entry that stands where a node belongs."""
    at = court(members)
    right = at.open()

    def alter(level: int, place: int, node: SumNode) -> SumNode:
        if level != 2 or place:
            return node
        return replace(node, children=(*node.children[:-1], right[-1].digest))

    at.lie(right, alter=alter)
    at.convict(Fault.ENTRY, right)


@pytest.mark.parametrize(
    ("members", "gone"), [(m, g) for m in (2, 3, 5) for g in range(m)], ids=str
)
def test_an_omitted_member(court: Make, members: int, gone: int) -> None:
    """Promise: who committed and is left out without a word is put back, from any place in the roster."""
    at = court(members)
    right = at.open()
    at.lie([*right[:gone], *right[gone + 1 :]])
    at.convict(Fault.OMISSION, right)


def test_an_omission_needs_no_update(court: Make) -> None:
    """Promise: leaving out a member is refuted even where nobody else has its update."""
    at = court(3)
    right = at.open()
    claim = at.claim(right[:2])
    at.propose(2, claim.top, at.publish(claim.next_words(at.base())))
    held = at.store.path(right[2].root).read_bytes()
    at.store.delete(right[2].root)
    (verdict,) = at.validator().watch()
    assert verdict.event is not None
    assert verdict.event.fault == Fault.OMISSION
    at.store.path(right[2].root).write_bytes(held)


@pytest.mark.parametrize("place", [0, 2])
def test_a_foreign_entry(court: Make, place: int) -> None:
    """Promise: an account that is no member, or a member that did not commit, cannot be counted."""
    for stranger in (True, False):
        at = court(4)
        right = at.open([k for k in range(4) if k != place])
        root = at.entry(place).root
        account = at.stranger if stranger else at.keys[place]
        false = sorted([*right, Entry(address_of(account), 1, root)], key=lambda e: e.member)
        at.lie(false)
        at.convict(Fault.ENTRY, right)


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("by", [1, -1, 1000])
def test_a_forged_weight(court: Make, place: int, by: int) -> None:
    """Promise: a member counts with the weight that it committed to, and no other."""
    at = court(3)
    right = at.open()
    false = [replace(e, weight=e.weight + by * (k == place)) for k, e in enumerate(right)]
    at.lie([e for e in false if e.weight])
    at.convict(Fault.ENTRY if false[place].weight else Fault.OMISSION, right)


def test_another_update_than_the_committed_one(court: Make) -> None:
    """Promise: a member counts with the update that it committed to, and no other."""
    at = court(3)
    right = at.open()
    other = at.store.put(Kind.UPDATE, np.ones(SIZE, np.int32), LEAF)
    at.lie([replace(right[0], root=other), *right[1:]])
    at.convict(Fault.ENTRY, right)


@pytest.mark.parametrize("twice", [0, 1])
def test_a_member_twice(court: Make, twice: int) -> None:
    """Promise: nobody counts twice."""
    at = court(3)
    right = at.open([0, 1])
    at.lie(sorted([*right, right[twice]], key=lambda e: e.member))
    at.convict(Fault.ORDER, right)


def test_a_roster_out_of_order(court: Make) -> None:
    """Promise: members stand in order, so that who is missing can be seen from two neighbours."""
    at = court(4)
    right = at.open()
    at.lie([right[0], right[2], right[1], right[3]])
    at.convict(Fault.ORDER, right)


def exclude(at: Court, entry: Entry, *shown: object, by: str = "liar") -> None:
    call = Exclude(
        at.task, at.number, entry.member, entry.weight, entry.root, Reason.WITHHELD, *shown
    )
    at.ledger.send(getattr(at, by), call)


@pytest.mark.parametrize("kept", [0, 2])
def test_an_excluded_member_is_not_counted(court: Make, kept: int) -> None:
    """Promise: whom a proposer excluded it cannot count."""
    at = court(4)
    everybody = at.open([0, 1, 2])
    exclude(at, everybody[kept])
    at.lie(everybody)
    at.convict(Fault.ENTRY, [e for k, e in enumerate(everybody) if k != kept], excluded=1)


@pytest.mark.parametrize("counted", [True, False])
def test_an_exclusion_by_another(court: Make, counted: bool) -> None:
    """Promise: an exclusion that somebody slips in makes no honest proposal false, with or without the member."""
    at = court(4)
    everybody = at.open([0, 1, 2])
    exclude(at, everybody[1], by="honest")
    roster = [e for k, e in enumerate(everybody) if counted or k != 1]
    at.propose(len(roster), *at.truth(roster))
    (verdict,) = at.validator().watch()
    assert (verdict.lie, verdict.hidden) == (None, None)


def test_a_lie_over_an_unusual_roster(court: Make) -> None:
    """Promise: a lie is found whichever of the allowed rosters it is told over."""
    at = court(4)
    everybody = at.open([0, 1, 2])
    exclude(at, everybody[0], by="honest")
    exclude(at, everybody[1], by="honest")
    at.lie([everybody[0], everybody[2]], alter_sums=lambda level, i, sums: sums + 1)
    at.convict(Fault.SUM, [everybody[2]], excluded=2)


@pytest.mark.parametrize("batched", [True, False])
def test_a_member_that_committed_twice(court: Make, batched: bool) -> None:
    """Promise: of two commitments either is right, so that a late second one makes nobody a liar."""
    at = court(3)
    at.open([])
    at.post(at.batch([0, 1, 2]))
    second = at.entry(1, weight=9)
    at.ledger.send(at.keys[1], Commit(at.task, 1, second.weight, second.root))
    roster = [at.entry(0), at.entry(1) if batched else second, at.entry(2)]
    at.propose(3, *at.truth(roster), adopt=True)
    (verdict,) = at.validator().watch()
    assert (verdict.lie, verdict.hidden) == (None, None)


def test_a_round_in_which_nobody_counts(court: Make) -> None:
    """Promise: where nobody committed, any roster is a lie, and it is refuted."""
    at = court(2)
    at.open([])
    at.lie([at.entry(0)])
    (verdict,) = at.validator().watch()
    assert verdict.event is not None
    assert verdict.event.fault == Fault.ENTRY


def test_an_adopted_batch(court: Make) -> None:
    """Promise: an honest proposal over an adopted batch and direct commitments is left alone."""
    at = court(4)
    at.open([3])
    at.post(at.batch([0, 1, 2]))
    right = [at.entry(k) for k in range(4)]
    at.propose(4, *at.truth(right), adopt=True)
    (verdict,) = at.validator().watch()
    assert (verdict.lie, verdict.hidden) == (None, None)


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_an_omitted_batch_entry(court: Make, gone: int) -> None:
    """Promise: who adopts a batch counts all of it."""
    at = court(4)
    at.open([3])
    at.post(at.batch([0, 1, 2]))
    right = [at.entry(k) for k in range(4)]
    at.lie([e for k, e in enumerate(right) if k != gone], adopt=True)
    at.convict(Fault.OMISSION, right)


def test_an_omitted_member_that_is_in_the_batch_too(court: Make) -> None:
    """Promise: a member with the same commitment on the ledger and in the batch is shown to be missing like any other."""
    at = court(3)
    at.open([1])
    at.post(at.batch([0, 1, 2]))
    right = [at.entry(k) for k in range(3)]
    at.lie([right[0], right[2]], adopt=True)
    at.convict(Fault.OMISSION, right)


@pytest.mark.parametrize("place", [0, 3])
def test_an_entry_that_an_adopted_batch_does_not_have(court: Make, place: int) -> None:
    """Promise: beside a batch too, who committed to nothing is not counted."""
    at = court(4)
    at.open([])
    at.post(at.batch([k for k in range(4) if k != place]))
    everybody = [at.entry(k) for k in range(4)]
    at.lie(everybody, adopt=True)
    at.number = 1
    (verdict,) = at.validator().watch()
    assert verdict.event is not None
    assert verdict.event.fault == Fault.ENTRY


def test_a_weight_that_the_batch_does_not_have(court: Make) -> None:
    """Promise: a batched member counts with the weight that it signed."""
    at = court(3)
    at.open([])
    at.post(at.batch([0, 1, 2]))
    right = [at.entry(k) for k in range(3)]
    at.lie([right[0], replace(right[1], weight=9), right[2]], adopt=True)
    at.convict(Fault.ENTRY, right)


def test_a_batch_that_was_not_adopted_counts_for_nothing(court: Make) -> None:
    """Promise: nobody is counted by a batch that nobody answers for."""
    at = court(3)
    direct = at.open([0])
    at.post(at.batch([1, 2]))
    at.propose(1, *at.truth(direct))
    (verdict,) = at.validator().watch()
    assert verdict.lie is None
    other = court(3)
    other.open([0])
    other.post(other.batch([1, 2]))
    other.lie([other.entry(k) for k in range(3)])
    (verdict,) = other.validator().watch()
    assert verdict.event is not None
    assert verdict.event.fault == Fault.ENTRY


def broken(at: Court, how: str) -> tuple[Batch, int]:
    """A batch of members 0, 1 and 2 that has a flaw, and the number of entries to claim for it."""
    batch = at.batch([0, 1, 2])
    roster, signatures = list(batch.roster), list(batch.signatures)
    if how == "unsorted":
        roster[0], roster[1] = roster[1], roster[0]
        signatures[0], signatures[1] = signatures[1], signatures[0]
    elif how == "twice":
        roster[1], signatures[1] = roster[0], signatures[0]
    elif how == "unsigned":
        signatures[2] = bytes(65)
    elif how == "other round":
        signatures[1] = at.sign(1, roster[1], number=7)
    elif how == "stranger":
        roster[2] = replace(roster[2], member=address_of(at.stranger))
        roster.sort(key=lambda e: e.member)
    elif how == "absurd":
        roster[0] = replace(roster[0], weight=at.parameters.max_weight + 1)
        signatures[0] = at.sign(0, roster[0])
    return Batch(tuple(roster), tuple(signatures)), {"more": 4, "fewer": 2}.get(how, 3)


FLAWS = ["unsorted", "twice", "unsigned", "other round", "stranger", "absurd"]


@pytest.mark.parametrize("how", [*FLAWS, "more", "fewer"])
def test_who_adopts_a_false_batch_answers_for_it(court: Make, how: str) -> None:
    """Promise: a batch that is unsorted, unsigned or of another length costs the proposer that adopts it its bond."""
    at = court(4)
    at.open([3])
    batch, size = broken(at, how)
    at.post(batch, size)
    everybody = [at.entry(k) for k in range(4)]
    at.lie(everybody, adopt=True)
    fault = Fault.VECTOR if how in ("more", "fewer") else Fault.BATCH
    at.convict(fault, [everybody[3]])


def test_a_batch_that_is_no_list_of_entries(court: Make) -> None:
    """Promise: a batch's root over anything but entries is refuted, whatever lies under it."""
    for data, leaf in ((bytes(121 + 60), 121), (bytes(3 * 1024), 1024), (bytes(242), 64)):
        at = court(3)
        right = at.open([0])
        root = at.store.put(Kind.DOCUMENT, data, leaf)

        class Odd(Batch):
            root = merkle.root(data, leaf)

        assert root == Odd.root
        at.post(Odd((), ()), 2, publish=False)
        at.lie(right, adopt=True)
        at.convict(Fault.VECTOR, right)


@pytest.mark.parametrize("words", [1, LEAF, SIZE - 1, SIZE + 1, SIZE + LEAF, 2 * SIZE, 20 * SIZE])
@pytest.mark.parametrize("where", ["sums", "next"])
def test_a_vector_of_another_length(court: Make, words: int, where: str) -> None:
    """Promise: sums or a next model with too few or too many words are refuted by one node of their Merkle tree."""
    at = court(3)
    right = at.open()
    if where == "next":
        claim = at.claim(right)
        at.propose(3, claim.top, at.publish(np.arange(words, dtype=np.int32)))
    else:
        false = at.store.put(Kind.SUMS, np.arange(words, dtype=np.int64), LEAF)

        def alter(level: int, place: int, node: SumNode) -> SumNode:
            return replace(node, vector_root=false) if (level, place) == (1, 1) else node

        at.lie(right, alter=alter)
    at.convict(Fault.VECTOR, right)


@pytest.mark.parametrize("leaf", [1, 5, 16, 64])
def test_a_vector_cut_otherwise(court: Make, leaf: int) -> None:
    """Promise: the right words under the root of a tree with other leaves are no next model of this task."""
    at = court(3)
    right = at.open()
    claim = at.claim(right)
    false = at.store.put(Kind.MODEL, claim.next_words(at.base()), leaf)
    at.propose(3, claim.top, false)
    at.convict(Fault.VECTOR, right)


def test_an_update_of_another_length(court: Make) -> None:
    """Promise: whoever counts an update that is no vector of the task's is refuted; an honest one excludes it."""
    at = court(3)
    right = at.open([0, 1])
    root = at.store.put(Kind.UPDATE, np.arange(SIZE - 1, dtype=np.int32), LEAF)
    at.ledger.send(at.keys[2], Commit(at.task, 1, 5, root))
    odd = Entry(address_of(at.keys[2]), 5, root)
    top = at.claim(right)
    leaf = SumNode(1, 5, top.levels[0][0].vector_root, (odd.digest,))
    above = SumNode(3, top.weight + 5, leaf.vector_root, (top.levels[0][0].digest, leaf.digest))
    for node in (leaf, above):
        at.document(node.data)
    at.propose(3, above.digest, at.publish(top.next_words(at.base())))
    at.convict(Fault.VECTOR, right, excluded=1)


def test_a_member_with_the_models_own_bytes(court: Make) -> None:
    """Promise: an update with the very bytes of the model has its root, and is judged for what it hashes to."""
    at = court(2)
    first = at.open([0])
    root = at.store.put(Kind.UPDATE, BASE, LEAF)
    at.store.put(Kind.MODEL, BASE, LEAF)
    assert root == at.parameters.genesis
    at.ledger.send(at.keys[1], Commit(at.task, 1, 1, root))
    odd = Entry(address_of(at.keys[1]), 1, root)
    words = at.words(first[0]) * np.int64(first[0].weight) + BASE
    weight = first[0].weight + 1
    node = SumNode(2, weight, at.root(words), (first[0].digest, odd.digest))
    following = next_model(BASE, (words + weight // 2) // weight)
    at.propose(2, node.digest, at.publish(following))
    (verdict,) = at.validator().watch()
    assert (verdict.lie, verdict.hidden) == (None, None)


def test_two_validators(court: Make) -> None:
    """Promise: where another was first, a validator finds nothing to do, or has one call refused and loses nothing."""
    at = court(3)
    right = at.open()
    at.lie(right, alter_sums=lambda level, index, sums: sums + (level == 1))
    first, second = at.validator(), at.validator(at.second)
    send = at.ledger.send

    class Late:
        """The second's view: the first refutes between its look and its call."""

        def __getattr__(self, name: str) -> object:
            return getattr(at.ledger, name)

        def send(self, *arguments: object) -> object:
            first.watch()
            return send(*arguments)  # type: ignore[arg-type]

    before = at.ledger.balance(address_of(at.second))
    second.ledger = Late()  # type: ignore[assignment]
    (verdict,) = second.watch()
    assert verdict.lie is not None
    assert (verdict.event, verdict.gas) == (None, 0)
    assert at.ledger.balance(address_of(at.second)) == before
    assert at.ledger.balance(address_of(at.key)).free > 0
    assert second.watch() == []
    boss = at.aggregator()
    boss.start(BASE)
    assert boss.recover() is not None
    assert [each.lie for each in second.watch()] == [None]


@pytest.mark.parametrize("what", ["node", "sums", "next", "update"])
def test_hidden_data_is_reported_and_judged_when_it_appears(court: Make, what: str) -> None:
    """Promise: what cannot be had is named; the proposal is judged as soon as it can be."""
    at = court(3)
    right = at.open()
    if what == "next":
        claim = at.claim(right)
        false = claim.next_words(at.base())
        false[3] += 1
        at.propose(3, claim.top, at.publish(false))
        gone = at.root(false)
    else:
        claim = at.lie(right, alter_sums=lambda level, index, sums: sums + (level == 2))
        node = claim.levels[1][0]
        gone = {"node": node.digest, "sums": node.vector_root, "update": right[1].root}[what]
    path = at.store.path(gone)
    held = path.read_bytes()
    path.unlink()
    judge = Validator(at.ledger, at.store, None, at.task)
    for _ in range(2):
        (verdict,) = judge.watch()
        assert verdict.lie is None
        assert gone.hex() in str(verdict.hidden)
    path.write_bytes(held)
    at.convict(Fault.NEXT if what == "next" else Fault.SUM, right)


def test_what_is_hidden_stops_no_other_judgement(court: Make) -> None:
    """Promise: a proposal whose data is missing does not keep later ones from being judged."""
    at = court(2)
    at.open([0])
    at.propose(2, b"\1" * 32, at.publish(BASE + 1))
    second = at.open([1])
    at.lie(second, alter_sums=lambda level, index, sums: sums + 1)
    hidden, verdict = at.validator().watch()
    assert hidden.hidden
    assert verdict.event is not None
    assert (verdict.event.fault, verdict.number) == (Fault.SUM, 2)


def test_a_lie_upon_a_lie(court: Make) -> None:
    """Promise: the lowest lie is refuted and the one above it is void with it; lied again, it is refuted again."""
    at = court(3)
    right = at.open()
    plus_one = lambda level, index, sums: sums + (level == 2)  # noqa: E731
    at.lie(right, alter_sums=plus_one)
    honest = at.truth(right)
    second = at.open()
    at.lie(second, alter_sums=plus_one)
    judge = at.validator()
    (verdict,) = judge.watch()
    assert (verdict.number, verdict.event is not None) == (1, True)
    assert judge.watch() == []
    at.number = 1
    at.lie(right, alter=lambda level, i, node: replace(node, weight=node.weight + level))
    (verdict,) = judge.watch()
    assert verdict.event is not None
    assert verdict.event.fault == Fault.TREE
    boss = at.aggregator()
    boss.start(BASE)
    closed = boss.recover()
    assert closed is not None
    assert (closed.sum_root, closed.next_root) == honest
    assert at.ledger.round(at.task, 2).phase == Phase.VOID
    finality.settle(at.ledger, at.honest, at.task)
    assert auditor.audit(at.ledger, at.store, at.task).model_root == honest[1]
    bonds = 3 * at.parameters.bond
    lost = at.ledger.balance(address_of(at.liar))
    assert (lost.free, lost.locked) == (bonds - 2 * at.parameters.bond, 0)


def test_without_a_key_a_validator_only_tells(court: Make) -> None:
    """Promise: a validator without a key names the lie once, sends nothing, and judges nothing that stands on it."""
    at = court(3)
    at.lie(at.open(), alter_sums=lambda level, index, sums: sums + 1)
    at.lie(at.open())
    judge, head = at.validator(), at.ledger.head()
    judge._signer = None
    (verdict,) = judge.watch()
    assert verdict.lie is not None
    assert (verdict.event, judge.watch()) == (None, [])
    assert at.ledger.head() == head


def test_a_direct_commitment_after_the_batch_entry_was_excluded(court: Make) -> None:
    """Promise: who commits itself after its batched entry was excluded counts, for validator, aggregator and contract alike."""
    at = court(3)
    at.open([])
    batch = at.batch([0, 1])
    at.post(batch)
    place = batch.positions[batch.roster[0].member]
    exclude(at, place.entry, place.signature, place.index, place.path)
    entry = at.entry(0, weight=4)
    at.ledger.send(at.keys[0], Commit(at.task, 1, entry.weight, entry.root))
    at.lie([at.entry(1)], adopt=True)
    at.convict(Fault.OMISSION, [entry, at.entry(1)])


def test_false_evidence_against_an_honest_proposal_is_refused(court: Make) -> None:
    """Promise: evidence that shows nothing is refused, and the proposer keeps its bond."""
    at = court(3)
    right = at.open()
    at.lie(right, alter_sums=lambda level, index, sums: sums + (level == 2))
    lie = at.validator(None)._find(1, at.ledger.round(at.task, 1))
    assert lie is not None
    other = court(3)
    other.propose(3, *other.truth(other.open()))
    with pytest.raises(Refused):
        other.ledger.send(other.key, replace(lie.call, task=other.task))
    assert other.ledger.round(other.task, 1).phase == Phase.PROPOSED


def test_evidence_is_built_from_memory_maps_block_by_block(tmp_path: Path) -> None:
    """Promise: opening one word of a node's sums needs neither the updates nor the sums in memory."""
    size, members = 1_000_000, 4
    entries = tuple(Entry(bytes([k]) * 20, k + 1, bytes(32)) for k in range(members))
    updates = []
    for k in range(members):
        path = tmp_path / f"{k}"
        np.arange(k, size + k, dtype=np.int32).tofile(path)
        updates.append(np.memmap(path, np.int32, "r"))
    shape = SimpleNamespace(dimension=size, leaf_words=1024, fan_in=2)
    truth = Truth(shape, entries, updates[0], updates, None)  # type: ignore[arg-type]
    tracemalloc.start()
    opened = truth.open_sums(2, 0, size - 1)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < size * 8 / 2
    whole = sum(u * np.int64(e.weight) for e, u in zip(entries, updates, strict=True))
    hashes = merkle.leaf_hashes(whole.tobytes(), 8 * 1024)
    last = len(hashes) - 1
    assert opened.data == whole[last * 1024 :].tobytes()
    root, leaf = merkle.root_of(hashes), merkle.leaf_hash(opened.data)
    assert merkle.is_included(root, leaf, last, len(hashes), opened.path)


def test_a_right_model_is_kept_where_its_proposer_hides_it(court: Make, tmp_path: Path) -> None:
    """Promise: with a store of its own a validator judges on, though a proposer publishes a right root and no model."""
    at = court(2)
    at.propose(2, *at.truth(at.open()))
    own = store.open(str(tmp_path / "own"))
    judge = at.validator(keep=own)
    assert [each.lie for each in judge.watch()] == [None]
    hidden = at.ledger.round(at.task, 1).next_root
    assert own.has(hidden)
    assert not at.store.has(hidden)
    second = at.open()
    base = own.get(hidden, Kind.MODEL)
    found = combine(base, second, [at.words(e) for e in second], LEAF, FAN_IN)
    at.propose(2, found.tree.root, found.next_root)
    (verdict,) = judge.watch()
    assert (verdict.lie, verdict.hidden) == (None, None)
    (first, later) = at.validator().watch()
    assert (first.hidden, first.lie) == (None, None)
    assert hidden.hex() in str(later.hidden)


def test_an_aggregator_killed_between_excluding_and_proposing_is_no_liar(tmp_path: Path) -> None:
    """Promise: whom an aggregator excluded before it was killed it does not count after, though the update comes at last."""
    federation = Federation(tmp_path)
    words = np.arange(toy.LAYOUT.size, dtype=np.int32)
    boss = toy.aggregator(federation)
    boss.open()
    members = [toy.participant(federation, index) for index in range(3)]
    for index, member in enumerate(members):
        boss.accept(Reply(index, member.sign(1, words + np.int32(index), 10, node=index), 10, None))
    posted = boss.post_batch()

    def deliver(to: Aggregator, index: int) -> None:
        at = posted[members[index].member]
        receipt, sent = members[index].release(
            1, at.entry, at.signature, at.index, at.path, node=index
        )
        to.accept(Reply(index, receipt, 10, sent))

    for index in range(2):
        deliver(boss, index)
    boss._exclude(boss._held())
    back = toy.aggregator(federation)
    assert back.open() == 1
    back.post_batch()
    for index in range(2):
        deliver(back, index)
    with pytest.raises(Rejected, match="excluded"):
        deliver(back, 2)
    assert len(back.close().entries) == 2
    (verdict,) = Validator(federation.ledger, federation.store, None, federation.task).watch()
    assert (verdict.lie, verdict.hidden) == (None, None)


def test_an_update_with_the_models_bytes_takes_the_model_from_nobody(tmp_path: Path) -> None:
    """Promise: a member that sends the very words of the model, out of malice or because both are zeros, spoils no blob."""
    federation = Federation(tmp_path)
    boss = toy.aggregator(federation)
    boss.open()
    for index in range(3):
        receipt, words = toy.participant(federation, index).commit(1, toy.BASE, 10, node=index)
        boss.accept(Reply(index, receipt, 10, words))
    boss.close()
    toy.aggregator(federation)
    (verdict,) = Validator(federation.ledger, federation.store, None, federation.task).watch()
    assert (verdict.lie, verdict.hidden) == (None, None)
    auditor.audit(federation.ledger, federation.store, federation.task)
