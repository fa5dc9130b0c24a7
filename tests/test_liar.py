"""An aggregator that lies costs a run nothing but time: it ends with the model of the honest run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conftest import demo, tallystick
from tallystick import keys
from tallystick.ledger import address_of
from tallystick.run import RunFolder
from test_resume import SETTINGS, blobs, kill_and_resume

SEED = 7


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Model root of the run in which nobody lies."""
    return str(demo(tmp_path_factory.mktemp("honest") / "run", *SETTINGS)["model_root"])


def account(role: str, index: int) -> str:
    return "0x" + address_of(keys.demo(SEED, role, index)).hex()


def check(found: dict[str, Any], honest: str) -> dict[str, Any]:
    """The run came out right, and one lie was found; return it."""
    assert found["model_root"] == honest
    assert found["audit"] == "ok"
    assert found["rounds"] == 4
    (lie,) = found["lies"]
    assert (lie["round"], lie["fault"]) == (2, "next")
    assert lie["claimed"] == lie["right"] + 1
    assert lie["tensor"]
    assert lie["leaf"] is not None
    assert lie["proposer"] == account("aggregator", 1)
    assert lie["challenger"] == account("validator", 0)
    return dict(lie)


@pytest.mark.parametrize(
    "arguments",
    [(), ("--batched",), ("--ledger", "hashchain:ledger.sqlite")],
    ids=["direct", "batched", "hashchain"],
)
def test_the_run_ends_with_the_honest_model(
    tmp_path: Path, honest: str, arguments: tuple[str, ...]
) -> None:
    """With a lie halfway the model is the honest run's, and what happened is told with places, values, accounts and gas."""
    found = demo(tmp_path / "run", *SETTINGS, "--liar", *arguments)
    lie = check(found, honest)
    assert lie["gas"] == found["gas"]["Refute"]
    assert lie["bounty"] < lie["bond"]
    if "--ledger" not in arguments:
        assert 0 < lie["gas"] < 350_000
    rounds = RunFolder(tmp_path / "run").rounds()
    assert [record["round"] for record in rounds] == [0, 1, 2, 3, 4]
    assert rounds[-1]["model_root"] == honest


def test_the_story_is_told(tmp_path: Path) -> None:
    """In a terminal the story names the leaf, both values, who paid, who was paid, and the price in gas."""
    done = tallystick("demo", "cancer", "--run-dir", tmp_path / "run", *SETTINGS, "--liar")
    assert done.returncode == 0, done.stderr
    for said in ("was a lie", "leaf", "claims", "right is", "gas", "lost its bond", "voided"):
        assert said in done.stdout, said
        assert said in done.stderr, said
    page = (tmp_path / "run" / "report.html").read_text()
    assert "A lie, refuted" in page


@pytest.fixture(scope="module")
def lied(tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many blobs a run with a lie leaves."""
    folder = tmp_path_factory.mktemp("lied") / "run"
    demo(folder, *SETTINGS, "--liar")
    return blobs(folder)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.6, 0.7, 0.8])
def test_killed_and_resumed(tmp_path: Path, honest: str, lied: int, share: float) -> None:
    """Killed before, while or after the lie is refuted, the run is carried on to the honest model."""
    hit, found = kill_and_resume(tmp_path / "run", int(share * lied), 0.0, "--liar")
    assert hit
    check(found, honest)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ray", "superlink"])
def test_other_engines(tmp_path: Path, honest: str, engine: str) -> None:
    """In a simulation and in a deployment of separate processes a lie comes to the same end."""
    found = demo(tmp_path / "run", *SETTINGS, "--liar", "--engine", engine)
    check(found, honest)
