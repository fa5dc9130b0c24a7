"""What several test files need."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


def tallystick(*arguments: object, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "tallystick", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=600, **kwargs
    )


def demo(folder: Path, *arguments: object) -> dict[str, Any]:
    """Run a demo with --json and return what it printed; fails with its errors if it did."""
    done = tallystick("demo", "cancer", "--run-dir", folder, "--json", *arguments)
    assert done.returncode == 0, done.stderr + done.stdout
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished demo of three members and three rounds. Copy it before changing it."""
    folder = tmp_path_factory.mktemp("run") / "demo"
    demo(folder, "--members", 3, "--rounds", 3)
    return folder
