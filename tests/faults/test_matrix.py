"""The fault matrix: every party a process, one fault a test. docs/faults.md is its table."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hexbytes import HexBytes
from town import Town, expected, node_at, rpc
from villain import Villain

import lies
from court import LEAF
from tallystick.errors import InvalidProof, NotMember, NotRefuted
from tallystick.fraud import Accused, Signed, Vector
from tallystick.ledger import address_of, contract
from tallystick.protocol import (
    Call,
    Commit,
    Committed,
    Fault,
    Finalise,
    Open,
    Phase,
    Propose,
    RefuteBatch,
    RefuteEntry,
    RefuteNext,
    RefuteOmission,
    RefuteOrder,
    RefuteSum,
    RefuteTree,
    RefuteVector,
)
from tallystick.roles.evidence import Tree, _open
from tallystick.store import Kind

pytestmark = pytest.mark.slow


def test_nobody_is_at_fault(tmp_path: Path) -> None:
    """Honest processes come to the model that plain integers give, and lose nothing."""
    with Town(tmp_path, 3, 2) as town:
        root = town.finish(*town.everybody(), town.validator())
        assert root == expected(range(3), 2)
        assert town.failed() == []


def convict(folder: Path, lie: str, fault: Fault, members: int = 3) -> None:
    """An aggregator lies: it alone pays, one who found it earns the bounty, and another aggregator comes to the right model."""
    with Town(folder, members, 2) as town:
        villain = town.villain(lie)
        running = [*(town.member(k) for k in range(members)), town.validator()]
        if fault == Fault.OMISSION:
            town.until(lambda: town.commitments(1) == members, "all commitments")
            town.pass_time()
        town.until(lambda: town.round(1).proposer == town.account("villain"), "the lie")
        root = town.finish(*running, town.aggregator())
        assert root == expected(range(members), 2)
        assert villain.code() == 0, villain.said()
        (refuted,) = town.refutations()
        assert (refuted.round, refuted.fault) == (1, fault)
        assert refuted.proposer == town.account("villain")
        assert refuted.challenger in town.honest
        bond = town.parameters.bond
        assert refuted.bounty == bond * town.parameters.bounty // 100
        held = town.chain.balance(refuted.proposer)
        assert (held.free, held.locked) == (bond, 0)


@pytest.mark.parametrize("level", [1, 2, 3], ids=["leaf", "inner", "top"])
def test_a_lie_in_a_partial_sum(tmp_path: Path, level: int) -> None:
    """Promise: a false partial sum costs its author the bond at every level of the tree, and nobody else anything."""
    convict(tmp_path, f"sum:{level}", Fault.SUM, 5)


def test_a_lie_in_the_next_model(tmp_path: Path) -> None:
    """Promise: a model that is not the last one plus the mean costs its author the bond."""
    convict(tmp_path, "next", Fault.NEXT)


def test_an_omitted_member(tmp_path: Path) -> None:
    """Promise: an aggregator that leaves out who committed loses its bond, and the member is counted."""
    convict(tmp_path, "omission", Fault.OMISSION)


def test_a_forged_weight(tmp_path: Path) -> None:
    """Promise: an aggregator that gives a member another weight than it committed to loses its bond."""
    convict(tmp_path, "weight", Fault.ENTRY)


@pytest.mark.parametrize("place", ["round", "task", "chain", "contract"])
def test_a_replayed_signature(tmp_path: Path, place: str) -> None:
    """Promise: a member's signature from another round, task, chain or contract commits it to nothing here: who uses it pays."""
    convict(tmp_path, f"replay:{place}", Fault.BATCH)


def spoil(town: Town, name: str, root: bytes, by: int) -> Path:
    """A copy of the store in which another model lies under the name of one."""
    folder = town.folder / name
    shutil.copytree(town.shared, folder)
    words = town.store.get(root, Kind.MODEL) + by
    other = town.store.put(Kind.MODEL, words.astype("<i4"), LEAF)
    path = town.store.path(root)
    shutil.copy(town.store.path(other), folder / path.relative_to(town.shared))
    town.store.delete(other)
    return folder


