"""The Spark step: photos that kill their worker, labels, and the bounds of a task."""

import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from processor.network import engines
from processor.network.spec import NetworkSpec
from processor.pipeline.outcomes import Extracted, Kind, Outcome, Work
from processor.pipeline.tasks import MAX_KILLERS, Recipe, isolate, label_of, warm_up

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def work(key: str) -> Work:
    return Work(key, None, NOON, removal=False, stored_version=None)


def dies_over_killers(share: Sequence[Work]) -> Extracted:
    if any("killer" in each.key for each in share):
        os._exit(9)
    if any("fault" in each.key for each in share):
        raise ValueError("a fault of ours")
    return Extracted(None, tuple(Outcome(each.key, Kind.STORED, "1") for each in share))


def run(spark: SparkSession, keys: Sequence[str]) -> dict[str, Outcome]:
    context = spark.sparkContext

    def job(shares: Sequence[Sequence[Work]]) -> list[Extracted]:
        return context.parallelize(shares, len(shares)).map(dies_over_killers).collect()

    results = isolate([work(key) for key in keys], job, 2)
    outcomes = [outcome for result in results for outcome in result.outcomes]
    assert sorted(outcome.key for outcome in outcomes) == sorted(keys)
    return {outcome.key: outcome for outcome in outcomes}


def test_a_photo_that_kills_its_worker_is_rejected_alone(spark: SparkSession) -> None:
    outcomes = run(spark, [*map(str, range(9)), "killer", "10"])
    bad = {key for key, outcome in outcomes.items() if outcome.kind is Kind.REJECTED}
    assert bad == {"killer"}
    assert outcomes["killer"].reason == "crash"


def test_a_fault_of_ours_is_nobodys_reject(spark: SparkSession) -> None:
    with pytest.raises(Exception, match="a fault of ours"):
        run(spark, ["1", "fault"])


def test_when_every_photo_kills_the_machine_is_blamed(spark: SparkSession) -> None:
    with pytest.raises(Py4JJavaError):
        run(spark, [f"killer{n}" for n in range(MAX_KILLERS + 1)])


def test_workers_are_made_warm(spark: SparkSession, spec: NetworkSpec) -> None:
    recipe = Recipe("b", "photos/", "s3://b/features", spec, 1, 1, 1, reduced_decode=True)
    warm_up(spark.sparkContext, recipe, 2)

    def loaded(_: int) -> tuple[int, bool]:
        time.sleep(0.5)
        return os.getpid(), spec in engines._loaded

    workers = dict(spark.sparkContext.parallelize(range(2), 2).map(loaded).collect())
    assert len(workers) == 2
    assert all(workers.values())


def test_no_work_is_no_job(spark: SparkSession) -> None:
    assert run(spark, []) == {}


@pytest.mark.parametrize(
    ("key", "label"),
    [("photos/a.jpg", None), ("photos/Apple/a.jpg", "Apple"), ("photos/a/b c/d.jpg", "b c")],
)
def test_label(key: str, label: str | None) -> None:
    assert label_of(key, "photos/") == label
