"""The command line says what happened, in words or JSON, and exits with 0, 1 or 2 accordingly."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest
import typer

from conftest import ROOT, demo, tallystick
from tallystick import cli

PASS = {"TALLYSTICK_PASSPHRASE": "correct horse"}


def test_demo_prints_one_object(finished_run: Path) -> None:
    """`demo --json` names task, model, members with weight and status, gas, seconds and the audit."""
    found = json.loads((finished_run / "run.json").read_text())["result"]
    assert found["audit"] == "ok"
    assert found["rounds"] == 3
    assert len(bytes.fromhex(found["model_root"])) == len(bytes.fromhex(found["task_id"])) == 32
    assert {"accuracy", "loss"} <= set(found["metrics"])
    assert [m["status"] for m in found["members"]] == ["counted"] * 3
    assert all(m["weight"] > 0 for m in found["members"])
    assert found["gas"]["total"] == sum(v for k, v in found["gas"].items() if k != "total") > 0
    assert {"setup", "rounds", "audit", "total"} <= set(found["seconds"])


def test_status_and_task_show(finished_run: Path) -> None:
    """What the ledger holds of a run can be read while and after it goes on."""
    shown = json.loads(tallystick("status", finished_run, "--json").stdout)
    assert [row["phase"] for row in shown["rounds"]] == ["final"] * 3
    url = f"embedded:{finished_run}/ledger.sqlite"
    task = json.loads(
        tallystick("task", "show", shown["task_id"], "--ledger", url, "--json").stdout
    )
    assert task["head"] == 3
    assert "final" in tallystick("status", finished_run).stdout


def test_inspect_a_blob(finished_run: Path) -> None:
    """A blob says what it is and that it is intact."""
    for path in list(finished_run.glob("store/??/*.blob"))[:4]:
        shown = json.loads(tallystick("inspect", path, "--json").stdout)
        assert shown["root"] == path.stem
        assert shown["intact"]


def test_keys_new_and_show(tmp_path: Path) -> None:
    """A new keystore is private to its owner, its address can be read, and nothing of the key is printed."""
    path = tmp_path / "key.json"
    made = tallystick("keys", "new", path, "--json", env=os.environ | PASS)
    assert made.returncode == 0, made.stderr
    address = json.loads(made.stdout)["address"]
    assert path.stat().st_mode & 0o077 == 0
    shown = json.loads(tallystick("keys", "show", path, "--json").stdout)
    assert shown["address"] == address.lower()
    again = tallystick("keys", "new", path, env=os.environ | PASS)
    assert again.returncode == 2
    assert "exists" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["demo", "nonsense"], "Choose one of cancer"),
        (["demo", "--engine", "warp"], "local, ray, superlink"),
        (["demo", "--members", "0"], "start at 1"),
        (["demo", "--members", "9999"], "Use 1 to"),
        (["demo", "--partition", "odd"], "iid"),
        (["demo", "--hostile", "1:evil"], "wrong_root"),
        (["demo", "--hostile", "evil"], "MEMBER:KIND"),
        (["demo", "--ledger", "embedded:x?clock=sand"], "clock=virtual"),
        (["demo", "--ledger", "nowhere"], "no ledger answers"),
        (["demo", "--resume", "/no/such/run"], "no run folder"),
        (["audit"], "run folder"),
        (["audit", "/no/such/run"], "no run folder"),
        (
            ["audit", "--ledger", "http://127.0.0.1:1", "--store", "file:x", "--task", "00" * 32],
            "no answer",
        ),
        (
            ["audit", "--ledger", "hashchain:", "--store", "file:x", "--task", "00" * 32],
            "UnknownTask",
        ),
        (["audit", "--ledger", "hashchain:", "--store", "file:x", "--task", "xyz"], "no task id"),
        (["keys", "show", "/no/such/key"], "cannot read"),
        (["inspect", "/no/such.blob"], "there is no file"),
        (["inspect", __file__], "not named by a root"),
        (["task", "show", "00" * 32, "--ledger", "embedded:/no/such.sqlite"], "there is no ledger"),
        (["demo", "--seed", str(2**32)], "Use one from 0"),
        (["frobnicate"], "No such command"),
        (["demo", "--frobnicate"], "No such option"),
    ],
    ids=lambda value: "-".join(map(str, value))[:40] if isinstance(value, list) else "",
)
def test_bad_input_exits_2_and_says_why(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Bad input is answered with cause and remedy and exit code 2, in words and in JSON."""
    monkeypatch.chdir(tmp_path)
    for extra in ([], ["--json"]):
        monkeypatch.setattr(sys, "argv", ["tallystick", *arguments, *extra])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        assert stopped.value.code == 2
    shown = capsys.readouterr()
    assert said in shown.err.replace("\n", " ")
    assert json.loads(shown.out.splitlines()[-1])["exit"] == 2


def test_no_traceback_in_a_real_process(tmp_path: Path) -> None:
    """What a person sees of an error is a line or two, and nothing of the code."""
    done = tallystick("demo", "--members", "0", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_used_folder_is_not_overwritten(finished_run: Path) -> None:
    """A run folder with something in it is refused, and --resume is offered."""
    done = tallystick("demo", "--run-dir", finished_run)
    assert done.returncode == 2
    assert "--resume" in done.stderr


def test_a_demo_without_a_ledger_leaves_its_folder_free(tmp_path: Path) -> None:
    """A demo that finds no ledger has begun nothing, so the same folder serves the next try."""
    done = tallystick("demo", "--ledger", "nowhere", "--run-dir", tmp_path / "run")
    assert done.returncode == 2
    assert "no ledger answers" in done.stderr
    assert not list((tmp_path / "run").iterdir())


def test_hostile_member_is_named(tmp_path: Path) -> None:
    """A member that sends another update than it committed to is excluded, named, and the run goes on."""
    found = demo(tmp_path / "run", "--members", 4, "--rounds", 2, "--hostile", "1:wrong_root")
    assert [m["status"] for m in found["members"]] == ["counted", "excluded", "counted", "counted"]
    assert "wrong_root in 2 rounds" in found["members"][1]["reasons"]
    assert found["members"][1]["address"][:10] in (tmp_path / "run" / "report.html").read_text()


def test_the_report_stands_alone(finished_run: Path) -> None:
    """The report needs nothing from elsewhere and shows the plots."""
    page = (finished_run / "report.html").read_text()
    assert not re.search(r"(src|href)\s*=\s*[\"']?https?:", page)
    assert page.count("<svg") >= 6
    assert "nan" not in page.lower().replace("finance", "")


def test_every_command_and_option_is_documented() -> None:
    """docs/cli.md names every command and option that there is."""
    text = (ROOT / "docs" / "cli.md").read_text()
    groups = {"": cli.app, "keys ": cli.keys_app, "task ": cli.task_app}
    for prefix, group in groups.items():
        for name, command in typer.main.get_group(group).commands.items():
            if hasattr(command, "commands"):
                continue
            assert f"`tallystick {prefix}{name}" in text, name
            for parameter in command.params:
                for option in parameter.opts:
                    if option.startswith("--"):
                        assert f"`{option}" in text, f"{name} {option}"
