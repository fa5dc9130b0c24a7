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


def blobs(folder: Path) -> int:
    """Files in a run's store: they grow in number from the first moment to the last, on a fast machine or a slow one."""
    return sum(1 for found in (folder / "store").rglob("*") if found.is_file())


def kill_and_resume(
    folder: Path, moment: int, delay: float, *arguments: str
) -> tuple[bool, dict[str, object]]:
    """Start a demo, kill -9 it some seconds after its store holds `moment` blobs, resume it.

    Returns whether the kill hit, and what the run ended with.
    """
    command = [sys.executable, "-m", "tallystick", "demo", "--run-dir", str(folder), "--json"]
    process = subprocess.Popen(
        [*command, *SETTINGS, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and blobs(folder) < moment:
        time.sleep(0.002)
    time.sleep(delay)
    hit = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    if not (folder / "run.json").exists():
        return hit, demo(folder, *SETTINGS, *arguments)
    done = tallystick("demo", "--resume", folder, "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    return hit, json.loads(done.stdout)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, int]:
    """Model root of a run that nobody killed, and how many blobs it left."""
    folder = tmp_path_factory.mktemp("calm") / "run"
    return str(demo(folder, *SETTINGS)["model_root"]), blobs(folder)


def test_resuming_a_finished_run_changes_nothing(
    tmp_path: Path, undisturbed: tuple[str, int]
) -> None:
    """Resuming what is finished gives the same result and sends nothing."""
    demo(tmp_path / "run", *SETTINGS)
    before = json.loads((tmp_path / "run" / "run.json").read_text())["head"]
    again = json.loads(tallystick("demo", "--resume", tmp_path / "run", "--json").stdout)
    assert again["model_root"] == undisturbed[0]
    assert again["head"] == before


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_killed_and_resumed(tmp_path: Path, undisturbed: tuple[str, int], share: float) -> None:
    """A few kills within the run: the same model root, and the audit is fine."""
    hit, found = kill_and_resume(tmp_path / "run", int(share * undisturbed[1]), 0.0)
    assert hit
    assert found["model_root"] == undisturbed[0]
    assert found["audit"] == "ok"


@pytest.mark.slow
@pytest.mark.parametrize("ledger", ["embedded:ledger.sqlite", "hashchain:ledger.sqlite"])
def test_killed_at_twenty_random_moments(
    tmp_path: Path, undisturbed: tuple[str, int], ledger: str
) -> None:
    """kill -9 at 20 random moments of the run, between starting and ending: the same model root every time."""
    rng = random.Random(20)
    hits = 0
    for attempt in range(20):
        moment, delay = rng.randint(0, undisturbed[1]), rng.uniform(0, 0.03)
        hit, found = kill_and_resume(tmp_path / f"run{attempt}", moment, delay, "--ledger", ledger)
        hits += hit
        assert found["model_root"] == undisturbed[0], f"killed {delay:.3f} s after {moment} blobs"
        assert found["audit"] == "ok"
    assert hits >= 15
