"""The jobs of ingestion: a photo that kills its worker, workers that are warmed up."""

import os
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from botocore.exceptions import ClientError
from pyspark.errors import PythonException
from pyspark.sql import SparkSession

from common.layout import BucketLayout
from common.log_context import bound, fields
from processor.errors import fault_in
from processor.network import engines
from processor.network.spec import NetworkSpec
from processor.photos.memory import MemoryBudget
from processor.pipeline import jobs
from processor.pipeline.jobs import Jobs
from processor.pipeline.outcomes import Extracted, Kind, Outcome, Work
from processor.pipeline.tasks import Recipe, load_network
from processor.spark.resources import Slots

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def two() -> Slots:
    return Slots(2, 2)


def one() -> Slots:
    return Slots(1, 1)


def work(key: str) -> Work:
    return Work(key, "1", NOON, removal=False, stored_version=None)


def recipe(spec: NetworkSpec) -> Recipe:
    memory = MemoryBudget(1, Path(os.devnull))
    return Recipe(BucketLayout("bucket"), spec, 1, 1, 1, reduced_decode=True, memory=memory)


def dies_over_the_killer(share: Iterable[Work], _recipe: Recipe) -> Extracted:
    works = list(share)
    if any("killer" in each.key for each in works):
        os._exit(9)
    return Extracted(None, tuple(Outcome(each.key, Kind.STORED, "1") for each in works))


def test_a_photo_that_kills_its_worker_is_suspected_alone(
    spark: SparkSession, spec: NetworkSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "extract", dies_over_the_killer)
    keys = ["a", "b", "killer", "c"]
    results = Jobs(spark.sparkContext, recipe(spec), two).extract([work(key) for key in keys])
    outcomes = {each.key: each for result in results for each in result.outcomes}
    assert set(outcomes) == set(keys)
    killer = outcomes.pop("killer")
    assert (killer.kind, killer.reason, killer.object_version) == (Kind.PENDING, "crash", "1")
    assert {each.kind for each in outcomes.values()} == {Kind.STORED}


def tells_what_is_bound(share: Iterable[Work], _recipe: Recipe) -> Extracted:
    return Extracted(None, tuple(Outcome(each.key, Kind.STORED, str(fields())) for each in share))


def test_the_lines_of_a_task_are_about_its_micro_batch(
    spark: SparkSession, spec: NetworkSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "extract", tells_what_is_bound)
    with bound(batch=7):
        results = Jobs(spark.sparkContext, recipe(spec), two).extract([work("a"), work("b")])
    assert [each.object_version for result in results for each in result.outcomes] == [
        "{'batch': 7}",
        "{'batch': 7}",
    ]


def finds_no_bucket(_share: Iterable[Work], _recipe: Recipe) -> Extracted:
    error = {"Code": "NoSuchBucket", "Message": "gone"}
    raise ClientError({"Error": error}, "GetObject")


def test_what_concerns_all_photos_ends_the_job_with_cause_and_fix(
    spark: SparkSession, spec: NetworkSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "extract", finds_no_bucket)
    with pytest.raises(PythonException) as failure:
        Jobs(spark.sparkContext, recipe(spec), one).extract([work("a")])
    assert fault_in(str(failure.value)) == (
        "GetObject: there is no such bucket (gone): deploy it (python -m infra_scripts deploy) or "
        "correct storage.bucket"
    )


def test_without_work_no_job_runs(spark: SparkSession, spec: NetworkSpec) -> None:
    assert Jobs(spark.sparkContext, recipe(spec), two).extract([]) == []


def test_warming_up_loads_the_network_in_every_worker(
    spark: SparkSession, spec: NetworkSpec
) -> None:
    Jobs(spark.sparkContext, recipe(spec), two).warm_up()

    def loaded(_: int) -> tuple[int, bool]:
        time.sleep(0.5)
        return os.getpid(), spec in engines._loaded

    workers = dict(spark.sparkContext.parallelize(range(2), 2).map(loaded).collect())
    assert len(workers) == 2
    assert all(workers.values())


def test_on_a_cluster_spark_brings_the_compiled_network(
    spark: SparkSession, ncnn: NetworkSpec
) -> None:
    """Workers of another machine do not have the driver's path, only its name."""
    assert ncnn.compiled
    Jobs(spark.sparkContext, recipe(ncnn), one).ship()
    path = f"/of/the/driver/{Path(ncnn.compiled.path).name}"
    there, size = replace(ncnn, compiled=replace(ncnn.compiled, path=path)), ncnn.input_size

    def shape(_: int) -> tuple[int, ...]:
        return load_network(there).features(np.zeros((1, size, size, 3), np.uint8)).shape

    assert spark.sparkContext.parallelize([0], 1).map(shape).collect() == [(1, 512)]
