"""`tallystick validate` tells right from wrong for anybody, refutes for whoever has a key, and keeps at it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import tallystick
from court import Court
from tallystick import keys, ledger
from tallystick.errors import LedgerUnavailable
from tallystick.ledger import address_of
from tallystick.ledger.ethereum import EthereumLedger
from tallystick.protocol import Phase
from tallystick.roles import finality
from tallystick.watching import _pauses, _Watch


@pytest.fixture
def court(tmp_path: Path) -> Iterator[Court]:
    chain = ledger.open(f"embedded:{tmp_path / 'ledger.sqlite'}")
    yield Court(chain, tmp_path)
    chain.close()


@pytest.fixture
def keystore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A keystore named by the environment; its address."""
    account = keys.new(tmp_path / "key.json", "correct horse")
    monkeypatch.setenv("TALLYSTICK_KEYSTORE", str(tmp_path / "key.json"))
    monkeypatch.setenv("TALLYSTICK_PASSPHRASE", "correct horse")
    return account.address.lower()


def settings(at: Court) -> list[str]:
    return ["--ledger", at.ledger.url, "--store", at.store.url, "--task", at.task.hex()]


def lie(at: Court) -> None:
    at.lie(at.open(), alter_sums=lambda level, index, sums: sums + (level == 2))


def verdicts(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_an_honest_run_is_right(court: Court) -> None:
    """Without a key anybody is told that a proposal is right, and the command exits with 0."""
    court.propose(3, *court.truth(court.open()))
    done = tallystick("validate", *settings(court), "--once", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    (told,) = verdicts(done.stdout)
    assert (told["verdict"], told["round"], told["number"]) == ("right", 1, 1)


def test_a_lie_is_told_without_a_key_and_refuted_with_one(court: Court, keystore: str) -> None:
    """A dry run tells of the lie and sends nothing; with a key it is refuted, and the bounty is the caller's. Both exit with 1."""
    lie(court)
    head = court.ledger.head()
    done = tallystick("validate", *settings(court), "--once", "--dry-run", "--json")
    assert done.returncode == 1, done.stderr
    (told,) = verdicts(done.stdout)
    assert (told["verdict"], told["fault"], told["tensor"]) == ("lie", "sum", "w")
    assert told["claimed"] == told["right"] + 1
    assert (told["challenger"], told["gas"]) == (None, 0)
    assert court.ledger.head() == head
    done = tallystick("validate", *settings(court), "--once")
    assert done.returncode == 1, done.stderr
    assert keystore in done.stdout
    assert "0.005" in done.stderr
    free = court.ledger.balance(bytes.fromhex(keystore[2:])).free
    assert free == court.parameters.bond * court.parameters.bounty // 100
    assert court.ledger.round(court.task, 1).attempt == 1
    done = tallystick("validate", *settings(court), "--once", "--json")
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_hidden_is_named(court: Court) -> None:
    """What cannot be judged is no lie: it is named with what is missing, and the command exits with 0."""
    right = court.open()
    court.propose(3, *court.truth(right))
    court.store.delete(right[1].root)
    done = tallystick("validate", *settings(court), "--once", "--dry-run", "--json")
    assert done.returncode == 0
    (told,) = verdicts(done.stdout)
    assert told["verdict"] == "hidden"
    assert right[1].root.hex() in told["hidden"]


def test_a_run_folder_and_its_demo_key(finished_run: Path) -> None:
    """A finished demo's folder is enough to watch it: the demo's key is used and that is said, and all is final."""
    done = tallystick("validate", finished_run)
    assert done.returncode == 0, done.stderr
    assert "demo's own validator key" in done.stderr
    assert "complete and final" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "run folder"),
        (["/no/such/run"], "no run folder"),
        (["--ledger", "hashchain:", "--store", "x", "--task", "00"], "no task id"),
        (["--ledger", "hashchain:", "--store", "x", "--task", "00" * 32], "UnknownTask"),
        (["--ledger", "hashchain:/no/such", "--store", "x", "--task", "00" * 32], "no ledger"),
        (["--ledger", "http://127.0.0.1:1", "--store", "x", "--task", "00" * 32], "no answer"),
        (["--every", "0"], "more than 0"),
    ],
)
def test_bad_input_exits_2(arguments: list[str], said: str) -> None:
    """Bad input is answered with cause and remedy, and exit code 2."""
    done = tallystick("validate", *arguments, "--dry-run")
    assert done.returncode == 2
    assert said in done.stderr.replace("\n", " ")


