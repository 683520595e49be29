"""Isolation: items that kill their worker are found one by one, and all the others are processed."""

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from processor.errors import WorkerDied
from processor.spark.isolate import DEATHS, MAX_CULPRITS, Isolated, isolate


def dies_over_killers(share: Sequence[str]) -> list[str]:
    if any("killer" in item for item in share):
        os._exit(9)
    if any("fault" in item for item in share):
        raise ValueError("a bug of ours")
    return [f"{item} done" for item in share]


def run(
    spark: SparkSession,
    items: Sequence[str],
    work: Callable[[Sequence[str]], list[str]] = dies_over_killers,
) -> Isolated[str, str]:
    context = spark.sparkContext

    def job(shares: Sequence[Sequence[str]]) -> list[str]:
        return context.parallelize(shares, len(shares)).flatMap(work).collect()

    return isolate(items, job, 2)


def test_an_item_that_kills_its_worker_is_found_alone(spark: SparkSession) -> None:
    harmless = [*map(str, range(9)), "10"]
    isolated = run(spark, [*harmless[:5], "killer", *harmless[5:]])
    assert isolated.culprits == ["killer"]
    assert sorted(isolated.results) == sorted(f"{item} done" for item in harmless)


@pytest.mark.parametrize("items", [["victim"], ["1", "victim", "2"]])
@pytest.mark.parametrize("kills", [1, 2])
def test_an_item_over_which_workers_were_killed_is_innocent(
    spark: SparkSession, tmp_path: Path, items: list[str], kills: int
) -> None:
    """By the out-of-memory killer, say, or by an operator."""

    def killed_at_first(share: Sequence[str]) -> list[str]:
        if "victim" in share and len(list(tmp_path.iterdir())) < kills:
            (tmp_path / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return [f"{item} done" for item in share]

    isolated = run(spark, items, killed_at_first)
    assert isolated.culprits == []
    assert sorted(isolated.results) == sorted(f"{item} done" for item in items)


def test_a_culprit_killed_several_workers_alone(spark: SparkSession, tmp_path: Path) -> None:
    def dies_with_a_trace(share: Sequence[str]) -> list[str]:
        if share == ["killer"]:
            (tmp_path / str(os.getpid())).touch()
        return dies_over_killers(share)

    assert run(spark, ["killer"], dies_with_a_trace).culprits == ["killer"]
    assert len(list(tmp_path.iterdir())) == DEATHS


def test_an_exception_is_raised_and_makes_no_culprit(spark: SparkSession) -> None:
    with pytest.raises(Exception, match="a bug of ours"):
        run(spark, ["1", "fault"])


def test_when_every_item_kills_the_machine_is_blamed(spark: SparkSession) -> None:
    with pytest.raises(WorkerDied, match=r"compute\.workers"):
        run(spark, [f"killer{n}" for n in range(MAX_CULPRITS + 1)])


def test_without_items_no_job_runs(spark: SparkSession) -> None:
    assert run(spark, []) == Isolated([], [])
