"""What can arrive from outside: orders, receipts and words of every wrong kind."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from tallystick.errors import InvalidParameter, InvalidWeight
from tallystick.flower.messages import (
    RECORD,
    TRAIN,
    WORDS,
    Order,
    read_reply,
    read_words,
    receipt_record,
    weight_in,
    words_record,
)
from tallystick.protocol import Reason
from tallystick.roles.outcome import Rejected
from tallystick.roles.receipt import Receipt

SIZE = 8
ORDER = Order(TRAIN, bytes(32), 1, b"{}", 24, True, False, "arrays", "num-examples")
RECEIPT = Receipt(bytes(32), 1, bytes(20), bytes(32), 5, b"s" * 65)


def raw(data: bytes, dtype: str = "int32", shape: tuple[int, ...] = (SIZE,)) -> ArrayRecord:
    return ArrayRecord({WORDS: Array(dtype, shape, "numpy.ndarray", data)})


def saved(array: np.ndarray[Any, Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def zipped() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(2))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (ArrayRecord({}), Reason.WRONG_KEYS),
        (ArrayRecord({"other": Array(np.zeros(SIZE, np.int32))}), Reason.WRONG_KEYS),
        (words_record(np.zeros(SIZE + 1, np.int32)), Reason.WRONG_KEYS),
        (ArrayRecord({WORDS: Array(np.zeros((2, 4), np.int32))}), Reason.WRONG_KEYS),
        (ArrayRecord({WORDS: Array(np.zeros(SIZE, np.int64))}), Reason.WRONG_KEYS),
        (ArrayRecord({WORDS: Array(np.zeros(SIZE, ">i4"))}), Reason.WRONG_KEYS),
        (ArrayRecord({WORDS: Array(np.zeros(SIZE, np.float32))}), Reason.WRONG_KEYS),
        (ArrayRecord({WORDS: Array(np.full(SIZE, np.inf))}), Reason.NOT_FINITE),
        (ArrayRecord({WORDS: Array(np.zeros(10_000, np.int32))}), Reason.WRONG_KEYS),
        (raw(b""), Reason.MALFORMED),
        (raw(b"rubbish"), Reason.MALFORMED),
        (raw(saved(np.zeros(SIZE, np.int32))[:-3]), Reason.MALFORMED),
        (raw(zipped()), Reason.MALFORMED),
        (raw(saved(np.array([{}], object), allow_pickle=True)), Reason.MALFORMED),
        (raw(saved(np.zeros(SIZE, np.int32)).replace(b"(8,)", b"(9,)")), Reason.MALFORMED),
        (ArrayRecord({WORDS: Array("int32", (SIZE,), "torch", b"x")}), Reason.MALFORMED),
    ],
    ids=[
        "nothing", "another_key", "too_long", "two_dimensions", "int64", "big_endian", "floats", "infinity",
        "much_too_long", "empty", "rubbish", "truncated", "zip", "pickle", "header_lies", "other_serialisation",
    ],
)  # fmt: skip
def test_words_that_are_none_have_a_reason(record: ArrayRecord, reason: Reason) -> None:
    """Promise: whatever stands in the place of an update is refused with a reason, never an accident."""
    with pytest.raises(Rejected) as caught:
        read_words(record, SIZE)
    assert caught.value.reason == reason


def test_words_travel_unchanged() -> None:
    """Promise: words are what they were, to the last bit."""
    words = np.array([-(2**31), 2**31 - 1, 0, 1, -1, 7, 8, 9], np.int32)
    np.testing.assert_array_equal(read_words(words_record(words), SIZE), words)


def reply(receipt: ConfigRecord | None, **records: Any) -> Message:
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
    content = RecordDict(records)
    if receipt is not None:
        content[RECORD] = receipt
    asked = Message(RecordDict(), dst_node_id=3, message_type="train")
    return Message(content, reply_to=asked)


@pytest.mark.parametrize(
    "change",
    [
        {"member": b"short"},
        {"member": "text"},
        {"root": b""},
        {"round": -1},
        {"round": 1.0},
        {"round": True},
        {"weight": 2**40},
        {"task": bytes(31)},
        {"signature": 5},
    ],
    ids=str,
)
def test_malformed_receipts_are_refused(change: dict[str, Any]) -> None:
    """Promise: a receipt with a wrong type, length or range names nobody."""
    record = ConfigRecord({**receipt_record(RECEIPT), **change})
    with pytest.raises(Rejected) as caught:
        read_reply(reply(record), SIZE, ORDER)
    assert caught.value.reason == Reason.MALFORMED


def test_a_reply_without_a_receipt_is_nobodys() -> None:
    """Promise: an ordinary Flower reply is refused as an unknown member's."""
    with pytest.raises(Rejected) as caught:
        read_reply(reply(None), SIZE, ORDER)
    assert caught.value.reason == Reason.UNKNOWN_MEMBER


def test_flaws_of_the_body_wait_for_the_signature() -> None:
    """Promise: a bad body under a good receipt is reported as a flaw, to be held against its signer only."""
    metrics = MetricRecord({"num-examples": 5})
    read = read_reply(reply(receipt_record(RECEIPT), metrics=metrics), SIZE, ORDER)
    assert read.receipt == RECEIPT
    assert read.flaw is not None
    assert read.flaw.reason == Reason.WRONG_KEYS
    good = reply(
        receipt_record(RECEIPT), metrics=metrics, arrays=words_record(np.zeros(8, np.int32))
    )
    assert read_reply(good, SIZE, ORDER).flaw is None


@pytest.mark.parametrize("value", [0, -1, 1.5, float("nan"), float("inf"), [1, 2]])
def test_weights_are_whole_and_positive(value: Any) -> None:
    """Promise: a number of examples is a whole number from 1, or an error that says so."""
    with pytest.raises(InvalidWeight):
        weight_in({"m": MetricRecord({"n": value})}, "n")
    assert weight_in({"m": MetricRecord({"n": 3.0})}, "n") == 3


def test_orders_travel_unchanged_and_whole() -> None:
    """Promise: an order is read as it was sent, and one with a field missing or of another type is refused."""
    assert Order.read(RecordDict({RECORD: ORDER.record()})) == ORDER
    assert Order.read(RecordDict({})) is None
    for key, value in (("round", "1"), ("batched", 0), ("layout", "{}")):
        record = ConfigRecord({**ORDER.record(), key: value})
        with pytest.raises(InvalidParameter, match=key):
            Order.read(RecordDict({RECORD: record}))
