"""A run folder: what was asked for, what was reached, and where everything lies.

    run.json         settings, written first; task, head of the ledger and model root, written as they are reached
    rounds.jsonl     one line per round, synced
    ledger.sqlite    the journal of an embedded or hashchain ledger
    store/           blobs
    report.html      for people

Paths inside are relative to the folder, so that it can be moved and sent.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import InvalidParameter, StoreUnavailable

SETTINGS = "run.json"
ROUNDS = "rounds.jsonl"
STORE = "store"
JOURNAL = "ledger.sqlite"
REPORT = "report.html"
VERSION = 1


@dataclass(frozen=True)
class RunFolder:
    """An existing run folder."""

    path: Path

    @property
    def store_url(self) -> str:
        return f"file:{self.path / STORE}"

    @property
    def report(self) -> Path:
        return self.path / REPORT

    def ledger_url(self) -> str:
        """The ledger's URL with its path made absolute."""
        return absolute_ledger(str(self.read()["ledger"]), self.path)

    def read(self) -> dict[str, Any]:
        """What run.json says. Raises `InvalidParameter` if it is absent or unreadable."""
        try:
            found = json.loads((self.path / SETTINGS).read_text())
        except FileNotFoundError:
            raise InvalidParameter(
                f"{self.path} is no run folder: it has no {SETTINGS}. Give the folder that a demo printed; "
                "delete one that was stopped before its run began, and start again."
            ) from None
        except (OSError, ValueError) as error:
            raise InvalidParameter(f"cannot read {self.path / SETTINGS}: {error}.") from None
        if not isinstance(found, dict) or found.get("version") != VERSION:
            raise InvalidParameter(
                f"{self.path / SETTINGS} is of another version of Tallystick. Use that version, or run it again."
            )
        if not isinstance(found.get("ledger"), str):
            raise InvalidParameter(
                f"{self.path / SETTINGS} names no ledger: it was changed. Restore it, or run it again."
            )
        return found

    def update(self, **changes: Any) -> None:
        """Change some of run.json, atomically."""
        _write(self.path / SETTINGS, json.dumps(self.read() | changes, indent=1) + "\n")

    def discard(self) -> None:
        """Take back a folder in which nothing has begun: it is empty again."""
        (self.path / SETTINGS).unlink(missing_ok=True)

    def rounds(self) -> list[dict[str, Any]]:
        """Records of the rounds, the last one of each number, in order; a torn last line is dropped."""
        found: dict[int, dict[str, Any]] = {}
        try:
            lines = (self.path / ROUNDS).read_text().splitlines()
        except FileNotFoundError:
            return []
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            found[int(record["round"])] = record
        return [found[number] for number in sorted(found)]

    def append(self, record: dict[str, Any]) -> None:
        """Add a round's record, synced before this returns."""
        try:
            with (self.path / ROUNDS).open("a+b") as file:
                # A line torn by a kill is ended, so that it spoils nothing after it.
                torn = file.tell() > 0 and _last_byte(file) != b"\n"
                file.write((b"\n" if torn else b"") + json.dumps(record).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _full(self.path / ROUNDS, error) from error


def create(path: Path, **settings: Any) -> RunFolder:
    """Make a run folder. Raises `InvalidParameter` if the folder holds something already."""
    if (path / SETTINGS).exists():
        raise InvalidParameter(
            f"{path} holds a run already. Choose another --run-dir, or continue it with --resume {path}."
        )
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InvalidParameter(f"{path} is no empty folder. Choose another --run-dir.")
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _full(path, error) from error
    _write(path / SETTINGS, json.dumps({"version": VERSION} | settings, indent=1) + "\n")
    return RunFolder(path)


def absolute_ledger(url: str, folder: Path) -> str:
    """A ledger URL as seen from outside the folder that it is relative to."""
    scheme, separator, rest = url.partition(":")
    if scheme in ("embedded", "hashchain") and separator:
        name, mark, query = rest.partition("?")
        if name:
            return f"{scheme}:{folder / name}{mark}{query}"
    return url


def _last_byte(file: Any) -> bytes:
    file.seek(-1, os.SEEK_END)
    last: bytes = file.read(1)
    return last


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        try:
            with temporary.open("x") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise _full(path, error) from error


def _full(path: Path, error: OSError) -> StoreUnavailable:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    remedy = "Free some space and run again." if full else "Check the folder and its permissions."
    return StoreUnavailable(f"cannot write {path}: {error.strerror}. {remedy}")
