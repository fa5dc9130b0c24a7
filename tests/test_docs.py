"""The documentation says what the code does: what is undocumented, or documented and absent, fails here."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import typer.main

from tallystick import errors, store
from tallystick.cli import app
from tallystick.demo.deployment import MARK
from tallystick.demo.engines import ENGINES
from tallystick.demo.plan import HOSTILE
from tallystick.ledger.contract import CALLS
from tallystick.ledger.networks import resolve
from tallystick.protocol import Parameters, Reason

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
MADE = {".venv", "node_modules", "runs", "run", "out", "cache", "dist", ".pytest_cache", ".slither"}
PAGES = [
    page
    for page in sorted(ROOT.rglob("*.md"))
    if not MADE & set(page.relative_to(ROOT).parts) and ".git" not in page.parts
]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
EVERYWHERE = {"--help", "--json"}
PASSED_ON = {"PATH", "PYTHONPATH", MARK}
"""Variables that only travel to processes started here; the mark says which those are."""


def commands() -> dict[str, Any]:
    """Every leaf of the command line by its words, as `keys new`."""
    found: dict[str, Any] = {}

    def walk(command: Any, words: tuple[str, ...]) -> None:
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, (*words, name))
        if not hasattr(command, "commands"):
            found[" ".join(words)] = command

    walk(typer.main.get_command(app), ())
    return found


def options(command: Any) -> set[str]:
    """A command's options, but for the `--no-…` that a flag brings with it and that is the default."""
    return {name for each in command.params for name in each.opts if name.startswith("--")}


def sections() -> dict[str, str]:
    """docs/cli.md by the command it tells of."""
    found = {}
    for part in (DOCS / "cli.md").read_text().split("\n## ")[1:]:
        title, _, text = part.partition("\n")
        for words in re.findall(r"`tallystick ([a-z]+(?: [a-z]+)?)", title):
            found[words] = text
    return found


def code(page: Path) -> Iterator[str]:
    """Lines of a page's blocks, continued ones joined, and its code spans."""
    text = page.read_text()
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from block.replace("\\\n", " ").splitlines()
    plain = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for span in re.findall(r"`([^`]+)`", plain):
        yield " ".join(span.split())


