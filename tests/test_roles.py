"""Participant, aggregator and sponsor without Flower: idempotence, restarts, and what each refuses."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tallystick import keys, merkle, store
from tallystick.encoding import as_bytes, layout_of, quantise
from tallystick.errors import (
    InvalidProposal,
    InvalidWeight,
    ModelMismatch,
    NotMember,
    RoundNotOpen,
)
from tallystick.ledger import address_of
from tallystick.protocol import Phase, Reason
from tallystick.roles import finality, sponsor
from tallystick.roles.aggregator import Aggregator
from tallystick.roles.outcome import Rejected
from tallystick.roles.participant import CommitmentMismatch, Participant
from tallystick.roles.receipt import Place, Reply, reply_author, sign_reply
from tallystick.sumtree import Entry
from toy_federation import SEED, Federation, initial

LAYOUT = layout_of(initial())
BASE = quantise(initial(), LAYOUT, 24)
UPDATE = np.arange(LAYOUT.size, dtype=np.int32)


@pytest.fixture
def federation(tmp_path: Path) -> Federation:
    return Federation(tmp_path)


def aggregator(federation: Federation) -> Aggregator:
    found = Aggregator(
        federation.ledger, federation.store, federation.aggregator, federation.task, LAYOUT
    )
    found.start(BASE)
    return found


def participant(federation: Federation, index: int = 0, folder: str = "own") -> Participant:
    own = store.open(str(federation.folder / f"{folder}-{index}"))
    return Participant(federation.ledger, own, federation.keys[index], federation.task)


def replies(federation: Federation, node_of: range | None = None) -> list[Reply]:
    found = []
    for index in node_of or range(federation.members):
        member = participant(federation, index)
        receipt, words = member.commit(1, UPDATE + np.int32(index), 10, node=index)
        found.append(Reply(index, receipt, 10, words))
    return found


def test_commit_happens_once_however_often_it_is_asked_for(federation: Federation) -> None:
    """Promise: a member that is asked again after a restart makes no second commitment."""
    aggregator(federation).open()
    member = participant(federation)
    first, _ = member.commit(1, UPDATE, 10, node=1)
    head = federation.ledger.head()
    again, words = member.commit(1, UPDATE, 10, node=1)
    assert federation.ledger.head() == head
    assert first.transaction and not again.transaction
    assert dataclasses.replace(first, transaction=b"", gas=0) == again
    np.testing.assert_array_equal(words, UPDATE)


def test_the_committed_update_is_sent_even_if_training_gave_another(federation: Federation) -> None:
    """Promise: after a kill between commit and reply, the member sends the very update that it committed to."""
    aggregator(federation).open()
    member = participant(federation)
    first, _ = member.commit(1, UPDATE, 10, node=1)
    again, words = member.commit(1, UPDATE + np.int32(1), 12, node=1)
    assert (again.root, again.weight) == (first.root, 10)
    np.testing.assert_array_equal(words, UPDATE)


def test_a_lost_update_is_named(federation: Federation) -> None:
    """Promise: who has lost the update it committed to is told which blob to restore."""
    aggregator(federation).open()
    receipt, _ = participant(federation).commit(1, UPDATE, 10, node=1)
    with pytest.raises(CommitmentMismatch, match=receipt.root.hex()):
        participant(federation, folder="other").commit(1, UPDATE + np.int32(1), 10, node=1)


def test_the_update_lies_in_the_store_before_the_commitment(federation: Federation) -> None:
    """Promise: a kill between storing and committing loses nothing, for the blob is there first."""
    aggregator(federation).open()
    member = participant(federation)

    class Killed(Exception):
        pass

    def send(*_: object) -> None:
        raise Killed

    member.ledger = type("Dead", (), {"send": staticmethod(send), **_views(federation)})()  # type: ignore[assignment]
    with pytest.raises(Killed):
        member.commit(1, UPDATE, 10, node=1)
    assert member.store.has(merkle.root(as_bytes(UPDATE), 4 * 64))


def _views(federation: Federation) -> dict[str, object]:
    chain = federation.ledger
    return {
        "chain_id": chain.chain_id,
        "contract": chain.contract,
        "task": staticmethod(chain.task),
    }


@pytest.mark.parametrize("weight", [0, -1, 2**32])
def test_weights_out_of_bounds_never_reach_the_ledger(federation: Federation, weight: int) -> None:
    """Promise: a weight that the ledger would refuse is refused at the member, with the bounds."""
    aggregator(federation).open()
    with pytest.raises(InvalidWeight, match=r"1\.\."):
        participant(federation).commit(1, UPDATE, weight, node=1)


def test_members_check_model_layout_and_round(federation: Federation) -> None:
    """Promise: a member trains only on the ledger's model, in the task's layout, in an open round."""
    member = participant(federation)
    with pytest.raises(RoundNotOpen):
        member.check_base(1, BASE)
    aggregator(federation).open()
    member.check_base(1, BASE)
    changed = BASE.copy()
    changed[3] ^= 1
    with pytest.raises(ModelMismatch):
        member.check_base(1, changed)
    with pytest.raises(ModelMismatch):
        member.check_layout(layout_of({"w": initial()["w"]}))


def test_a_member_keeps_its_batched_update_until_the_batch_is_there(federation: Federation) -> None:
    """Promise: a signed commitment's update is released only for a batch on the ledger that holds it."""
    boss = aggregator(federation)
    boss.open()
    members = [participant(federation, index) for index in range(3)]
    for index, member in enumerate(members):
        receipt = member.sign(1, UPDATE + np.int32(index), 10, node=index)
        boss.accept(Reply(index, receipt, 10, None))
    first = members[0]
    place = Entry(first.member, 10, merkle.root(as_bytes(UPDATE), 4 * 64))
    with pytest.raises(CommitmentMismatch):
        first.release(1, place, bytes(65), 0, (), node=0)
    batch = boss.post_batch()
    at = batch[first.member]
    shown = (at.signature, at.index, at.path)
    _, words = first.release(1, at.entry, *shown, node=0)
    np.testing.assert_array_equal(words, UPDATE)
    with pytest.raises(CommitmentMismatch):
        first.release(1, dataclasses.replace(at.entry, weight=11), *shown, node=0)
    with pytest.raises(CommitmentMismatch):
        first.release(1, at.entry, bytes(65), at.index, at.path, node=0)


