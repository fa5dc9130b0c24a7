"""Where a node finds its ledger, store, task and key.

From arguments, else from the node's own configuration (`tallystick-ledger`, `-store`, `-task`, `-keystore`,
`-passphrase-file`), else from the environment (`TALLYSTICK_LEDGER` and so on). The run's configuration is never asked: it
is the aggregator's word, and a member does not let the aggregator say which ledger to check the aggregator against.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TypeAlias, TypeVar

from flwr.app import Context

from .. import keys, ledger, store
from ..errors import InvalidKey, InvalidParameter
from ..ledger import Ledger, Signer
from ..roles.participant import Participant
from ..store import Store

OFF = "off"
"""The ledger's URL where there is to be none."""


class Unset(Enum):
    """An argument that was not given."""

    UNSET = "from the node's configuration or the environment"


UNSET = Unset.UNSET

T = TypeVar("T")
Given: TypeAlias = T | str | Unset | None
Setting: TypeAlias = T | str | Unset | Callable[[Context], T | str | None] | None
"""A value, its name (a URL, hex), None for off, or a function of the node's context that gives one of these."""

_handles: dict[tuple[int, str], Ledger] = {}
_signers: dict[tuple[int, str], Signer] = {}
_participants: dict[tuple[int, int, str, bytes, str], Participant] = {}
_lock = threading.Lock()


def ledger_at(url: str) -> Ledger:
    """The one handle of this process on a ledger: opening replays a journal, so it is done once."""
    with _lock:
        place = os.getpid(), url
        if place not in _handles:
            _handles[place] = ledger.open(url)
        return _handles[place]


def close_ledgers() -> None:
    """Close and forget this process's handles."""
    with _lock:
        for place in [place for place in _handles if place[0] == os.getpid()]:
            _handles.pop(place).close()
        _participants.clear()


def given(setting: Setting[T], context: Context | None) -> Given[T]:
    """A setting with its function, if it is one, applied to the node's context."""
    if callable(setting) and not isinstance(setting, str):
        if context is None:
            raise InvalidParameter("a setting is a function of the context, and there is none.")
        value: Given[T] = setting(context)
        return value
    return setting


def lookup(name: str, context: Context | None) -> str | None:
    """A named setting from the node's configuration or the environment; `{partition-id}` and `{node-id}` are filled in.

    The server has neither and fills in "server", so that one environment can serve a whole simulation.
    """
    found = None
    if context is not None:
        found = context.node_config.get(f"tallystick-{name}")
    if found is None:
        found = os.environ.get(f"TALLYSTICK_{name.upper().replace('-', '_')}")
    if found is None:
        return None
    text = str(found)
    partition = "server" if context is None else context.node_config.get("partition-id", "server")
    node = "server" if context is None else context.node_id
    return text.replace("{partition-id}", str(partition)).replace("{node-id}", str(node))


def find_ledger(setting: Setting[Ledger], context: Context | None) -> Ledger | None:
    """The ledger, or None where it is off. Raises `InvalidParameter` where nobody said."""
    value = given(setting, context)
    if isinstance(value, Unset):
        value = lookup("ledger", context)
        if value is None:
            raise InvalidParameter(
                "no ledger: set TALLYSTICK_LEDGER to its URL, or to 'off' to run without receipts."
            )
    if value is None or value in ("", OFF):
        return None
    return ledger_at(value) if isinstance(value, str) else value


def find_store(setting: Setting[Store], context: Context | None) -> Store:
    """The node's own store."""
    value = given(setting, context)
    if isinstance(value, Unset):
        value = lookup("store", context)
    if value is None:
        raise InvalidParameter("no store: set TALLYSTICK_STORE to a folder for this node's blobs.")
    return store.open(value) if isinstance(value, str) else value


def find_task(setting: Setting[bytes], context: Context | None) -> bytes:
    """The task's id, 32 bytes."""
    value = given(setting, context)
    if isinstance(value, Unset):
        value = lookup("task", context)
    if value is None:
        raise InvalidParameter(
            "no task: set TALLYSTICK_TASK to its id (tallystick task create prints it)."
        )
    if isinstance(value, str):
        try:
            value = bytes.fromhex(value.removeprefix("0x"))
        except ValueError:
            value = b""
    if len(value) != 32:
        raise InvalidParameter("the task's id is not 64 hexadecimal digits. Copy it again.")
    return value


def find_signer(setting: Setting[Signer], context: Context | None) -> Signer:
    """The node's key: an account, or the keystore file that a name stands for."""
    value = given(setting, context)
    if isinstance(value, Unset):
        value = lookup("keystore", context)
    if value is None:
        raise InvalidKey(
            "no key: set TALLYSTICK_KEYSTORE to a keystore file (tallystick keys new makes one)."
        )
    if not isinstance(value, str):
        return value
    with _lock:
        place = os.getpid(), value
        if place not in _signers:
            _signers[place] = keys.load(Path(value), _passphrase(context))
        return _signers[place]


def _passphrase(context: Context | None) -> str:
    path = lookup("passphrase-file", context)
    if path is not None:
        try:
            return Path(path).read_text().rstrip("\n")
        except OSError as error:
            raise InvalidKey(f"cannot read the passphrase file {path}: {error.strerror}.") from None
    found = keys.passphrase_from_environment()
    if found is None:
        raise InvalidKey("no passphrase: set TALLYSTICK_PASSPHRASE_FILE to a file that holds it.")
    return found


def find_participant(
    settings: tuple[Setting[Ledger], Setting[Store], Setting[bytes], Setting[Signer]],
    context: Context,
) -> Participant | None:
    """The participant that this node is, or None where the ledger is off."""
    at, kept, task, signer = settings
    found = find_ledger(at, context)
    if found is None:
        return None
    own, identifier, key = (
        find_store(kept, context),
        find_task(task, context),
        find_signer(signer, context),
    )
    with _lock:
        place = os.getpid(), id(found), own.url, identifier, key.address
        if place not in _participants:
            _participants[place] = Participant(found, own, key, identifier)
        return _participants[place]
