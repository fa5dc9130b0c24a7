"""The fault matrix: every party a process, one fault a test. docs/faults.md is its table."""

from __future__ import annotations

from pathlib import Path

import pytest

from tallystick.protocol import Fault, Phase
from town import Town, expected

pytestmark = pytest.mark.slow


def test_nobody_is_at_fault(tmp_path: Path) -> None:
    """Honest processes come to the model that plain integers give, and lose nothing."""
    with Town(tmp_path, 3, 2) as town:
        root = town.finish(*town.everybody(), town.validator())
        assert root == expected(range(3), 2)
        assert town.failed() == []


def convict(folder: Path, lie: str, fault: Fault, members: int = 3) -> None:
    """An aggregator lies: it alone pays, one who found it earns the bounty, and another aggregator comes to the right model."""
    with Town(folder, members, 2) as town:
        villain = town.villain(lie)
        running = [*(town.member(k) for k in range(members)), town.validator()]
        if fault == Fault.OMISSION:
            town.until(lambda: town.commitments(1) == members, "all commitments")
            town.pass_time()
        town.until(lambda: town.round(1).proposer == town.account("villain"), "the lie")
        root = town.finish(*running, town.aggregator())
        assert root == expected(range(members), 2)
        assert villain.code() == 0, villain.said()
        (refuted,) = town.refutations()
        assert (refuted.round, refuted.fault) == (1, fault)
        assert refuted.proposer == town.account("villain")
        assert refuted.challenger in town.honest
        bond = town.parameters.bond
        assert refuted.bounty == bond * town.parameters.bounty // 100
        held = town.chain.balance(refuted.proposer)
        assert (held.free, held.locked) == (bond, 0)


@pytest.mark.parametrize("level", [1, 2, 3], ids=["leaf", "inner", "top"])
def test_a_lie_in_a_partial_sum(tmp_path: Path, level: int) -> None:
    """Promise: a false partial sum costs its author the bond at every level of the tree, and nobody else anything."""
    convict(tmp_path, f"sum:{level}", Fault.SUM, 5)


def test_a_lie_in_the_next_model(tmp_path: Path) -> None:
    """Promise: a model that is not the last one plus the mean costs its author the bond."""
    convict(tmp_path, "next", Fault.NEXT)


def test_an_omitted_member(tmp_path: Path) -> None:
    """Promise: an aggregator that leaves out who committed loses its bond, and the member is counted."""
    convict(tmp_path, "omission", Fault.OMISSION)


def test_a_forged_weight(tmp_path: Path) -> None:
    """Promise: an aggregator that gives a member another weight than it committed to loses its bond."""
    convict(tmp_path, "weight", Fault.ENTRY)


@pytest.mark.parametrize("place", ["round", "task", "chain", "contract"])
def test_a_replayed_signature(tmp_path: Path, place: str) -> None:
    """Promise: a member's signature from another round, task, chain or contract commits it to nothing here: who uses it pays."""
    convict(tmp_path, f"replay:{place}", Fault.BATCH)