def test_a_batch_survives_the_aggregator(federation: Federation) -> None:
    """Promise: an aggregator that is killed after posting the batch continues from the ledger and the store."""
    boss = aggregator(federation)
    boss.open()
    members = [participant(federation, index) for index in range(3)]
    for index, member in enumerate(members):
        boss.accept(Reply(index, member.sign(1, UPDATE, 10 + index, node=index), 10 + index, None))
    posted = boss.post_batch()
    back = aggregator(federation)
    assert back.open() == 1
    assert back.post_batch() == posted
    for index, member in enumerate(members):
        at = posted[member.member]
        receipt, words = member.release(1, at.entry, at.signature, at.index, at.path, node=index)
        back.accept(Reply(index, receipt, receipt.weight, words))
    assert [entry.weight for entry in sorted(back.close().entries, key=lambda e: e.weight)] == [
        10,
        11,
        12,
    ]


def test_a_direct_commitment_counts_before_the_batch(federation: Federation) -> None:
    """Promise: a member that also commits directly, to another update, is excluded rather than counted with the batch's."""
    boss = aggregator(federation)
    boss.open()
    members = [participant(federation, index) for index in range(3)]
    for index, member in enumerate(members):
        boss.accept(Reply(index, member.sign(1, UPDATE, 10, node=index), 10, None))
    posted = boss.post_batch()
    for index, member in enumerate(members):
        at = posted[member.member]
        receipt, words = member.release(1, at.entry, at.signature, at.index, at.path, node=index)
        boss.accept(Reply(index, receipt, 10, words))
    members[1].commit(1, UPDATE + np.int32(5), 10, node=1)
    closed = boss.close()
    assert [each.reason for each in closed.exclusions] == [Reason.WRONG_ROOT]
    assert len(closed.entries) == 2


def test_receipts_are_bound_to_node_round_and_content(federation: Federation) -> None:
    """Promise: a receipt replayed from another node, round, task, chain or for another root or weight names nobody."""
    key = federation.keys[0]
    place = Place(1, bytes(20), bytes(32), 5)
    root = bytes(range(32))
    aggregator(federation).open()
    receipt, _ = participant(federation).commit(1, UPDATE, 10, node=1)
    signed = dataclasses.replace(
        receipt, root=root, signature=sign_reply(key, place, root, 10, node=3)
    )
    assert reply_author(signed, place, 3) == address_of(key)
    assert reply_author(signed, place, 4) != address_of(key)
    for other in (
        dataclasses.replace(place, round=6),
        dataclasses.replace(place, chain_id=2),
        dataclasses.replace(place, task=b"\1" * 32),
        dataclasses.replace(place, contract=b"\1" * 20),
    ):
        assert reply_author(signed, other, 3) != address_of(key)
    for altered in (
        dataclasses.replace(signed, weight=11),
        dataclasses.replace(signed, root=bytes(32)),
        dataclasses.replace(signed, signature=bytes(65)),
        dataclasses.replace(signed, signature=b""),
    ):
        assert reply_author(altered, place, 3) != address_of(key)


