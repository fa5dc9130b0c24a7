"""Nodes that fail, disks that fill, clocks that are wrong: survived, or refused with a clear message, and nothing happens twice."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from town import Line, Party, Town, expected

from conftest import demo, tallystick
from tallystick.protocol import Open
from tallystick.run import RunFolder

pytestmark = pytest.mark.slow


def begin(town: Town, **faults: object) -> tuple[Line, list[Party]]:
    """Everybody at work through a line that may have faults: each has done or said something in the first round."""
    line = town.line()
    line.fault(**faults)
    running = [*town.everybody(line.url), town.validator(url=line.url)]
    for party, word in zip(running, ["did"] * len(running[:-1]) + ["watching"], strict=True):
        town.until_said(party, word)
    return line, running


def end(town: Town, line: Line, running: list[Party]) -> None:
    """The honest end: the right model, no transaction in vain, and none signed that did not count."""
    assert town.finish(*running) == expected(range(3), town.rounds)
    assert town.failed() == []
    signed = [sent for sent in town.sent() if sent.sender in town.honest]
    assert len(set(line.sent())) == len(signed)


def test_a_node_that_is_down_for_a_while(tmp_path: Path) -> None:
    """Promise: while the node is gone everybody says so and waits; when it is back the run goes on."""
    with Town(tmp_path, 3, 2) as town:
        line, running = begin(town)
        line.fault(down=True)
        for party in running:
            town.until_said(party, "rying again")
            assert "no answer from http://127.0.0.1" in party.said()
        line.fault()
        end(town, line, running)


def test_a_node_that_is_not_there(tmp_path: Path) -> None:
    """Promise: who starts while the node is gone is told so, and starts well when it is back."""
    with Town(tmp_path, 3, 2) as town:
        line = town.line()
        line.fault(down=True)
        for party in town.everybody(line.url):
            assert party.code() == 2
            assert "Is the node running" in party.said()
        line.fault()
        assert town.sent()[-1].sender == town.account("sponsor")
        end(town, line, town.everybody(line.url))


FAULTS: dict[str, dict[str, Any]] = {
    "slow": {"slow": 0.05},
    "twice": {"twice": True},
    "shuffled": {"shuffle": True},
    "cut short": {"cut": "bytes", "share": 0.2},
    "cut as if whole": {"cut": "json", "share": 0.2},
    "429": {"status": 429, "share": 0.2},
    "502": {"status": 502, "share": 0.2},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_answers_that_fail(tmp_path: Path, fault: str) -> None:
    """Promise: slow, repeated, shuffled, cut and refused answers are asked for again, and no transaction is made twice."""
    with Town(tmp_path, 3, 2) as town:
        line, running = begin(town)
        line.fault(**FAULTS[fault])
        end(town, line, running)
        assert line.hit() > 0


def test_a_node_that_is_behind(tmp_path: Path) -> None:
    """Promise: answers from older blocks, mixed with newer ones, make nobody act twice, and no honest aggregator a liar."""
    with Town(tmp_path, 3, 3) as town:
        line, running = begin(town)
        line.fault(lag=3, share=0.4)
        assert town.finish(*running) == expected(range(3), 3)
        assert town.failed() == []
        assert town.refutations() == []
        assert line.hit() > 0


@pytest.mark.parametrize("hours", [-1, 1], ids=["behind", "ahead"])
def test_a_chain_with_another_clock(tmp_path: Path, hours: int) -> None:
    """Promise: windows are the chain's: that its clock is an hour off this machine's does not matter."""
    start = int(time.time()) + 3600 * hours
    with Town(tmp_path, 3, 2, ("--timestamp", start)) as town:
        assert abs(town.chain.now() - start) < 600
        line = town.line()
        end(town, line, [*town.everybody(line.url), town.validator(url=line.url)])


def test_a_clock_that_jumps(tmp_path: Path) -> None:
    """Promise: a chain's clock that jumps within a window changes nothing."""
    with Town(tmp_path, 3, 2) as town:
        line, running = begin(town)
        town.pass_time(1800)
        end(town, line, running)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of that size at `folder`; skips where none may be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here: run as root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take all the space that is left; remove the file to give it back."""
    path = folder / "filler"
    with path.open("wb", 0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
    return path


@pytest.mark.parametrize("which", ["own-0", "shared"])
def test_a_full_disk(tmp_path: Path, which: str) -> None:
    """Promise: on a full disk a process says what to do and ends with 2; with space again, the same command goes on."""
    with small_disk(tmp_path / which, "512k") as disk, Town(tmp_path, 3, 2) as town:
        line, running = begin(town, hold=town.calldata(Open(town.task, 2)))
        town.until(lambda: line.hit() > 0, "the second round")
        filler = fill(disk)
        line.fault()
        full = running[:1] if which == "own-0" else running[:4]
        town.until(lambda: any(party.process.poll() is not None for party in full), "a full disk")
        for party in full:
            if party.process.poll() is None:
                party.kill()
                continue
            assert party.code() == 2
            assert "No space left on device. Free some space and run again" in party.said()
        filler.unlink()
        again = (
            town.everybody(line.url)[: len(full)]
            if which == "shared"
            else [town.member(0, url=line.url)]
        )
        end(town, line, [*again, *running[len(full) :]])


def test_a_limit_on_files(tmp_path: Path) -> None:
    """Promise: where no file may grow, as under a quota, the cause and the remedy are told, and the same command works after."""
    with Town(tmp_path, 1, 1) as town:
        line = town.line()
        party = town.member(0, url=line.url)
        command, env = party.process.args, town.environment("member", 0)
        party.kill()

        def limited() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

        done = subprocess.run(
            [*command[:-1], "--json", "--own", str(tmp_path / "limited")],
            capture_output=True, text=True, env=os.environ | env, check=False, timeout=60,
            cwd=Path(__file__).parent, preexec_fn=limited,
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        said = json.loads(done.stdout.splitlines()[-1])["error"]
        assert "File too large" in said
        assert "limit" in said
        own = town.member(0, url=line.url, own=tmp_path / "limited")
        assert town.finish(own, town.aggregator(url=line.url)) == expected([0], 1)


def test_a_full_disk_under_a_run_folder(tmp_path: Path) -> None:
    """Promise: a demo whose disk is full says so and ends with 2; with space again it is carried on to the same model."""
    settings = ("--members", 3, "--rounds", 3)
    honest = demo(tmp_path / "honest", *settings)["model_root"]
    for size in (
        "120k",
        "200k",
        "300k",
    ):  # Full in the first round, in a later one, and at the report.
        with small_disk(tmp_path / size, size) as disk:
            done = tallystick("demo", "cancer", "--run-dir", disk / "run", "--json", *settings)
            assert done.returncode == 2, done.stderr
            assert "Free some space" in json.loads(done.stdout.splitlines()[-1])["error"]
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            done = tallystick("demo", "--resume", disk / "run", "--json")
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["model_root"] == honest
            assert len(RunFolder(disk / "run").rounds()) == 4
