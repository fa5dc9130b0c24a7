"""Replies as they come."""

from __future__ import annotations

import time
from collections.abc import Iterator

from flwr.app import Message
from flwr.serverapp import Grid

IN_FLIGHT_BYTES = 1 << 28
"""Replies pulled at a time hold at most about this much, however many have arrived."""
SHORTEST_POLL, LONGEST_POLL = 0.002, 0.05


def arrivals(
    grid: Grid, messages: list[Message], timeout: float, words: int
) -> Iterator[Message | int]:
    """Send messages and yield each reply when it is there; then the nodes (ids) that did not answer in time.

    `words` is the size that a reply may have. A reply is not held here once the next is asked for.
    """
    if not messages:
        return
    nodes = [message.metadata.dst_node_id for message in messages]
    pushed = list(grid.push_messages(messages))
    waiting = {
        identifier: node for identifier, node in zip(pushed, nodes, strict=False) if identifier
    }
    unsent = [node for node in nodes if node not in waiting.values()]
    chunk = max(1, IN_FLIGHT_BYTES // (4 * words))
    until, pause = time.monotonic() + timeout, SHORTEST_POLL
    while waiting and time.monotonic() < until:
        before = len(waiting)
        asked = list(waiting)
        for start in range(0, len(asked), chunk):
            pulled = list(grid.pull_messages(asked[start : start + chunk]))
            while pulled:
                reply = pulled.pop()
                if waiting.pop(reply.metadata.reply_to_message_id, None) is not None:
                    yield reply
                del reply
        pause = SHORTEST_POLL if len(waiting) < before else min(2 * pause, LONGEST_POLL)
        if waiting and len(waiting) == before:
            time.sleep(pause)
    yield from unsent
    yield from waiting.values()
