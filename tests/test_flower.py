"""The mod and the strategy: what travels, what is checked, and what a hostile member can do."""

from __future__ import annotations

import itertools
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg, FedMedian, FedProx

from tallystick import flower, merkle
from tallystick.aggregation import next_model, weighted_mean
from tallystick.demo.plan import HOSTILE
from tallystick.encoding import as_bytes, dequantise, layout_of, quantise, update_of
from tallystick.errors import InvalidParameter, InvalidProposal, ModelMismatch
from tallystick.flower.local import LocalGrid
from tallystick.flower.messages import words_record
from tallystick.ledger import address_of
from tallystick.protocol import Phase
from toy_federation import ROUNDS, Federation, excluded, initial, nudge, records


def test_three_rounds_are_the_mean_that_the_ledger_says(tmp_path: Path) -> None:
    """Promise: the model after each round is exactly the weighted mean of the updates, and its root is on the ledger."""
    federation = Federation(tmp_path)
    result, history = federation.run(rounds=3)
    arrays = initial()
    layout = layout_of(arrays)
    words = quantise(arrays, layout, 24)
    for record in history:
        started = dequantise(words, layout, 24)
        updates = [
            update_of({k: v + v.dtype.type(m / 64) for k, v in started.items()}, words, layout, 24)
            for m in (1, 2, 3)
        ]
        words = next_model(words, weighted_mean(updates, [10, 20, 30]))
        assert record["model_root"] == merkle.root(as_bytes(words), 4 * 256).hex()
        state = federation.ledger.round(federation.task, record["round"])
        assert state.next_root.hex() == record["model_root"]
        assert state.phase == Phase.PROPOSED
        assert [each["weight"] for each in record["members"]].count(20) == 1
    final = {name: array.numpy() for name, array in result.arrays.items()}
    for name, array in dequantise(words, layout, 24).items():
        np.testing.assert_array_equal(final[name], array)


def test_batched_direct_and_off_give_one_model(tmp_path: Path) -> None:
    """Promise: how commitments reach the ledger, or whether there is one, changes no bit of the model."""
    found = []
    for name, on, batched in (("a", True, False), ("b", True, True), ("c", False, False)):
        result, history = Federation(tmp_path / name, on=on).run(rounds=3, batched=batched)
        found.append([array.numpy().tobytes() for array in result.arrays.values()])
        assert len(history) == 3
        assert bool(history[0]["batch_root"]) == batched
    assert found[0] == found[1] == found[2]


def test_threads_change_nothing(tmp_path: Path) -> None:
    """Promise: one and eight threads propose the same roots."""
    roots = [
        [
            r["sum_root"] + r["model_root"]
            for r in Federation(tmp_path / str(n), size=200_000).run(2, threads=n)[1]
        ]
        for n in (1, 8)
    ]
    assert roots[0] == roots[1]


@pytest.mark.parametrize("batched", [False, True], ids=["direct", "batched"])
def test_each_kind_of_hostile_member_is_excluded_with_its_reason(
    tmp_path: Path, batched: bool
) -> None:
    """Promise: a run with one hostile member of every kind finishes, names each with its reason, and counts the others."""
    members = len(HOSTILE) + 2
    cheats = dict(enumerate(HOSTILE, start=1))
    federation = Federation(tmp_path, members=members, hostile=cheats)
    _, history = federation.run(rounds=3, batched=batched)
    honest = {address_of(federation.keys[k]).hex() for k in range(members) if k not in cheats}
    reasons = {kind: kind for kind in HOSTILE} | {"withhold": "withheld", "nan": "not_finite"}
    for record in history:
        assert {each["member"] for each in record["members"]} == honest
        found = excluded(record)
        for index, kind in cheats.items():
            if kind == "unknown_member":
                assert "unknown_member" in found.values()
                continue
            assert found[address_of(federation.keys[index]).hex()] == reasons[kind], kind
    on_ledger = [each for each in history[0]["excluded"] if each["on_ledger"]]
    assert len(on_ledger) >= (4 if batched else 6)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -3, 0, 2.5, 10**15, [1, 2]])
def test_absurd_example_counts_stop_nobody(tmp_path: Path, value: Any) -> None:
    """Promise: NaN, infinite, negative, fractional, huge or listed num-examples cost a member its round, not the run."""

    def train(message: Message, context: Context) -> Message:
        reply = nudge(message, context)
        if context.node_config["partition-id"] == 1:
            reply.content["metrics"] = MetricRecord({"num-examples": value, "loss": 1.0})
        return reply

    federation = Federation(tmp_path)
    _, history = federation.run(rounds=1, app=federation.app(train))
    assert len(history[0]["members"]) == 2
    assert "absurd_weight" in excluded(history[0]).values()


def test_a_member_whose_training_diverged_owns_up(tmp_path: Path) -> None:
    """Promise: NaN in an honest member's arrays is caught at the member, and the round record says which tensor."""

    def train(message: Message, context: Context) -> Message:
        reply = nudge(message, context)
        if context.node_config["partition-id"] == 1:
            reply.content["arrays"]["b"] = Array(np.array(np.nan))
        return reply

    federation = Federation(tmp_path)
    _, history = federation.run(rounds=1, app=federation.app(train))
    assert [each["reason"] for each in history[0]["excluded"]] == ["not_finite"]
    assert "'b'" in history[0]["excluded"][0]["detail"]


