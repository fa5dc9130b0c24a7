"""Members that cheat, for tests and `demo --hostile`. They speak the wire format without the mod, as a real attacker would.

wrong_root     commits to one update and sends another
wrong_keys     sends other tensors than the task's
nan            sends floats, with a NaN among them
absurd_weight  claims a billion billion examples
stale_round    sends last round's receipt again
unknown_member signs as somebody whom the sponsor never admitted
withhold       commits and then crashes
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp.typing import ClientAppCallable, Mod

from .. import flower, keys, merkle
from ..encoding import Layout, Words, as_bytes
from ..errors import AlreadyCommitted, CommitsClosed
from ..flower.messages import FETCH, RECORD, TRAIN, Order, receipt_record, words_record
from ..ledger import Ledger, Signer, address_of
from ..protocol import Commit
from ..roles.receipt import Place, Receipt, sign_commitment, sign_reply
from ..sumtree import Entry
from .plan import PlanOf, role

WEIGHT = 100
LATE = ("wrong_root", "wrong_keys", "nan", "withhold")
"""Kinds that show only when the update itself is asked for."""


def mod(plan_of: PlanOf) -> Mod:
    """A mod that takes the place of everything below it on nodes that the plan names as hostile."""

    def cheat(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        plan = plan_of(context)
        index = int(context.node_config["partition-id"])
        kind = plan.hostile.get(index)
        order = Order.read(message.content) if message.has_content() else None
        if kind is None or order is None or order.step not in (TRAIN, FETCH):
            return call_next(message, context)
        signer = keys.demo(plan.seed, role(kind), index)
        return _cheat(kind, message, order, signer, flower.ledger_at(plan.ledger))

    return cheat


def _cheat(kind: str, message: Message, order: Order, signer: Signer, ledger: Ledger) -> Message:
    size = Layout.from_json(order.layout).size
    leaf_words = ledger.task(order.task).parameters.leaf_words
    seed = int.from_bytes(address_of(signer)[:4], "big") + order.round
    update: Words = np.random.default_rng(seed).integers(-9, 9, size, np.int32)
    entry = Entry(address_of(signer), WEIGHT, merkle.root(as_bytes(update), 4 * leaf_words))
    place = Place(ledger.chain_id, ledger.contract, order.task, order.round)

    if kind != "unknown_member" and not order.batched:
        _commit(ledger, signer, place, entry)
    if kind == "withhold" and (order.step == FETCH or not order.batched):
        raise RuntimeError("crashed after committing")
    if kind == "stale_round":
        place = Place(ledger.chain_id, ledger.contract, order.task, order.round - 1)
    receipt = _receipt(signer, place, entry, message.metadata.dst_node_id, order)
    content = RecordDict({RECORD: receipt_record(receipt)})
    if order.step == TRAIN:
        examples = 10**18 if kind == "absurd_weight" else WEIGHT
        content["metrics"] = MetricRecord({order.weight: examples, "loss": 0.0})
    if order.step == FETCH or not order.batched:
        content[order.arrays] = _forged(kind, update) if kind in LATE else words_record(update)
    return Message(content, reply_to=message)


def _forged(kind: str, update: Words) -> ArrayRecord:
    if kind == "wrong_root":
        return words_record(update + np.int32(1))
    if kind == "wrong_keys":
        return ArrayRecord({"weights": Array(update), "backdoor": Array(update[:1])})
    floats = update.astype(np.float32)
    floats[0] = np.nan
    return ArrayRecord({"words": Array(floats)})


def _commit(ledger: Ledger, signer: Signer, place: Place, entry: Entry) -> None:
    # After a restart it has done its worst already.
    with suppress(AlreadyCommitted, CommitsClosed):
        ledger.send(signer, Commit(place.task, place.round, entry.weight, entry.root))


def _receipt(signer: Signer, place: Place, entry: Entry, node: int, order: Order) -> Receipt:
    signed = sign_reply(signer, place, entry.root, entry.weight, node)
    batched = order.batched and order.step == TRAIN
    commitment = sign_commitment(signer, place, entry.root, entry.weight) if batched else b""
    return Receipt(
        place.task, place.round, entry.member, entry.root, entry.weight, signed, commitment
    )