def test_without_a_keystore_it_says_what_to_set(court: Court) -> None:
    """Who wants to refute and has no key is told which variable to set."""
    free = {k: v for k, v in os.environ.items() if not k.startswith("TALLYSTICK_KEY")}
    done = tallystick("validate", *settings(court), "--once", env=free)
    assert done.returncode == 2
    assert "TALLYSTICK_KEYSTORE" in done.stderr


def test_a_ledger_that_does_not_answer_is_asked_again(
    court: Court, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trouble with the ledger is told, waited out with growing pauses, and the lie refuted all the same."""
    lie(court)
    watch = _Watch(court.ledger, court.store, court.key, court.task, 1, json=True)
    look, slept = watch.look, []

    def fail() -> int:
        if len(slept) < 3:
            raise LedgerUnavailable("no answer from the node.")
        return look()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 5:
            boss = court.aggregator()
            boss.start(court.base())
            boss.recover()
            finality.settle(court.ledger, court.honest, court.task)
        if len(slept) > 20:
            raise KeyboardInterrupt

    watch.look = fail  # type: ignore[method-assign]
    watch._is_over = lambda: court.ledger.round(court.task, 1).phase == Phase.FINAL  # type: ignore[method-assign]
    monkeypatch.setattr("tallystick.watching.time.sleep", sleep)
    assert watch.run(0.5) == 1
    assert slept[:4] == [0.5, 1.0, 2.0, 0.5]
    shown = capsys.readouterr()
    assert "no answer from the node. Trying again in 2 s." in shown.err.replace("\n", " ")
    assert verdicts(shown.out)[0]["challenger"] == court.key.address.lower()


def test_pauses_grow_to_a_minute() -> None:
    """However long a ledger is silent, it is asked once a minute."""
    pauses = _pauses(2)
    assert [next(pauses) for _ in range(7)] == [2, 4, 8, 16, 32, 60, 60]


def until(true: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def watcher(at: Court, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tallystick", "validate", *settings(at), "--json"]
    with (folder / "told").open("w") as out, (folder / "said").open("w") as err:
        return subprocess.Popen(
            [*command, "--every", "0.2"], stdout=out, stderr=err, text=True, preexec_fn=_interruptible,  # noqa: PLW1509
        )  # fmt: skip


def _interruptible() -> None:
    """A shell has what it starts in the background ignore Ctrl-C, and all that this starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_process_of_its_own_on_a_node(node: str, tmp_path: Path, keystore: str) -> None:
    """On a chain with several processes: the watcher refutes what another proposes, and ends cleanly when it is told to."""
    chain = ledger.open(node)
    assert isinstance(chain, EthereumLedger)
    at = Court(chain, tmp_path, commit_window=1, pay=True)
    chain.give(bytes.fromhex(keystore[2:]))
    process = watcher(at, tmp_path)
    try:
        until(lambda: "watching task" in (tmp_path / "said").read_text())
        lie(at)
        until(lambda: at.ledger.round(at.task, 1).attempt == 1)
        until(lambda: "\n" in (tmp_path / "told").read_text())
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0, (tmp_path / "said").read_text()
    finally:
        process.kill()
    (told,) = verdicts((tmp_path / "told").read_text())
    assert told["challenger"] == keystore
    assert told["gas"] < 350_000
    assert chain.balance(address_of(at.liar)).locked == 0
    assert "stopped" in (tmp_path / "said").read_text()
