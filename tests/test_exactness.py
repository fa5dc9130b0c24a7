"""One model root for one run: whatever the engine, the ledger, the threads or the way of committing."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import demo

SETTINGS = ("--seed", "7", "--members", "3", "--rounds", "3")

FAST = {
    "eight_threads": ("--threads", "8"),
    "batched": ("--batched",),
    "hashchain": ("--ledger", "hashchain:ledger.sqlite"),
    "hashchain_batched": ("--ledger", "hashchain:ledger.sqlite", "--batched"),
}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The root of the plain run."""
    return str(demo(tmp_path_factory.mktemp("plain") / "run", *SETTINGS)["model_root"])


@pytest.mark.parametrize("how", FAST)
def test_in_process(how: str, expected: str, tmp_path: Path) -> None:
    """Threads, ledgers and batches change no bit of the model."""
    assert demo(tmp_path / "run", *SETTINGS, *FAST[how])["model_root"] == expected


@pytest.mark.slow
def test_cancer_of_ten_hospitals_everywhere(tmp_path: Path, node: str) -> None:
    """`demo cancer --seed 7` ends with one root: 1 or 8 threads, in process, on Ray, on SuperLink, on all three ledgers."""
    ways: dict[str, tuple[str, ...]] = {
        "plain": (),
        "threads": ("--threads", "8"),
        "hashchain": ("--ledger", "hashchain:ledger.sqlite"),
        "node": ("--ledger", node),
        "ray": ("--engine", "ray"),
        "superlink": ("--engine", "superlink"),
    }
    roots = {}
    for name, arguments in ways.items():
        found = demo(tmp_path / name, "--seed", "7", *arguments)
        assert found["audit"] == "ok"
        roots[name] = found["model_root"]
    assert len(set(roots.values())) == 1, roots
