"""What travels: the order that the strategy adds to a message, and the receipt that the mod adds to the reply.

Both are a `ConfigRecord` under the key "tallystick"; models and updates are one int32 array under "words". Everything in a
reply was written by somebody else: it is read here with its types, lengths and dtypes checked, and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self, TypeVar

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from ..encoding import Words
from ..errors import InvalidLayout, InvalidParameter, InvalidWeight
from ..protocol import Reason
from ..roles.batch import Position
from ..roles.outcome import Rejected
from ..roles.receipt import Receipt, Reply

RECORD = "tallystick"
WORDS = "words"
TRAIN, FETCH, EVALUATE = "train", "fetch", "evaluate"
R = TypeVar("R", ArrayRecord, ConfigRecord, MetricRecord)

HEADER_SLACK = 1024
"""Bytes that an array's own header may add to its data."""


@dataclass(frozen=True)
class Order:
    """What a member is asked for: `step` train (an update), fetch (an update it has signed for) or evaluate.

    `arrays` and `config` name the records that the wrapped strategy uses, `weight` the metric that counts examples. `layout` is the
    layout's JSON. `verified` says whether the round is on a ledger. The last five tell a fetch which entry of the batch is meant:
    its weight, root, signature, index and Merkle path (32 bytes each, joined).
    """

    step: str
    task: bytes
    round: int
    layout: bytes
    scale: int
    verified: bool
    batched: bool
    arrays: str
    weight: str
    entry_weight: int = 0
    entry_root: bytes = b""
    signature: bytes = b""
    index: int = 0
    path: bytes = b""

    def record(self) -> ConfigRecord:
        """As it travels."""
        return ConfigRecord({each.name: getattr(self, each.name) for each in fields(self)})

    @classmethod
    def read(cls, content: RecordDict) -> Self | None:
        """The order in a message; None if there is none. Raises `InvalidParameter` for a malformed one."""
        record = of_kind(content, ConfigRecord).get(RECORD)
        if record is None:
            return None
        order: Self = _typed(cls, record)
        return order

    def fetching(self, position: Position) -> Self:
        """The same order as a fetch of one entry of the batch."""
        return replace(
            self,
            step=FETCH,
            entry_weight=position.entry.weight,
            entry_root=position.entry.root,
            signature=position.signature,
            index=position.index,
            path=b"".join(position.path),
        )

    @property
    def siblings(self) -> tuple[bytes, ...]:
        """The Merkle path, split."""
        return tuple(self.path[i : i + 32] for i in range(0, len(self.path), 32))


def of_kind(content: RecordDict, kind: type[R]) -> dict[str, R]:
    """Records of one kind. Flower's own views of them are reference cycles, and would hold models until a collection."""
    return {key: record for key, record in content.items() if isinstance(record, kind)}


def words_record(words: Words) -> ArrayRecord:
    """Words (int32[d]) as they travel."""
    return ArrayRecord({WORDS: Array(np.ascontiguousarray(words, "<i4"))})


def read_words(record: ArrayRecord, size: int) -> Words:
    """The words (int32[size]) in a record. Raises `Rejected`, with the reason that fits what is there instead."""
    if list(record) != [WORDS]:
        raise Rejected(Reason.WRONG_KEYS, f"arrays {sorted(record)[:5]} in place of ['{WORDS}']")
    array = record[WORDS]
    if len(array.data) > 8 * size + HEADER_SLACK:
        raise Rejected(Reason.WRONG_KEYS, f"{len(array.data)} bytes for {size} words")
    try:
        found: Any = array.numpy()
    except Exception as error:  # Whatever a forged header makes numpy raise.
        raise Rejected(Reason.MALFORMED, f"unreadable words: {type(error).__name__}") from None
    if not isinstance(found, np.ndarray):
        raise Rejected(Reason.MALFORMED, "the words are no array")
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise Rejected(Reason.NOT_FINITE, "the update holds NaN or infinity")
    if found.dtype != np.int32 or found.shape != (size,):
        raise Rejected(
            Reason.WRONG_KEYS, f"{found.dtype}{list(found.shape)} in place of int32[{size}]"
        )
    return found


