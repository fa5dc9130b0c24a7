"""The in-process ledgers keep their word: what is written stays, what is changed is found, and processes can share."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tallystick import keys, ledger
from tallystick.errors import (
    InvalidParameter,
    JournalMismatch,
    LedgerUnavailable,
    NotMember,
    Reorganised,
    StoreUnavailable,
    UnknownTask,
)
from tallystick.ledger import Ledger, address_of
from tallystick.ledger.networks import record_contract, recorded_contract, resolve
from tallystick.protocol import (
    MIN_BOND,
    Admit,
    Commit,
    CreateTask,
    Deposit,
    Finalise,
    Open,
    Parameters,
    Propose,
    TaskCreated,
    Withdraw,
)

SPONSOR, AGGREGATOR = keys.demo(1, "sponsor", 0), keys.demo(1, "aggregator", 0)
MEMBERS = [keys.demo(1, "member", k) for k in range(3)]
KINDS = ["embedded", "hashchain"]
URL = {"embedded": "embedded:{}", "hashchain": "hashchain:{}?difficulty=4"}


def create(chain: Ledger, salt: int = 0) -> bytes:
    parameters = Parameters(
        sponsor=address_of(SPONSOR), layout=b"\x01" * 32, genesis=b"\x02" * 32, dimension=10, scale=24,
        leaf_words=256, fan_in=4, rule=0, rounds=99, quorum=1, max_weight=1000, max_members=3, slots=4,
        commit_window=100, challenge_window=50, bond=MIN_BOND, bounty=50, salt=salt.to_bytes(32, "big"),
    )  # fmt: skip
    (created,) = chain.send(SPONSOR, CreateTask(parameters))[0].events
    assert isinstance(created, TaskCreated)
    chain.send(SPONSOR, Admit(created.task, tuple(map(address_of, MEMBERS))))
    return created.task


def play(chain: Ledger, task: bytes, number: int) -> None:
    chain.send(AGGREGATOR, Open(task, number))
    for k, member in enumerate(MEMBERS):
        chain.send(member, Commit(task, number, k + 1, bytes([number, k]) * 16))
    seen = chain.head()
    roots = b"\x03" * 32, bytes([number]) * 32
    chain.send(AGGREGATOR, Propose(task, number, 3, *roots, False, seen.number, seen.hash))
    chain.wait(chain.round(task, number).final_at)
    chain.send(SPONSOR, Finalise(task, number))


def fill(chain: Ledger) -> bytes:
    task = create(chain)
    chain.send(AGGREGATOR, Deposit(3 * MIN_BOND))
    for number in (1, 2):
        play(chain, task, number)
    return task


@pytest.mark.parametrize("kind", KINDS)
def test_reopened_it_is_the_same(kind: str, tmp_path: Path) -> None:
    """A journal that is opened again gives the same head, views and events."""
    url = URL[kind].format(tmp_path / "j.sqlite")
    chain = ledger.open(url)
    task = fill(chain)
    before = (
        chain.head(), chain.task(task), chain.round(task, 2), chain.balance(address_of(AGGREGATOR)),
        chain.commitment(task, 2, address_of(MEMBERS[0])), list(chain.events(task)), chain.contract,
    )  # fmt: skip
    chain.close()
    again = ledger.open(chain.url)
    assert before == (
        again.head(), again.task(task), again.round(task, 2), again.balance(address_of(AGGREGATOR)),
        again.commitment(task, 2, address_of(MEMBERS[0])), list(again.events(task)), again.contract,
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_calls_give_the_same_chain(kind: str, tmp_path: Path) -> None:
    """On a virtual clock, the same run twice gives the same hashes, bit for bit."""
    heads = []
    for name in ("a", "b"):
        chain = ledger.open(URL[kind].format(tmp_path / name))
        fill(chain)
        heads.append(chain.head())
    assert heads[0] == heads[1]


@pytest.mark.parametrize("kind", KINDS)
def test_events_after_a_cursor(kind: str) -> None:
    """Reading on from a cursor gives what came after it, once."""
    chain = ledger.open(URL[kind].format(""))
    task = fill(chain)
    everything = list(chain.events(task))
    cursor = everything[7][0]
    rest = [found for found in everything if found[0].number > cursor.number]
    assert list(chain.events(task, cursor)) == rest


@pytest.mark.parametrize("kind", KINDS)
def test_refusals_leave_no_row(kind: str) -> None:
    """A refused call raises the rule's name and changes nothing."""
    chain = ledger.open(URL[kind].format(""))
    task = fill(chain)
    stranger = keys.demo(1, "stranger", 0)
    chain.send(AGGREGATOR, Open(task, 3))
    chain.send(stranger, Deposit(5), Withdraw(5))
    head = chain.head()
    with pytest.raises(NotMember) as caught:
        chain.send(stranger, Commit(task, 3, 1, b"\x01" * 32))
    assert caught.value.arguments == (address_of(stranger),)
    with pytest.raises(UnknownTask):
        chain.task(bytes(32))
    assert chain.head() == head


