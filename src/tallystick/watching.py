"""The validator's command: judges what aggregators propose, and refutes what is false, until everything is final."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from . import keys, ledger, store, terminal
from .errors import InvalidParameter, LedgerUnavailable
from .ledger import Ledger, Signer
from .protocol import Phase
from .roles import sponsor
from .roles.validator import Validator, tell
from .run import RunFolder
from .store import Store

MOST = 60.0
"""Seconds between two tries, at most, where the ledger does not answer."""


def validate(
    run_dir: Annotated[Path | None, typer.Argument(help="A run folder.")] = None,
    ledger_url: Annotated[
        str | None, typer.Option("--ledger", help="Ledger URL or network.")
    ] = None,
    store_url: Annotated[str | None, typer.Option("--store", help="Store URL.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="Task id, in hex.")] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Judge what is there and stop; exit with 1 if it lies.")
    ] = False,
    every: Annotated[float, typer.Option(help="Seconds between two looks at the ledger.")] = 2.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Judge and tell, send nothing; needs no key.")
    ] = False,
    stake: Annotated[
        float,
        typer.Option(help="Ether to have at stake, for a vote on what is right (0: no vote)."),
    ] = 0.0,
    threads: Annotated[int, typer.Option(help="Threads that combine updates; changes no bit.")] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a verdict on stdout.")
    ] = False,
) -> None:
    """Recompute every proposal that can still be refuted: refute a false one, demand a hidden one, attest a right one."""
    if every <= 0 or threads < 1:
        raise InvalidParameter("--every is more than 0 seconds, --threads at least 1.")
    key: Signer | None = None
    if run_dir is not None and not (ledger_url or store_url or task):
        folder = RunFolder(run_dir)
        settings = folder.read()
        ledger_url, store_url = folder.ledger_url(), folder.store_url
        task = settings.get("task_id")
        if task is None:
            raise InvalidParameter(
                f"{run_dir} was stopped before its task existed. Finish it: tallystick demo --resume {run_dir}"
            )
        if not dry_run:
            key = _key(settings)
    elif ledger_url and store_url and task and run_dir is None:
        key = None if dry_run else keys.from_environment()
    else:
        raise InvalidParameter("give a run folder, or all of --ledger, --store and --task.")
    logging.getLogger("tallystick").setLevel(logging.ERROR)  # The verdicts say it all.
    chain, kept = ledger.existing(ledger_url), store.open(store_url)
    try:
        if key is not None and stake > 0:
            sponsor.stake(chain, key, _task_id(task), sponsor.wei(stake))
        found = _Watch(chain, kept, key, _task_id(task), threads, as_json)
        lies = found.look() if once else found.run(every)
    except KeyboardInterrupt:
        terminal.err.print("stopped", highlight=False)
        lies = 0
    finally:
        chain.close()
    if once and lies:
        raise typer.Exit(1)


class _Watch:
    """Tells each verdict once: what is hidden is judged again at every look, and told again when something else is missing."""

    def __init__(
        self, chain: Ledger, kept: Store, key: Signer | None, task: bytes, threads: int, json: bool
    ) -> None:
        self._ledger, self._store, self._task, self._json = chain, kept, task, json
        self._validator = Validator(chain, kept, key, task, threads=threads)
        self._told: dict[int, str] = {}
        p = self._validator.parameters
        who = f"as {key.address.lower()}" if key else "without a key: nothing is sent"
        self._say(
            f"watching task {task.hex()} {who}; a refutation earns "
            f"{p.bond * p.bounty // 100 / 1e18:g} ether"
        )

    def look(self) -> int:
        """Judge what is new; return how many lies there were."""
        lies = 0
        for verdict in self._validator.watch():
            told = tell(verdict, self._ledger, self._store, self._task)
            lies += told["verdict"] == "lie"
            if verdict.hidden is None or self._told.get(verdict.number) != verdict.hidden:
                self._show(told)
            self._told[verdict.number] = verdict.hidden or ""
        return lies

    def run(self, every: float) -> int:
        """Look again and again until the task is complete and final; return how many lies there were."""
        lies = 0
        pauses = _pauses(every)
        while True:
            pause = every
            try:
                lies += self.look()
                if self._is_over():
                    self._say("the task is complete and final")
                    return lies
                pauses = _pauses(every)
            except LedgerUnavailable as error:
                pause = next(pauses)
                self._say(f"{error} Trying again in {pause:g} s.")
            time.sleep(pause)

    def _is_over(self) -> bool:
        view = self._ledger.task(self._task)
        head = self._ledger.round(self._task, view.head)
        return (
            view.pending == 0
            and head.phase == Phase.FINAL
            and head.height == view.parameters.rounds
        )

    def _show(self, told: dict[str, Any]) -> None:
        if self._json:
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()
        else:
            terminal.show_verdict(told)

    def _say(self, what: str) -> None:
        terminal.err.print(what, highlight=False, soft_wrap=True, markup=False)


def _pauses(every: float) -> Iterator[float]:
    pause = max(every, 0.5)
    while True:
        yield min(pause, MOST)
        pause *= 2


def _key(settings: dict[str, Any]) -> Signer:
    """The key of the environment, or for a demo's folder the demo's own, which everybody knows."""
    if keys.ENV_KEYSTORE in os.environ or "seed" not in settings:
        return keys.from_environment()
    terminal.err.print(
        f"no {keys.ENV_KEYSTORE} is set: acting with the demo's own validator key, which follows from its seed",
        highlight=False,
        soft_wrap=True,
    )
    return keys.demo(int(settings["seed"]), "validator", 0)


def _task_id(text: str) -> bytes:
    try:
        task = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        task = b""
    if len(task) != 32:
        raise InvalidParameter(f"{text!r} is no task id: it needs 64 hexadecimal digits.")
    return task
