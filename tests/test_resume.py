"""A run that is killed at any moment carries on and ends with the same model."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import demo, tallystick

SETTINGS = ("--members", "3", "--rounds", "4")


def kill_and_resume(
    folder: Path, seconds: float, *arguments: str
) -> tuple[bool, dict[str, object]]:
    """Start a demo, kill -9 it after some seconds, resume it; whether the kill hit, and what it ended with."""
    command = [sys.executable, "-m", "tallystick", "demo", "--run-dir", str(folder), "--json"]
    process = subprocess.Popen(
        [*command, *SETTINGS, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(seconds)
    hit = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    if not (folder / "run.json").exists():
        return hit, demo(folder, *SETTINGS, *arguments)
    done = tallystick("demo", "--resume", folder, "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    return hit, json.loads(done.stdout)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, float]:
    """Model root of a run that nobody killed, and how long it took."""
    began = time.monotonic()
    found = demo(tmp_path_factory.mktemp("calm") / "run", *SETTINGS)
    return str(found["model_root"]), time.monotonic() - began


def test_resuming_a_finished_run_changes_nothing(
    tmp_path: Path, undisturbed: tuple[str, float]
) -> None:
    """Resuming what is finished gives the same result and sends nothing."""
    demo(tmp_path / "run", *SETTINGS)
    before = json.loads((tmp_path / "run" / "run.json").read_text())["head"]
    again = json.loads(tallystick("demo", "--resume", tmp_path / "run", "--json").stdout)
    assert again["model_root"] == undisturbed[0]
    assert again["head"] == before


@pytest.mark.parametrize("moment", [0.55, 0.75, 0.9])
def test_killed_and_resumed(tmp_path: Path, undisturbed: tuple[str, float], moment: float) -> None:
    """A few kills within the run: the same model root, and the audit is fine."""
    _, found = kill_and_resume(tmp_path / "run", moment * undisturbed[1])
    assert found["model_root"] == undisturbed[0]
    assert found["audit"] == "ok"


@pytest.mark.slow
@pytest.mark.parametrize("ledger", ["embedded:ledger.sqlite", "hashchain:ledger.sqlite"])
def test_killed_at_twenty_random_moments(
    tmp_path: Path, undisturbed: tuple[str, float], ledger: str
) -> None:
    """kill -9 at 20 random moments of the run, between starting and ending: the same model root every time."""
    rng = random.Random(20)
    hits = 0
    for attempt in range(20):
        seconds = rng.uniform(0.3, 1.0) * undisturbed[1]
        hit, found = kill_and_resume(tmp_path / f"run{attempt}", seconds, "--ledger", ledger)
        hits += hit
        assert found["model_root"] == undisturbed[0], f"killed after {seconds:.2f} s"
        assert found["audit"] == "ok"
    assert hits >= 10
