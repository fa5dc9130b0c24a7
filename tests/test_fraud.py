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
    opened,
    signer,
    vector,
)
from seeking import Piece, in_vector, under
from tallystick import errors, ledger, merkle, protocol
from tallystick.aggregation import combine
from tallystick.fraud import STEP, Claim, Sought, Vector, check_sought
from tallystick.ledger import address_of, contract
from tallystick.ledger.author import commitment_author
from tallystick.ledger.embedded import GAS_LIMIT, EmbeddedLedger
from tallystick.protocol import (
    Call,
    Demand,
    Deposit,
    Refuted,
    RefuteVector,
    Reveal,
    SettleLeaf,
    SettleRoster,
    State,
    TaskCreated,
)

SPEC = (7411, b"\xc0" * 20)
AFTER = 500
"""A time at which the round's commits are closed."""


class Specification:
    """protocol/, at a time of the caller's choosing; what is tried is undone."""

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


def answers(proposal: Proposal) -> list[Piece]:
    """Everything under an honest proposal."""
    return list(under(proposal, [vector(update, 4) for update in proposal.updates]))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**64))
def test_an_honest_proposal_can_answer_every_demand(seed: int) -> None:
    """Whatever can be demanded under what `combine` computes is there, and is taken as the answer: nobody can make an honest proposer hide."""
    spec = Specification()
    made = begun(seed, spec)
    if made.batch_lie is not None:
        return
    proposal = Proposal(made, None)
    propose(proposal, spec)
    spec.do(Deposit(10**18), CHALLENGER, AFTER)
    known = {(piece.sought.digest, piece.pieces): piece.data for piece in answers(proposal)}
    tried = [piece.sought for piece in made.rng.choices(answers(proposal), k=6)]
    tried += [mangled(made.rng, sought) for sought in tried * 3]
    accepted = 0
    for sought in tried:
        start = copy.deepcopy(spec.state)
        try:
            (asked,) = spec.do(Demand(made.task, 1, sought), CHALLENGER, AFTER)
        except errors.InvalidProof:
            continue
        key = (asked.digest, asked.pieces)
        spec.do(Reveal(made.task, 1, *key, known[key]), PROPOSER, AFTER)
        assert protocol.get_ballot(spec.state, made.task, 1).demands == 0
        spec.state = start
        accepted += 1
    assert accepted >= 6


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3000), st.integers(0, 2**64))
def test_every_node_of_a_long_vector_can_be_demanded(leaves: int, seed: int) -> None:
    """Also where one answer spans seven levels: `check_sought` takes each node that has children, and these digests answer for it."""
    data = [k.to_bytes(4, "big") for k in range(leaves)]
    root = merkle.root_of([merkle.leaf_hash(leaf) for leaf in data])
    dimension = 8 * leaves - seed % 8
    claim = Claim(1, bytes(32), root, bytes(32), bytes(32), 0, dimension, 8, 2)
    whole = [*in_vector(data, lambda h, p, d, s: Sought(Vector.NEXT, (), 0, (), h, p, d, s))]
    for piece in random.Random(seed).sample(whole, min(20, len(whole))):
        assert check_sought(claim, piece.sought) == piece.pieces
        if piece.pieces:
            digests = [piece.data[k : k + 32] for k in range(0, len(piece.data), 32)]
            assert len(digests) == piece.pieces <= 2**STEP
            assert merkle.root_of(digests) == piece.sought.digest


def leaf_calls(proposal: Proposal) -> Iterator[SettleLeaf]:
    """Every leaf of a proposal's model, opened as it was hashed."""
    made = proposal.round
    for leaf in range(made.leaves):
        parts = tuple(opened(vector(u, 4), leaf, made.leaves) for u in proposal.updates)
        base, following = (
            opened(tree, leaf, made.leaves) for tree in (vector(made.base, 4), proposal.next)
        )
        entries = tuple(proposal.entries)
        yield SettleLeaf(made.task, 1, leaf, entries, parts, base, following)


def roster_call(proposal: Proposal) -> SettleRoster:
    made = proposal.round
    idle = [address_of(signer(k)) for k in (20, 21)]
    people = sorted([*(entry.member for entry in made.committed), *idle])
    return SettleRoster(made.task, 1, tuple(people), tuple(proposal.entries))


def same(machines: tuple[Specification, Contract], call: Call, sender: bytes) -> Any:
    """What comes of a call on both, which is not undone."""
    found = []
    for machine in machines:
        try:
            found.append(machine.do(call, sender, AFTER))
        except errors.Refused as refused:
            found.append(refused)
    assert found[0] == found[1], (call, found)
    return found[0]


