"""The contract's language: calls, events, errors and views of the protocol to and from ABI bytes.

Pure functions over the shipped ABI. Dataclass fields and ABI arguments stand in the same order, so nothing is named twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple, fields, is_dataclass
from functools import cache
from importlib import resources
from typing import Any, get_args, get_origin, get_type_hints

from eth_abi.abi import decode, encode
from eth_hash.auto import keccak

from .. import errors, protocol
from ..protocol import (
    Balance,
    Ballot,
    Call,
    Deposit,
    Event,
    Parameters,
    Phase,
    Round,
    Standing,
    TaskView,
)

CALLS: dict[str, type[Any]] = {
    "createTask": protocol.CreateTask,
    "admit": protocol.Admit,
    "deposit": protocol.Deposit,
    "withdraw": protocol.Withdraw,
    "open": protocol.Open,
    "commit": protocol.Commit,
    "commitBatch": protocol.CommitBatch,
    "exclude": protocol.Exclude,
    "propose": protocol.Propose,
    "finalise": protocol.Finalise,
    "refuteSum": protocol.RefuteSum,
    "refuteNext": protocol.RefuteNext,
    "refuteTree": protocol.RefuteTree,
    "refuteVector": protocol.RefuteVector,
    "refuteEntry": protocol.RefuteEntry,
    "refuteOrder": protocol.RefuteOrder,
    "refuteOmission": protocol.RefuteOmission,
    "refuteBatch": protocol.RefuteBatch,
    "void": protocol.Void,
    "release": protocol.Release,
    "lapse": protocol.Lapse,
    "stake": protocol.Stake,
    "unstake": protocol.Unstake,
    "grade": protocol.Grade,
    "attest": protocol.Attest,
    "slash": protocol.Slash,
    "witness": protocol.Witness,
    "demand": protocol.Demand,
    "reveal": protocol.Reveal,
    "expire": protocol.Expire,
    "settleRoster": protocol.SettleRoster,
    "settleLeaf": protocol.SettleLeaf,
}
NAMES = {kind: name for name, kind in CALLS.items()}
EVENTS: dict[str, type[Any]] = {kind.__name__: kind for kind in get_args(Event)}


@cache
def artifact() -> dict[str, Any]:
    """The shipped artifact: `abi`, `bytecode`, `sources_sha256`."""
    text = resources.files(__package__).joinpath("abi/Ledger.json").read_text()
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def bytecode() -> bytes:
    """Creation code of the contract; its constructor takes nothing."""
    return bytes.fromhex(artifact()["bytecode"][2:])


def _type(argument: Mapping[str, Any]) -> str:
    kind: str = argument["type"]
    if kind.startswith("tuple"):
        inner = ",".join(_type(each) for each in argument["components"])
        return f"({inner}){kind[5:]}"
    return kind


def _types(arguments: list[Mapping[str, Any]]) -> list[str]:
    return [_type(argument) for argument in arguments]


def _hash(item: Mapping[str, Any]) -> bytes:
    return bytes(keccak(f"{item['name']}({','.join(_types(item['inputs']))})".encode()))


@cache
def _items(kind: str) -> dict[str, Mapping[str, Any]]:
    return {item["name"]: item for item in artifact()["abi"] if item["type"] == kind}


@cache
def _by_hash(kind: str, length: int) -> dict[bytes, Mapping[str, Any]]:
    return {_hash(item)[:length]: item for item in _items(kind).values()}


@cache
def _selector(name: str) -> bytes:
    return _hash(_items("function")[name])[:4]


def _plain(value: Any) -> Any:
    """ABI values to protocol's: addresses as 20 bytes, lists as tuples."""
    if isinstance(value, str) and value.startswith("0x") and len(value) == 42:
        return bytes.fromhex(value[2:])
    if isinstance(value, tuple | list):
        return tuple(_plain(each) for each in value)
    return value


def encode_call(call: Call) -> bytes:
    """Calldata of a call."""
    name = NAMES[type(call)]
    if isinstance(call, Deposit):
        return _selector(name)
    try:
        return _selector(name) + encode(_types(_items("function")[name]["inputs"]), astuple(call))
    except Exception as error:
        raise errors.InvalidParameter(f"{name} cannot be encoded: {error}") from error


def value_of(call: Call) -> int:
    """Wei that travel with a call."""
    return call.amount if isinstance(call, Deposit) else 0


