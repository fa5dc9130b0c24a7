"""The server: averages what the members send."""

from __future__ import annotations

from flwr.app import Array, ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from . import task

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the rounds and print the members' accuracy after each."""
    arrays = ArrayRecord({name: Array(array) for name, array in task.initial().items()})
    strategy = FedAvg(fraction_evaluate=1.0)
    result = strategy.start(grid, arrays, num_rounds=int(context.run_config["rounds"]))
    for number, metrics in result.evaluate_metrics_clientapp.items():
        print(f"round {number}: accuracy {metrics['accuracy']:.4f}")