def receipt_record(receipt: Receipt) -> ConfigRecord:
    """A receipt as it travels."""
    return ConfigRecord({each.name: getattr(receipt, each.name) for each in fields(receipt)})


def read_reply(message: Message, size: int, order: Order) -> Reply:
    """A member's reply. Raises `Rejected` if not even a receipt can be read; other flaws go into the reply."""
    content = message.content
    node = message.metadata.src_node_id
    record = of_kind(content, ConfigRecord).get(RECORD)
    if record is None:
        raise Rejected(Reason.UNKNOWN_MEMBER, "a reply without a receipt: nobody signs for it")
    try:
        receipt = _typed(Receipt, record)
    except InvalidParameter as error:
        raise Rejected(Reason.MALFORMED, str(error)) from None
    if len(receipt.member) != 20 or len(receipt.root) != 32 or len(receipt.task) != 32:
        raise Rejected(Reason.MALFORMED, "a receipt with a field of the wrong length")
    if not (0 <= receipt.round < 2**32 and 0 <= receipt.weight < 2**32):
        raise Rejected(Reason.MALFORMED, "a receipt with a number out of range")
    examples: float | int | None = receipt.weight
    words: Words | None = None
    flaw: Rejected | None = None
    try:
        if order.step == TRAIN:
            examples = weight_in(of_kind(content, MetricRecord), order.weight)
        if order.step == FETCH or not order.batched:
            records = list(of_kind(content, ArrayRecord).values())
            if len(records) != 1:
                raise Rejected(Reason.WRONG_KEYS, f"{len(records)} array records in place of one")
            words = read_words(records[0], size)
    except InvalidWeight as error:
        flaw = Rejected(Reason.ABSURD_WEIGHT, str(error))
    except Rejected as rejected:
        flaw = rejected
    return Reply(node, receipt, examples, words, flaw)


def weight_in(records: Mapping[str, MetricRecord], key: str) -> int:
    """The number of examples that metrics name, as an integer. Raises `InvalidWeight`."""
    found = [record[key] for record in records.values() if key in record]
    if len(found) != 1 or isinstance(found[0], list):
        raise InvalidWeight(f"the metrics name {key!r} {len(found)} times. Return it once.")
    value = found[0]
    if not math.isfinite(value) or value != int(value) or value < 1:
        raise InvalidWeight(f"{key!r} is {value}. Return a whole number of examples, at least 1.")
    return int(value)


def arrays_in(content: RecordDict) -> dict[str, np.ndarray[Any, Any]]:
    """The named arrays of the one ArrayRecord that a ClientApp returned."""
    records = list(of_kind(content, ArrayRecord).values())
    if len(records) != 1:
        raise InvalidLayout(
            f"the ClientApp returned {len(records)} ArrayRecords. Return exactly one."
        )
    return {name: array.numpy() for name, array in records[0].items()}


def arrays_record(arrays: Mapping[str, np.ndarray[Any, Any]]) -> ArrayRecord:
    """Named arrays as a ClientApp expects them."""
    return ArrayRecord({name: Array(np.asarray(array)) for name, array in arrays.items()})


def _typed(kind: Any, record: ConfigRecord) -> Any:
    """Build a flat dataclass from a record whose values have exactly its fields' names and types."""
    types = {"str": str, "bytes": bytes, "int": int, "bool": bool}
    values = {}
    for each in fields(kind):
        value = record.get(each.name)
        if type(value) is not types[str(each.type)]:
            raise InvalidParameter(
                f"the {RECORD!r} record's {each.name!r} is {type(value).__name__}, not {each.type}. "
                "Use the same version of Tallystick on both sides."
            )
        values[each.name] = value
    return kind(**values)
