"""A demo among members of which one cheats in each known way."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tallystick import report
from tallystick.demo import run as demos
from tallystick.demo.plan import HOSTILE
from tallystick.run import RunFolder

REASONS = {kind: kind for kind in HOSTILE} | {"nan": "not_finite", "withhold": "withheld"}
ROUNDS, HONEST = 2, 3


@pytest.fixture(scope="module", params=[False, True], ids=["direct", "batched"])
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run with every kind of cheat in it, and its report."""
    folder = tmp_path_factory.mktemp("hostile") / "run"
    options = demos.Options(
        job="cancer",
        members=len(HOSTILE) + HONEST,
        rounds=ROUNDS,
        seed=7,
        ledger="hashchain:ledger.sqlite",
        engine="local",
        batched=request.param,
        hostile=dict(enumerate(HOSTILE)),
    )
    demos.start(options, folder, lambda phase, told: None)
    found = RunFolder(folder)
    report.write(found)
    return found


def result_of(folder: RunFolder) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder.path / "run.json").read_text())["result"]
    return found


def test_the_run_finishes_and_learns(finished: RunFolder) -> None:
    """Seven cheats among ten neither stop a run nor spoil its model, and its audit is fine."""
    result = result_of(finished)
    assert result["audit"] == "ok"
    assert result["rounds"] == ROUNDS
    assert result["metrics"]["accuracy"] > 0.9


@pytest.mark.parametrize("kind", HOSTILE)
def test_each_cheat_is_excluded_with_its_reason(finished: RunFolder, kind: str) -> None:
    """Whoever cheats counts for nothing in any round, and the result says why."""
    index = HOSTILE.index(kind)
    member = result_of(finished)["members"][index]
    assert (member["index"], member["hostile"]) == (index, kind)
    assert (member["status"], member["weight"]) == ("excluded", 0)
    assert member["reasons"] == [f"{REASONS[kind]} in {ROUNDS} rounds"]
    for record in finished.rounds():
        assert member["address"][2:] not in {each["member"] for each in record.get("members", [])}


@pytest.mark.parametrize("kind", HOSTILE)
def test_the_report_names_each_cheat(finished: RunFolder, kind: str) -> None:
    """A person who reads the report finds each cheat's whole account beside its number and its reason."""
    page = finished.report.read_text()
    members, _, left_out = page.partition("<h2>Left out</h2>")
    member = result_of(finished)["members"][HOSTILE.index(kind)]
    account = member.get("signed_as", member["address"])
    assert member["address"] in members
    rows = [row for row in left_out.split("</tr>") if account in row]
    assert any(f"member {member['index']}, " in row and REASONS[kind] in row for row in rows)


def test_a_stranger_is_traced_to_its_member(finished: RunFolder) -> None:
    """A member that signs with an account of nobody's is told apart from it, and shown with both."""
    member = result_of(finished)["members"][HOSTILE.index("unknown_member")]
    assert member["signed_as"] != member["address"]
    assert member["signed_as"] in finished.report.read_text()


def test_honest_members_are_counted(finished: RunFolder) -> None:
    """Nobody honest is left out because others cheat."""
    honest = result_of(finished)["members"][len(HOSTILE) :]
    assert [member["status"] for member in honest] == ["counted"] * HONEST
    assert not any(member["reasons"] for member in honest)