def test_two_members_are_given_two_first_models(tmp_path: Path) -> None:
    """Promise: who is given another first model than the ledger names says so, sends nothing, and trains once it has the right one."""
    with Town(tmp_path, 3, 2) as town:
        given = [spoil(town, f"given-{k}", town.parameters.genesis, k + 1) for k in (0, 1)]
        cheated = [town.member(k, kept=folder) for k, folder in enumerate(given)]
        for party in cheated:
            assert party.code() == 1
            assert town.parameters.genesis.hex() in party.said()
            assert "error" in party.told()[-1]
        assert town.sent()[-1].sender == town.account("sponsor")
        assert town.finish(*town.everybody()) == expected(range(3), 2)


def test_two_members_are_given_two_later_models(tmp_path: Path) -> None:
    """Promise: who lost its disk and is given another model than the final one does not train on it, loses nothing, and goes on."""
    with Town(tmp_path, 3, 2) as town:
        line = town.line()
        line.fault(hold=town.calldata(Open(town.task, 2)))
        everybody = town.everybody(line.url)
        town.until(lambda: town.head().height == 1, "the first proposal")
        town.until(lambda: line.hit() > 0, "the second round")
        for party in (*everybody[:2], everybody[3]):
            party.kill()
        line.fault()
        town.pass_time()
        second = town.aggregator(1)
        town.until(lambda: town.round(1).phase == Phase.FINAL, "the first model to be final")
        root = town.round(1).next_root
        own = [town.folder / f"new-{k}" for k in (0, 1)]
        given = [spoil(town, f"given-{k}", root, k + 1) for k in (0, 1)]
        cheated = [town.member(k, kept=given[k], own=own[k]) for k in (0, 1)]
        for party in cheated:
            town.until_said(party, "not training")
            assert root.hex() in party.said()
            party.kill()
        assert town.commitments(2) <= 1
        rest = [town.member(k, own=own[k]) for k in (0, 1)]
        assert town.finish(everybody[2], *rest, second) == expected(range(3), 2)


def refused(url: str, raw: str) -> bool:
    """Whether a node takes no such transaction."""
    try:
        rpc(url, "eth_sendRawTransaction", raw)
    except AssertionError:
        return True
    return False


def test_replayed_transactions(tmp_path: Path) -> None:
    """Promise: what anybody sent is taken once: not again, not on another chain, and not by another contract."""
    with Town(tmp_path, 3, 2) as town:
        line = town.line()
        running = town.everybody(line.url)
        town.until(lambda: town.head().height == 1, "the first proposal")
        for raw in line.sent():
            assert refused(town.node_url, raw)
        root = town.finish(*running)
        head, raws = town.chain.head(), line.sent()
        assert len(raws) == len({s for s in town.sent() if s.sender in town.honest})
        assert all(refused(town.node_url, raw) for raw in raws)
        assert town.chain.head() == head
        _, other = town.start_node("other chain", "--chain-id", 31338)
        for account in town.honest:
            rpc(other, "anvil_setBalance", "0x" + account.hex(), hex(10**20))
        assert all(refused(other, raw) for raw in raws)
        second = node_at(town.node_url)
        second.deploy(town.key("sponsor"))
        for account in town.honest:
            held = second.balance(account)
            assert (held.free, held.locked) == (0, 0)
        assert root == expected(range(3), 2)


