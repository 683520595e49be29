"""The session: what the Python workers of its tasks are started with."""

import os

from pyspark.sql import SparkSession


def test_workers_ask_for_huge_pages(spark: SparkSession) -> None:
    def tunables(_: int) -> str | None:
        return os.environ.get("GLIBC_TUNABLES")

    assert spark.sparkContext.parallelize([0], 1).map(tunables).collect() == [
        os.environ.get("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    ]
