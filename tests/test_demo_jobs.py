"""What every demo promises: deterministic members, metrics for any model, federated preprocessing, good results."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from tallystick import demo
from tallystick.aggregation import next_model, weighted_mean
from tallystick.demo import data, housing, moments
from tallystick.encoding import dequantise, layout_of, quantise, update_of
from tallystick.errors import InvalidParameter, Unavailable

SCALE = 24
SOURCES = {"mnist": data.MNIST, "housing": data.CALIFORNIA, "churn": data.TELCO}
LIBRARIES = {"mnist": ("torch", "numcodecs"), "housing": ("pyarrow",)}
MOMENTS = ("cancer", "housing", "churn")


@cache
def _absent(name: str) -> str:
    """Why a data set cannot be had here, or nothing."""
    try:
        data.load(SOURCES[name])
    except Unavailable as error:
        return f"neither a network nor a cached file: {error}"
    return ""


@pytest.fixture
def job(request: pytest.FixtureRequest) -> demo.Job:
    name = request.param
    for library in LIBRARIES.get(name, ()):
        pytest.importorskip(library)
    if name in SOURCES and _absent(name):
        pytest.skip(_absent(name))
    return demo.get(name)


every_job = pytest.mark.parametrize("job", demo.names(), indirect=True)
with_moments = pytest.mark.parametrize("job", MOMENTS, indirect=True)


def few(shard: demo.Shard, count: int = 200) -> demo.Shard:
    return demo.Shard(shard.x[:count], shard.y[:count])


def digest(arrays) -> str:
    total = hashlib.sha256()
    for name in sorted(arrays):
        total.update(f"{name}{arrays[name].dtype}{arrays[name].shape}".encode())
        total.update(np.ascontiguousarray(arrays[name]).tobytes())
    return total.hexdigest()


def second_round(job: demo.Job, seed: int = 3) -> str:
    """The digest of what member 1 of 3 sends in round 2 after two rounds among few examples."""
    model = job.initial(seed)
    shard = few(job.shard(1, 3, seed, "iid"))
    for number in (1, 2):
        model, _, _ = job.train(model, shard, seed, 1, number)
    return digest(model)


def federate(job: demo.Job, members: int, rounds: int, seed: int, partition: str = "iid"):
    """Federated averaging over the exact integers; the last global model and its layout."""
    model = job.initial(seed)
    layout = layout_of(model)
    words = quantise(model, layout, SCALE)
    shards = [job.shard(k, members, seed, partition) for k in range(members)]
    for number in range(1, rounds + 1):
        model = dequantise(words, layout, SCALE)
        sent = [job.train(model, shard, seed, k, number) for k, shard in enumerate(shards)]
        updates = [update_of(arrays, words, layout, SCALE) for arrays, _, _ in sent]
        words = next_model(words, weighted_mean(updates, [weight for _, weight, _ in sent]))
    return dequantise(words, layout, SCALE)


def test_an_unknown_demo_is_refused_with_the_names():
    """A typing mistake is answered by what can be typed."""
    with pytest.raises(InvalidParameter, match="cancer, digits, mnist, housing, churn"):
        demo.get("cancre")


@pytest.mark.parametrize("name", demo.names())
def test_a_demo_is_described_without_its_data(name):
    """The command line can list demos with no network and no extra installed."""
    job = demo.get(name)
    assert job.name == name and job.title
    assert job.members >= (10 if name in ("cancer", "mnist") else 3)
    assert 1 <= job.rounds <= (10 if name == "cancer" else 20)


@pytest.mark.parametrize(("name", "library"), [("mnist", "torch"), ("housing", "pyarrow.parquet")])
def test_a_missing_library_is_told_with_the_extra_that_brings_it(name, library, monkeypatch):
    """Who has the base install learns what to install for the other demos."""
    job = demo.get(name)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setattr(housing, "_table_once", housing._table)
    blank = demo.Shard(np.zeros((1, 28, 28), np.uint8), np.zeros(1, np.uint8))
    use = {"mnist": lambda: job.evaluate(job.initial(0), blank), "housing": lambda: job.test(99)}
    with pytest.raises(Unavailable, match=rf"pip install 'tallystick\[{job.requires}\]'"):
        use[name]()


@every_job
def test_training_gives_the_same_bits_whatever_the_threads_of_the_process(job):
    """Members in one process, in Ray's workers or on SuperNodes send the same update."""
    here = second_round(job)
    assert second_round(job) == here
    program = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "import test_demo_jobs as t\n"
        f"print(t.second_round(t.demo.get({job.name!r})))"
    )
    for threads in ("1", "4"):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **dict.fromkeys(names, threads)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == here


@every_job
def test_training_leaves_its_inputs_alone(job):
    """The in-process engine hands one global model to all members."""
    model = job.initial(0)
    shard = few(job.shard(0, 3, 0, "iid"), 40)
    before = digest(model), shard.x.copy()
    for value in model.values():
        value.flags.writeable = False
    trained, examples, metrics = job.train(model, shard, 0, 0, 1)
    assert (digest(model), examples) == (before[0], 40) and np.array_equal(shard.x, before[1])
    assert layout_of(trained) == layout_of(model)
    assert all(np.isfinite(value) for value in metrics.values())