def settled(machine: Contract, seeds: range) -> Counter[str]:
    """Ask for, reveal and settle the same on both, right and mangled, and count what came of it."""
    counted: Counter[str] = Counter()

    def count(found: Any) -> None:
        kind = type(found[0] if isinstance(found, tuple) else found).__name__
        part = f" {found.arguments[0]}" if isinstance(found, errors.InvalidProof) else ""
        counted[kind + part] += 1

    for seed in seeds:
        snapshot = machine.vm.state.snapshot()
        spec = Specification(machine.place)
        both = spec, machine
        made = begun(seed, spec, machine)
        lie = made.rng.choice([None, None, "next", "sum carried up", "entry weight", "swapped"])
        if lie == "swapped" and len(made.entries) < 2:
            lie = None
        proposal = Proposal(made, lie)
        propose(proposal, spec, machine)
        same(both, Deposit(10**18), CHALLENGER)
        if lie is None and made.batch_lie is None:
            for piece in made.rng.sample(answers(proposal), 3):
                demand = Demand(made.task, 1, piece.sought)
                reveal = Reveal(made.task, 1, piece.sought.digest, piece.pieces, piece.data)
                for call in (mangled(made.rng, demand), demand, mangled(made.rng, reveal), reveal):
                    count(same(both, call, CHALLENGER))
        roster = roster_call(proposal)
        for call in (mangled(made.rng, roster), mangled(made.rng, roster), roster):
            count(same(both, call, CHALLENGER))
        for right in leaf_calls(proposal):
            wrong = mangled(made.rng, right)
            bent_leaf = replace(wrong, entries=right.entries)
            for call in (wrong, bent_leaf, right, right):
                count(same(both, call, CHALLENGER))
        if protocol.get_ballot(spec.state, made.task, 1).settled == made.leaves:
            assert lie not in {"entry weight", "swapped"}
            assert hashed(proposal.next) == hashed(Proposal(made, None).next)
            counted["whole"] += 1
        machine.vm.state.revert(snapshot)
    return counted


def test_the_contract_reveals_and_settles_as_the_specification() -> None:
    """Right and mangled demands, answers, rosters and leaves get the same answer from both, down to the part that is refused."""
    counted = settled(Contract(), range(12))
    for kind in ("Demanded", "Revealed", "LeafSettled", "AlreadySettled", "whole"):
        assert counted[kind] > 3, counted
    assert sum(n for kind, n in counted.items() if kind.startswith("InvalidProof")) > 40


@pytest.mark.slow
def test_the_contract_reveals_and_settles_thousands_as_the_specification() -> None:
    """The same for thousands, in which they fail in every way that they can."""
    counted = settled(Contract(), range(2000, 2200))
    parts = {kind.partition(" ")[2] for kind in counted if kind.startswith("InvalidProof")}
    assert {"data", "entries", "entry", "following", "leaf", "node", "parts", "path", "people"} <= parts  # fmt: skip


def test_long_vectors_are_revealed_in_pieces_on_the_contract() -> None:
    """Of a model of thousands of leaves, every kind of node is demanded and answered on both alike, and nothing mangled is."""
    machine = Contract()
    spec = Specification(machine.place)
    made = Round(random.Random(3), machine.place)
    made.batch_lie, rng, leaves = None, made.rng, 2000
    made.parameters = replace(made.parameters, dimension=8 * leaves - 3)
    begun(3, spec, machine, made=made)
    data = [rng.randbytes(32) for _ in range(leaves)]
    root = merkle.root_of([merkle.leaf_hash(leaf) for leaf in data])
    claimed = replace(Proposal(made, None).call, next_root=root)
    both = spec, machine
    for machine_ in both:
        machine_.do(claimed, PROPOSER, AFTER)
    same(both, Deposit(10**18), CHALLENGER)
    whole = [*in_vector(data, lambda h, p, d, s: Sought(Vector.NEXT, (), 0, (), h, p, d, s))]
    high = [piece for piece in whole if piece.sought.height > STEP]
    for piece in (*rng.sample(whole, 8), *rng.sample(high, 8)):
        demand = Demand(made.task, 1, piece.sought)
        reveal = Reveal(made.task, 1, piece.sought.digest, piece.pieces, piece.data)
        for call in (mangled(rng, demand), mangled(rng, reveal)):
            assert isinstance(same(both, call, CHALLENGER), errors.Refused | tuple)
        same(both, demand, CHALLENGER)
        (revealed,) = same(both, reveal, CHALLENGER)
        assert revealed.data == piece.data
