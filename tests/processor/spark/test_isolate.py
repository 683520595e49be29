"""Isolation: items that kill their worker are found one by one, and all the others are processed."""

import os
from collections.abc import Sequence

import pytest
from pyspark.sql import SparkSession

from processor.errors import WorkerDied
from processor.spark.isolate import MAX_CULPRITS, Isolated, isolate


def dies_over_killers(share: Sequence[str]) -> list[str]:
    if any("killer" in item for item in share):
        os._exit(9)
    if any("fault" in item for item in share):
        raise ValueError("a bug of ours")
    return [f"{item} done" for item in share]


def run(spark: SparkSession, items: Sequence[str]) -> Isolated[str, str]:
    context = spark.sparkContext

    def job(shares: Sequence[Sequence[str]]) -> list[str]:
        return context.parallelize(shares, len(shares)).flatMap(dies_over_killers).collect()

    return isolate(items, job, 2)


def test_an_item_that_kills_its_worker_is_found_alone(spark: SparkSession) -> None:
    harmless = [*map(str, range(9)), "10"]
    isolated = run(spark, [*harmless[:5], "killer", *harmless[5:]])
    assert isolated.culprits == ["killer"]
    assert sorted(isolated.results) == sorted(f"{item} done" for item in harmless)


def test_an_exception_is_raised_and_makes_no_culprit(spark: SparkSession) -> None:
    with pytest.raises(Exception, match="a bug of ours"):
        run(spark, ["1", "fault"])


def test_when_every_item_kills_the_machine_is_blamed(spark: SparkSession) -> None:
    with pytest.raises(WorkerDied, match=r"compute\.workers"):
        run(spark, [f"killer{n}" for n in range(MAX_CULPRITS + 1)])


def test_without_items_no_job_runs(spark: SparkSession) -> None:
    assert run(spark, []) == Isolated([], [])
