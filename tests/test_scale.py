"""A round of more members than files may be open, or than one transaction may admit."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks import scale
from eth_account.signers.local import LocalAccount

from tallystick import keys, ledger, merkle, store
from tallystick.encoding import as_bytes
from tallystick.errors import BlobUnavailable
from tallystick.ledger import address_of
from tallystick.protocol import Admit, Admitted, Call
from tallystick.roles import auditor, sponsor
from tallystick.roles.participant import Participant
from tallystick.roles.vectors import MAPPED, stored_vectors
from tallystick.store import Kind
from tallystick.sumtree import Entry
from test_aggregation import naive_mean, naive_tree

MEMBERS, SIZE = 300, 1_000


@pytest.fixture
def few_files() -> Iterator[None]:
    """As few open files as some systems let a process have."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.usefixtures("few_files")
def test_a_batched_round_of_many_members_is_what_big_integers_say(tmp_path: Path) -> None:
    """Promise: however many members, the round of the scale benchmark has the defined roots, and its gas is that of a small one."""

    def desks(initialiser: Any, arguments: tuple[Any, ...]) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, initializer=initialiser, initargs=arguments)

    found = scale.play(tmp_path, MEMBERS, SIZE, desks)
    task = bytes.fromhex(found["task"])
    chain = ledger.open(f"embedded:{tmp_path / 'ledger.sqlite'}")
    kept = store.open(str(tmp_path / "store"))
    desk, p = scale.Desk(tmp_path, task, SIZE), chain.task(task).parameters
    entries, updates = [], {}
    participant = Participant(chain, kept, keys.demo(scale.SEED, "member", 0), task)
    for k in range(MEMBERS):
        member, update = keys.demo(scale.SEED, "member", k), desk.update(participant, k)
        root = merkle.root(as_bytes(update), 4 * p.leaf_words)
        entries.append(Entry(address_of(member), desk.weight(k), root))
        updates[address_of(member)] = update
    entries.sort(key=lambda entry: entry.member)
    closed = chain.round(task, 1)
    assert closed.count == MEMBERS
    assert closed.sum_root == naive_tree(entries, updates, p.leaf_words, p.fan_in)
    words = [updates[entry.member].tolist() for entry in entries]
    mean = naive_mean(words, [entry.weight for entry in entries])
    model = kept.get(closed.next_root, Kind.MODEL, p.leaf_words, SIZE)
    assert model.tolist() == [a + b for a, b in zip(desk.base.tolist(), mean, strict=True)]
    assert scale.round_gas(found) < 350_000
    scale.judge(tmp_path, task)
    audited = auditor.audit(chain, kept, task)
    assert audited.rounds[0].roster == tuple(entries)


@pytest.mark.parametrize("slots", [4, 16])
def test_many_members_are_admitted_in_bounded_transactions(tmp_path: Path, slots: int) -> None:
    """Promise: no admission needs more gas than the sponsor's bound, and a setup that was cut short is completed."""
    chain = ledger.open("embedded:")
    spent: list[int] = []
    send = chain.send

    def counted(signer: LocalAccount, *calls: Call) -> list[ledger.Receipt]:
        receipts = send(signer, *calls)
        spent.extend(each.gas for each in receipts if isinstance(each.call, Admit))
        return receipts

    chain.send = counted  # type: ignore[method-assign]
    addresses = [address_of(keys.demo(1, "member", k)) for k in range(300)]
    for known in (170, 300):
        task = sponsor.create_task(
            chain, store.open(str(tmp_path)), keys.demo(1, "sponsor", 0), scale.initial(20),
            members=addresses[:known], max_members=300, rounds=1, slots=slots, salt=bytes(32),
        )  # fmt: skip
    assert len(spent) > 2
    assert max(spent) <= sponsor.ADMISSION_GAS
    admitted = [e.member for _, e in chain.events(task) if isinstance(e, Admitted)]
    assert admitted == addresses


@pytest.mark.parametrize("members", [1, MAPPED + 1])
def test_an_update_that_vanishes_is_named(tmp_path: Path, members: int) -> None:
    """Promise: an update that is removed or cut short between its check and its use is an error that names the file."""
    kept = store.open(str(tmp_path))
    update = np.arange(5_000, dtype=np.int32)
    root = kept.put(Kind.UPDATE, update, 8)
    vector = stored_vectors(kept, [root] * members, 5_000)[0]
    assert vector[:].tolist() == update.tolist()
    assert vector[4_990:6_000].tolist() == update[4_990:].tolist()
    path = kept.path(root)
    os.truncate(path, 9_000)
    for _ in ("cut short", "removed"):
        with pytest.raises(BlobUnavailable, match=root.hex()):
            stored_vectors(kept, [root] * members, 5_000)[0][:]
        path.unlink(missing_ok=True)