def test_a_copied_commitment(tmp_path: Path) -> None:
    """Promise: a commitment is its member's alone. A member that copies one's root counts under its own name and weight, with the
    copied update once that is public; the one it copied counts all the same."""
    with Town(tmp_path, 3, 2) as town:
        running = [town.member(0), town.member(1), town.aggregator()]
        copier = town.villain("copy")
        root = town.finish(*running)
        assert copier.code() == 0
        assert root == expected(range(3), 2, trains_as={2: 1})
        whom, who = town.account("member", 1), town.account("member", 2)
        told = [e for _, e in town.chain.events(town.task) if isinstance(e, Committed)]
        for number in (1, 2):
            roots = {e.member: e.root for e in told if e.round == number}
            assert roots[whom] == roots[who]
            held = [town.chain.commitment(town.task, number, each) for each in (whom, who)]
            assert held[0] != held[1]


def test_a_copied_commitment_to_what_never_comes(tmp_path: Path) -> None:
    """Promise: who copied a commitment has nothing to deliver before its author delivers, and is left out like any other."""
    with Town(tmp_path, 3, 1) as town:
        private = tmp_path / "private"
        shutil.copytree(town.shared, private)
        running = [town.member(0), town.aggregator()]
        victim = town.member(1, kept=private)
        town.villain("copy")
        town.until(lambda: town.commitments(1) == 3, "all commitments")
        told = [e for _, e in town.chain.events(town.task) if isinstance(e, Committed)]
        copied = next(e for e in told if e.member == town.account("member", 1))
        with pytest.raises(NotMember):
            town.chain.send(town.key("villain"), Commit(town.task, 1, copied.weight, copied.root))
        victim.kill()
        town.pass_time(2 * town.parameters.commit_window + 1)
        assert town.finish(*running) == expected([0], 1)
        assert town.round(1).excluded == 2


def test_a_withheld_update(tmp_path: Path) -> None:
    """Promise: a member that commits and never delivers is left out, and loses its stake once the validators have looked in vain."""
    with Town(tmp_path, 3, 1) as town:
        stake, member = 10**15, town.account("member", 1)  # Too little for a vote of its own.
        town.put_at_stake("member", 1, stake)
        town.put_at_stake("validator", 0, town.parameters.stake)
        private = tmp_path / "private"
        shutil.copytree(town.shared, private)
        running = [town.member(0), town.member(2), town.aggregator(), town.validator()]
        withholder = town.member(1, kept=private)
        town.until(lambda: town.commitments(1) == 3, "all commitments")
        withholder.kill()
        town.honest.discard(member)
        town.pass_time(2 * town.parameters.commit_window + 1)
        town.until(lambda: town.round(1).excluded == 1, "the exclusion")
        town.pass_time(town.parameters.reveal_window + 1)
        town.until(lambda: town.slashings() != [], "the member to lose its stake")
        assert town.finish(*running) == expected([0, 2], 1)
        (slashed,) = town.slashings()
        assert (slashed.account, slashed.by) == (member, town.account("aggregator"))
        assert slashed.bounty == stake * town.parameters.bounty // 100
        assert town.chain.balance(member).locked == 0


@pytest.mark.parametrize("level", [1, 2], ids=["leaf", "top"])
def test_a_hidden_partial_sum(tmp_path: Path, level: int) -> None:
    """Promise: a proposal whose sums nobody can see is struck out when what was demanded of it is not revealed in time."""
    with Town(tmp_path, 3, 2) as town:
        villain = town.villain(f"hide:{level}")
        running = [*(town.member(k) for k in range(3)), town.validator()]
        town.until(lambda: town.round(1).proposer == town.account("villain"), "the lie")
        town.until(lambda: town.chain.ballot(town.task, 1).demands > 0, "the demand")
        # The challenge window is as long: the demand holds up finality.
        town.pass_time(town.parameters.reveal_window + 1)
        root = town.finish(*running, town.aggregator())
        assert root == expected(range(3), 2)
        assert villain.code() == 0, villain.said()
        (refuted,) = town.refutations()
        assert (refuted.round, refuted.fault) == (1, Fault.HIDDEN)
        assert refuted.proposer == town.account("villain")
        assert refuted.challenger in town.honest


