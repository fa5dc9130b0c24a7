"""The audit finds whatever was changed after the fact, and names it."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conftest import demo, tallystick
from tallystick import keys, ledger, store
from tallystick.blob import HEADER_BYTES, Kind
from tallystick.demo.run import audit_run
from tallystick.errors import JournalMismatch, Mismatch
from tallystick.ledger import address_of
from tallystick.protocol import Admit, Commit, CreateTask, Deposit, Open, Propose, TaskCreated
from tallystick.roles import auditor
from tallystick.roles.auditor import Finding
from tallystick.run import RunFolder


@pytest.fixture
def copied(finished_run: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    shutil.copytree(finished_run, folder)
    return folder


def blobs(folder: Path) -> list[Path]:
    return sorted(folder.glob("store/??/*.blob"))


def test_an_untouched_run_passes(copied: Path) -> None:
    """A run folder can be moved and still audits, from the folder or from ledger, store and task alone."""
    found = audit_run(RunFolder(copied))
    assert len(found.rounds) == 3
    assert all(one.final for one in found.rounds)
    done = tallystick(
        "audit", "--ledger", f"embedded:{copied}/ledger.sqlite", "--store", f"file:{copied}/store",
        "--task", found.task.hex(), "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model_root"] == found.model_root.hex()


def flip(path: Path, place: int, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 1 << bit
    path.write_bytes(data)


@pytest.mark.parametrize("seed", range(25))
def test_any_bit_of_any_blob(copied: Path, seed: int) -> None:
    """Whichever bit of whichever blob is flipped, the audit fails and names the blob's file."""
    rng = random.Random(seed)
    path = rng.choice(blobs(copied))
    flip(path, rng.randrange(1 << 30), rng.randrange(8))
    with pytest.raises(Finding, match=path.stem):
        audit_run(RunFolder(copied))


def test_a_flipped_weight_is_named_exactly(copied: Path) -> None:
    """One flipped bit of an update is put down to round, member, tensor, index and leaf, with both values."""
    record = RunFolder(copied).rounds()[2]
    member = record["members"][1]
    kept = store.open(f"file:{copied}/store")
    path = kept.path(bytes.fromhex(member["root"]))
    task = bytes.fromhex(RunFolder(copied).read()["task_id"])
    layout = audit_run(RunFolder(copied)).layout
    flip(path, HEADER_BYTES + 4 * 17, 3)
    tensor, index = layout.locate(17)
    with pytest.raises(Finding) as caught:
        audit_run(RunFolder(copied))
    place = caught.value.place
    assert (place.round, place.member) == (2, bytes.fromhex(member["member"]))
    assert (place.tensor, place.index, place.leaf) == (tensor, index, 0)
    assert "from word" in caught.value.said
    done = tallystick("audit", copied)
    assert done.returncode == 1
    assert all(word in done.stderr for word in ("round 2", member["member"], tensor, "leaf 0"))
    assert task.hex() not in done.stderr


def test_a_missing_blob_is_named(copied: Path) -> None:
    """A deleted update is missed, and whose it was is said."""
    member = RunFolder(copied).rounds()[1]["members"][0]
    store.open(f"file:{copied}/store").delete(bytes.fromhex(member["root"]))
    with pytest.raises(Finding, match=f"round 1, member 0x{member['member']}"):
        audit_run(RunFolder(copied))


def journal(folder: Path, *statements: str) -> None:
    with sqlite3.connect(folder / "ledger.sqlite") as database:
        for statement in statements:
            database.execute(statement)
    database.close()


@pytest.mark.parametrize("seed", range(12))
def test_any_bit_of_any_journal_row(copied: Path, seed: int) -> None:
    """Whichever bit of whichever row of the journal is flipped, the audit names the row."""
    rng = random.Random(seed)
    database = sqlite3.connect(copied / "ledger.sqlite")
    (count,) = database.execute("SELECT COUNT(*) FROM journal").fetchone()
    row, column = rng.randint(1, count), rng.choice(["time", "body", "seal"])
    (value,) = database.execute(f"SELECT {column} FROM journal WHERE number={row}").fetchone()
    if column == "time":
        changed: object = value ^ (1 << rng.randrange(10))
    else:
        data = bytearray(value)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        changed = bytes(data)
    database.execute(f"UPDATE journal SET {column}=? WHERE number=?", (changed, row))
    database.commit()
    database.close()
    with pytest.raises(JournalMismatch, match=f"row {row}"):
        audit_run(RunFolder(copied))


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (["DELETE FROM journal WHERE number=9"], "row 9 is missing"),
        (["DELETE FROM journal WHERE number > 20"], "blocks were removed"),
        (
            [
                "UPDATE journal SET number=-1 WHERE number=12",
                "UPDATE journal SET number=12 WHERE number=13",
                "UPDATE journal SET number=13 WHERE number=-1",
            ],
            "row 12",
        ),
        (["DELETE FROM journal"], ""),
    ],
    ids=["removed", "cut_off", "reordered", "emptied"],
)
def test_rows_removed_or_reordered(copied: Path, statements: list[str], said: str) -> None:
    """Removing rows, also the last ones, or changing their order is found and named; the command exits with 1."""
    journal(copied, *statements)
    if said:
        with pytest.raises(Mismatch, match=said):
            audit_run(RunFolder(copied))
    assert tallystick("audit", copied).returncode in ((1,) if said else (1, 2))


def test_a_missing_journal_is_not_made_up(copied: Path) -> None:
    """An audit without the journal fails and does not begin a new one."""
    for path in copied.glob("ledger.sqlite*"):
        path.unlink()
    with pytest.raises(Finding, match="missing"):
        audit_run(RunFolder(copied))
    assert not (copied / "ledger.sqlite").exists()


def test_tamper_shows_the_audit_naming_it(tmp_path: Path) -> None:
    """`demo --tamper` flips one weight in a copy, and the finding names its round and member."""
    found = demo(tmp_path / "run", "--members", 3, "--rounds", 2, "--tamper")
    told = found["tamper"]
    assert told["found"]
    assert (
        f"round {told['flipped']['round']}, member {told['flipped']['member']}" in told["finding"]
    )
    assert found["audit"] == "ok"


def test_a_false_proposal_is_found(copied: Path) -> None:
    """A model that was proposed and does not follow from the updates is named, down to the first wrong weight."""

    chain = ledger.open(f"hashchain:{copied}/other.sqlite?difficulty=1")
    kept = store.open(f"file:{copied}/store")
    good = audit_run(RunFolder(copied))
    p = replace(good.parameters, challenge_window=5)
    sponsor, aggregator = keys.demo(7, "sponsor", 0), keys.demo(7, "aggregator", 0)
    member = keys.demo(7, "member", 0)
    (created,) = chain.send(sponsor, CreateTask(p))[0].events
    assert isinstance(created, TaskCreated)
    task = created.task
    chain.send(sponsor, Admit(task, (address_of(member),)))
    chain.send(aggregator, Deposit(p.bond), Open(task, 1))
    base = kept.get(p.genesis, Kind.MODEL).astype(np.int32)
    update = np.ones_like(base)
    root = kept.put(Kind.UPDATE, update, p.leaf_words)
    chain.send(member, Commit(task, 1, 10, root))
    lie = base + 1
    lie[5] += 1
    wrong = kept.put(Kind.MODEL, lie, p.leaf_words)
    chain.send(aggregator, Propose(task, 1, 1, b"\x01" * 32, wrong))
    with pytest.raises(Finding, match="word 5") as caught:
        auditor.audit(chain, kept, task)
    assert caught.value.place.tensor == good.layout.locate(5)[0]