def decode_call(data: bytes, value: int) -> Call:
    """A call from its calldata and value; `InvalidParameter` if it is none of ours."""
    item = _by_hash("function", 4).get(data[:4])
    if item is None or item["name"] not in CALLS:
        raise errors.InvalidParameter(f"no call has selector {data[:4].hex()}")
    kind = CALLS[item["name"]]
    if kind is Deposit:
        return Deposit(value)
    try:
        arguments = _plain(decode(_types(item["inputs"]), data[4:]))
    except Exception as error:
        raise errors.InvalidParameter(f"{item['name']} cannot be decoded: {error}") from error
    call: Call = _build(kind, arguments)
    return call


def _build(kind: Any, value: Any) -> Any:
    """A value of a type hint from plain tuples: dataclasses and tuples of them, however nested."""
    if isinstance(kind, type) and is_dataclass(kind):
        return kind(*map(_build, _hints(kind), value))
    if get_origin(kind) is tuple:
        return tuple(_build(get_args(kind)[0], each) for each in value)
    return value


@cache
def _hints(kind: Any) -> tuple[Any, ...]:
    hints = get_type_hints(kind)
    return tuple(hints[field.name] for field in fields(kind))


def decode_event(topics: list[bytes], data: bytes) -> Event | None:
    """An event from a log, or None if the log is none of ours."""
    item = _by_hash("event", 32).get(bytes(topics[0])) if topics else None
    if item is None:
        return None
    indexed = iter(topics[1:])
    plain = iter(decode([_type(i) for i in item["inputs"] if not i["indexed"]], data))
    values = [
        decode([_type(i)], next(indexed))[0] if i["indexed"] else next(plain)
        for i in item["inputs"]
    ]
    arguments = _plain(tuple(values))
    if item["name"] == "TaskCreated":
        return protocol.TaskCreated(arguments[0], Parameters(*arguments[1]))
    event: Event = EVENTS[item["name"]](*arguments)
    return event


def decode_refusal(data: bytes) -> errors.TallystickError:
    """The exception that a revert's data stands for."""
    item = _by_hash("error", 4).get(data[:4])
    if item is None:
        said = data.hex() or "nothing"
        return errors.LedgerUnavailable(f"the contract reverted and said {said}.")
    arguments = _plain(decode(_types(item["inputs"]), data[4:]))
    refusal: errors.Refused = getattr(errors, item["name"])(*arguments)
    return refusal


def event_topic(name: str) -> bytes:
    """First topic of an event's logs."""
    return _hash(_items("event")[name])


def encode_view(name: str, *arguments: Any) -> bytes:
    """Calldata of a view."""
    return _selector(name) + encode(_types(_items("function")[name]["inputs"]), arguments)


def _outputs(name: str, data: bytes) -> tuple[Any, ...]:
    outputs: tuple[Any, ...] = _plain(decode(_types(_items("function")[name]["outputs"]), data))
    return outputs


def decode_task(data: bytes) -> TaskView:
    """`task`'s answer."""
    ((parameters, *rest),) = _outputs("task", data)
    return TaskView(Parameters(*parameters), *rest)


def decode_round(data: bytes) -> Round:
    """`round`'s answer."""
    ((phase, *rest),) = _outputs("round", data)
    return Round(Phase(phase), *rest)


def decode_commitment(data: bytes) -> bytes | None:
    """`commitment`'s answer."""
    held, digest = _outputs("commitment", data)
    return digest if held else None


def decode_excluders(data: bytes) -> tuple[protocol.Address, protocol.Address]:
    """Of `standing`'s answer, who excluded the direct commitment and who the entry in the batch."""
    _, direct, batched = _outputs("standing", data)
    return direct, batched


def decode_ballot(data: bytes) -> Ballot:
    """`ballot`'s answer."""
    return Ballot(*_outputs("ballot", data)[0])


def decode_standing(data: bytes) -> Standing:
    """`stakeOf`'s answer."""
    return Standing(*_outputs("stakeOf", data)[0])


def decode_attested(data: bytes) -> int | None:
    """`attested`'s answer."""
    held, attempt = _outputs("attested", data)
    return int(attempt) if held else None


def decode_balance(data: bytes) -> Balance:
    """`balance`'s answer."""
    return Balance(*_outputs("balance", data))


def decode_flag(name: str, data: bytes) -> bool:
    """A view's boolean answer."""
    return bool(_outputs(name, data)[0])