def test_a_lazy_validator(tmp_path: Path) -> None:
    """Promise: a validator that attests what it has not recomputed loses its stake with the liar's bond; one that has, earns both."""
    with Town(tmp_path, 3, 2) as town:
        villain, lazy = town.villain("lazy"), town.account("villain", 1)
        members = [town.member(k) for k in range(3)]
        town.until(lambda: town.chain.attested(town.task, 1, lazy) is not None, "the vote")
        root = town.finish(*members, town.validator(), town.aggregator())
        assert root == expected(range(3), 2)
        assert villain.code() == 0, villain.said()
        town.until(lambda: town.slashings() != [], "the validator to lose its stake")
        (slashed,) = town.slashings()
        assert slashed.account == lazy
        assert slashed.amount == town.parameters.stake
        assert town.chain.balance(lazy).locked == 0
        assert town.round(1).attempt == 1


def evidence(at: Villain) -> Iterator[Call]:
    """Every kind of evidence about an honest round 1, true in all its parts."""
    task, current = at.task, at.ledger.round(at.task, 1)
    roster = tuple(at.gather())
    claim = at.claim(roster, publish=False)
    assert claim.top == current.sum_root
    tree = Tree(2, tuple(map(tuple, claim.levels)), roster)
    base, words = at.base(), [at.words(entry) for entry in roster]
    following = claim.next_words(base)
    below = [words[k] * entry.weight + 0 * claim.sums for k, entry in enumerate(roster)]
    sums = [below[0] + below[1], below[2]]
    top, first = tree.path(2, 0), tree.path(1, 0)

    def shown(vector: Vector, data: Any, *where: Any) -> RefuteVector:
        part = _open(data, 0, LEAF)
        return RefuteVector(task, 1, Accused(vector, *where, 0, 0, False, part.data, part.path))

    yield RefuteSum(
        task, 1, first, 0, 3, _open(sums[0], 3, LEAF), (), roster[:2],
        (_open(words[0], 3, LEAF), _open(words[1], 3, LEAF)),
    )  # fmt: skip
    yield RefuteSum(
        task, 1, top, 0, 3, _open(claim.sums, 3, LEAF), tree.levels[0], (),
        (_open(sums[0], 3, LEAF), _open(sums[1], 3, LEAF)),
    )  # fmt: skip
    opened = _open(base, 5, LEAF), _open(claim.sums, 5, LEAF), _open(following, 5, LEAF)
    yield RefuteNext(task, 1, top[0], 5, *opened)
    yield RefuteTree(task, 1, first, 0, (), roster[:2])
    yield RefuteTree(task, 1, top, 0, tree.levels[0], ())
    yield shown(Vector.SUMS, sums[0], first, 0, ())
    yield shown(Vector.UPDATE, words[0], first, 0, (roster[0],))
    yield shown(Vector.NEXT, following, (), 0, ())
    yield shown(Vector.BATCH, following, (), 0, ())
    yield RefuteEntry(task, 1, tree.placed(1), ())
    yield RefuteOrder(task, 1, tree.placed(0), tree.placed(1))
    yield RefuteOmission(task, 1, roster[1], (), (tree.placed(1),))
    yield RefuteOmission(task, 1, roster[1], (), (tree.placed(0), tree.placed(2)))
    yield RefuteBatch(task, 1, (Signed(roster[0], bytes(65), 0, ()),))


