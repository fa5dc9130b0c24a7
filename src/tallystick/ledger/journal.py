"""A journal of rows in SQLite that several processes of one machine append to, one at a time.

A row is written durably (WAL, synchronous=FULL) or not at all, so a process killed at any moment leaves a journal that
reopens to the same state. What a row means is the ledger's business: it replays those it has not seen.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import JournalMismatch, LedgerUnavailable, StoreUnavailable

SCHEMA = """
CREATE TABLE IF NOT EXISTS kind (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS journal (
    number INTEGER PRIMARY KEY, time INTEGER NOT NULL, body BLOB NOT NULL, seal BLOB NOT NULL
) STRICT;
"""


@dataclass(frozen=True)
class Row:
    """Block `number` at `time`: what was said, and the hash that seals it."""

    number: int
    time: int
    body: bytes
    seal: bytes


class Journal:
    """An open journal. `kind` names the ledger and its settings; a file of another kind is refused."""

    def __init__(self, path: str, kind: str) -> None:
        self.path = path or ":memory:"
        try:
            if path:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                self.path, timeout=60, isolation_level=None, check_same_thread=False
            )
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(SCHEMA)
            self._db.execute(
                "INSERT INTO kind SELECT ? WHERE NOT EXISTS (SELECT 1 FROM kind)", (kind,)
            )
            found = [name for (name,) in self._db.execute("SELECT name FROM kind")]
        except (sqlite3.Error, OSError) as error:
            raise _explain(self.path, error) from error
        if found != [kind]:
            raise JournalMismatch(
                f"{self.path} is a journal of {', '.join(map(str, found))}, not of {kind}. "
                "Open it with the settings it was made with, or use another file."
            )

    def rows(self, after: int) -> Iterator[Row]:
        """Rows beyond `after`, in order. Raises `JournalMismatch` where one is missing or has another type."""
        expected = after + 1
        try:
            found = self._db.execute(
                "SELECT number, time, body, seal FROM journal WHERE number > ? ORDER BY number",
                (after,),
            ).fetchall()
        except sqlite3.Error as error:
            raise _explain(self.path, error) from error
        for number, time, body, seal in found:
            if number != expected:
                raise JournalMismatch(
                    f"{self.path}: row {expected} is missing (row {number} follows)."
                )
            yield Row(number, time, bytes(body), bytes(seal))
            expected += 1

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the journal: nobody else appends until this ends. An exception rolls back."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise _explain(self.path, error) from error
        try:
            yield
        except BaseException:
            if self._db.in_transaction:  # SQLite has rolled back by itself where the disk was full.
                self._db.execute("ROLLBACK")
            raise
        try:
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise _explain(self.path, error) from error

    def append(self, row: Row) -> None:
        """Add a row; only inside `writing`."""
        try:
            self._db.execute(
                "INSERT INTO journal VALUES (?, ?, ?, ?)",
                (row.number, row.time, row.body, row.seal),
            )
        except sqlite3.Error as error:
            raise _explain(self.path, error) from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _explain(path: str, error: Exception) -> Exception:
    said = str(error)
    if "full" in said or "No space" in said:
        return StoreUnavailable(
            f"cannot write {path}: the disk is full. Free some space and run again; nothing is lost."
        )
    if "malformed" in said or "not a database" in said or "corrupt" in said:
        return JournalMismatch(f"{path} is damaged: {said}. Restore it from a copy.")
    if "locked" in said:
        return LedgerUnavailable(f"{path} is held by another process for over a minute: {said}.")
    return LedgerUnavailable(f"cannot use {path}: {said}. Check the path and its permissions.")
