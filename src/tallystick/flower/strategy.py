"""The server's side: a strategy that owns the round loop and leaves sampling, configuration and metrics to the one it wraps."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from flwr.app import (
    ArrayRecord,
    ConfigRecord,
    Context,
    Message,
    MessageType,
    MetricRecord,
    RecordDict,
)
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg, Result, Strategy

from ..encoding import Layout, Words, dequantise, layout_of, quantise
from ..errors import InvalidParameter, RoundVoid
from ..ledger import Ledger, Signer
from ..protocol import Reason
from ..roles import sponsor
from ..roles.aggregator import Aggregator
from ..roles.batch import recall
from ..roles.outcome import Closed, Rejected
from ..roles.receipt import Receipt
from ..roles.unledgered import Unledgered
from ..store import Store
from . import metrics
from .arrivals import arrivals
from .messages import (
    EVALUATE,
    FETCH,
    RECORD,
    TRAIN,
    Order,
    arrays_record,
    of_kind,
    read_reply,
    words_record,
)
from .record import Record, round_record
from .settings import UNSET, Setting, find_ledger, find_signer, find_store, find_task

log = logging.getLogger("tallystick")

OWNED_UP = {
    "InvalidTensor": Reason.NOT_FINITE,
    "InvalidWeight": Reason.ABSURD_WEIGHT,
    "InvalidLayout": Reason.WRONG_KEYS,
}
"""What an honest member's own refusal to send an update comes to."""
DETAIL = 500
"""Characters of a member's error that are kept."""

ATTEMPTS = 2
"""Windows that a round gets to reach its quorum."""

Collected = dict[bytes, tuple[Receipt, RecordDict]]
"""What each member sent beside its update, by member."""
EvaluateFn = Callable[[int, ArrayRecord], MetricRecord | None]