def test_odd_metrics_spoil_only_themselves(tmp_path: Path) -> None:
    """Promise: metrics of other names, kinds and lengths, or NaN, raise nothing and leave the common ones."""
    odd: dict[int, dict[str, Any]] = {
        0: {"loss": 1.0, "x": [1.0, 2.0], "extra": 3},
        1: {"loss": 2.0, "x": [1.0]},
        2: {"loss": 3.0, "x": float("nan")},
    }

    def train(message: Message, context: Context) -> Message:
        reply = nudge(message, context)
        index = int(context.node_config["partition-id"])
        reply.content["metrics"] = MetricRecord({"num-examples": 10, **odd[index]})
        return reply

    federation = Federation(tmp_path)
    _, history = federation.run(rounds=1, app=federation.app(train))
    assert history[0]["metrics"]["train"] == {"loss": pytest.approx(2.0)}


def test_a_framed_member_keeps_its_place(tmp_path: Path) -> None:
    """Promise: rubbish sent by another node under a member's name, with its public commitment, does not exclude it."""
    federation = Federation(tmp_path, members=3)
    seen: list[RecordDict] = []

    def frame(message: Message, context: Context, call_next: Any) -> Message:
        if context.node_config["partition-id"] == 1:
            content = RecordDict({**seen[0], "arrays": words_record(np.ones(21, np.int32))})
            return Message(content, reply_to=message)
        reply = call_next(message, context)
        seen.append(reply.content)
        return reply

    app = federation.app()
    original = federation.app().__class__
    framed = original(mods=[frame, *app._mods])
    framed.train()(nudge)
    _, history = federation.run(rounds=1, app=framed)
    counted = {each["member"] for each in history[0]["members"]}
    assert address_of(federation.keys[0]).hex() in counted
    assert address_of(federation.keys[2]).hex() in counted
    assert excluded(history[0]) == {"": "unknown_member"}


class Swapped(LocalGrid):
    """A server that sends a model other than the one on the ledger."""

    def _work(self, message: Message) -> Message:
        content = message.content
        words = content["arrays"]["words"].numpy().copy()
        words[0] += 1
        message.content = RecordDict({**content, "arrays": words_record(words)})
        return super()._work(message)


def test_members_refuse_a_model_that_is_not_on_the_ledger(tmp_path: Path) -> None:
    """Promise: a member trains on nothing but the model whose root the ledger holds."""
    federation = Federation(tmp_path)
    strategy = federation.strategy()
    with pytest.raises(InvalidProposal):
        strategy.start(Swapped(federation.app(), 3), records(initial()), num_rounds=1)
    assert not any(path.suffix == ".blob" for path in _updates(federation))


def _updates(federation: Federation) -> list[Path]:
    return [
        federation.store.path(root)
        for root in federation.store.roots()
        if federation.store.header(root).kind == 2
    ]


def test_members_evaluate_only_the_proposed_model(tmp_path: Path) -> None:
    """Promise: evaluation runs on the checked model, and a swapped one is refused and evaluated by nobody."""
    federation = Federation(tmp_path)
    result, history = federation.run(rounds=1, strategy=federation.strategy(FedAvg()))
    first = float(result.arrays["w"].numpy()[0])
    assert history[0]["metrics"]["evaluate_members"]["first"] == pytest.approx(first)

    class SwappedEvaluation(Swapped):
        def _work(self, message: Message) -> Message:
            training = message.metadata.message_type == "train"
            return LocalGrid._work(self, message) if training else super()._work(message)

    strategy = federation.strategy(FedAvg())
    grid = SwappedEvaluation(federation.app(), 3)
    strategy.start(grid, records(initial()), num_rounds=2)
    assert "evaluate_members" not in strategy.history[0]["metrics"]


def test_batched_updates_leave_only_after_the_batch_is_on_the_ledger(tmp_path: Path) -> None:
    """Promise: in batched mode too, an update is committed on the ledger before it is sent."""
    federation = Federation(tmp_path)
    sent: list[tuple[bool, bool]] = []

    def watch(message: Message, context: Context, call_next: Any) -> Message:
        reply = call_next(message, context)
        posted = federation.ledger.round(federation.task, 1).batch_count == 3
        sent.append((bool(reply.content.array_records), posted))
        return reply

    app = federation.app()
    watched = type(app)(mods=[watch, *app._mods])
    watched.train()(nudge)
    federation.run(rounds=1, app=watched, batched=True)
    assert sent == [(False, False)] * 3 + [(True, True)] * 3