def test_a_false_challenge(tmp_path: Path) -> None:
    """Promise: no evidence of any kind convicts an honest proposer. Who insists pays gas, and nobody anything else."""
    with Town(tmp_path, 3, 1) as town:
        running = town.everybody()
        town.until(lambda: town.head().height == 1, "the proposal")
        at, rng = Villain(town.url, str(town.shared), town.task.hex()), random.Random(5)
        current, before = town.round(1), town.chain.balance(town.account("aggregator"))
        calls = list(evidence(at))
        assert {type(call) for call in calls} == set(CHALLENGES)
        for call in calls:
            for each in (call, *(lies.mangled(rng, call) for _ in range(3))):
                with pytest.raises((NotRefuted, InvalidProof)):
                    town.chain.send(at.liar, each)
        purse = int(town.rpc("eth_getBalance", at.liar.address, "latest"), 16)
        spent = 0
        for nonce, call in enumerate(calls):
            raw = at.liar.sign_transaction(
                {
                    "to": HexBytes(town.contract), "data": contract.encode_call(call), "value": 0, "gas": 2_000_000,
                    "nonce": nonce, "chainId": town.chain.chain_id, "maxFeePerGas": 10**10,
                    "maxPriorityFeePerGas": 1, "type": 2,
                }
            ).raw_transaction  # fmt: skip
            digest = town.rpc("eth_sendRawTransaction", raw.to_0x_hex())
            town.until(lambda: town.rpc("eth_getTransactionReceipt", digest), "a receipt")  # noqa: B023
            receipt = town.rpc("eth_getTransactionReceipt", digest)
            assert receipt["status"] == "0x0"
            spent += int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
        left = int(town.rpc("eth_getBalance", at.liar.address, "latest"), 16)
        assert purse - left == spent
        assert town.round(1) == current
        assert town.chain.balance(town.account("aggregator")) == before
        held = town.chain.balance(address_of(at.liar))
        assert (held.free, held.locked) == (0, 0)
        assert town.finish(*running) == expected(range(3), 1)


CHALLENGES = [
    RefuteSum, RefuteNext, RefuteTree, RefuteVector, RefuteEntry, RefuteOrder, RefuteOmission, RefuteBatch,
]  # fmt: skip


def test_an_aggregator_dies_after_it_opened(tmp_path: Path) -> None:
    """Promise: a round that its aggregator opened and left is gone on with by another."""
    with Town(tmp_path) as town:
        first = town.aggregator()
        town.until(lambda: town.chain.task(town.task).opened == 1, "the first round")
        first.kill()
        go_on(town, [town.member(k) for k in range(3)])


def test_an_aggregator_dies_amid_commitments(tmp_path: Path) -> None:
    """Promise: commitments stand when the aggregator dies, and others come after them."""
    with Town(tmp_path) as town:
        first = town.aggregator()
        running = [town.member(k) for k in (0, 1)]
        town.until(lambda: town.commitments(1) == 2, "two commitments")
        first.kill()
        go_on(town, [*running, town.member(2)])


@pytest.mark.parametrize("how", ["hold", "mute"], ids=["before it proposed", "not knowing whether"])
def test_an_aggregator_dies_proposing(tmp_path: Path, how: str) -> None:
    """Promise: whether a dying aggregator's proposal still came to the ledger or not, there is one, and it is right."""
    with Town(tmp_path) as town:
        line = town.line()
        line.fault(**{how: town.calldata(Propose(town.task, 1, 0, bytes(32), bytes(32), False))})
        first = town.aggregator(url=line.url)
        running = [town.member(k) for k in range(3)]
        town.until(lambda: line.hit() > 0, "the proposal on its way")
        first.kill()
        assert town.round(1).phase == (Phase.OPEN if how == "hold" else Phase.PROPOSED)
        go_on(town, running)


def test_an_aggregator_dies_before_finality(tmp_path: Path) -> None:
    """Promise: a dead aggregator's proposal becomes final by another's hand, and its bond is free."""
    with Town(tmp_path) as town:
        line = town.line()
        line.fault(hold=town.calldata(Finalise(town.task, 1)))
        first = town.aggregator(url=line.url)
        running = [town.member(k) for k in range(3)]
        town.until(lambda: town.head().height == 2, "the last proposal")
        town.pass_time()
        town.until(lambda: line.hit() > 0, "the finality on its way")
        first.kill()
        go_on(town, running)


