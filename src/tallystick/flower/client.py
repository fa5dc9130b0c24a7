"""The client mod: a member's side of the exchange."""

from __future__ import annotations

from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp.typing import ClientAppCallable, Mod
from flwr.common.constant import ErrorCode

from ..encoding import Layout, Words, dequantise, update_of
from ..errors import InvalidParameter, ModelMismatch, TallystickError
from ..ledger import Ledger, Signer
from ..roles.outcome import Rejected
from ..roles.participant import Participant
from ..roles.receipt import Receipt
from ..store import Store
from ..sumtree import Entry
from .messages import (
    EVALUATE,
    FETCH,
    RECORD,
    Order,
    arrays_in,
    arrays_record,
    of_kind,
    read_words,
    receipt_record,
    weight_in,
    words_record,
)
from .settings import UNSET, Setting, find_participant


def mod(
    ledger: Setting[Ledger] = UNSET,
    store: Setting[Store] = UNSET,
    task: Setting[bytes] = UNSET,
    signer: Setting[Signer] = UNSET,
) -> Mod:
    """A mod that makes a ClientApp's training verifiable; list it first, so that it sees what leaves.

    It checks the global model against the ledger before the ClientApp sees it, commits to the update before it leaves, and
    answers with an error, in place of an update, where a check fails. Arguments are explained in `flower.settings`.
    """
    settings = (ledger, store, task, signer)

    def verify(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        try:
            participant = find_participant(settings, context)
            order = Order.read(message.content)
            if order is None:
                if participant is not None and message.metadata.message_type != "query":
                    raise InvalidParameter(
                        "a message without a verifiable round. Wrap the ServerApp's strategy in "
                        "tallystick.flower.Verifiable, or set TALLYSTICK_LEDGER=off on this node."
                    )
                return call_next(message, context)
            _agree(order, participant)
            if order.step == FETCH:
                return _fetch(message, order, participant)
            return _work(message, context, call_next, order, participant)
        except (TallystickError, Rejected) as error:
            reason = f"{type(error).__name__}: {error}"
            return Message(Error(ErrorCode.MOD_FAILED_PRECONDITION, reason), reply_to=message)

    return verify


def _agree(order: Order, participant: Participant | None) -> None:
    """Whether there is a ledger, and which task, is for both sides to want alike."""
    if order.verified and participant is None:
        raise InvalidParameter(
            "the round is on a ledger, and this node has it off. Set TALLYSTICK_LEDGER."
        )
    if participant is not None and (not order.verified or order.task != participant.task):
        raise ModelMismatch(
            "the message is not for the task on the ledger that this node was configured with. "
            "Do not train; ask the aggregator which task it runs."
        )


def _work(
    message: Message,
    context: Context,
    call_next: ClientAppCallable,
    order: Order,
    participant: Participant | None,
) -> Message:
    layout = Layout.from_json(order.layout)
    words = read_words(of_kind(message.content, ArrayRecord)[order.arrays], layout.size)
    scale = order.scale
    if participant is not None:
        scale = participant.parameters.scale
        participant.check_layout(layout)
        if order.step == EVALUATE:
            participant.check_proposed(order.round, words)
        else:
            participant.check_base(order.round, words)
    message.content = _ordinary(
        message.content, order, arrays_record(dequantise(words, layout, scale))
    )
    reply = call_next(message, context)
    if order.step == EVALUATE or reply.has_error():
        return reply
    update = update_of(arrays_in(reply.content), words, layout, scale)
    weight = weight_in(of_kind(reply.content, MetricRecord), order.weight)
    records = RecordDict(
        {**of_kind(reply.content, MetricRecord), **of_kind(reply.content, ConfigRecord)}
    )
    records[RECORD] = ConfigRecord()
    node = message.metadata.dst_node_id
    sent: Words | None
    if participant is None:
        receipt = _unsigned(order, node, weight)
        sent = update
    elif order.batched:
        receipt, sent = participant.sign(order.round, update, weight, node), None
    else:
        receipt, sent = participant.commit(order.round, update, weight, node)
    return _answer(reply, records, receipt, sent, order)


def _fetch(message: Message, order: Order, participant: Participant | None) -> Message:
    if participant is None:
        raise InvalidParameter("nothing was committed here to be fetched.")
    entry = Entry(participant.member, order.entry_weight, order.entry_root)
    node = message.metadata.dst_node_id
    receipt, words = participant.release(
        order.round, entry, order.signature, order.index, order.siblings, node
    )
    return _answer(Message(RecordDict(), reply_to=message), RecordDict(), receipt, words, order)


def _ordinary(content: RecordDict, order: Order, arrays: object) -> RecordDict:
    """The message's records as the ClientApp expects them; copied, for in one process members share them."""
    plain = RecordDict()
    for key, record in content.items():
        if key == order.arrays:
            plain[key] = arrays  # type: ignore[assignment]
        elif key != RECORD:
            plain[key] = ConfigRecord(dict(record)) if isinstance(record, ConfigRecord) else record
    return plain


def _unsigned(order: Order, node: int, weight: int) -> Receipt:
    member = (node % 2**64).to_bytes(20, "big")
    return Receipt(order.task, order.round, member, bytes(32), weight, b"")


def _answer(
    reply: Message, records: RecordDict, receipt: Receipt, words: Words | None, order: Order
) -> Message:
    if words is not None:
        records[order.arrays] = words_record(words)
    records[RECORD] = receipt_record(receipt)
    reply.content = records
    return reply
