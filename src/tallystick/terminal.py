"""What people see in a terminal: progress on stderr, results on stdout. Identifiers are never cut, so that they can be copied."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

out = Console()
err = Console(stderr=True)


class Told:
    """Progress on stderr: a line per round, bars of rounds and of the audit while they run; nothing with --json."""

    def __init__(self, quiet: bool) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=err, disable=quiet, transient=True,
        )  # fmt: skip
        self._quiet = quiet
        self._tasks: dict[str, Any] = {}
        self._members = self._rounds = 0

    def __enter__(self) -> Told:
        return self

    def __exit__(self, *_: object) -> None:
        if self._tasks:
            self._bar.stop()

    def __call__(self, phase: str, told: dict[str, Any]) -> None:
        if self._quiet:
            return
        if phase == "audit":
            (what, done), (_, of) = list(told.items())[:2]
            self._advance(f"audit: {what}", done, of)
        elif phase == "round":
            metrics = told["metrics"].get("evaluate", {})
            figures = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
            if "members" in told:
                counted = len(told["members"])
                people = f"{counted} of {self._members} members"
                colour = "yellow" if counted < self._members else "default"
            else:
                people, colour = "before training", "default"
            err.print(
                f"round {told['round']:>3}  [{colour}]{people:<16}[/{colour}]  {figures}",
                highlight=False,
            )
            self._advance("rounds", told["round"], self._rounds)
        elif phase == "refuted":
            for line in story(told):
                err.print(f"  [red]{_escape(line)}[/red]", highlight=False, soft_wrap=True)
        elif phase == "setup":
            self._members, self._rounds = told["members"], told["rounds"]
            err.print(
                f"setting up: a ledger, a task, {told['members']} members with keys",
                highlight=False,
            )
        elif phase == "finality":
            err.print("waiting for the challenge windows, then auditing", highlight=False)

    def _advance(self, name: str, done: int, of: int) -> None:
        # Started only now: a bar that had nothing to show would leave an empty line, as any bar does in a file.
        if not err.is_terminal:
            return
        self._bar.start()
        if name not in self._tasks:
            self._tasks[name] = self._bar.add_task(name, total=of)
        self._bar.update(self._tasks[name], completed=done, total=of)


def story(lie: dict[str, Any]) -> list[str]:
    """What happened when a proposal was refuted, in plain lines."""
    where = ""
    if lie["leaf"] is not None:
        where = (
            f": tensor {lie['tensor']} at {lie['index']} (leaf {lie['leaf']}) claims {lie['claimed']}, "
            f"right is {lie['right']}"
        )
    first = f"round {lie['round']} was a lie{where}"
    if lie["challenger"] is None:
        return [
            f"{first} ({lie['fault']}: {lie['said']})",
            f"{lie['proposer']} proposed it, behind a bond of {lie['bond'] / 1e18:g} ether; "
            f"its refutation earns {lie['bounty'] / 1e18:g}",
        ]
    price = f" of {lie['gas']:,} gas" if lie["gas"] else ""
    return [
        first,
        f"{lie['challenger']} refuted it in one transaction{price} ({lie['fault']}: {lie['said']})",
        f"{lie['proposer']} lost its bond of {lie['bond'] / 1e18:g} ether, {lie['bounty'] / 1e18:g} of it to the challenger; "
        f"later rounds voided and done again: {lie['voided']}",
    ]


def show_verdict(told: dict[str, Any]) -> None:
    """What a validator found of one proposal."""
    if told["verdict"] == "right":
        out.print(f"round {told['round']:>3}  right", highlight=False)
    elif told["verdict"] == "hidden":
        said = _escape(told["hidden"])
        out.print(
            f"round {told['round']:>3}  [yellow]cannot be judged[/yellow]: {said}"
            + (f" ({told['demanded']} pieces demanded)" if told["demanded"] else ""),
            highlight=False,
            soft_wrap=True,
        )
    else:
        for line in story(told):
            out.print(f"[red]{_escape(line)}[/red]", highlight=False, soft_wrap=True)


def show_demo(result: dict[str, Any], page: Path) -> None:
    """The result of a demo: its members, headline figures, tampering if any, audit and report."""
    out.print(
        f"[bold]{result['title']}[/bold]: {result['rounds']} rounds among {len(result['members'])} members",
        highlight=False,
    )
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("", justify="right")
    table.add_column("member", no_wrap=True, min_width=42)
    table.add_column("weight", justify="right")
    table.add_column("status", no_wrap=True)
    for member in result["members"]:
        table.add_row(
            str(member["index"]),
            member["address"],
            str(member["weight"] or ""),
            member["status"],
            style="yellow" if member["status"] != "counted" else None,
        )
    out.print(table)
    for member in result["members"]:
        if member["reasons"]:
            signed = [f"signed as {member['signed_as']}"] if "signed_as" in member else []
            why = "; ".join(member["reasons"] + signed)
            out.print(f"member {member['index']} left out: {why}", highlight=False, soft_wrap=True)
    value = result["metrics"].get(result["metric"])
    headline = f"{result['metric']} {value:.4f}" if value is not None else "no metrics"
    out.print(
        f"held-out {headline}, loss {result['metrics'].get('loss', float('nan')):.4f}",
        highlight=False,
    )
    out.print(f"task  {result['task_id']}\nmodel {result['model_root']}", highlight=False)
    out.print(f"gas   {result['gas']['total']:,} in all", highlight=False)
    for lie in result.get("lies", []):
        for line in story(lie):
            out.print(_escape(line), highlight=False, soft_wrap=True)
    if "tamper" in result:
        told = result["tamper"]
        out.print(
            f"tampered, in a copy of the store, with one weight of member {told['flipped']['member']} in round "
            f"{told['flipped']['round']}; the copy's audit says:",
            highlight=False,
            soft_wrap=True,
        )
        said = _escape(told["finding"]) or "nothing: the change was NOT FOUND"
        out.print(f"  [red]{said}[/red]", highlight=False, soft_wrap=True)
    out.print(
        f"audit [green]{result['audit']}[/green]: {result['blobs']} blobs and every round recomputed, "
        f"{result['seconds']['total']:.1f} s in all",
        highlight=False,
    )
    out.print(f"report {page}", highlight=False, soft_wrap=True)


def show_status(result: dict[str, Any]) -> None:
    """How far a task has come."""
    out.print(f"task {result['task_id']}", highlight=False, soft_wrap=True)
    out.print(
        f"{result['members']} members, round {result['head']} of {result['of']}, "
        f"the ledger's clock at {_moment(result['now'])}",
        highlight=False,
    )
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("round", justify="right")
    table.add_column("phase")
    table.add_column("members", justify="right")
    table.add_column("excluded", justify="right")
    table.add_column("final at")
    table.add_column("model root")
    for row in result["rounds"]:
        table.add_row(
            str(row["round"]),
            str(row["phase"]),
            str(row["count"]),
            str(row["excluded"]),
            _moment(int(row["final_at"])) if row["final_at"] else "",
            f"{row['model_root'][:16]}…" if row["final_at"] else "",
        )
    out.print(table)


def show(found: dict[str, Any], title: str) -> None:
    """A result as names and values."""
    # No table: identifiers are there to be copied, and a table would cut them to the width of the screen.
    out.print(f"[bold]{title}[/bold]")
    width = max(map(len, found))
    for name, value in found.items():
        parts = value.items() if isinstance(value, dict) else [("", value)]
        said = ", ".join(f"{key} {each}".strip() for key, each in parts)
        out.print(
            f"  {name.replace('_', ' '):<{width}}  {said}",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )


def show_error(said: str) -> None:
    """Cause and remedy of what went wrong, on stderr."""
    err.print(f"[bold red]error[/bold red] {_escape(said)}", highlight=False, soft_wrap=True)


def _moment(seconds: int) -> str:
    """A ledger's time: a date where it tells the time of day, seconds where its clock is virtual."""
    if seconds < 10**9:
        return f"{seconds} s"
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _escape(text: str) -> str:
    return text.replace("[", "\\[")