def test_a_run_resumes_where_the_ledger_stands(tmp_path: Path) -> None:
    """Promise: a server that comes back continues after the last proposed round, or within the open one, to the same root."""
    whole = Federation(tmp_path / "whole").run(rounds=4)[1]
    federation = Federation(tmp_path / "parts")
    federation.run(rounds=1)
    _, history = federation.run(rounds=2, recorded=0)
    assert [record["round"] for record in history] == [1, 2]

    class Dies(LocalGrid):
        def pull_messages(self, message_ids: Any) -> Any:
            if len(self._queue) == 1:
                raise KeyboardInterrupt
            return super().pull_messages(message_ids)

    with pytest.raises(KeyboardInterrupt):
        federation.strategy().start(Dies(federation.app(), 3), records(initial()), num_rounds=3)
    assert federation.ledger.round(federation.task, 3).phase == Phase.OPEN
    _, history = federation.run(rounds=4)
    assert [record["round"] for record in history] == [3, 4]
    assert history[-1]["model_root"] == whole[-1]["model_root"]


def test_slots_in_flight_wait_for_finality_only_when_full(tmp_path: Path) -> None:
    """Promise: training goes on while windows run, and more rounds than slots still work."""
    federation = Federation(tmp_path, options={"slots": 2, "challenge_window": 1000})
    began = federation.ledger.now()
    federation.run(rounds=2)
    assert federation.ledger.now() - began < 1000
    federation.run(rounds=5)
    assert federation.ledger.task(federation.task).head == 5
    assert federation.ledger.round(federation.task, 3).phase == Phase.FINAL


def test_memory_does_not_grow_with_members(tmp_path: Path) -> None:
    """Promise: the server holds no more updates with 24 members than with 6."""
    size = 200_000
    peaks = []
    for members in (6, 24):
        federation = Federation(tmp_path / str(members), members=members, size=size)
        app, strategy = federation.app(), federation.strategy()
        tracemalloc.start()
        federation.run(rounds=1, app=app, strategy=strategy)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Eighteen more updates would be eighteen times 4 * size bytes.
    assert peaks[1] < peaks[0] + 2 * 4 * size


def test_arrival_order_changes_no_bit(tmp_path: Path) -> None:
    """Promise: whichever member answers first, the round's root is the same."""
    roots = set()
    for number, order in enumerate(itertools.permutations(range(1, 4))):

        class Shuffled(LocalGrid):
            _order = order

            def pull_messages(self, message_ids: Any) -> Any:
                ids = {self._queue[m].metadata.dst_node_id: m for m in message_ids}
                first = next(node for node in self._order if node in ids)
                return super().pull_messages([ids[first]])

        federation = Federation(tmp_path / str(number))
        strategy = federation.strategy()
        strategy.start(Shuffled(federation.app(), 3), records(initial()), num_rounds=1)
        roots.add(strategy.history[0]["sum_root"] + strategy.history[0]["model_root"])
    assert len(roots) == 1


def test_strategies_that_do_not_average_are_refused() -> None:
    """Promise: nobody's median is silently replaced by the mean."""
    with pytest.raises(InvalidParameter, match="FedMedian"):
        flower.Verifiable(FedMedian())
    flower.Verifiable(FedProx(proximal_mu=0.1))
    flower.Verifiable(FedMedian(), replace_aggregation=True)


def test_another_initial_model_is_refused(tmp_path: Path) -> None:
    """Promise: a run starts from the task's genesis model or not at all."""
    federation = Federation(tmp_path)
    other = initial()
    other["b"] = np.array(0.25)
    with pytest.raises(ModelMismatch, match="initial model"):
        federation.strategy().start(LocalGrid(federation.app(), 3), records(other), num_rounds=1)
    with pytest.raises(ModelMismatch, match="layout"):
        federation.strategy().start(
            LocalGrid(federation.app(), 3), ArrayRecord({"w": Array(other["w"])}), num_rounds=1
        )


def test_settings_come_from_the_node_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: a node's own settings win over the environment, the run's configuration is not asked, and nothing said is an error."""
    from tallystick.flower.settings import UNSET, find_ledger, lookup

    context = Context(1, 7, {"tallystick-ledger": "off"}, RecordDict(), {"tallystick-ledger": "x:"})
    monkeypatch.setenv("TALLYSTICK_LEDGER", "hashchain:")
    monkeypatch.setenv("TALLYSTICK_STORE", "blobs-{node-id}")
    assert find_ledger(UNSET, context) is None
    assert lookup("store", context) == "blobs-7"
    monkeypatch.delenv("TALLYSTICK_LEDGER")
    with pytest.raises(InvalidParameter, match="TALLYSTICK_LEDGER"):
        find_ledger(UNSET, Context(1, 7, {}, RecordDict(), {"tallystick-ledger": "hashchain:"}))


def test_both_sides_must_agree_on_the_ledger(tmp_path: Path) -> None:
    """Promise: a node with a ledger does not train for a server without one."""
    federation = Federation(tmp_path)
    off = flower.Verifiable(FedAvg(fraction_evaluate=0.0), ledger=None)
    with pytest.raises(InvalidParameter, match="no member sent an update"):
        off.start(LocalGrid(federation.app(), 3), records(initial()), num_rounds=1)
    assert ROUNDS > 0