@pytest.mark.parametrize("kind", KINDS)
def test_a_proposal_says_which_chain_it_is_of(kind: str) -> None:
    """A proposal that names a block of another chain, or none of the last 256, is refused and leaves no row."""
    chain = ledger.open(URL[kind].format(""))
    task = create(chain)
    chain.send(AGGREGATOR, Deposit(MIN_BOND), Open(task, 1))
    for member in MEMBERS:
        chain.send(member, Commit(task, 1, 1, b"\x01" * 32))
    old = chain.head()
    for _ in range(256):
        chain.send(AGGREGATOR, Deposit(1))
    newest = chain.head()
    false = [
        (newest.number, old.hash), (old.number, old.hash), (newest.number - 1, newest.hash),
        (newest.number + 1, newest.hash), (2**255, newest.hash),
    ]  # fmt: skip
    for number, digest in false:
        with pytest.raises(Reorganised) as caught:
            chain.send(AGGREGATOR, Propose(task, 1, 3, old.hash, old.hash, False, number, digest))
        assert caught.value.arguments == (number,)
    assert chain.head() == newest
    chain.send(AGGREGATOR, Deposit(1))
    seen = (newest.number, newest.hash)
    chain.send(AGGREGATOR, Propose(task, 1, 3, old.hash, old.hash, False, *seen))


WRITER = """
import sys
sys.path.insert(0, {tests!r})
from test_ledger import *
chain = ledger.open({url!r})
signer = keys.demo(int(sys.argv[1]), "depositor", 0)
for _ in range(int(sys.argv[2])):
    chain.send(signer, Deposit(1))
    print(chain.head().number, flush=True)
"""