@every_job
def test_any_model_can_be_scored(job):
    """A report starts with the untrained model."""
    metrics = job.evaluate(job.initial(0), few(job.test(0)))
    assert {"loss", job.metric} <= set(metrics)
    assert all(isinstance(value, float) and np.isfinite(value) for value in metrics.values())


@every_job
@pytest.mark.parametrize("partition", ["iid", "dirichlet:0.1", "column:first"])
def test_members_share_all_training_examples_and_no_test_example(job, partition):
    """Held-out examples are held out, and every other one belongs to a member."""
    first = {
        "cancer": "mean_radius",
        "housing": "Longitude",
        "churn": "Contract",
        "digits": "label",
        "mnist": "label",
    }[job.name]
    partition = partition.replace("first", first)
    shards = [job.shard(k, 7, 5, partition) for k in range(7)]
    test = job.test(5)
    total = {"cancer": 569, "digits": 1797, "mnist": 70000, "housing": 20640, "churn": 7043}
    assert sum(map(len, shards)) + len(test) == total[job.name]
    assert min(map(len, shards)) >= 1
    if job.name in ("cancer", "housing"):  # The others hold a few identical rows.
        held_out = {row.tobytes() for row in np.ascontiguousarray(test.x)}
        assert not any(
            row.tobytes() in held_out for s in shards for row in np.ascontiguousarray(s.x)
        )


@every_job
def test_a_member_with_one_example_can_take_part(job):
    """However uneven the partition, training sends finite numbers in range."""
    model = job.initial(0)
    layout = layout_of(model)
    words = quantise(model, layout, SCALE)
    shard = few(job.shard(0, 3, 0, "iid"), 1)
    for number in (1, 2, 3):
        trained, examples, _ = job.train(dequantise(words, layout, SCALE), shard, 0, 0, number)
        assert examples == 1
        words = next_model(words, update_of(trained, words, layout, SCALE))


@with_moments
def test_the_first_round_pools_the_moments_and_nothing_else(job):
    """The ledger's weighted mean is the moment of everybody's examples; weights wait for it; later rounds keep it."""
    model = job.initial(0)
    layout = layout_of(model)
    words = quantise(model, layout, SCALE)
    sent = [job.train(model, job.shard(k, 4, 0, "dirichlet:0.3"), 0, k, 1) for k in range(4)]
    for arrays, _, _ in sent:
        for name in set(model) - {moments.MEAN, moments.SQUARE}:
            assert np.array_equal(arrays[name], model[name])
    following = federate(job, 4, 1, 0, "dirichlet:0.3")
    weights = np.array([weight for _, weight, _ in sent], np.float64)
    for name in (moments.MEAN, moments.SQUARE):
        pooled = np.average([arrays[name] for arrays, _, _ in sent], axis=0, weights=weights)
        assert np.abs(following[name] - pooled).max() <= 2.0**-SCALE
        later, _, _ = job.train(following, job.shard(0, 4, 0, "iid"), 0, 0, 2)
        assert np.array_equal(later[name], following[name])
    everyone = job.shard(0, 1, 0, "iid")
    alone, _, _ = job.train(model, everyone, 0, 0, 1)
    assert np.abs(following[moments.MEAN] - alone[moments.MEAN]).max() <= 2.0**-SCALE
    assert update_of(sent[0][0], words, layout, SCALE).any()


def test_the_cancer_demo_reaches_its_accuracy():
    """`demo cancer` finds at least 97 of 100 held-out patients' tumours right after ten rounds, for each of ten seeds."""
    job = demo.get("cancer")
    reached = [
        job.evaluate(federate(job, job.members, job.rounds, seed), job.test(seed))["accuracy"]
        for seed in range(10)
    ]
    assert min(reached) >= 0.97


def test_the_digits_demo_reaches_its_accuracy():
    """`demo digits` learns, in a few rounds already."""
    job = demo.get("digits")
    model = federate(job, 5, 3, 0)
    assert job.evaluate(model, job.test(0))["accuracy"] >= 0.94


@pytest.mark.parametrize("job", ["churn"], indirect=True)
def test_the_churn_demo_ranks_customers_as_well_as_a_central_model(job):
    """Ten rounds of federated logistic regression come up to the central one's AUC less 0.004."""
    model = federate(job, 3, job.rounds, 0)
    assert job.evaluate(model, job.test(0))["auc"] >= 0.838


@pytest.mark.parametrize("job", ["housing"], indirect=True)
def test_the_housing_demo_learns_in_a_few_rounds(job):
    """Three rounds, one of which only gathers moments, bring the error under that of a linear model (0.556)."""
    model = federate(job, 3, 3, 0)
    assert job.evaluate(model, job.test(0))["mse"] <= 0.35


@pytest.mark.parametrize("job", ["housing"], indirect=True)
@pytest.mark.slow
def test_the_housing_demo_reaches_its_error(job):
    """`demo housing` gets a test MSE of 0.30 or less."""
    model = federate(job, job.members, job.rounds, 0)
    assert job.evaluate(model, job.test(0))["mse"] <= 0.30


@pytest.mark.parametrize("job", ["mnist"], indirect=True)
@pytest.mark.slow
def test_the_mnist_demo_learns_from_a_tenth_of_the_images(job):
    """Three rounds among ten members with 600 images each are enough for 93 right of 100."""
    small = replace(job, shard=lambda *place: few(job.shard(*place), 600))
    model = federate(small, 10, 3, 0)
    assert job.evaluate(model, job.test(0))["accuracy"] >= 0.93
