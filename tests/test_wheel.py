"""What users install: the wheel, in an environment of its own with nothing but what the wheel asks for."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from email import message_from_bytes
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
pytestmark = pytest.mark.slow


def run(*command: str | Path, at: Path) -> subprocess.CompletedProcess[str]:
    """Run a command outside the tree, in an environment that knows nothing of it."""
    inherited = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
    path = os.pathsep.join([str(at / "venv" / "bin"), os.defpath])
    environment = inherited | {"HOME": str(at), "PATH": path}
    return subprocess.run(
        list(map(str, command)), cwd=at, env=environment, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = ["wheel", str(ROOT), "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([*PIP, *build], check=True, timeout=300)
    (found,) = folder.glob("tallystick-*.whl")
    return found


def required(wheel: Path) -> Iterator[Distribution]:
    """What the wheel needs without extras, and what that needs, as installed here."""
    with ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        wanted = message_from_bytes(archive.read(name)).get_all("Requires-Dist", [])
    open_, seen = [(Requirement(text), "") for text in wanted], set()
    while open_:
        requirement, extra = open_.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        for chosen in ("", *sorted(requirement.extras)):
            key = (re.sub(r"[-_.]+", "-", requirement.name).lower(), chosen)
            if key in seen:
                continue
            seen.add(key)
            try:
                found = distribution(requirement.name)
            except PackageNotFoundError:
                pytest.fail(f"{requirement.name} is required and not installed")
            if not chosen:
                yield found
            open_ += [(Requirement(text), chosen) for text in found.requires or []]


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `venv`: the wheel, and links to its requirements, so that nothing is downloaded."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True, timeout=60
    )
    python = folder / "venv" / "bin" / "python"
    asked = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", at=folder)
    site = Path(asked.stdout.strip())
    assert folder in site.parents
    for each in required(wheel):
        for top in {file.parts[0] for file in each.files or []} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(each.locate_file(top))))
    command = [*PIP, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(command, check=True, timeout=120)
    return folder


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """Promise: every file of the package is in the wheel, contract and types among them, and no tests or contract sources."""
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        artifact = json.loads(archive.read("tallystick/ledger/abi/Ledger.json"))
        licence = [name for name in archive.namelist() if name.endswith("/LICENSE")]
    source = ROOT / "src"
    assert names == {
        str(path.relative_to(source))
        for path in (source / "tallystick").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "tallystick/py.typed" in names
    assert {name.split("/")[0] for name in names} == {"tallystick"}
    assert artifact["abi"]
    assert re.fullmatch("0x[0-9a-f]{1000,}", artifact["bytecode"])
    assert licence


def test_the_environment_is_the_wheels_own(installed: Path) -> None:
    """Promise: what is tested here is the wheel without extras: neither the sources nor the developers' tools can be imported."""
    asked = run(
        "python", "-c", "import tallystick, sys; print(tallystick.__file__); print(sys.path)",
        at=installed,
    )  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.startswith(str(installed / "venv"))
    assert str(ROOT / "src") not in asked.stdout
    for module in ("pytest", "hypothesis", "mypy", "ray", "pyarrow", "torch"):
        assert run("python", "-c", f"import {module}", at=installed).returncode == 1, module


def test_the_wheel_runs_and_audits_a_demo(installed: Path) -> None:
    """Promise: installed from the wheel, in another folder, the command line trains, writes its report and audits."""
    version = run("tallystick", "version", "--json", at=installed)
    assert (
        json.loads(version.stdout)["version"]
        in next((installed / "venv").rglob("tallystick-*.dist-info")).name
    )
    done = run(
        "tallystick", "demo", "cancer", "--members", "3", "--rounds", "2", "--json", at=installed
    )
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout)
    assert found["audit"] == "ok"
    folder = installed / "runs" / "cancer-7"
    assert "<svg" in (folder / "report.html").read_text()
    audited = run("tallystick", "audit", folder, at=installed)
    assert audited.returncode == 0, audited.stderr + audited.stdout
    assert run("python", "-m", "tallystick", "audit", folder, at=installed).returncode == 0


def test_a_missing_extra_is_named(installed: Path) -> None:
    """Promise: a demo whose extra is not installed says which one to install, and exits with 2."""
    for name, extra in (("mnist", "torch"), ("housing", "housing")):
        done = run("tallystick", "demo", name, "--rounds", "1", at=installed)
        assert done.returncode == 2, done.stderr
        assert f"tallystick[{extra}]" in done.stderr.replace("\\", ""), done.stderr
    done = run("tallystick", "demo", "cancer", "--engine", "ray", "--run-dir", "r", at=installed)
    assert done.returncode == 2
    assert "tallystick[ray]" in done.stderr, done.stderr