def writer(url: str, who: int, times: int) -> subprocess.Popen[str]:
    code = WRITER.format(tests=str(Path(__file__).parent), url=url)
    return subprocess.Popen(
        [sys.executable, "-c", code, str(who), str(times)], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_write_at_once(kind: str, tmp_path: Path) -> None:
    """Two processes that write to one file both get all of their calls in, each once."""
    url = URL[kind].format(tmp_path / "j.sqlite")
    writers = [writer(url, who, 12) for who in (1, 2)]
    assert [w.wait(120) for w in writers] == [0, 0]
    chain = ledger.open(url)
    for who in (1, 2):
        assert chain.balance(address_of(keys.demo(who, "depositor", 0))).free == 12


@pytest.mark.parametrize("kind", KINDS)
def test_killed_while_writing(kind: str, tmp_path: Path) -> None:
    """kill -9 at any moment: what was reported is there, and at most one more; the file goes on."""
    url = URL[kind].format(tmp_path / "j.sqlite")
    rng = random.Random(3)
    told = 0
    for _ in range(3):
        process = writer(url, 1, 10_000)
        assert process.stdout
        process.stdout.readline()
        time.sleep(rng.uniform(0.05, 0.4))
        process.send_signal(signal.SIGKILL)
        lines = process.stdout.read().split()
        process.wait()
        chain = ledger.open(url)
        seen = chain.balance(address_of(keys.demo(1, "depositor", 0))).free
        assert seen >= told + len(lines)
        assert seen - told - len(lines) <= 2
        told = seen
        chain.close()


def edit(path: Path, statement: str, *values: object) -> None:
    database = sqlite3.connect(path)
    database.execute(statement, values)
    database.commit()
    database.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("column", ["number", "time", "body", "seal"])
@pytest.mark.parametrize("seed", range(3))
def test_an_edited_row_is_named(kind: str, column: str, seed: int, tmp_path: Path) -> None:
    """Any byte of any column that is changed is found on opening, and its row is named."""
    path = tmp_path / "j.sqlite"
    url = URL[kind].format(path)
    chain = ledger.open(url)
    fill(chain)
    count = chain.head().number
    chain.close()
    rng = random.Random(seed)
    row = rng.randint(1, count)
    if column == "number":
        edit(path, "UPDATE journal SET number=number+1000 WHERE number=?", row)
    else:
        database = sqlite3.connect(path)
        (value,) = database.execute(f"SELECT {column} FROM journal WHERE number={row}").fetchone()
        database.close()
        if column == "time":
            value += rng.choice([-1, 1, 7])
        else:
            data = bytearray(value)
            data[rng.randrange(len(data))] ^= rng.randint(1, 255)
            value = bytes(data)
        edit(path, f"UPDATE journal SET {column}=? WHERE number=?", value, row)
    with pytest.raises(JournalMismatch, match=rf"row {row}\b"):
        ledger.open(url)


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_loses_nothing(kind: str, tmp_path: Path) -> None:
    """When the journal cannot grow, the call fails with a remedy, and once there is room it works again."""
    chain = ledger.open(URL[kind].format(tmp_path / "j.sqlite"))
    task = fill(chain)
    journal = chain._journal  # type: ignore[attr-defined]
    (pages,) = journal._db.execute("PRAGMA page_count").fetchone()
    journal._db.execute(f"PRAGMA max_page_count={pages}")

    def play_on() -> None:
        for number in range(3, 60):
            play(chain, task, number)

    with pytest.raises(StoreUnavailable, match="disk is full"):
        play_on()
    head = chain.head()
    journal._db.execute("PRAGMA max_page_count=1000000")
    chain.send(AGGREGATOR, Deposit(1))
    assert chain.head().number > head.number
    chain.close()
    assert ledger.open(chain.url).task(task).members == 3


def test_other_settings_are_refused(tmp_path: Path) -> None:
    """A journal is opened as what it is: another kind or difficulty is refused by name."""
    path = tmp_path / "j.sqlite"
    ledger.open(f"hashchain:{path}?difficulty=3").close()
    for url in (f"hashchain:{path}?difficulty=4", f"embedded:{path}"):
        with pytest.raises(JournalMismatch, match="hashchain-3"):
            ledger.open(url)
    broken = tmp_path / "broken"
    broken.write_bytes(b"not a database, surely" * 100)
    with pytest.raises(JournalMismatch, match="damaged"):
        ledger.open(f"embedded:{broken}")


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("embedded:x?clock=sand", InvalidParameter),
        ("embedded:x?colour=red", InvalidParameter),
        ("hashchain:x?difficulty=99", InvalidParameter),
        ("hashchain:x?difficulty=ten", InvalidParameter),
        ("nowhere", InvalidParameter),
        ("http://127.0.0.1:1", LedgerUnavailable),
        ("http://127.0.0.1:1?contract=0x12", InvalidParameter),
        ("hashchain:/proc/none/x", LedgerUnavailable),
    ],
)
def test_bad_urls_are_explained(
    url: str, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A URL that cannot be opened says what is wrong with it."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=r"[.?)]$"):
        ledger.open(url)


def test_networks_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network's URL, chain and contract come from the file, its secrets from the environment."""
    config = tmp_path / "tallystick.toml"
    config.write_text(
        f'[network.test]\nurl = "https://rpc.example/${{RPC_KEY}}"\nchain_id = 5\ncontract = "0x{"ab" * 20}"\n'
    )
    monkeypatch.setenv("TALLYSTICK_CONFIG", str(config))
    monkeypatch.setenv("TALLYSTICK_HOME", str(tmp_path))
    with pytest.raises(InvalidParameter, match="RPC_KEY"):
        resolve("test")
    monkeypatch.setenv("RPC_KEY", "secret")
    found = resolve("test")
    assert (found.url, found.chain_id, found.contract) == (
        "https://rpc.example/secret",
        5,
        b"\xab" * 20,
    )
    assert recorded_contract(5) is None
    record_contract(5, b"\xcd" * 20)
    assert recorded_contract(5) == b"\xcd" * 20
    with pytest.raises(InvalidParameter, match="it has: test"):
        resolve("other")
