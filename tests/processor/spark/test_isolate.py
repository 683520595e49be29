"""Isolation: items that kill their worker are found one by one, and all the others are processed."""

import functools
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from processor.spark.isolate import MAX_SUSPECTS, Isolated, isolate


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
    died: Callable[[], object] = lambda: None,
) -> Isolated[str, str]:
    context = spark.sparkContext

    def job(shares: Sequence[Sequence[str]]) -> list[str]:
        return context.parallelize(shares, len(shares)).flatMap(work).collect()

    return isolate(items, job, 2, died)


def test_an_item_that_kills_its_worker_is_found_alone(spark: SparkSession) -> None:
    harmless = [*map(str, range(9)), "10"]
    deaths: list[str] = []
    died = functools.partial(deaths.append, "one")
    isolated = run(spark, [*harmless[:5], "killer", *harmless[5:]], died=died)
    assert 1 < len(deaths) < 8  # one for each halving
    assert (isolated.suspects, isolated.untried) == (["killer"], [])
    assert sorted(isolated.results) == sorted(f"{item} done" for item in harmless)


def test_items_over_which_a_worker_was_killed_once_have_results(
    spark: SparkSession, tmp_path: Path
) -> None:
    """By the out-of-memory killer, say, or by an operator."""

    def killed_at_first(share: Sequence[str]) -> list[str]:
        if "victim" in share and not list(tmp_path.iterdir()):
            (tmp_path / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return [f"{item} done" for item in share]

    items = ["1", "victim", "2"]
    assert sorted(run(spark, items, killed_at_first).results) == ["1 done", "2 done", "victim done"]


def test_an_item_kills_one_worker_alone(spark: SparkSession, tmp_path: Path) -> None:
    """The caller decides when it may kill the next one."""

    def dies_with_a_trace(share: Sequence[str]) -> list[str]:
        if share == ["killer"]:
            (tmp_path / str(os.getpid())).touch()
        return dies_over_killers(share)

    assert run(spark, ["killer"], dies_with_a_trace).suspects == ["killer"]
    assert len(list(tmp_path.iterdir())) == 1


def test_an_exception_is_raised_and_makes_no_suspect(spark: SparkSession) -> None:
    with pytest.raises(Exception, match="a bug of ours"):
        run(spark, ["1", "fault"])


def test_when_too_many_items_kill_the_others_are_left_untried(spark: SparkSession) -> None:
    items = [f"killer{n}" for n in range(MAX_SUSPECTS + 3)]
    isolated = run(spark, items)
    assert isolated.suspects == items[: MAX_SUSPECTS + 1]
    assert isolated.untried == items[MAX_SUSPECTS + 1 :]


def test_without_items_no_job_runs(spark: SparkSession) -> None:
    assert run(spark, []) == Isolated([], [], [])
