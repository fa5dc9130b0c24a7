"""Which customers will leave? Branches of a telephone company fit a logistic regression to a table of contracts.

Data: Telco Customer Churn, 7,043 customers (IBM sample data), out of the package `data.TELCO`.
"""

from __future__ import annotations

import csv
import io
from functools import lru_cache

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from ..errors import InvalidData
from . import data, logistic
from .job import Array, Floats, Job, Model, Shard, Trained
from .partition import split

# The schema is public: members agree on it before they start, so that one-hot columns mean the same to all.
_SERVICE = ("No internet service", "No", "Yes")
CATEGORIES: dict[str, tuple[str, ...]] = {
    "gender": ("Female", "Male"),
    "SeniorCitizen": ("0", "1"),
    "Partner": ("No", "Yes"),
    "Dependents": ("No", "Yes"),
    "PhoneService": ("No", "Yes"),
    "MultipleLines": ("No phone service", "No", "Yes"),
    "InternetService": ("No", "DSL", "Fiber optic"),
    "OnlineSecurity": _SERVICE,
    "OnlineBackup": _SERVICE,
    "DeviceProtection": _SERVICE,
    "TechSupport": _SERVICE,
    "StreamingTV": _SERVICE,
    "StreamingMovies": _SERVICE,
    "Contract": ("Month-to-month", "One year", "Two year"),
    "PaperlessBilling": ("No", "Yes"),
    "PaymentMethod": (
        "Electronic check",
        "Mailed check",
        "Bank transfer (automatic)",
        "Credit card (automatic)",
    ),
}
NUMBERS = ("tenure", "MonthlyCharges", "TotalCharges")
_DERIVED = 12
_HOT = sum(len(values) for values in CATEGORIES.values())
_HELD_OUT = 0.2
_STEPS = 20
_RATE = 0.5
_RIDGE = 1e-3


@lru_cache(maxsize=1)
def _table() -> tuple[Array, Array]:
    """Customers (float64[7043, 19]: the categories' numbers, then NUMBERS) and whether each left (int64[7043])."""
    rows = list(csv.DictReader(io.StringIO(data.load(data.TELCO).decode("utf-8"))))
    try:
        # Customers in their first month have a blank total: nothing was charged yet.
        x = [
            [values.index(row[name]) for name, values in CATEGORIES.items()]
            + [float(row[name].strip() or 0.0) for name in NUMBERS]
            for row in rows
        ]
        y = [("No", "Yes").index(row["Churn"]) for row in rows]
    except (KeyError, ValueError) as error:
        raise InvalidData(f"{data.TELCO.file} does not follow its schema: {error}.") from error
    return np.array(x, np.float64), np.array(y, np.int64)


@lru_cache(maxsize=4)
def _customers(seed: int) -> tuple[Shard, Shard]:
    x, y = _table()
    x_train, x_test, y_train, y_test = train_test_split(
        x, y, test_size=_HELD_OUT, stratify=y, random_state=seed
    )
    return Shard(x_train, y_train), Shard(x_test, y_test)


def _features(x: Array) -> Floats:
    """One-hot categories, and twelve columns from tenure (months) and charges (float64[customers, 55])."""
    hot = [
        np.eye(len(values))[x[:, k].astype(np.int64)]
        for k, values in enumerate(CATEGORIES.values())
    ]
    tenure, monthly, total = np.asarray(x[:, -len(NUMBERS) :], np.float64).T
    derived = [
        tenure / 36, monthly / 50, total / 2000, np.log1p(tenure), np.log1p(total),
        np.sqrt(tenure / 36), tenure <= 1, tenure <= 6, tenure <= 12, tenure <= 24,
        (total / np.maximum(tenure, 1) - monthly) / 50, np.square(monthly / 50),
    ]  # fmt: skip
    return np.hstack([*hot, np.stack(derived, axis=1)]).astype(np.float64)


def initial(seed: int) -> dict[str, Array]:
    """Weights of zero, moments unknown."""
    return logistic.initial(_HOT + _DERIVED)


def shard(member: int, members: int, seed: int, partition: str) -> Shard:
    """A branch's customers."""
    whole, _ = _customers(seed)
    columns = {name: whole.x[:, k] for k, name in enumerate((*CATEGORIES, *NUMBERS))}
    rows = split(columns | {"Churn": whole.y}, whole.y, members, seed, partition)[member]
    return Shard(whole.x[rows], whole.y[rows])


def test(seed: int) -> Shard:
    """A fifth of the customers, drawn by the seed, with as many who left as in the whole."""
    return _customers(seed)[1]


def train(model: Model, shard: Shard, seed: int, member: int, round: int) -> Trained:
    """The moments first; then gradient descent over all of the branch's customers."""
    features = _features(shard.x)
    arrays = logistic.train(model, features, shard.y, steps=_STEPS, rate=_RATE, ridge=_RIDGE)
    return arrays, len(shard), _score(arrays, features, shard.y)


def evaluate(model: Model, test: Shard) -> dict[str, float]:
    """Mean log loss, area under the ROC curve, and accuracy."""
    return _score(model, _features(test.x), test.y)


def _score(model: Model, features: Floats, left: Array) -> dict[str, float]:
    odds = logistic.logits(model, features)
    # With one class only there is nothing to rank.
    auc = float(roc_auc_score(left, odds)) if 0 < left.sum() < len(left) else 0.5
    return {
        "loss": logistic.loss(odds, left),
        "auc": auc,
        "accuracy": float(np.mean((odds > 0) == (left == 1))),
    }


JOB = Job(
    name="churn",
    title="Telephone customers who leave",
    members=5,
    rounds=15,
    metric="auc",
    higher_is_better=True,
    initial=initial,
    shard=shard,
    test=test,
    train=train,
    evaluate=evaluate,
)
