"""The command line: everything is put together here. Exit 0: fine; 1: a check failed; 2: bad input."""

from __future__ import annotations

import json
import os
import sys
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from . import __version__, keys, ledger, processes, store, terminal, watching
from .blob import Kind
from .errors import InvalidParameter, TallystickError

app = typer.Typer(
    help="Federated learning with receipts.", no_args_is_help=True, add_completion=False,
    pretty_exceptions_enable=False,
)  # fmt: skip
keys_app = typer.Typer(help="Keystore files.", no_args_is_help=True)
task_app = typer.Typer(help="Tasks on a ledger.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")
app.add_typer(task_app, name="task")
app.command()(processes.participate)
app.command()(processes.aggregate)
app.command()(watching.validate)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
LedgerUrl = Annotated[
    str, typer.Option("--ledger", help="Ledger URL, or a network of tallystick.toml.")
]
LEDGER_HELP = (
    "Ledger URL, or a network of tallystick.toml. Relative paths are inside the run folder."
)


@app.command()
def demo(
    name: Annotated[
        str, typer.Argument(help="cancer, digits, mnist, housing or churn.")
    ] = "cancer",
    members: Annotated[
        int | None, typer.Option(help="How many members (default: the job's).")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(help="How many rounds (default: the job's).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Everything random follows from it.")] = 7,
    ledger_url: Annotated[
        str, typer.Option("--ledger", help=LEDGER_HELP)
    ] = "embedded:ledger.sqlite",
    engine: Annotated[str, typer.Option(help="local, ray or superlink.")] = "local",
    partition: Annotated[str, typer.Option(help="iid, dirichlet:ALPHA or column:NAME.")] = "iid",
    batched: Annotated[
        bool, typer.Option(help="Members sign; one root per round is posted.")
    ] = False,
    threads: Annotated[int, typer.Option(help="Threads that combine updates; changes no bit.")] = 1,
    hostile: Annotated[
        list[str] | None, typer.Option(help="MEMBER:KIND, a cheating member (repeatable).")
    ] = None,
    liar: Annotated[
        bool,
        typer.Option(
            help="The aggregator lies halfway; a validator refutes it, and training rolls back."
        ),
    ] = False,
    settlement: Annotated[
        str,
        typer.Option(
            help="What makes a round final: window, early or quorum (validators' votes), proven."
        ),
    ] = "window",
    tamper: Annotated[
        bool, typer.Option(help="Then flip one weight in a copy; see it found.")
    ] = False,
    run_dir: Annotated[
        Path | None, typer.Option(help="Where the run goes (default runs/NAME-SEED).")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Carry on with a run that was killed.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a model among members on real data, on a real ledger, and audit the run."""
    from . import report
    from .demo import get
    from .demo import run as demos
    from .run import RunFolder

    with terminal.Told(quiet=as_json) as told:
        if resume is not None:
            folder = RunFolder(resume)
            result = demos.resume(folder, told)
        else:
            job = get(name)
            total = job.rounds if rounds is None else rounds
            options = demos.Options(
                job=name,
                members=job.members if members is None else members,
                rounds=total,
                seed=seed,
                ledger=ledger_url,
                engine=engine,
                partition=partition,
                batched=batched,
                threads=threads,
                hostile=_hostile(hostile or []),
                liar=max(1, total // 2) if liar else 0,
                settlement=settlement,
            )
            folder = RunFolder(run_dir or Path("runs") / f"{name}-{seed}")
            result = demos.start(options, folder.path, told)
        if tamper:
            result["tamper"] = demos.tamper(folder)
        page = report.write(folder)
    if as_json:
        _print_json(result)
    else:
        terminal.show_demo(result, page)
    if tamper and not result["tamper"]["found"]:
        raise typer.Exit(1)


@app.command()
def audit(
    run_dir: Annotated[Path | None, typer.Argument(help="A run folder.")] = None,
    ledger_url: Annotated[
        str | None, typer.Option("--ledger", help="Ledger URL or network.")
    ] = None,
    store_url: Annotated[str | None, typer.Option("--store", help="Store URL.")] = None,
    task: Annotated[str | None, typer.Option(help="Task id, in hex.")] = None,
    as_json: Json = False,
) -> None:
    """Replay a whole run from ledger and store, with no key, and name the first thing that is wrong."""
    from .demo.run import audit_run
    from .roles import auditor
    from .run import RunFolder

    with terminal.Told(quiet=as_json) as told:

        def progress(what: str, done: int, of: int) -> None:
            told("audit", {what: done, "of": of})

        if run_dir is not None and not (ledger_url or store_url or task):
            found = audit_run(RunFolder(run_dir), progress)
        elif ledger_url and store_url and task and run_dir is None:
            chain = ledger.existing(ledger_url)
            try:
                found = auditor.audit(chain, store.open(store_url), _task_id(task), None, progress)
            finally:
                chain.close()
        else:
            raise InvalidParameter("give a run folder, or all of --ledger, --store and --task.")
    members = {entry.member for one in found.rounds for entry in one.roster}
    result = {
        "audit": "ok",
        "task_id": found.task.hex(),
        "model_root": found.model_root.hex(),
        "rounds": len(found.rounds),
        "final_rounds": sum(one.final for one in found.rounds),
        "members": len(members),
        "blobs": found.blobs,
        "head": {"number": found.head.number, "hash": found.head.hash.hex()},
    }
    if as_json:
        _print_json(result)
    else:
        terminal.show(result, "audit")


@keys_app.command("new")
def keys_new(
    path: Annotated[Path, typer.Argument(help="A file that does not exist.")], as_json: Json = False
) -> None:
    """Make a key in a new keystore file. The passphrase comes from the environment, or is asked for."""
    passphrase = keys.passphrase_from_environment()
    if passphrase is None:
        passphrase = str(
            typer.prompt("passphrase", hide_input=True, confirmation_prompt=True, err=True)
        )
    account = keys.new(path, passphrase)
    _result({"address": account.address.lower(), "keystore": str(path)}, as_json, "key")


@keys_app.command("show")
def keys_show(
    path: Annotated[Path, typer.Argument(help="A keystore file.")], as_json: Json = False
) -> None:
    """Show a keystore's address. Nothing is decrypted."""
    _result({"address": keys.address(path), "keystore": str(path)}, as_json, "key")


@app.command()
def deploy(ledger_url: LedgerUrl, as_json: Json = False) -> None:
    """Deploy the contract with the key of TALLYSTICK_KEYSTORE, and remember where it lies."""
    from .ledger.ethereum import EthereumLedger
    from .ledger.networks import record_contract, resolve

    key = keys.from_environment()
    chain = EthereumLedger(resolve(ledger_url), deployed=False)
    contract = chain.deploy(key)
    recorded = record_contract(chain.chain_id, contract)
    found = {
        "contract": "0x" + contract.hex(),
        "chain_id": chain.chain_id,
        "recorded": str(recorded),
    }
    _result(found, as_json, "deployed")


@task_app.command("create")
def task_create(
    model: Annotated[Path, typer.Argument(help="The initial model: an .npz of named arrays.")],
    ledger_url: LedgerUrl,
    store_url: Annotated[str, typer.Option("--store", help="Store URL for the model.")],
    members: Annotated[
        list[str], typer.Option("--member", help="A member's address (repeatable).")
    ],
    rounds: Annotated[int, typer.Option(help="How many rounds may be opened.")] = 100,
    quorum: Annotated[int, typer.Option(help="Members that a proposal needs.")] = 1,
    slots: Annotated[int, typer.Option(help="Rounds in flight.")] = 16,
    commit_window: Annotated[int, typer.Option(help="Seconds to commit.")] = 3600,
    challenge_window: Annotated[int, typer.Option(help="Seconds until a proposal is final.")] = 600,
    scale: Annotated[int, typer.Option(help="Bits of the fixed point's fraction.")] = 24,
    settlement: Annotated[
        str,
        typer.Option(help="What makes a proposal final: window, early, quorum or proven."),
    ] = "window",
    voting: Annotated[
        str, typer.Option(help="What a validator's vote weighs: equal, stake or quality.")
    ] = "equal",
    vote_quorum: Annotated[
        int, typer.Option(help="Percent of the voting weight that settles a proposal.")
    ] = 67,
    stake: Annotated[float, typer.Option(help="Least stake of a validator, in ether.")] = 0.01,
    member_stake: Annotated[
        float, typer.Option(help="Stake that a member needs to be admitted, in ether.")
    ] = 0.0,
    scorer: Annotated[
        str | None, typer.Option(help="Account that sets validators' quality.")
    ] = None,
    reveal_window: Annotated[
        int, typer.Option(help="Seconds to reveal what was demanded or reported.")
    ] = 3600,
    as_json: Json = False,
) -> None:
    """Create a task around an initial model, with the key of TALLYSTICK_KEYSTORE as its sponsor."""
    import numpy as np

    from .protocol import ZERO_ADDRESS, Settlement, Voting
    from .roles.sponsor import create_task, wei

    try:
        with np.load(model, allow_pickle=False) as loaded:
            arrays = {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError) as error:
        raise InvalidParameter(f"cannot read {model} as an .npz of arrays: {error}.") from None
    chain = ledger.open(ledger_url)
    found = create_task(
        chain, store.open(store_url), keys.from_environment(), arrays,
        members=[_address(member) for member in members], rounds=rounds, quorum=quorum, slots=slots,
        commit_window=commit_window, challenge_window=challenge_window, scale=scale,
        settlement=_choice(Settlement, settlement, "--settlement"),
        voting=_choice(Voting, voting, "--voting"),
        vote_quorum=vote_quorum, stake=wei(stake), member_stake=wei(member_stake),
        scorer=_address(scorer) if scorer else ZERO_ADDRESS, reveal_window=reveal_window,
    )  # fmt: skip
    _result(_task(chain, found), as_json, "task")


def _choice(kind: type[IntEnum], name: str, option: str) -> int:
    try:
        return kind[name.upper()]
    except KeyError:
        known = ", ".join(each.name.lower() for each in kind)
        raise InvalidParameter(f"{option} {name!r} is none of {known}.") from None


@task_app.command("show")
def task_show(
    task: Annotated[str, typer.Argument(help="Task id, in hex.")],
    ledger_url: LedgerUrl,
    as_json: Json = False,
) -> None:
    """Show a task's parameters and progress."""
    _result(_task(ledger.existing(ledger_url), _task_id(task)), as_json, "task")


@app.command()
def status(
    run_dir: Annotated[Path | None, typer.Argument(help="A run folder.")] = None,
    ledger_url: Annotated[
        str | None, typer.Option("--ledger", help="Ledger URL or network.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Task id, in hex.")] = None,
    as_json: Json = False,
) -> None:
    """Show how far a task has come, round by round."""
    from .run import RunFolder

    if run_dir is not None:
        settings = RunFolder(run_dir).read()
        ledger_url, task = RunFolder(run_dir).ledger_url(), settings.get("task_id")
    if not ledger_url or not task:
        raise InvalidParameter("give a run folder with a task, or --ledger and --task.")
    found, chain = _task_id(task), ledger.existing(ledger_url)
    view = chain.task(found)
    rows: list[dict[str, Any]] = []
    for number in range(1, view.opened + 1):
        one = chain.round(found, number)
        rows.append(
            {
                "round": number, "phase": one.phase.name.lower(), "count": one.count,
                "excluded": one.excluded, "final_at": one.final_at, "model_root": one.next_root.hex(),
            }
        )  # fmt: skip
    result = {
        "task_id": task,
        "now": chain.now(),
        "members": view.members,
        "head": view.head,
        "of": view.parameters.rounds,
        "rounds": rows,
    }
    if as_json:
        _print_json(result)
        return
    terminal.show_status(result)


@app.command()
def inspect(
    blob: Annotated[Path, typer.Argument(help="A .blob file of a store.")], as_json: Json = False
) -> None:
    """Say what a blob is, and re-hash it."""
    if not blob.is_file():
        raise InvalidParameter(f"there is no file {blob}. Give a .blob file of a store.")
    try:
        root = bytes.fromhex(blob.stem)
    except ValueError:
        root = b""
    if len(root) != 32:
        raise InvalidParameter(f"{blob.name} is not named by a root, as a store's files are.")
    kept = store.open(str(blob.parent.parent))
    header = kept.header(root)
    words = kept.get(root, header.kind)
    found: dict[str, Any] = {
        "root": root.hex(), "kind": header.kind.name.lower(), "words": header.count,
        "leaf_words": header.leaf_words, "leaves": header.leaves, "bytes": header.total_bytes,
        "intact": True,
    }  # fmt: skip
    if header.kind == Kind.DOCUMENT:
        found["text"] = words[:200].tobytes().decode("ascii", "replace")
    else:
        found |= {
            "min": int(words.min()),
            "max": int(words.max()),
            "zeros": int((words == 0).sum()),
        }
    _result(found, as_json, "blob")


@app.command()
def version(as_json: Json = False) -> None:
    """Show the version."""
    _result({"version": __version__}, as_json, "tallystick")


def _task(chain: ledger.Ledger, task: bytes) -> dict[str, Any]:
    view = chain.task(task)
    shown = {
        name: "0x" * (len(value) == 20) + value.hex() if isinstance(value, bytes) else value
        for name, value in vars(view.parameters).items()
    }
    return {
        "task_id": task.hex(),
        "members": view.members,
        "opened": view.opened,
        "head": view.head,
        **shown,
    }


def _hostile(texts: list[str]) -> dict[int, str]:
    found: dict[int, str] = {}
    for text in texts:
        index, separator, kind = text.partition(":")
        if not separator or not index.isdecimal():
            raise InvalidParameter(f"--hostile {text!r} is not MEMBER:KIND, as in 3:wrong_root.")
        found[int(index)] = kind
    return found


def _task_id(text: str) -> bytes:
    try:
        task = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        task = b""
    if len(task) != 32:
        raise InvalidParameter(f"{text!r} is no task id: it needs 64 hexadecimal digits.")
    return task


def _address(text: str) -> bytes:
    try:
        address = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        address = b""
    if len(address) != 20:
        raise InvalidParameter(f"{text!r} is no address: it needs 40 hexadecimal digits.")
    return address


def _result(found: dict[str, Any], as_json: bool, title: str) -> None:
    if as_json:
        _print_json(found)
    else:
        terminal.show(found, title)


def _print_json(found: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(found) + "\n")


def main() -> None:
    """Run the command line; every error becomes a line that names cause and remedy, and an exit code."""
    try:
        # An exit code that a command asks for is returned here, not raised.
        if code := app(standalone_mode=False):
            sys.exit(code)
    except TallystickError as error:
        _fail(error, error.exit_code)
    except typer.Exit as done:
        sys.exit(done.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        _fail("stopped. A demo carries on with tallystick demo --resume RUN_DIR.", 2)
    except Exception as error:
        if hasattr(error, "format_message"):
            # A bare group shows its help, and has nothing to add.
            if not error.format_message():
                sys.exit(2)
            _fail(error.format_message(), 2)
        if "TALLYSTICK_DEBUG" in os.environ:
            raise
        _fail(f"{type(error).__name__}: {error}. Set TALLYSTICK_DEBUG=1 to see where.", 2)


def _fail(said: object, code: int) -> None:
    terminal.show_error(str(said))
    if "--json" in sys.argv:
        _print_json({"error": str(said), "exit": code})
    sys.exit(code)