def test_a_second_reply_of_the_same_member_changes_nothing(federation: Federation) -> None:
    """Promise: a duplicate is refused and leaves the first in place."""
    boss = aggregator(federation)
    boss.open()
    good = replies(federation)
    for reply in good:
        boss.accept(reply)
    with pytest.raises(Rejected) as caught:
        boss.accept(good[0])
    assert caught.value.reason == Reason.MALFORMED
    closed = boss.close()
    assert len(closed.entries) == 3
    assert not closed.exclusions


def test_a_committed_member_that_was_never_heard_is_excluded(federation: Federation) -> None:
    """Promise: a commitment without an update is excluded on the ledger as withheld; nobody is left out in silence."""
    boss = aggregator(federation)
    boss.open()
    good = replies(federation)
    boss.accept(good[0])
    boss.accept(good[2])
    closed = boss.close()
    assert [(each.member, each.reason, each.recorded) for each in closed.exclusions] == [
        (address_of(federation.keys[1]), Reason.WITHHELD, True)
    ]
    assert federation.ledger.round(federation.task, 1).excluded == 1


def test_an_absent_member_is_waited_for_until_the_deadline(federation: Federation) -> None:
    """Promise: a round with members missing is proposed after the commit deadline, not before."""
    boss = aggregator(federation)
    boss.open()
    for reply in replies(federation, range(2)):
        boss.accept(reply)
    deadline = federation.ledger.round(federation.task, 1).commit_deadline
    boss.close()
    assert federation.ledger.now() > deadline
    assert federation.ledger.round(federation.task, 1).count == 2


def test_a_round_below_its_quorum_is_not_proposed_and_can_be_opened_again(tmp_path: Path) -> None:
    """Promise: too few updates end in a clear refusal, and the next start gives the round a new window."""
    federation = Federation(tmp_path, options={"quorum": 3})
    boss = aggregator(federation)
    boss.open()
    for reply in replies(federation, range(2)):
        boss.accept(reply)
    assert boss.quorum_missing() == 1
    with pytest.raises(InvalidProposal):
        boss.close()
    back = aggregator(federation)
    assert back.open() == 1
    for reply in replies(federation):
        back.accept(reply)
    assert len(back.close().entries) == 3


def test_settle_makes_everything_final(federation: Federation) -> None:
    """Promise: settling waits for the windows and returns every bond; doing it again does nothing."""
    boss = aggregator(federation)
    boss.open()
    for reply in replies(federation):
        boss.accept(reply)
    boss.close()
    locked = federation.ledger.balance(address_of(federation.aggregator)).locked
    assert locked > 0
    assert len(finality.settle(federation.ledger, federation.aggregator, federation.task)) == 1
    assert federation.ledger.balance(address_of(federation.aggregator)).locked == 0
    assert federation.ledger.round(federation.task, 1).phase == Phase.FINAL
    assert finality.settle(federation.ledger, federation.aggregator, federation.task) == []


def test_creating_a_task_twice_is_creating_it_once(federation: Federation) -> None:
    """Promise: a set-up that was killed can be run again with its salt."""
    head = federation.ledger.head()
    again = Federation(federation.folder)
    assert again.task == federation.task
    assert federation.ledger.head() == head


def test_strangers_cannot_commit(federation: Federation) -> None:
    """Promise: a key that the sponsor did not admit cannot take part."""
    aggregator(federation).open()
    stranger = Participant(
        federation.ledger, federation.store, keys.demo(SEED, "stranger", 0), federation.task
    )
    with pytest.raises(NotMember):
        stranger.commit(1, UPDATE, 10, node=1)


def test_the_bond_is_topped_up_not_doubled(federation: Federation) -> None:
    """Promise: bonding again deposits only what is missing."""
    before = federation.ledger.balance(address_of(federation.aggregator))
    sponsor.bond(federation.ledger, federation.aggregator, federation.task, 20)
    assert federation.ledger.balance(address_of(federation.aggregator)) == before
