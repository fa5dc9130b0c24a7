"""Memory of this process, as Linux tells it in /proc/self/status."""

from __future__ import annotations

import threading
from pathlib import Path


class Memory:
    """Peaks of this process, in bytes: watched from construction on, the resident one by the kernel from the process's start."""

    def __init__(self) -> None:
        self._start = status("RssAnon"), status("VmRSS")
        self._anonymous, self._mapped = 0, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def peaks(self) -> dict[str, int]:
        """Stop watching; anonymous and resident bytes above the start."""
        found = self.totals()
        return {
            "anonymous": found["anonymous"] - self._start[0],
            "resident": found["resident"] - self._start[1],
        }

    def totals(self) -> dict[str, int]:
        """Stop watching; anonymous bytes, bytes of mapped files, and resident bytes (their sum, where both peak at once)."""
        self._stop.set()
        self._thread.join()
        self._look()
        return {
            "anonymous": self._anonymous,
            "mapped": self._mapped,
            "resident": status("VmHWM"),
        }

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            self._look()

    def _look(self) -> None:
        found = _all()
        self._anonymous = max(self._anonymous, found["RssAnon"])
        self._mapped = max(self._mapped, found["RssFile"])


def status(field: str) -> int:
    """A field of this process's memory, in bytes. Raises `OSError` where the system does not tell."""
    found = _all()
    if field not in found:
        raise OSError(f"no {field} in /proc/self/status: run this on Linux.")
    return found[field]


def _all() -> dict[str, int]:
    rows = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {row[0][:-1]: int(row[1]) * 1024 for row in rows if row[-1] == "kB"}
