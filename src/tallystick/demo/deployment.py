"""A Flower deployment on this machine: a SuperLink, one SuperNode per member, `flwr run`, and nothing left behind.

The SuperLink runs in an empty folder of its own, because its processes import from where it was started. Processes that Flower
starts itself may outlive their parents, so all of them carry a mark in their environment and are found by it.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import tallystick

from ..errors import Unavailable
from ..flower.record import Record
from ..ledger.networks import config
from .app import OnRound
from .plan import Plan

MARK = "TALLYSTICK_DEPLOYMENT"
START_SECONDS = 60.0
POLL_SECONDS = 0.1
GRACE_SECONDS = 3.0
"""For the run to end by itself once its last round is recorded."""
APP = '''"""Generated: the demo app, as a Flower app bundle."""

from tallystick.demo.app import client_app, server_app

client = client_app()
server = server_app()
'''
PROJECT = """[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "tallystick-demo"
version = "1.0.0"
description = "A Tallystick demo"
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "tallystick"

[tool.flwr.app.components]
serverapp = "tallystick_demo.apps:server"
clientapp = "tallystick_demo.apps:client"

[tool.flwr.app.config]
plan = {plan}
records = {records}
"""


def run_superlink(plan: Plan, folder: Path, on_round: OnRound | None = None) -> list[Record]:
    """Run a plan as a deployment; logs stay in `folder`/flower. Raises `Unavailable`, with the end of the log, if it fails."""
    work = (folder / "flower").resolve()
    shutil.rmtree(work, ignore_errors=True)
    for each in ("home", "empty", "app/tallystick_demo", "logs"):
        (work / each).mkdir(parents=True)
    records = work / "records.jsonl"
    records.touch()
    (work / "app/tallystick_demo/__init__.py").write_text("")
    (work / "app/tallystick_demo/apps.py").write_text(APP)
    project = PROJECT.format(plan=json.dumps(plan.to_json()), records=json.dumps(str(records)))
    (work / "app/pyproject.toml").write_text(project)

    with _processes(work) as start:
        port = free_port()
        (work / "home/config.toml").write_text(
            f'[superlink]\ndefault = "local"\n\n[superlink.local]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
        )
        link = start(
            "superlink",
            "flower-superlink",
            "--insecure",
            "--port",
            str(port),
            "--disable-runtime-dependency-installation",
        )
        _wait_for_port(port, link, work)
        for index in range(plan.members):
            start(
                f"supernode-{index}",
                "flower-supernode",
                "--insecure",
                "--superlink",
                f"127.0.0.1:{port}",
                "--port",
                str(free_port()),
                "--node-config",
                f"partition-id={index} num-partitions={plan.members}",
            )
        runner = start("run", "flwr", "run", str(work / "app"), "local", "--stream")
        return list(_follow(records, runner, link, work, on_round))


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class _Starter:
    """Starts Flower's commands, marked, with their output in a log."""

    def __init__(self, work: Path, mark: str) -> None:
        self.work = work
        self.started: list[subprocess.Popen[bytes]] = []
        source = str(Path(tallystick.__file__).parent.parent)
        paths = [source, *filter(None, [os.environ.get("PYTHONPATH")])]
        self.environment = {
            **os.environ,
            "FLWR_HOME": str(work / "home"),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
            "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.05",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONPATH": os.pathsep.join(paths),
            "TALLYSTICK_CONFIG": str(config().resolve()),
            MARK: mark,
        }

    def __call__(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        with (self.work / "logs" / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=self.work / "empty",
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started.append(process)
        return process


@contextmanager
def _processes(work: Path) -> Iterator[_Starter]:
    mark = secrets.token_hex(16)
    starter = _Starter(work, mark)
    try:
        yield starter
    finally:
        for process in reversed(starter.started):
            process.terminate()
        until = time.monotonic() + 5
        for process in starter.started:
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        while (remaining := marked(mark)) and time.monotonic() < until + 5:
            for left in remaining:
                _kill(left)
            time.sleep(POLL_SECONDS)


def marked(mark: str) -> list[int]:
    """Processes of this user that carry a deployment's mark in their environment (Linux: read from /proc)."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if wanted in entry.read_bytes().split(b"\0"):
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return found


def _kill(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def _wait_for_port(port: int, process: subprocess.Popen[bytes], work: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(POLL_SECONDS)
    raise Unavailable(f"the SuperLink did not start. {_tail(work, 'superlink')}")


def _follow(
    records: Path,
    runner: subprocess.Popen[bytes],
    link: subprocess.Popen[bytes],
    work: Path,
    on_round: OnRound | None,
) -> Iterator[Record]:
    """Records as the ServerApp writes them, until it says that it is done."""
    with records.open() as file:
        line, ended = "", 0.0
        while True:
            line += file.readline()
            if line.endswith("\n"):
                record, line = json.loads(line), ""
                if "error" in record:
                    raise Unavailable(
                        f"the ServerApp failed: {record['error']} Its log is in {work / 'logs'}."
                    )
                if "done" in record:
                    with suppress(subprocess.TimeoutExpired):
                        runner.wait(GRACE_SECONDS)
                    return
                if on_round is not None:
                    on_round(record)
                yield record
                continue
            if link.poll() is not None:
                raise Unavailable(f"the SuperLink ended early. {_tail(work, 'superlink')}")
            if runner.poll() is not None:
                # The stream can end before the ServerApp's last lines are seen here.
                ended = ended or time.monotonic()
                if runner.returncode or time.monotonic() - ended > START_SECONDS:
                    raise Unavailable(f"flwr run ended early. {_tail(work, 'run')}")
            time.sleep(POLL_SECONDS)


def _tail(work: Path, name: str) -> str:
    path = work / "logs" / f"{name}.log"
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return f"The end of {path}:\n" + "\n".join(lines[-15:])
