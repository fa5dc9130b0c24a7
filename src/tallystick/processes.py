"""Commands that keep running: the roles of a run without a server, each a process of its own."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from . import keys, ledger, store, terminal
from .encoding import Arrays
from .errors import InvalidParameter
from .ledger import Ledger, Signer
from .roles.peer import Peer, Train
from .roles.sponsor import bond, wei
from .roles.sponsor import stake as put_at_stake

Url = Annotated[str, typer.Option("--ledger", help="Ledger URL, or a network of tallystick.toml.")]
Shared = Annotated[str, typer.Option("--store", help="Store URL where everybody's updates are.")]
Task = Annotated[str, typer.Option("--task", help="Task id, in hex.")]
Own = Annotated[Path, typer.Option("--own", help="Folder for this process's own blobs.")]
Patience = Annotated[
    float, typer.Option(help="Seconds that others get before this process takes their turn.")
]
Every = Annotated[float, typer.Option(help="Seconds between two looks at the ledger.")]
Threads = Annotated[int, typer.Option(help="Threads that combine updates; changes no bit.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line on stdout.")]


def participate(
    ledger_url: Url,
    store_url: Shared,
    task: Task,
    own: Own,
    train: Annotated[
        str | None,
        typer.Option(
            help="MODULE:FUNCTION of (arrays, round) that returns (trained arrays, number of examples)."
        ),
    ] = None,
    demo: Annotated[
        str | None,
        typer.Option(help="NAME:MEMBER:MEMBERS:SEED, a member of a demo with its demo key."),
    ] = None,
    train_only: Annotated[
        bool, typer.Option(help="Leave aggregation, and the bond it needs, to others.")
    ] = False,
    stake: Annotated[
        float,
        typer.Option(help="Ether to have at stake, for a vote on what is right (0: no vote)."),
    ] = 0.0,
    patience: Patience = 10.0,
    every: Every = 0.5,
    threads: Threads = 1,
    as_json: Json = False,
) -> None:
    """Take part in a run that has no server: train, commit, upload, recompute every aggregate, and aggregate in turn."""
    if (train is None) == (demo is None):
        raise InvalidParameter("say who trains: --train MODULE:FUNCTION, or --demo.")
    key, work = _demo(demo) if demo else (keys.from_environment(), _function(cast(str, train)))
    bonded = not train_only
    at_stake = wei(stake)
    _run(
        key, work, bonded, ledger_url, store_url, task, own, patience, every, threads, as_json, at_stake
    )  # fmt: skip


def aggregate(
    ledger_url: Url,
    store_url: Shared,
    task: Task,
    own: Own,
    patience: Patience = 10.0,
    every: Every = 0.5,
    threads: Threads = 1,
    as_json: Json = False,
) -> None:
    """Open rounds, propose what members committed and uploaded, finalise; take over where another aggregator stopped."""
    key = keys.from_environment()
    _run(key, None, True, ledger_url, store_url, task, own, patience, every, threads, as_json)


def _run(
    key: Signer,
    train: Train | None,
    bonded: bool,
    ledger_url: str,
    store_url: str,
    task: str,
    own: Path,
    patience: float,
    every: float,
    threads: int,
    as_json: bool,
    at_stake: int = 0,
) -> None:
    chain = ledger.open(ledger_url)
    if _is_virtual(ledger_url):
        raise InvalidParameter(
            f"{ledger_url!r} has a virtual clock, which any process can move. Add clock=wall, or use a node."
        )
    wanted = _task(task)

    def tell(what: str, height: int) -> None:
        if as_json:
            sys.stdout.write(json.dumps({"round": height, "did": what}) + "\n")
            sys.stdout.flush()
        else:
            terminal.err.print(f"round {height:>3}  {what}", highlight=False)

    try:
        if bonded:
            _bond(chain, key, wanted)
        put_at_stake(chain, key, wanted, at_stake)
        shared = store.open(store_url)
        peer = Peer(
            chain, store.open(str(own)), shared, key, wanted, train,
            bonded=bonded, patience=patience, threads=threads, tell=tell,
        )  # fmt: skip
        peer.run(every)
        found = {
            "task_id": wanted.hex(),
            "model_root": peer.root.hex(),
            "account": "0x" + peer.member.hex(),
        }
        if as_json:
            sys.stdout.write(json.dumps(found) + "\n")
        else:
            terminal.show(found, "done")
    finally:
        chain.close()


def _bond(chain: Ledger, key: Signer, task: bytes) -> None:
    """Put up what this account needs for one proposal of its own in each round in flight."""
    bond(chain, key, task, chain.task(task).parameters.slots)


def _demo(text: str) -> tuple[Signer, Train]:
    from . import demo as demos

    parts = text.split(":")
    if len(parts) != 4 or not all(part.isdecimal() for part in parts[1:]):
        raise InvalidParameter(
            f"--demo {text!r} is not NAME:MEMBER:MEMBERS:SEED, as in cancer:0:5:7."
        )
    job, (member, members, seed) = demos.get(parts[0]), map(int, parts[1:])
    if member >= members:
        raise InvalidParameter(f"--demo {text!r} has no member {member}. Members count from 0.")
    shard = job.shard(member, members, seed, "iid")

    def train(arrays: Arrays, height: int) -> tuple[Arrays, int]:
        trained, examples, _ = job.train(arrays, shard, seed, member, height)
        return trained, examples

    return keys.demo(seed, "member", member), train


def _function(text: str) -> Train:
    module, separator, name = text.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = getattr(importlib.import_module(module), name) if separator else None
    except (ImportError, AttributeError) as error:
        raise InvalidParameter(f"--train {text!r} cannot be loaded: {error}.") from None
    if not callable(found):
        raise InvalidParameter(f"--train {text!r} is not MODULE:FUNCTION.")
    return cast(Train, found)


def _is_virtual(url: str) -> bool:
    return url.startswith(("embedded:", "hashchain:")) and "clock=wall" not in url


def _task(text: str) -> bytes:
    try:
        found = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        found = b""
    if len(found) != 32:
        raise InvalidParameter(f"{text!r} is no task id: it needs 64 hexadecimal digits.")
    return found
