"""A small task in pure Python: who is who, honest rounds and lies, as the tests of the specification play them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tallystick import merkle, protocol
from tallystick.ledger.author import commitment_author
from tallystick.protocol import (
    Admit,
    Attest,
    Commit,
    CreateTask,
    Deposit,
    Open,
    Parameters,
    Propose,
    RefuteTree,
    Stake,
    State,
    TaskCreated,
    TaskId,
    process,
)
from tallystick.sumtree import Entry, SumNode

SPONSOR, AGGREGATOR, RIVAL, SCORER, STRANGER = (bytes([k]) * 20 for k in (1, 2, 3, 4, 5))
MEMBERS = tuple(bytes([k]) * 20 for k in (10, 11, 12))
VALIDATORS = tuple(bytes([k]) * 20 for k in (20, 21, 22))
ROOT, OTHER = b"\x05" * 32, b"\x06" * 32
BOND, STAKE = protocol.MIN_BOND, 3 * protocol.MIN_BOND
WINDOW, REVEAL = 50, 30
PARAMETERS = Parameters(
    sponsor=SPONSOR,
    layout=b"\x01" * 32,
    genesis=b"\x02" * 32,
    dimension=31,
    scale=24,
    leaf_words=256,
    fan_in=4,
    rule=0,
    rounds=9,
    quorum=2,
    max_weight=1000,
    max_members=3,
    slots=2,
    commit_window=100,
    challenge_window=WINDOW,
    bond=BOND,
    bounty=50,
    reveal_window=REVEAL,
    salt=bytes(32),
)
LIE = SumNode(9, 21, ROOT, (OTHER,) * 3)
"""Top of a tree that claims nine members where there are three."""


def begin(
    members: tuple[bytes, ...] = MEMBERS, validators: int = 0, **changes: Any
) -> tuple[State, TaskId]:
    """A ledger with one task, its members, two bonded aggregators, and validators with the least stake, at time 0."""
    state = State(31337, b"\xc0" * 20, commitment_author)
    (created,) = process(state, CreateTask(replace(PARAMETERS, **changes)), SPONSOR, 0)
    assert isinstance(created, TaskCreated)
    process(state, Admit(created.task, members), SPONSOR, 0)
    for account in (AGGREGATOR, RIVAL):
        process(state, Deposit(2 * BOND), account, 0)
    for account in VALIDATORS[:validators]:
        give_stake(state, created.task, account)
    return state, created.task


def give_stake(state: State, task: TaskId, account: bytes, amount: int = BOND) -> None:
    """Have an account put new money at stake."""
    process(state, Deposit(amount), account, 0)
    process(state, Stake(task, amount), account, 0)


def commit(state: State, task: TaskId, number: int, now: int, root: bytes = ROOT) -> None:
    """Open a round and have every member commit to the same root."""
    process(state, Open(task, number), AGGREGATOR, now)
    for member in MEMBERS:
        process(state, Commit(task, number, 7, root), member, now)


def play_round(state: State, task: TaskId, number: int, now: int) -> None:
    """One undisturbed round up to its proposal."""
    commit(state, task, number, now)
    process(state, Propose(task, number, 3, ROOT, bytes([number]) * 32), AGGREGATOR, now)


def play_a_lie(state: State, task: TaskId, number: int, now: int) -> None:
    """A round up to a proposal that `refuted` strikes out."""
    commit(state, task, number, now)
    process(state, Propose(task, number, 3, LIE.digest, OTHER), AGGREGATOR, now)


def refuted(state: State, task: TaskId, number: int, now: int) -> tuple[protocol.Event, ...]:
    """Strike out a proposal whose sum root is `LIE`'s."""
    return process(state, RefuteTree(task, number, (LIE,), 0, (), ()), RIVAL, now)


def attest(state: State, task: TaskId, number: int, account: bytes, now: int) -> None:
    """Attest whatever proposal stands."""
    current = protocol.get_round(state, task, number)
    process(state, Attest(task, number, current.sum_root, current.next_root), account, now)


def words(values: Sequence[int], size: int) -> bytes:
    """A vector's bytes."""
    return b"".join(value.to_bytes(size, "little", signed=True) for value in values)


class Small:
    """Twenty words in three leaves, three members, all in plain integers: an honest proposal and what is under it."""

    leaf_words = 8
    base = tuple(100 * k for k in range(20))
    updates = tuple(tuple(k * (m - 1) * 5 + m for k in range(20)) for m in range(3))
    weights = (3, 1, 1000)

    def __init__(self) -> None:
        size = 4 * self.leaf_words
        self.entries = tuple(
            Entry(member, weight, merkle.root(words(update, 4), size))
            for member, weight, update in zip(MEMBERS, self.weights, self.updates, strict=True)
        )
        weight = sum(self.weights)
        self.sums = [
            sum(w * update[k] for w, update in zip(self.weights, self.updates, strict=True))
            for k in range(20)
        ]
        self.next = [
            old + (total + weight // 2) // weight
            for old, total in zip(self.base, self.sums, strict=True)
        ]
        sums_root = merkle.root(words(self.sums, 8), 8 * self.leaf_words)
        children = tuple(entry.digest for entry in self.entries)
        self.top = SumNode(3, weight, sums_root, children)
        self.next_root = merkle.root(words(self.next, 4), size)

    def begin(self, validators: int = 0, **changes: Any) -> tuple[State, TaskId]:
        """Round 1, in which all three have committed."""
        genesis = merkle.root(words(self.base, 4), 4 * self.leaf_words)
        shape = {"dimension": 20, "leaf_words": self.leaf_words, "genesis": genesis}
        state, task = begin(validators=validators, **shape, **changes)
        process(state, Open(task, 1), AGGREGATOR, 0)
        for entry in self.entries:
            call = Commit(task, 1, entry.weight, entry.root)
            process(state, call, entry.member, 0)
        return state, task

    def propose(self, state: State, task: TaskId, now: int) -> None:
        """The honest proposal."""
        call = Propose(task, 1, 3, self.top.digest, self.next_root)
        process(state, call, AGGREGATOR, now)
