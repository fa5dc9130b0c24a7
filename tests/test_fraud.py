"""What is honest cannot be refuted, every lie can, and the contract says of all evidence what the specification says."""

from __future__ import annotations

import copy
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from eth.vm.message import Message
from eth_typing import Address as Canonical
from hypothesis import given, settings
from hypothesis import strategies as st

from lies import (
    BATCH_LIES,
    CHALLENGER,
    LIES,
    PROPOSER,
    Proposal,
    Round,
    bent,
    hashed,
    mangled,
    misplaced,
    vector,
)
from tallystick import errors, ledger, protocol
from tallystick.aggregation import combine
from tallystick.fraud import Vector
from tallystick.ledger import contract
from tallystick.ledger.author import commitment_author
from tallystick.ledger.embedded import GAS_LIMIT, EmbeddedLedger
from tallystick.protocol import Call, Refuted, RefuteVector, State, TaskCreated

SPEC = (7411, b"\xc0" * 20)
AFTER = 500
"""A time at which the round's commits are closed."""


class Specification:
    """protocol.py, at a time of the caller's choosing; what is tried is undone."""

    def __init__(self, place: tuple[int, bytes] = SPEC) -> None:
        self.place = place
        self.state = State(*place, commitment_author)

    def do(self, call: Call, sender: bytes, now: int) -> tuple[Any, ...]:
        return protocol.process(self.state, call, sender, now)

    def attempt(self, call: Call, sender: bytes, now: int) -> Any:
        """What comes of a call, which is then undone."""
        before = copy.deepcopy(self.state.tasks), dict(self.state.balances), self.state.slashed
        try:
            return self.do(call, sender, now)
        except errors.Refused as refused:
            return refused
        finally:
            self.state.tasks, self.state.balances, self.state.slashed = before


class Contract:
    """The contract on the embedded ledger's machine, without blocks: thousands of calls on one state."""

    def __init__(self) -> None:
        chain = ledger.open("embedded:")
        assert isinstance(chain, EmbeddedLedger)
        self.chain, self.vm = chain, chain._chain.get_vm()
        self.place = (chain.chain_id, chain.contract)
        self.address = Canonical(chain.contract)
        self.code = self.vm.state.get_code(self.address)

    def do(self, call: Call, sender: bytes, now: int) -> tuple[Any, ...]:
        state: Any = self.vm.state
        state.execution_context._timestamp = now
        value = contract.value_of(call)
        if value:
            state.set_balance(Canonical(sender), 10**24)
        message = Message(
            gas=GAS_LIMIT, to=self.address, sender=Canonical(sender), value=value,
            data=contract.encode_call(call), code=self.code,
        )  # fmt: skip
        about = state.get_transaction_context_class()(gas_price=0, origin=Canonical(sender))
        done = state.computation_class.apply_message(state, message, about)
        if done.is_error:
            raise contract.decode_refusal(bytes(done.output)) if done.output else done.error
        found = (
            contract.decode_event([topic.to_bytes(32, "big") for topic in topics], data)
            for _, topics, data in done.get_log_entries()
        )
        return tuple(event for event in found if event is not None)

    def attempt(self, call: Call, sender: bytes, now: int) -> Any:
        """What comes of a call, which is then undone."""
        snapshot = self.vm.state.snapshot()
        try:
            return self.do(call, sender, now)
        except errors.Refused as refused:
            return refused
        finally:
            self.vm.state.revert(snapshot)


def begun(seed: int, *machines: Specification | Contract, made: Round | None = None) -> Round:
    """A random round that awaits its proposal, on all machines."""
    made = made or Round(random.Random(seed), machines[0].place)
    for sender, call in made.begin():
        for machine in machines:
            (created,) = machine.do(call, sender, 1)
            assert isinstance(created, TaskCreated)
            made.task = created.task
    for sender, call in made.commits():
        first, *others = [machine.do(call, sender, 1) for machine in machines]
        assert all(other == first for other in others)
    return made


def proposals(made: Round) -> Iterator[Proposal]:
    """The honest proposal, and one for each lie that the round has room for."""
    yield Proposal(made, None)
    for lie in LIES:
        if lie == "excluded":
            possible = made.excluded is not None and not made.by_rival
        else:
            possible = len(made.entries) > 1 or lie not in {"swapped", "twice", "omission"}
        if possible:
            yield Proposal(made, lie)


def propose(made: Proposal, *machines: Specification | Contract) -> None:
    for machine in machines:
        machine.do(made.call, PROPOSER, AFTER)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**64))
def test_an_honest_proposal_cannot_be_refuted(seed: int) -> None:
    """No evidence, right, out of place or mangled, refutes what `combine` computes over a sound batch."""
    spec = Specification()
    made = begun(seed, spec)
    honest = Proposal(made, None)
    updates = [np.array(update, np.int32) for update in made.updates]
    base = np.array(made.base, np.int32)
    computed = combine(base, made.entries, updates, 8, made.fan_in)
    assert computed.tree.levels == tuple(map(tuple, honest.levels))
    assert computed.next_root == hashed(honest.next)
    propose(honest, spec)
    if made.batch_lie is not None:
        return
    for _ in range(40):
        evidence = honest.anything()
        for call in (evidence, mangled(made.rng, evidence)):
            found = spec.attempt(call, CHALLENGER, AFTER)
            assert isinstance(found, errors.NotRefuted | errors.InvalidProof), (call, found)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**64))
