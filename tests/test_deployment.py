"""The other engines: Ray, and a deployment of separate processes over a JSON-RPC node. Minutes, so marked slow."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tallystick import demo, flower, keys, store
from tallystick.demo import engines
from tallystick.demo.deployment import MARK, free_port
from tallystick.demo.plan import Plan
from tallystick.errors import Unavailable
from tallystick.flower.settings import close_ledgers
from tallystick.ledger import Ledger, address_of
from tallystick.ledger.ethereum import EthereumLedger
from tallystick.ledger.networks import resolve
from tallystick.protocol import Committed, Phase
from tallystick.roles import auditor, finality, sponsor

SEED, MEMBERS, ROUNDS = 7, 3, 3
ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    close_ledgers()


@pytest.fixture
def anvil() -> Iterator[str]:
    """URL of a fresh anvil; skips where it is not installed."""
    found = sorted((ROOT / "contracts/node_modules/@foundry-rs").glob("anvil-*/bin/anvil"))
    program = str(found[0]) if found else shutil.which("anvil")
    if program is None:
        pytest.skip("anvil is not installed: run npm ci in contracts/")
    port = free_port()
    process = subprocess.Popen([program, "--port", str(port), "--silent"])
    try:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def make(
    url: str, folder: Path, chain: Ledger | None = None, **options: Any
) -> tuple[Plan, Ledger]:
    """A task for the cancer job on a ledger, and the plan to run it."""
    chain = chain or flower.ledger_at(url)
    members = [keys.demo(SEED, "member", index) for index in range(MEMBERS)]
    aggregator = keys.demo(SEED, "aggregator", 0)
    if isinstance(chain, EthereumLedger):
        for key in (*members, aggregator, keys.demo(SEED, "sponsor", 0)):
            chain.give(address_of(key))
    kept = store.open(str(folder / "store"))
    task = sponsor.create_task(
        chain,
        kept,
        keys.demo(SEED, "sponsor", 0),
        demo.get("cancer").initial(SEED),
        members=[address_of(key) for key in members],
        rounds=ROUNDS,
        commit_window=120,
        challenge_window=2,
        salt=bytes(32),
    )
    plan = Plan(
        "cancer", MEMBERS, ROUNDS, SEED, chain.url, str(folder / "store"), task.hex(), **options
    )
    return plan, chain


def reference(folder: Path) -> list[str]:
    """Model roots of the same run in this process."""
    plan, _ = make(f"hashchain:{folder / 'reference.sqlite'}?difficulty=0", folder / "reference")
    return roots(engines.run("local", plan, folder))


def roots(records: list[dict[str, Any]]) -> list[str]:
    return [record["model_root"] for record in records if record["round"] > 0]


@pytest.mark.slow
def test_a_deployment_over_a_node_gives_the_same_model(anvil: str, tmp_path: Path) -> None:
    """Promise: three SuperNodes that commit with their own keys on a JSON-RPC node reach the root of an in-process run."""
    chain = EthereumLedger(resolve(anvil), deployed=False)
    chain.give(address_of(keys.demo(SEED, "sponsor", 0)))
    contract = chain.deploy(keys.demo(SEED, "sponsor", 0))
    plan, chain = make(f"{anvil}?contract=0x{contract.hex()}", tmp_path)
    heard: list[int] = []
    records = engines.run("superlink", plan, tmp_path, lambda record: heard.append(record["round"]))
    assert roots(records) == reference(tmp_path)
    assert heard == [0, 1, 2, 3]
    task = bytes.fromhex(plan.task)
    commits = [e for _, e in chain.events(task, None) if isinstance(e, Committed)]
    members = {address_of(keys.demo(SEED, "member", index)) for index in range(MEMBERS)}
    assert {commit.member for commit in commits} == members
    assert len(commits) == MEMBERS * ROUNDS
    finality.settle(chain, keys.demo(SEED, "aggregator", 0), task)
    assert chain.round(task, ROUNDS).phase == Phase.FINAL
    assert len(auditor.audit(chain, store.open(plan.store), task).rounds) == ROUNDS
    assert not _left_behind(tmp_path)


@pytest.mark.slow
def test_a_failing_deployment_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    """Promise: an error in the ServerApp is reported with its cause, and no process outlives the run."""
    plan, _ = make(f"hashchain:{tmp_path / 'ledger.sqlite'}?difficulty=0", tmp_path)
    broken = Plan(**{**vars(plan), "task": "00" * 32})
    with pytest.raises(Unavailable, match="UnknownTask"):
        engines.run("superlink", broken, tmp_path)
    assert not _left_behind(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("batched", [False, True], ids=["direct", "batched"])
def test_ray_gives_the_same_model(tmp_path: Path, batched: bool) -> None:
    """Promise: Ray's workers, each with its own handle on the ledger's file, reach the root of an in-process run."""
    pytest.importorskip("ray")
    url = f"embedded:{tmp_path / 'ledger.sqlite'}"
    plan, chain = make(url, tmp_path, batched=batched, hostile={})
    assert roots(engines.run("ray", plan, tmp_path)) == reference(tmp_path)
    task = bytes.fromhex(plan.task)
    assert len(auditor.audit(chain, store.open(plan.store), task).rounds) == ROUNDS


@pytest.mark.slow
def test_ray_excludes_hostile_members(tmp_path: Path) -> None:
    """Promise: hostile members are excluded in worker processes as they are in this one."""
    pytest.importorskip("ray")
    url = f"hashchain:{tmp_path / 'ledger.sqlite'}?difficulty=0"
    plan, _ = make(url, tmp_path, hostile={0: "wrong_root", 1: "withhold"})
    for record in engines.run("ray", plan, tmp_path)[1:]:
        assert {each["reason"] for each in record["excluded"]} == {"wrong_root", "withheld"}
        assert len(record["members"]) == 1


def _left_behind(folder: Path) -> list[int]:
    """Processes whose environment names this test's folder as Flower's home."""
    wanted = f"FLWR_HOME={folder}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            values = entry.read_bytes()
        except OSError:
            continue
        if wanted in values and MARK.encode() in values:
            found.append(int(entry.parent.name))
    return found
