"""A member: trains on its own digits."""

from __future__ import annotations

from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from . import task

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train the global model on this member's images."""
    part, parts = context.node_config["partition-id"], context.node_config["num-partitions"]
    images, labels, _, _ = task.data(int(part), int(parts))
    arrays = {name: array.numpy() for name, array in message.content["arrays"].items()}
    arrays = task.train(arrays, images, labels, float(context.run_config["learning-rate"]))
    content = RecordDict(
        {
            "arrays": ArrayRecord({name: Array(array) for name, array in arrays.items()}),
            "metrics": MetricRecord({"num-examples": len(labels)}),
        }
    )
    return Message(content, reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Score the global model on the test images."""
    _, _, images, labels = task.data(0, 1)
    arrays = {name: array.numpy() for name, array in message.content["arrays"].items()}
    metrics = {"num-examples": len(labels), "accuracy": task.accuracy(arrays, images, labels)}
    return Message(RecordDict({"metrics": MetricRecord(metrics)}), reply_to=message)
