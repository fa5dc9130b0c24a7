"""Members' metrics, which nothing proves: they are averaged by the wrapped strategy, and can spoil nothing but themselves."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

from flwr.app import Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import Strategy
from flwr.serverapp.strategy.strategy_utils import aggregate_metricrecords

from ..errors import InvalidWeight
from .messages import of_kind, weight_in

log = logging.getLogger("tallystick")


def training(strategy: Strategy, contents: Sequence[RecordDict], key: str) -> MetricRecord | None:
    """What the wrapped strategy makes of the accepted members' training metrics, or None."""
    combine = getattr(strategy, "train_metrics_aggr_fn", aggregate_metricrecords)
    usable = _alike([_plain(content, key) for content in contents])
    if not usable:
        return None
    try:
        found: MetricRecord = combine(usable, key)
    except Exception as error:  # Written by members, averaged by code of others.
        log.warning("training metrics cannot be combined: %s", error)
        return None
    return found


def evaluation(
    strategy: Strategy, number: int, replies: Sequence[Message], key: str
) -> MetricRecord | None:
    """What the wrapped strategy makes of the members' evaluations, or None."""
    good = []
    for reply in replies:
        node = reply.metadata.src_node_id
        if reply.has_error():
            log.warning("round %d: node %d did not evaluate: %s", number, node, reply.error.reason)
            continue
        try:
            weight_in(of_kind(reply.content, MetricRecord), key)
        except InvalidWeight as error:
            log.warning("round %d: node %d's evaluation left out: %s", number, node, error)
            continue
        reply.content = _plain(reply.content, key)
        good.append(reply)
    contents = _alike([reply.content for reply in good])
    for reply, content in zip(good, contents, strict=True):
        reply.content = content
    try:
        return strategy.aggregate_evaluate(number, good) if good else None
    except Exception as error:  # Written by members, averaged by code of others.
        log.warning("evaluations cannot be combined: %s", error)
        return None


def _plain(content: RecordDict, key: str) -> RecordDict:
    """The one metric record that counts examples, without what is not finite."""
    for name, record in of_kind(content, MetricRecord).items():
        if key in record:
            return RecordDict({name: MetricRecord({k: v for k, v in record.items() if _finite(v)})})
    return RecordDict()


def _finite(value: object) -> bool:
    values = value if isinstance(value, list) else [value]
    return all(isinstance(v, int | float) and math.isfinite(v) for v in values)


def _alike(contents: list[RecordDict]) -> list[RecordDict]:
    """Only what everybody sent, in one shape, so that one member's odd metric is not everybody's error."""
    records = [next(iter(of_kind(c, MetricRecord).values()), MetricRecord()) for c in contents]
    shapes = [
        {k: len(v) if isinstance(v, list) else -1 for k, v in record.items()} for record in records
    ]
    common = set.intersection(*(set(shape.items()) for shape in shapes)) if shapes else set()
    kept = {name for name, _ in common}
    return [
        RecordDict({"metrics": MetricRecord({k: v for k, v in record.items() if k in kept})})
        for record in records
    ]
