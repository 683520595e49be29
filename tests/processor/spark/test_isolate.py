"""Isolation: items that kill their worker are found one by one, and all the others are processed."""

import functools
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from py4j.protocol import Py4JJavaError
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


class Raised(Py4JJavaError):
    """What a job that failed raises, with Spark's message."""

    def __init__(self, message: str) -> None:
        Exception.__init__(self, message)
        self.java_exception = message

    def __str__(self) -> str:
        return self.java_exception


LOST = (
    "Job aborted due to stage failure: Task 0 in stage 1.0 failed 4 times, most recent failure: Lost "
    "task 0.3 in stage 1.0 (TID 7) (10.0.0.1 executor 3): ExecutorLostFailure (executor 3 exited caused "
    "by one of the running tasks) Reason: Command exited with code 137"
)


def test_over_whom_executors_are_lost_is_no_suspect_and_harms_nobody() -> None:
    """It may exhaust a container's memory; or its machines were taken away, one after the other."""
    deaths: list[str] = []

    def job(shares: Sequence[Sequence[str]]) -> list[str]:
        items = [item for share in shares for item in share]
        if "hog" in items:
            raise Raised(LOST)
        return items

    isolated = isolate([*"abcd", "hog", *"efg"], job, 2, lambda: deaths.append("one"))
    assert sorted(isolated.results) == list("abcdefg")
    assert (isolated.suspects, isolated.untried, deaths) == ([], ["hog"], [])


def test_where_executors_are_lost_again_and_again_the_others_are_left_untried() -> None:
    def job(_: Sequence[Sequence[int]]) -> list[int]:
        raise Raised(LOST)

    isolated = isolate(range(100), job, 2)
    assert (isolated.results, isolated.suspects) == ([], [])
    assert sorted(isolated.untried) == list(range(100))
