"""The example: an ordinary Flower app becomes verifiable by the two lines that its patch shows."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from flwr.app import Context, RecordDict

from tallystick import flower, keys, store
from tallystick.flower.local import LocalGrid
from tallystick.flower.settings import close_ledgers
from tallystick.ledger import address_of
from tallystick.roles import auditor, sponsor

EXAMPLE = Path(__file__).parent.parent / "examples" / "quickstart-flower"
MEMBERS = 3
CONFIG = {"rounds": 2, "learning-rate": 0.5}


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    copy = tmp_path / "app"
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns("run", ".flwr", "__pycache__"))
    monkeypatch.syspath_prepend(str(copy))
    yield copy
    for name in [name for name in sys.modules if name.split(".")[0] == "quickstart"]:
        del sys.modules[name]


def run(capsys: pytest.CaptureFixture[str]) -> list[str]:
    for name in [name for name in sys.modules if name.split(".")[0] == "quickstart"]:
        del sys.modules[name]
    importlib.invalidate_caches()
    client = importlib.import_module("quickstart.client_app").app
    server: Any = importlib.import_module("quickstart.server_app").app
    grid = LocalGrid(client, MEMBERS, run_config=CONFIG)
    server(grid, Context(1, 0, {}, RecordDict(), dict(CONFIG)))
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("round ")]


def test_two_lines_make_the_example_verifiable(
    example: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Promise: the patch applies, changes two lines and two imports, and the app trains as before, with a run that audits."""
    before = run(capsys)
    patch = (example / "verifiable.patch").read_text()
    subprocess.run(["patch", "-p1"], cwd=example, input=patch.encode(), check=True)
    shown = (EXAMPLE.parent.parent / "docs" / "flower.md").read_text()
    changed = [line for line in patch.splitlines() if line[:1] in "+-" and line[1:2] not in "+-"]
    assert all(line in shown for line in changed)
    assert len([line for line in changed if line[1:].strip()]) == 6

    for role in ("sponsor", "server", *map(str, range(MEMBERS))):
        keystore(tmp_path / "keys" / f"{role}.json", role)
    (tmp_path / "passphrase").write_text("secret\n")
    url, kept = f"embedded:{tmp_path / 'ledger.sqlite'}", store.open(str(tmp_path / "store"))
    initial = importlib.import_module("quickstart.task").initial()
    chain = flower.ledger_at(url)
    task = sponsor.create_task(
        chain,
        kept,
        keys.load(tmp_path / "keys" / "sponsor.json", "secret"),
        initial,
        members=[
            address_of(keys.load(tmp_path / "keys" / f"{k}.json", "secret")) for k in range(MEMBERS)
        ],
        rounds=10,
    )
    monkeypatch.setenv("TALLYSTICK_LEDGER", url)
    monkeypatch.setenv("TALLYSTICK_STORE", kept.url)
    monkeypatch.setenv("TALLYSTICK_TASK", task.hex())
    monkeypatch.setenv("TALLYSTICK_KEYSTORE", str(tmp_path / "keys" / "{partition-id}.json"))
    monkeypatch.setenv("TALLYSTICK_PASSPHRASE_FILE", str(tmp_path / "passphrase"))
    try:
        assert run(capsys) == before
        assert len(before) == 2
        assert len(auditor.audit(chain, kept, task).rounds) == 2
    finally:
        close_ledgers()


def keystore(path: Path, seed: str) -> None:
    """A keystore that opens fast: its key derivation is as weak as the test is short."""
    path.parent.mkdir(exist_ok=True)
    key = keys.demo(3, seed, 0).key
    path.write_text(json.dumps(Account.encrypt(key, "secret", kdf="pbkdf2", iterations=1)))
