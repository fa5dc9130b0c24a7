"""Members that share only a ledger and a store, each a process of its own, train what Flower trains."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import demo
from tallystick import demo as demos
from tallystick import keys, ledger, store
from tallystick.ledger import Ledger, address_of
from tallystick.ledger.ethereum import EthereumLedger
from tallystick.protocol import Phase
from tallystick.roles import auditor
from tallystick.roles.sponsor import create_task

SEED, ROUNDS = 7, 3


def create(chain: Ledger, folder: Path, members: int, window: int) -> bytes:
    """A task of the cancer demo, whose members have money where the chain gives it."""
    job = demos.get("cancer")
    everyone = [keys.demo(SEED, "member", k) for k in range(members)]
    if isinstance(chain, EthereumLedger):
        for key in (keys.demo(SEED, "sponsor", 0), *everyone):
            chain.give(address_of(key))
    return create_task(
        chain, store.open(str(folder / "shared")), keys.demo(SEED, "sponsor", 0), job.initial(SEED),
        members=[address_of(key) for key in everyone], rounds=ROUNDS, slots=4,
        commit_window=window, challenge_window=3,
    )  # fmt: skip


def participate(
    url: str, folder: Path, task: bytes, member: int, members: int
) -> subprocess.Popen[str]:
    command = [
        sys.executable, "-m", "tallystick", "participate", "--ledger", url, "--task", task.hex(),
        "--store", str(folder / "shared"), "--own", str(folder / f"own-{member}"),
        "--demo", f"cancer:{member}:{members}:{SEED}", "--patience", "3", "--every", "0.1", "--json",
    ]  # fmt: skip
    log = (folder / f"member-{member}.log").open("a")
    return subprocess.Popen(command, stdout=log, stderr=log, text=True)


def run(url: str, folder: Path, members: int, kill: bool) -> str:
    """The model root that members come to, one of whom is killed in the second round and started again."""
    chain = ledger.open(url)
    task = create(chain, folder, members, 600)
    processes = [participate(url, folder, task, k, members) for k in range(members)]
    try:
        deadline = time.monotonic() + 600
        while any(each.poll() is None for each in processes):
            assert time.monotonic() < deadline, "the members did not come to an end"
            if kill and chain.task(task).opened == 2:
                processes[0].kill()
                processes[0].wait()
                time.sleep(1)
                processes[0] = participate(url, folder, task, 0, members)
                kill = False
            time.sleep(0.05)
        logs = "".join(path.read_text() for path in folder.glob("*.log"))
        assert all(each.returncode == 0 for each in processes), logs
        head = chain.round(task, chain.task(task).head)
        assert (head.height, head.phase) == (ROUNDS, Phase.FINAL)
        auditor.audit(chain, store.open(str(folder / "shared")), task)
        return head.next_root.hex()
    finally:
        for each in processes:
            each.kill()
            each.wait()
        chain.close()


def expected(folder: Path, members: int) -> object:
    """Flower's model root of the same seeds."""
    return demo(folder, "--members", members, "--rounds", ROUNDS, "--seed", SEED)["model_root"]


@pytest.mark.slow
def test_three_processes_on_an_embedded_ledger(tmp_path: Path) -> None:
    """Three members without a server come to Flower's model root."""
    url = f"embedded:{tmp_path}/ledger.sqlite?clock=wall"
    assert run(url, tmp_path, 3, False) == expected(tmp_path / "flower", 3)


@pytest.mark.slow
def test_five_processes_and_a_node_with_one_killed(tmp_path: Path, node: str) -> None:
    """Five members, a node and a store, one member killed and restarted mid-round: Flower's model root."""
    assert run(node, tmp_path, 5, True) == expected(tmp_path / "flower", 5)