def test_every_lie_is_refuted(seed: int) -> None:
    """Any one corruption, at any node, word, entry or leaf, has evidence that refutes it."""
    spec = Specification()
    made = begun(seed, spec)
    start = copy.deepcopy(spec.state)
    for proposal in proposals(made):
        if proposal.lie is None and made.batch_lie is None:
            continue
        spec.state = copy.deepcopy(start)
        propose(proposal, spec)
        found = spec.attempt(proposal.proof(), CHALLENGER, AFTER)
        assert isinstance(found, tuple) and isinstance(found[0], Refuted), (
            proposal.lie, made.batch_lie, found,
        )  # fmt: skip


def test_the_rounds_hold_every_lie() -> None:
    """The random rounds are not all of one kind: each lie, also those about batches, is among them."""
    rounds = [begun(seed, Specification()) for seed in range(60)]
    found = {proposal.lie for made in rounds for proposal in proposals(made)}
    assert found == {None, *LIES}
    assert {made.batch_lie for made in rounds} == {None, *BATCH_LIES}
    assert {made.members for made in rounds} == set(range(1, 10))
    assert {made.fan_in for made in rounds} == {2, 3, 4}
    assert any(isinstance(vector(made.base, 4), bytes) for made in rounds)


def test_an_update_of_the_wrong_shape_may_not_be_counted() -> None:
    """Who counts a member whose root is not one of enough words, of the right length, is refuted by that update alone."""
    machine = Contract()
    for seed in range(40):
        spec = Specification(machine.place)
        made = Round(random.Random(seed), machine.place)
        made.batch_lie = None
        index = made.rng.randrange(made.members)
        tree = vector(made.updates[index], 4)
        lengths = Proposal(made, None).lengths(4)
        while misplaced(tree, made.leaves, lengths) is None:
            tree = bent(made.rng, tree)
        wrong = replace(made.entries[index], root=hashed(tree))
        made.entries[index] = wrong
        begun(seed, spec, machine, made=made)
        places = [k for k, entry in enumerate(made.entries) if entry.root == wrong.root]
        if not places:
            continue
        proposal = Proposal(made, None)
        propose(proposal, spec, machine)
        placed = proposal.placed(places[0])
        accused = proposal.accused(
            Vector.UPDATE, tree, placed.path, placed.index, (placed.entry,), 4
        )
        call = RefuteVector(made.task, 1, accused)
        one, other = (m.attempt(call, CHALLENGER, AFTER) for m in (spec, machine))
        assert one == other
        assert isinstance(one, tuple), one


def differ(machine: Contract, seeds: range, pieces: int) -> Counter[str]:
    """Try the same evidence on both, and count what came of it."""
    counted: Counter[str] = Counter()
    for seed in seeds:
        spec = Specification(machine.place)
        made = begun(seed, spec, machine)
        start, snapshot = copy.deepcopy(spec.state), machine.vm.state.snapshot()
        for proposal in proposals(made):
            propose(proposal, spec, machine)
            calls = [] if proposal.lie is None and made.batch_lie is None else [proposal.proof()]
            for _ in range(pieces):
                calls.append(proposal.anything())
                calls.append(mangled(made.rng, calls[-1]))
            for call in calls:
                one, other = (m.attempt(call, CHALLENGER, AFTER) for m in (spec, machine))
                assert one == other, (seed, proposal.lie, made.batch_lie, call, one, other)
                honest = proposal.lie is None and made.batch_lie is None
                assert not (honest and isinstance(one, tuple)), (seed, call)
                kind = type(one[0] if isinstance(one, tuple) else one).__name__
                counted[kind] += 1
                if kind == "InvalidProof":
                    counted[f"{kind} {one.arguments[0]}"] += 1
            spec.state = copy.deepcopy(start)
            machine.vm.state.revert(snapshot)
            snapshot = machine.vm.state.snapshot()
    return counted


PARTS = {"batch", "children", "commitment", "data", "entry", "leaf", "neighbours", "path"}


def test_the_contract_judges_as_the_specification() -> None:
    """Hundreds of pieces of evidence, true and false, get the same answer from both, down to the part that is refused."""
    counted = differ(Contract(), range(6), 2)
    assert counted["Refuted"] > 60
    assert counted["NotRefuted"] > 20
    assert counted["InvalidProof"] > 60


@pytest.mark.slow
def test_the_contract_judges_ten_thousand_pieces_as_the_specification() -> None:
    """The same for more than ten thousand, in which evidence fails in every way that it can."""
    counted = differ(Contract(), range(1000, 1060), 8)
    assert sum(counted[k] for k in ("Refuted", "NotRefuted", "InvalidProof")) >= 10_000
    assert PARTS <= {kind.partition(" ")[2] for kind in counted}
