"""Background tasks: they run in workers of their own, which yield the cores."""

import os

from pyspark.sql import SparkSession

from processor.spark.background import NICE, Background


def _worker(share):
    return [(os.getpid(), os.getpriority(os.PRIO_PROCESS, 0), sum(share))]


def test_they_yield_the_cores_and_ingestion_does_not(spark: SparkSession) -> None:
    background = Background(spark.sparkContext, lambda: 2)
    low = background.run([1, 2, 3, 4, 5], _worker)
    assert {nice for _, nice, _ in low} == {max(NICE, os.getpriority(os.PRIO_PROCESS, 0))}
    assert sum(total for _, _, total in low) == 15
    usual = spark.sparkContext.parallelize([1, 2], 2).mapPartitions(_worker).collect()
    assert {nice for _, nice, _ in usual} == {os.getpriority(os.PRIO_PROCESS, 0)}
    assert not {pid for pid, _, _ in usual} & {pid for pid, _, _ in low}


def test_results_come_in_order_from_as_many_tasks_as_fit(spark: SparkSession) -> None:
    background = Background(spark.sparkContext, lambda: 3)
    assert background.run([], _worker) == []
    assert background.run(list(range(7)), lambda share: (2 * n for n in share)) == list(
        range(0, 14, 2)
    )
    assert len(background.run(list(range(7)), _worker)) == 3
    assert len(background.run([1, 2], _worker)) == 2
    shared = background.broadcast("shared")
    assert background.run([1], lambda share: [shared.value for _ in share]) == ["shared"]
