"""What several test files need."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tallystick import errors, keys
from tallystick.ledger import address_of
from tallystick.ledger.ethereum import EthereumLedger
from tallystick.ledger.networks import Network

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


def find_anvil() -> str | None:
    found = sorted((ROOT / "contracts" / "node_modules" / "@foundry-rs").glob("anvil-*/bin/anvil"))
    return str(found[0]) if found else shutil.which("anvil")


@pytest.fixture(scope="session")
def node() -> Iterator[str]:
    """URL of a fresh anvil with the contract deployed, or a skip that says what is missing."""
    anvil = find_anvil()
    if anvil is None:
        pytest.skip("anvil is not installed: run npm install --no-save in contracts/")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([anvil, "--port", str(port), "--silent"])
    try:
        for _ in range(100):
            try:
                chain = EthereumLedger(Network(f"http://127.0.0.1:{port}"), deployed=False)
                break
            except errors.LedgerUnavailable:
                time.sleep(0.1)
        deployer = keys.demo(5, "sponsor", 0)
        chain.give(address_of(deployer))
        contract = chain.deploy(deployer)
        yield f"http://127.0.0.1:{port}?contract=0x{contract.hex()}"
    finally:
        process.kill()
        process.wait()