def go_on(town: Town, running: list[Any]) -> None:
    """Another aggregator takes over, to the honest end; what the dead one put up is all its own."""
    root = town.finish(*running, town.aggregator(1))
    assert root == expected(range(3), 2)
    for index in (0, 1):
        held = town.chain.balance(town.account("aggregator", index))
        assert held.locked == 0
        assert held.free > 0
    assert town.refutations() == []
    assert town.failed() == []


MOMENTS: dict[str, Callable[[Town], bool]] = {
    "opened": lambda town: town.chain.task(town.task).opened == 1,
    "committing": lambda town: town.commitments(1) >= 2,
    "proposed": lambda town: town.head().height == 1,
    "opened again": lambda town: town.chain.task(town.task).opened == 2,
    "last": lambda town: town.head().height == town.rounds,
}


@pytest.mark.parametrize(
    ("depth", "moment"), enumerate(["proposed", "committing", "opened again", "last", "opened"], 1)
)
def test_a_reorganisation(tmp_path: Path, depth: int, moment: str) -> None:
    """Promise: blocks that are taken back, with bonds, commitments or proposals in them, cost time and nothing else."""
    with Town(tmp_path, 3, 2) as town:
        town.rpc("anvil_mine", hex(depth))
        running = [*town.everybody(), town.validator()]
        town.until(lambda: MOMENTS[moment](town), moment)
        town.rpc("anvil_reorg", depth, [])
        assert town.finish(*running) == expected(range(3), 2)


def receipt_of(town: Town, raw: str) -> dict[str, Any]:
    """Send a transaction, and what became of it once it is in a block."""
    digest = town.rpc("eth_sendRawTransaction", raw)
    town.until(lambda: town.rpc("eth_getTransactionReceipt", digest) is not None, "its block")
    found: dict[str, Any] = town.rpc("eth_getTransactionReceipt", digest)
    return found


def test_a_proposal_comes_back_before_its_commitments(tmp_path: Path) -> None:
    """Promise: a proposal brought to a chain without the commitments that it counts is refused there, instead of false there."""
    with Town(tmp_path, 3, 2) as town:
        line = town.line()
        line.fault(hold=town.calldata(Open(town.task, 2)))
        running = [*town.everybody(line.url), town.validator()]
        town.until(lambda: line.hit() > 0, "the next round on its way")
        *commits, proposal = line.sent()[-4:]
        call = town.sent()[-1].call
        assert isinstance(call, Propose)
        town.rpc("anvil_rollback", 4)
        # It is refused for its block alone: the contract does not count commitments.
        message = {
            "from": "0x" + town.account("aggregator").hex(),
            "to": "0x" + town.contract.hex(),
        }
        free = contract.encode_call(replace(call, seen=0, seen_hash=bytes(32)))
        town.rpc("eth_call", message | {"data": "0x" + free.hex()}, "latest")
        for raw in (proposal, *reversed(commits)):
            found = receipt_of(town, raw)
            assert found["status"] == ("0x0" if raw == proposal else "0x1")
        line.fault()
        assert town.finish(*running) == expected(range(3), 2)
        assert town.refutations() == []


@pytest.mark.parametrize("moment", ["committing", "proposed"])
def test_transactions_come_back(tmp_path: Path, moment: str) -> None:
    """Promise: transactions that a reorganisation took out, and that come back late, happen once at most; commitments in any order."""
    with Town(tmp_path, 3, 2) as town:
        line = town.line()
        town.rpc("anvil_mine", "0x6")
        running = [*town.everybody(line.url), town.validator(url=line.url)]
        town.until(lambda: MOMENTS[moment](town), moment)
        town.rpc("anvil_rollback", 4)
        order = reversed if moment == "committing" else iter
        for raw in order(line.sent()):
            refused(town.node_url, raw)
        town.rpc("anvil_mine", "0x5")
        for raw in line.sent():
            refused(town.node_url, raw)
        assert town.finish(*running) == expected(range(3), 2)
