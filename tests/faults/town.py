"""A town for fault tests: a node of its own, a task, and every party a process of its own that is gone when the test is.

Windows are an hour, and the node's clock is moved past them when they are to end: no test waits for one, and none is lost because a
machine was slow. What the parties own is worked out from the transactions that the chain holds, and compared with what it says.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

import numpy as np
import pytest
import work
from eth_account import Account

from conftest import find_anvil
from court import FAN_IN, LAYOUT, LEAF, MODEL
from tallystick import keys, ledger, merkle, store
from tallystick.encoding import as_bytes, dequantise, quantise, update_of
from tallystick.errors import InvalidParameter
from tallystick.ledger import Signer, address_of, contract
from tallystick.ledger.ethereum import EthereumLedger
from tallystick.ledger.networks import Network
from tallystick.protocol import (
    Call,
    Commit,
    Deposit,
    Finalise,
    Open,
    Phase,
    Propose,
    Refuted,
    Round,
    Slashed,
    Stake,
    Void,
    Withdraw,
)
from tallystick.roles import auditor
from tallystick.roles.sponsor import create_task

HERE = Path(__file__).resolve().parent
SEED = 11
WINDOW = 3600
SLOTS = 8
PASSPHRASE = "town"
SECONDS = 90.0
"""How long anything may take, on a machine that does other things too."""


@dataclass(frozen=True)
class Sent:
    """A transaction to the contract: who sent it, under which nonce, what it asked for, and whether it happened."""

    sender: bytes
    nonce: int
    call: Call
    worked: bool


class Party:
    """A process of the town, and what it wrote."""

    def __init__(self, name: str, command: Sequence[object], folder: Path, env: Mapping[str, str]):
        self.name, self.out, self.err = name, folder / f"{name}.out", folder / f"{name}.err"
        with self.out.open("a") as out, self.err.open("a") as err:
            self.process = subprocess.Popen(
                list(map(str, command)), stdout=out, stderr=err, cwd=HERE, env=os.environ | env,
                preexec_fn=_die_with_parent,  # noqa: PLW1509
            )  # fmt: skip

    def said(self) -> str:
        """All that it wrote, for people."""
        return f"== {self.name}\n{self.out.read_text()}{self.err.read_text()}"

    def told(self) -> list[dict[str, Any]]:
        """The JSON objects that it printed."""
        return [json.loads(line) for line in self.out.read_text().splitlines()]

    def kill(self) -> None:
        """As `kill -9` does."""
        self.process.kill()
        self.process.wait()

    def code(self, seconds: float = SECONDS) -> int:
        """Its exit code, waited for."""
        return self.process.wait(seconds)


class Line:
    """A process of proxy.py between others and the node: `url` is the ledger's through it."""

    def __init__(self, town: Town, name: str) -> None:
        port = free_port()
        self._control = f"http://127.0.0.1:{port}/control"
        self.url = town.through(f"http://127.0.0.1:{port}")
        town.start(name, [sys.executable, HERE / "proxy.py", port, town.node_url])
        town.until(lambda: answers(f"http://127.0.0.1:{port}"), "the proxy to answer")

    def fault(self, **faults: object) -> None:
        """From now on, these faults and no others."""
        body = json.dumps(faults).encode()
        urllib.request.urlopen(urllib.request.Request(self._control, body), timeout=10).close()

    def hit(self) -> int:
        """How many requests a fault has struck."""
        return int(self._state()["hit"])

    def sent(self) -> list[str]:
        """Raw transactions that came through, in order."""
        return list(self._state()["sent"])

    def _state(self) -> dict[str, Any]:
        with urllib.request.urlopen(self._control, timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


class Town:
    """One anvil, one contract, one task. A context manager: whatever was started ends with it.

    `anvil` are more options of the node. Members are `keys.demo(SEED, "member", k)`.
    """

    def __init__(
        self, folder: Path, members: int = 3, rounds: int = 2, anvil: Sequence[object] = ()
    ) -> None:
        self.folder, self.members, self.rounds = folder, members, rounds
        self.parties: list[Party] = []
        self._anvil = anvil
        self.honest: set[bytes] = set()

    def __enter__(self) -> Town:
        try:
            self._build()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if error is not None:
            for party in self.parties:
                sys.stderr.write(party.said())
        self._end()

    def _build(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.node, self.node_url = self.start_node("anvil", *self._anvil)
        bare = node_at(self.node_url)
        sponsor = self.key("sponsor")
        everybody = [self.key("member", k) for k in range(self.members)]
        others = [
            self.key(role, k) for role in ("aggregator", "validator", "villain") for k in (0, 1)
        ]
        for key in (sponsor, *everybody, *others):
            bare.give(address_of(key))
        self.contract = bare.deploy(sponsor)
        self.url = self.through(self.node_url)
        chain = ledger.open(self.url)
        assert isinstance(chain, EthereumLedger)
        self.chain = chain
        self.shared = self.folder / "shared"
        self.store = store.open(str(self.shared))
        self.task = create_task(
            chain, self.store, sponsor, MODEL,
            members=[address_of(key) for key in everybody], rounds=self.rounds, leaf_words=LEAF,
            fan_in=FAN_IN, slots=SLOTS, commit_window=WINDOW, challenge_window=WINDOW,
        )  # fmt: skip
        self.parameters = chain.task(self.task).parameters

    def _end(self) -> None:
        for party in self.parties:
            party.kill()

    def start_node(self, name: str, *options: object) -> tuple[Party, str]:
        """Start another anvil; its URL."""
        anvil = find_anvil()
        if anvil is None:
            pytest.skip("anvil is not installed: run npm install --no-save in contracts/")
        port = free_port()
        node = self.start(name, [anvil, "--port", port, "--silent", *options])
        url = f"http://127.0.0.1:{port}"
        self.until(lambda: answers(url), "the node to answer")
        return node, url

    def through(self, url: str) -> str:
        """The ledger's URL where the node is reached at `url`."""
        return f"{url}?contract=0x{self.contract.hex()}"

    def key(self, role: str, index: int = 0) -> Signer:
        return keys.demo(SEED, role, index)

    def account(self, role: str, index: int = 0) -> bytes:
        return address_of(self.key(role, index))

    def start(self, name: str, command: Sequence[object], **env: str) -> Party:
        party = Party(name, command, self.folder, env)
        self.parties.append(party)
        return party

    def member(
        self, index: int, *options: object, url: str | None = None, kept: Path | None = None,
        own: Path | None = None, trains_as: int | None = None, bonded: bool = False,
    ) -> Party:  # fmt: skip
        """Start `tallystick participate`; `kept` is the store that it is given, `trains_as` whose data it has."""
        command = (
            "participate", "--train", "work:train", *(() if bonded else ("--train-only",)),
            "--own", own or self.folder / f"own-{index}", "--every", 0.2, "--patience", 3, *options,
        )  # fmt: skip
        as_whom = str(index if trains_as is None else trains_as)
        return self._role("member", index, command, url, kept, WORK_MEMBER=as_whom)

    def aggregator(
        self, index: int = 0, *options: object, url: str | None = None, own: Path | None = None
    ) -> Party:
        """Start `tallystick aggregate`."""
        command = (
            "aggregate", "--own", own or self.folder / f"own-aggregator-{index}", "--every", 0.2,
            "--patience", 3, *options,
        )  # fmt: skip
        return self._role("aggregator", index, command, url, None)

    def validator(self, *options: object, url: str | None = None) -> Party:
        """Start `tallystick validate`."""
        return self._role("validator", 0, ("validate", "--every", 0.2, *options), url, None)

    def villain(self, lie: str) -> Party:
        """Start an aggregator that tells a lie of villain.py."""
        command = [sys.executable, HERE / "villain.py", self.url, self.shared, self.task.hex(), lie]
        return self.start("villain", command)

    def line(self, name: str = "line") -> Line:
        """A fault proxy to the node, which has no faults yet."""
        return Line(self, name)

    def everybody(self, url: str | None = None) -> list[Party]:
        """Start all members, train-only, and an aggregator."""
        members = [self.member(k, url=url) for k in range(self.members)]
        return [*members, self.aggregator(url=url)]

    def _role(
        self, role: str, index: int, command: Sequence[object], url: str | None,
        kept: Path | None, **env: str,
    ) -> Party:  # fmt: skip
        self.honest.add(self.account(role, index))
        return self.start(
            f"{role}-{index}",
            [
                sys.executable, "-m", "tallystick", *command, "--ledger", url or self.url,
                "--store", kept or self.shared, "--task", self.task.hex(), "--json",
            ],
            **self.environment(role, index),
            **env,
        )  # fmt: skip

    def environment(self, role: str, index: int) -> dict[str, str]:
        """The variables that hold an account's key."""
        return {
            "TALLYSTICK_KEYSTORE": str(self._keystore(role, index)),
            "TALLYSTICK_PASSPHRASE": PASSPHRASE,
        }

    def _keystore(self, role: str, index: int) -> Path:
        path = self.folder / f"{role}-{index}.json"
        if not path.exists():
            # Two rounds of scrypt: these keys are worth nothing, and are opened often.
            path.write_text(
                json.dumps(Account.encrypt(self.key(role, index).key, PASSPHRASE, iterations=2))
            )
        return path

    def until(self, true: Callable[[], bool], what: str, seconds: float = SECONDS) -> None:
        """Wait for something to be true; fail with everybody's words if it does not come."""
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            time.sleep(0.05)

    def until_said(self, party: Party, words: str) -> None:
        """Wait until a party has said something."""
        self.until(lambda: words in party.said(), f"{party.name} to say {words!r}")

    def head(self) -> Round:
        """The newest proposal that builds on nothing false."""
        return self.chain.round(self.task, self.chain.task(self.task).head)

    def round(self, number: int) -> Round:
        return self.chain.round(self.task, number)

    def commitments(self, number: int) -> int:
        """How many members have committed to a round."""
        return sum(
            self.chain.commitment(self.task, number, self.account("member", k)) is not None
            for k in range(self.members)
        )

    def refutations(self) -> list[Refuted]:
        return [e for _, e in self.chain.events(self.task) if isinstance(e, Refuted)]

    def rpc(self, method: str, *params: object) -> Any:
        return rpc(self.node_url, method, *params)

    def slashings(self) -> list[Slashed]:
        return [e for _, e in self.chain.events(self.task) if isinstance(e, Slashed)]

    def put_at_stake(self, role: str, index: int, amount: int) -> None:
        """An account's stake, before its process starts."""
        key = self.key(role, index)
        self.chain.send(key, Deposit(amount), Stake(self.task, amount))

    def calldata(self, call: Call) -> str:
        """How a call about a round begins, in hex digits: selector, task and number, for a line to recognise it."""
        return contract.encode_call(call)[:68].hex()

    def pass_time(self, seconds: int = WINDOW + 1) -> None:
        """Move the chain's clock."""
        self.rpc("evm_increaseTime", seconds)
        self.rpc("evm_mine")

    def finish(self, *running: Party) -> str:
        """See the task complete, its windows pass, and all who are `running` end well; return the model's root.

        Also that every honest account has just what it should, that nothing was sent twice, and that an audit finds nothing.
        """
        self.until(lambda: self.head().height == self.rounds, "the last proposal")
        self.pass_time()
        for party in running:
            assert party.code() == 0, party.said()
        head = self.head()
        assert (head.height, head.phase) == (self.rounds, Phase.FINAL)
        self.check_balances()
        self.check_sent()
        found = auditor.audit(self.chain, self.store, self.task)
        assert found.model_root == head.next_root
        return head.next_root.hex()

    def owed(self, account: bytes) -> int:
        """What an account should have on the contract: what it put there, bounties it earned, less bonds it lost."""
        total = 0
        for sent in self.sent():
            if sent.sender == account and sent.worked:
                total += sent.call.amount if isinstance(sent.call, Deposit) else 0
                total -= sent.call.amount if isinstance(sent.call, Withdraw) else 0
        for event in self.refutations():
            total += event.bounty * (event.challenger == account)
            total -= self.parameters.bond * (event.proposer == account)
        for slashed in self.slashings():
            total += slashed.bounty * (slashed.by == account)
            total -= slashed.amount * (slashed.account == account)
        return total

    def check_balances(self) -> None:
        """No honest account lost a bond, put money up twice, or has less than it is owed; nobody's money is stuck."""
        assert not self.honest & {event.proposer for event in self.refutations()}
        for account in self.honest:
            held = self.chain.balance(account)
            assert held.free + held.locked == self.owed(account)
            paid = [
                s.call.amount for s in self.sent()
                if s.sender == account and s.worked and isinstance(s.call, Deposit)
            ]  # fmt: skip
            p = self.parameters
            # For bonds, a vote, a demand: each amount once, as `check_sent` sees.
            assert set(paid) <= {SLOTS * p.bond, p.stake, p.reveal_fee}

    def check_sent(self) -> None:
        """Nobody honest did anything twice: one commitment a round, one deposit, one proposal an attempt, one finality."""
        done = Counter(
            (s.sender if isinstance(s.call, Commit | Deposit) else b"", _subject(s.call))
            for s in self.sent()
            if s.worked and isinstance(s.call, Commit | Deposit | Finalise | Void)
        )
        assert [what for what, times in done.items() if times > 1] == []
        proposed = Counter(
            s.call.round for s in self.sent() if s.worked and isinstance(s.call, Propose)
        )
        for number, times in proposed.items():
            assert times == 1 + self.round(number).attempt
        opened = [s.call.round for s in self.sent() if s.worked and isinstance(s.call, Open)]
        assert sorted(opened) == list(range(1, self.chain.task(self.task).opened + 1))
        nonces: dict[bytes, list[int]] = {}
        for s in self.sent():
            nonces.setdefault(s.sender, []).append(s.nonce)
        assert all(len(set(each)) == len(each) for each in nonces.values())

    def failed(self) -> list[Sent]:
        """Transactions of honest accounts that cost gas and did nothing."""
        return [s for s in self.sent() if s.sender in self.honest and not s.worked]

    def sent(self) -> list[Sent]:
        """Every transaction to the contract on the chain, in order."""
        head = self.chain.head()
        if getattr(self, "_sent", (None, []))[0] != head:
            self._sent = (head, list(_transactions(self.node_url, head.number, self.contract)))
        return self._sent[1]


def _transactions(url: str, newest: int, to: bytes) -> Iterator[Sent]:
    for number in range(newest + 1):
        block = rpc(url, "eth_getBlockByNumber", hex(number), True)
        for each in block["transactions"]:
            if each["to"] != "0x" + to.hex():
                continue
            receipt = rpc(url, "eth_getTransactionReceipt", each["hash"])
            try:
                call = contract.decode_call(
                    bytes.fromhex(each["input"][2:]), int(each["value"], 16)
                )
            except InvalidParameter:
                continue
            yield Sent(
                bytes.fromhex(each["from"][2:]), int(each["nonce"], 16), call, receipt["status"] == "0x1"
            )  # fmt: skip


def _subject(call: Call) -> tuple[str, object]:
    what = call.amount if isinstance(call, Deposit) else getattr(call, "round", None)
    return type(call).__name__, what


def _die_with_parent() -> None:
    """Where the system can (Linux): no process outlives the tests, even if those are killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def node_at(url: str) -> EthereumLedger:
    """A node on which the contract may not be yet."""
    return EthereumLedger(Network(url), deployed=False)


def rpc(url: str, method: str, *params: object) -> Any:
    """One question to a node, and its answer."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        found = json.load(answer)
    assert "error" not in found, found["error"]
    return found["result"]


def answers(url: str) -> bool:
    try:
        rpc(url, "eth_chainId")
    except (urllib.error.URLError, ConnectionError):
        return False
    return True


def expected(
    members: Sequence[int], rounds: int, trains_as: Mapping[int, int] = MappingProxyType({})
) -> str:
    """The model's root where `members` all count, by Python's integers alone; `trains_as` says whose update one has instead."""
    words = quantise(MODEL, LAYOUT, 24)
    total = sum(map(work.weight, members))
    for height in range(1, rounds + 1):
        base = dequantise(words, LAYOUT, 24)
        sums = [0] * len(words)
        for member in members:
            step = work.step(trains_as.get(member, member), height)
            moved = {name: array + array.dtype.type(step) for name, array in base.items()}
            update = update_of(moved, words, LAYOUT, 24)
            sums = [s + work.weight(member) * int(u) for s, u in zip(sums, update, strict=True)]
        mean = [(s + total // 2) // total for s in sums]
        words = np.array([int(w) + m for w, m in zip(words, mean, strict=True)], np.int32)
    return merkle.root(as_bytes(words), 4 * LEAF).hex()


@contextmanager
def paused(party: Party) -> Iterator[None]:
    """Stop a process for a while."""
    party.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        party.process.send_signal(signal.SIGCONT)
