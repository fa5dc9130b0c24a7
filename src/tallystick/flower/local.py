"""Flower's grid in one process: no Ray, no sockets, no waiting. For tests, demos and measurements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from flwr.app import Context, Error, Message, RecordDict
from flwr.app.message.message import make_message
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

RUN_ID = 1


class LocalGrid(Grid):
    """`nodes` members in this process. A member works when its reply is pulled, so that one update is held at a time.

    Node k (1 to `nodes`) has partition-id k - 1 and what `node_configs` adds for it.
    """

    def __init__(
        self,
        app: ClientApp,
        nodes: int,
        node_configs: Mapping[int, Mapping[str, Any]] | None = None,
        run_config: Mapping[str, Any] | None = None,
    ) -> None:
        self._app = app
        self._queue: dict[str, Message] = {}
        self._sent = 0
        self._contexts = {
            node: Context(
                run_id=RUN_ID,
                node_id=node,
                node_config={
                    "partition-id": node - 1,
                    "num-partitions": nodes,
                    **(node_configs or {}).get(node, {}),
                },
                state=RecordDict(),
                run_config=dict(run_config or {}),
            )
            for node in range(1, nodes + 1)
        }
        TaskIdentity.run_id = RUN_ID
        TaskIdentity.node_id = TaskIdentity.task_id = 1

    def set_run(self, run: object) -> None:
        """There is only one run."""

    @property
    def run(self) -> NoReturn:
        raise NotImplementedError("a local grid has no run record.")

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        return Message(*args, **kwargs)

    def get_node_ids(self) -> Iterable[int]:
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        pushed = []
        for message in messages:
            self._sent += 1
            identifier = f"{self._sent:08d}"
            message.metadata.__dict__["_message_id"] = identifier
            self._queue[identifier] = message
            pushed.append(identifier)
        return pushed

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The next reply: of the lowest node among those asked for, so that runs are alike."""
        waiting = [identifier for identifier in message_ids if identifier in self._queue]
        if not waiting:
            return []
        chosen = min(waiting, key=lambda each: self._queue[each].metadata.dst_node_id)
        return [self._work(self._queue.pop(chosen))]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        waiting = list(self.push_messages(messages))
        return [reply for each in waiting for reply in self.pull_messages([each])]

    def _work(self, message: Message) -> Message:
        node = message.metadata.dst_node_id
        # The member may change its message; the sender's is not the member's to change, nor to be kept alive by.
        message = make_message(message.metadata, message.content)
        try:
            reply = self._app(message, self._contexts[node])
        except Exception as error:  # As the other engines do: a crash is an error reply.
            reason = f"{type(error).__name__}: {error}"
            reply = Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=message)
        reply.metadata.__dict__["_src_node_id"] = node
        return reply