def diffs(page: Path) -> list[str]:
    """Changed lines in a page's diffs, in order."""
    blocks = re.findall(r"^```diff\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return changed("".join(blocks))


def changed(patch: str) -> list[str]:
    return [
        line for line in patch.splitlines() if re.match(r"[+-](?![+-])", line) and line[1:].strip()
    ]


def variables() -> set[str]:
    """Environment variables that the package reads, found in its syntax trees."""
    found: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Constant(value=str(text)) if re.fullmatch(r"TALLYSTICK_[A-Z_]+", text):
                    found.add(text)
                case (
                    ast.Call(
                        func=ast.Attribute(value=ast.Attribute(attr="environ"), attr="get"),
                        args=[ast.Constant(value=str(text)), *_],
                    )
                    | ast.Subscript(
                        value=ast.Attribute(attr="environ"), slice=ast.Constant(value=str(text))
                    )
                ):
                    found.add(text)
                case ast.Call(func=ast.Name(id="lookup"), args=[ast.Constant(value=str(text)), *_]):
                    found.add("TALLYSTICK_" + text.upper().replace("-", "_"))
    return found - PASSED_ON


def refusals() -> list[str]:
    return sorted(kind.__name__ for kind in errors.Refused.__subclasses__())


@pytest.mark.parametrize("name", commands())
def test_every_command_and_option_is_documented(name: str) -> None:
    """Promise: docs/cli.md has a section for every command, which names all its options and no others."""
    section = sections().get(name)
    assert section is not None, f"docs/cli.md has no section on tallystick {name}"
    has = options(commands()[name])
    assert "--json" in has
    told = set(re.findall(r"`(--[a-z-]+)", section))
    same = [other for other, text in sections().items() if text == section]
    known = set().union(*(options(commands()[other]) for other in same))
    if len(same) == 1:
        assert has - EVERYWHERE <= told
    assert known - EVERYWHERE <= told
    assert told <= known


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_shown_can_be_typed(page: Path) -> None:
    """Promise: every `tallystick` command shown on a page exists, with the options it is shown with."""
    known = commands()
    for line in code(page):
        for typed in re.findall(
            r"(?:^|[/ ])tallystick ((?:[a-z-]+ ?)+[^|#`]*)", line.partition("  #")[0]
        ):
            words = re.findall(r"[a-z]+", typed)
            name = next((n for n in (" ".join(words[:2]), words[0]) if n in known), None)
            assert name, f"{line!r}: there is no such command"
            shown = set(re.findall(r"(?<!\S)--[a-z-]+", typed))
            assert shown <= options(known[name]) | EVERYWHERE, line


def test_every_environment_variable_is_documented() -> None:
    """Promise: docs/cli.md lists every environment variable that the package reads, and no page invents one."""
    read = variables()
    assert {"TALLYSTICK_LEDGER", "TALLYSTICK_KEYSTORE", "TALLYSTICK_DATA"} <= read
    table = (DOCS / "cli.md").read_text().split("## Environment")[1]
    assert {name for name in read if f"`{name}`" not in table} == set()
    for page in [*PAGES, ROOT / ".env.example"]:
        assert set(re.findall(r"TALLYSTICK_[A-Z_]*[A-Z]", page.read_text())) <= read, page


def test_every_reason_is_documented() -> None:
    """Promise: every reason for leaving a member out has its number in protocol.md and its cause in flower.md."""
    protocol, flower = (DOCS / "protocol.md").read_text(), (DOCS / "flower.md").read_text()
    for reason in Reason:
        assert f"| {reason.value} | {reason.name.lower()} |" in protocol
        assert f"| `{reason.name.lower()}` |" in flower


def test_every_kind_and_engine_is_documented() -> None:
    """Promise: docs/cli.md names every kind of hostile member and every engine."""
    section = sections()["demo"]
    assert {kind for kind in HOSTILE if f"`{kind}`" not in section} == set()
    assert {engine for engine in ENGINES if f"`{engine}`" not in section} == set()


def test_every_exit_code_is_documented() -> None:
    """Promise: docs/cli.md explains every exit code that an error of the package can lead to."""
    kinds = [errors.TallystickError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    used = {0} | {kind.exit_code for kind in kinds}
    for path in (ROOT / "src" / "tallystick" / "cli.py",):
        used |= {int(code) for code in re.findall(r"_fail\(.*, (\d)\)", path.read_text())}
    head = (DOCS / "cli.md").read_text().split("\n## ")[0]
    assert used == {int(code) for code in re.findall(r"\*\*(\d)\*\*", head)}


def test_every_call_refusal_and_parameter_is_documented() -> None:
    """Promise: docs/protocol.md names every call, every refusal and every parameter of a task."""
    text = (DOCS / "protocol.md").read_text()
    assert [name for name in CALLS if f"`{name}(" not in text] == []
    assert [name for name in refusals() if f"`{name}" not in text] == []
    fields = [re.sub(r"_(\w)", lambda m: m[1].upper(), name) for name in Parameters.__annotations__]
    assert [name for name in fields if f"| `{name}` |" not in text] == []


def test_every_fault_has_a_test_and_every_test_a_fault() -> None:
    """Promise: docs/faults.md has one row for each test of the fault matrix and of recovery, in the tests' own order."""
    text = (DOCS / "faults.md").read_text()
    for title, name in (("## The matrix", "test_matrix"), ("## Recovery", "test_recovery")):
        table = text.split(title)[1].split("\n## ")[0]
        listed = re.findall(r"\| `(test_\w+)` \|", table)
        tree = ast.parse((ROOT / "tests" / "faults" / f"{name}.py").read_text())
        defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        assert listed == [each for each in defined if each.startswith("test_")]


def test_gas_is_what_was_recorded() -> None:
    """Promise: the gas in docs/protocol.md is that of the snapshots which forge checks."""
    text = (DOCS / "protocol.md").read_text().split("## Gas")[1].split("\n## ")[0]
    shown = {int(found.replace(",", "")) for found in re.findall(r"(?<=\| )\d[\d,]*(?= \|)", text)}
    recorded = [
        json.loads((ROOT / "contracts" / "snapshots" / f"{name}.json").read_text())
        for name in ("calls", "challenge")
    ]
    known = {int(gas) for each in recorded for gas in each.values()}
    bounds = {35_000, 60_000, 80_000, 120_000, 100, 1_000, 10_000}
    assert shown - bounds <= known
    assert {int(gas) for gas in recorded[1].values()} <= shown
    assert int(recorded[0]["propose"]) in shown


def test_every_page_is_listed() -> None:
    """Promise: every page in docs is in its folder's list."""
    for folder in (DOCS, DOCS / "decisions"):
        listed = set(re.findall(r"\]\(([^)#]+)\)", (folder / "README.md").read_text()))
        pages = {page.name for page in folder.glob("*.md")} - {"README.md"}
        assert pages <= listed, folder


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_no_link_is_broken(page: Path) -> None:
    """Promise: every relative link leads to a file, and to a heading where it names one."""
    plain = re.sub(r"^```\w*\n.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", plain):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = unquote(link).partition("#")
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{link} leads nowhere"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            slugs = [
                re.sub(r"[^\w\- ]", "", each.lower()).strip().replace(" ", "-") for each in headings
            ]
            assert anchor in slugs, f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_what_pages_name_exists(page: Path) -> None:
    """Promise: files, make targets, benchmarks and extras that a page names exist."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    extras = set(
        tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    )
    text = page.read_text()
    for line in code(page):
        if target := re.match(r"(?:\w+=\S+ )*make ([a-z-]+)", line):
            assert target[1] in targets, line
        if module := re.search(r"python -m (benchmarks(?:\.\w+)?)", line):
            place = ROOT / module[1].replace(".", "/")
            assert place.is_dir() or place.with_suffix(".py").is_file(), line
        if re.fullmatch(r"(src|tests|docs|benchmarks|examples|vectors|contracts)/[\w./-]*", line):
            assert (ROOT / line).exists() or "node_modules" in line, line
    for named in re.findall(r"tallystick\[([\w,]+)\]", text):
        assert set(named.split(",")) <= extras, named


@pytest.mark.parametrize("page", ["README.md", "docs/flower.md"])
def test_the_two_lines_are_those_of_the_example(page: str) -> None:
    """Promise: the diff shown to a Flower user is the example's patch, line by line."""
    patch = ROOT / "examples" / "quickstart-flower" / "verifiable.patch"
    assert diffs(ROOT / page) == changed(patch.read_text())


def test_example_settings_parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: .env.example is read by a shell, tallystick.toml.example by the ledgers, and together they are complete."""
    shutil.copy(ROOT / "tallystick.toml.example", tmp_path / "tallystick.toml")
    script = f'set -a; . "{ROOT / ".env.example"}"; set +a; env'
    printed = subprocess.run(
        ["sh", "-c", script], env={}, capture_output=True, text=True, check=True
    ).stdout
    given = dict(line.split("=", 1) for line in printed.splitlines())
    monkeypatch.chdir(tmp_path)
    for name in set(given) - {"PWD", "OLDPWD", "SHLVL", "_"}:
        monkeypatch.setenv(name, given[name])
    found = {name: resolve(name) for name in ("local", "sepolia", "own")}
    assert [each.chain_id for each in found.values()] == [31337, 11155111, 4242]
    assert found["local"].url == "http://127.0.0.1:8545"
    assert found["sepolia"].url == given["SEPOLIA_RPC_URL"]
    assert found["own"].url.endswith(given["OWN_RPC_TOKEN"])
    assert found["own"].contract is not None
    assert resolve(given["TALLYSTICK_LEDGER"]) == found["local"]
    assert store.open(given["TALLYSTICK_STORE"])
    tables = tomllib.loads((tmp_path / "tallystick.toml").read_text())["network"]
    assert set(tables) == set(found)