class Verifiable(Strategy):
    """Wraps a Message-API strategy so that each round is committed, checked and proposed on a ledger.

    The wrapped strategy samples nodes, configures messages and aggregates metrics. Updates are combined by the task's rule, the
    weighted mean; so a strategy that aggregates otherwise is refused, unless `replace_aggregation` says that the mean is wanted.

    `ledger`, `store`, `task` and `signer` (the aggregator's bonded key) are explained in `flower.settings`; `ledger=None` runs
    the same loop with the ledger off. `batched` has members sign their commitments and posts one root a round. `threads`
    changes speed only. `scale` is used with the ledger off; with it on, the task says. `bond` is how many proposals to put
    bonds up for at the start, by default all that can be in flight; what is on the ledger counts, and can be withdrawn later.
    `on_round` is told of each round once it is proposed (see `flower.record`), and, after a restart, of a proposed round after
    `recorded` that it may not have heard of. `history` keeps the same records. `aggregator` makes the role that works the rounds; tests and demos put a lying one in its place.
    """

    def __init__(
        self,
        strategy: Strategy,
        *,
        ledger: Setting[Ledger] = UNSET,
        store: Setting[Store] = UNSET,
        task: Setting[bytes] = UNSET,
        signer: Setting[Signer] = UNSET,
        context: Context | None = None,
        batched: bool = False,
        threads: int = 1,
        scale: int = 24,
        bond: int | None = None,
        recorded: int | None = None,
        on_round: Callable[[Record], None] | None = None,
        replace_aggregation: bool = False,
        aggregator: Callable[..., Aggregator] = Aggregator,
    ) -> None:
        self.strategy = strategy
        self.history: list[Record] = []
        self._settings = (ledger, store, task, signer)
        self._context = context
        self._batched = batched
        self._threads = threads
        self._scale = scale
        self._bond = bond
        self._recorded = recorded
        self._on_round = on_round
        self._aggregator = aggregator
        self._held: tuple[Words, ArrayRecord] | None = None
        self._node_of: dict[bytes, int] = {}
        self._arrays_key = str(getattr(strategy, "arrayrecord_key", "arrays"))
        self._weight_key = str(getattr(strategy, "weighted_by_key", "num-examples"))
        own = getattr(type(strategy), "aggregate_train", None)
        if own is not FedAvg.aggregate_train and not replace_aggregation:
            raise InvalidParameter(
                f"{type(strategy).__name__} aggregates in its own way, and a task's rule is the weighted mean. Wrap FedAvg or "
                "FedProx, or pass replace_aggregation=True to have the mean in its place."
            )

    def summary(self) -> None:
        self.strategy.summary()

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        return self.strategy.configure_train(server_round, arrays, config, grid)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        return self.strategy.configure_evaluate(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Not used: updates are combined one by one, as they come."""
        raise InvalidParameter("a verifiable strategy owns its loop. Call start().")

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        return self.strategy.aggregate_evaluate(server_round, replies)

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: EvaluateFn | None = None,
    ) -> Result:
        """Run the task up to round `num_rounds`, from wherever the ledger says it stands.

        Arguments are Flower's; `initial_arrays` must be the model that the task was created with. Raises `ModelMismatch` if it is not,
        `InvalidProposal` where a round has no quorum of good updates, and what the ledger and the store raise.
        """
        arrays = {name: array.numpy() for name, array in initial_arrays.items()}
        layout = layout_of(arrays)
        self._prepare(layout, num_rounds)
        self.summary()
        last = self._rounds.start(quantise(arrays, layout, self._scale))
        result = Result()
        if last == 0:
            first = self._evaluate(0, evaluate_fn, result)
            if first is not None:
                self._tell({"round": 0, "metrics": {"evaluate": dict(first)}})
        else:
            self._catch_up(last, evaluate_fn, result)
        while True:
            redone = self._rounds.recover()
            if redone is not None:
                self._recall(redone, evaluate_fn, result)
            elif self._rounds.height < num_rounds:
                self._round(grid, timeout, (train_config, evaluate_config), evaluate_fn, result)
            else:
                break
        result.arrays = self._floats()
        return result

    def _prepare(self, layout: Layout, num_rounds: int) -> None:
        at, kept, task, signer = self._settings
        ledger = find_ledger(at, self._context)
        self._layout = layout
        self._rounds: Aggregator | Unledgered
        if ledger is None:
            self._rounds, self._task = Unledgered(), bytes(32)
        else:
            key, self._task = find_signer(signer, self._context), find_task(task, self._context)
            kept = find_store(kept, self._context)
            self._rounds = self._aggregator(
                ledger, kept, key, self._task, layout, threads=self._threads
            )
            if num_rounds > self._rounds.parameters.rounds:
                raise InvalidParameter(
                    f"the task has {self._rounds.parameters.rounds} rounds, not {num_rounds}. Ask for fewer, or create another."
                )
            in_flight = min(num_rounds, self._rounds.parameters.slots)
            sponsor.bond(ledger, key, self._task, in_flight if self._bond is None else self._bond)
            self._scale = self._rounds.parameters.scale

    def _round(
        self,
        grid: Grid,
        timeout: float,
        configs: tuple[ConfigRecord | None, ConfigRecord | None],
        evaluate_fn: EvaluateFn | None,
        result: Result,
    ) -> None:
        began = time.perf_counter()
        seconds: dict[str, float] = {}
        rounds = self._rounds
        number = rounds.open()
        height = rounds.height
        seconds["open"] = time.perf_counter() - began
        log.info("round %d: open, for height %d", number, height)

        collected: Collected = {}
        for attempt in range(ATTEMPTS):
            if attempt:
                log.warning(
                    "round %d: %d members short of a quorum; asking again",
                    number,
                    rounds.quorum_missing(),
                )
                rounds.extend()
            messages = self._orders(grid, configs[0])
            self._collect(grid, messages, timeout, collected, seconds)
            if not rounds.quorum_missing():
                break
        mark = time.perf_counter()
        try:
            closed = rounds.close()
        except RoundVoid:
            log.warning("round %d: built on a proposal that was refuted meanwhile", number)
            return
        seconds["aggregate"] = time.perf_counter() - mark

        ordered = [collected[entry.member] for entry in closed.entries if entry.member in collected]
        trained = metrics.training(
            self.strategy, [content for _, content in ordered], self._weight_key
        )
        if trained is not None:
            result.train_metrics_clientapp[height] = trained
        mark = time.perf_counter()
        by_members = self._evaluate_members(grid, timeout, configs[1])
        if by_members is not None:
            result.evaluate_metrics_clientapp[height] = by_members
        central = self._evaluate(height, evaluate_fn, result)
        seconds["evaluate"] = time.perf_counter() - mark
        mark = time.perf_counter()
        rounds.finalise_due()
        seconds["finalise"] = time.perf_counter() - mark
        seconds["total"] = time.perf_counter() - began
        found = {"train": trained, "evaluate_members": by_members, "evaluate": central}
        receipts = {receipt.member: receipt for receipt, _ in collected.values()}
        self._tell(round_record(closed, receipts, found, seconds, rounds.gas))

    def _orders(self, grid: Grid, config: ConfigRecord | None) -> list[Message]:
        """Members train for a height: what they do does not depend on which number the ledger gives the round."""
        own = ConfigRecord() if config is None else config
        floats = self._floats()
        messages = list(self.strategy.configure_train(self._rounds.height, floats, own, grid))
        return self._translated(messages, self._order(TRAIN, self._rounds.number), floats)

    def _order(self, step: str, number: int) -> Order:
        return Order(
            step=step,
            task=self._task,
            round=number,
            layout=self._layout.to_json(),
            scale=self._scale,
            verified=isinstance(self._rounds, Aggregator),
            batched=self._batched and isinstance(self._rounds, Aggregator),
            arrays=self._arrays_key,
            weight=self._weight_key,
        )

    def _translated(
        self, messages: list[Message], order: Order, floats: ArrayRecord
    ) -> list[Message]:
        """Put the words in the place of the floats, and the order beside them; strategies share one content among messages."""
        words, record = words_record(self._rounds.words), order.record()
        done: dict[int, RecordDict] = {}
        contents = [message.content for message in messages]
        for message, content in zip(messages, contents, strict=True):
            if id(content) not in done:
                if content.get(self._arrays_key) is not floats:
                    raise InvalidParameter(
                        f"{type(self.strategy).__name__} does not send the global model as it is under {self._arrays_key!r}, so no "
                        "member could check it. Use a strategy that does."
                    )
                done[id(content)] = RecordDict({**content, self._arrays_key: words, RECORD: record})
            message.content = done[id(content)]
        return messages

    def _collect(
        self,
        grid: Grid,
        messages: list[Message],
        timeout: float,
        collected: Collected,
        seconds: dict[str, float],
    ) -> None:
        """Take in one window's replies; in batched mode, first the signed commitments and then the updates."""
        answered = {self._node_of[member] for member in collected if member in self._node_of}
        messages = [m for m in messages if m.metadata.dst_node_id not in answered]
        order = self._order(TRAIN, self._rounds.number)
        self._take(arrivals(grid, messages, timeout, self._layout.size), order, collected, seconds)
        if not order.batched or not isinstance(self._rounds, Aggregator):
            return
        mark = time.perf_counter()
        batch = self._rounds.post_batch()
        seconds["batch"] = seconds.get("batch", 0.0) + time.perf_counter() - mark
        fetches = [
            Message(
                RecordDict({RECORD: order.fetching(position).record()}),
                dst_node_id=self._node_of[member],
                message_type=MessageType.TRAIN,
            )
            for member, position in batch.items()
            if member in self._node_of
        ]
        order = replace(order, step=FETCH)
        self._take(arrivals(grid, fetches, timeout, self._layout.size), order, collected, seconds)

    def _take(
        self,
        replies: Iterator[Message | int],
        order: Order,
        collected: Collected,
        seconds: dict[str, float],
    ) -> None:
        mark = time.perf_counter()
        for reply in replies:
            arrived = time.perf_counter()
            seconds["train"] = seconds.get("train", 0.0) + arrived - mark
            self._take_one(reply, order, collected)
            mark = time.perf_counter()
            seconds["check"] = seconds.get("check", 0.0) + mark - arrived

    def _take_one(self, reply: Message | int, order: Order, collected: Collected) -> None:
        if isinstance(reply, int):
            self._failed(reply, Reason.WITHHELD, "no reply in time")
            return
        node = reply.metadata.src_node_id
        if reply.has_error():
            detail = str(reply.error.reason or reply.error.code)
            reason = next((r for name, r in OWNED_UP.items() if detail.startswith(name)), None)
            self._failed(node, reason or Reason.WITHHELD, detail[:DETAIL])
            return
        try:
            read = read_reply(reply, self._layout.size, order)
        except Rejected as rejected:
            self._failed(node, rejected.reason, rejected.detail)
            return
        try:
            entry = self._rounds.accept(read)
        except Rejected as rejected:
            log.warning("round %d: node %d: %s", order.round, node, rejected)
            return
        self._node_of[entry.member] = node
        kept = RecordDict({**of_kind(reply.content, MetricRecord)})
        first = collected.get(entry.member)
        # A batched member's metrics came with its signature, its update now.
        collected[entry.member] = (first[0], first[1]) if first else (read.receipt, kept)

    def _failed(self, node: int, reason: Reason, detail: str) -> None:
        log.warning(
            "round %d: node %d: %s: %s", self._rounds.number, node, reason.name.lower(), detail
        )
        member = next((m for m, known in self._node_of.items() if known == node), None)
        self._rounds.reject(node, reason, detail, member)

    def _evaluate_members(
        self, grid: Grid, timeout: float, config: ConfigRecord | None
    ) -> MetricRecord | None:
        own = ConfigRecord() if config is None else config
        floats = self._floats()
        height = self._rounds.height
        messages = list(self.strategy.configure_evaluate(height, floats, own, grid))
        if not messages:
            return None
        messages = self._translated(messages, self._order(EVALUATE, self._rounds.number), floats)
        replies = [
            reply for reply in arrivals(grid, messages, timeout, 1) if isinstance(reply, Message)
        ]
        return metrics.evaluation(self.strategy, height, replies, self._weight_key)

    def _evaluate(
        self, number: int, evaluate_fn: EvaluateFn | None, result: Result
    ) -> MetricRecord | None:
        found = evaluate_fn(number, self._floats()) if evaluate_fn else None
        if found is not None:
            result.evaluate_metrics_serverapp[number] = found
        return found

    def _catch_up(self, last: int, evaluate_fn: EvaluateFn | None, result: Result) -> None:
        """Tell of a round that was proposed just before a restart, as far as the ledger remembers it."""
        if (
            self._recorded is None
            or self._recorded >= last
            or not isinstance(self._rounds, Aggregator)
        ):
            return
        rounds = self._rounds
        closed = recall(rounds.ledger, rounds.store, self._task, rounds.number)
        self._recall(closed, evaluate_fn, result)

    def _recall(self, closed: Closed, evaluate_fn: EvaluateFn | None, result: Result) -> None:
        """Tell of a round for which nobody trained just now."""
        central = self._evaluate(closed.height, evaluate_fn, result)
        self._tell(round_record(closed, {}, {"evaluate": central}, {}, self._rounds.gas))

    def _floats(self) -> ArrayRecord:
        """The current global model as named arrays; made once per model."""
        words = self._rounds.words
        if self._held is None or self._held[0] is not words:
            self._held = words, arrays_record(dequantise(words, self._layout, self._scale))
        return self._held[1]

    def _tell(self, record: Record) -> None:
        self.history.append(record)
        if self._on_round is not None:
            self._on_round(record)
