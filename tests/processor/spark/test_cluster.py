"""A cluster, as far as one session can tell; ``./run cluster`` has a real one."""

import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest
from pyspark import SparkConf
from pyspark.sql import SparkSession

from processor.errors import SetupError
from processor.spark import cluster
from processor.spark.cluster import Executors
from processor.spark.resources import Slots

URL = "spark://master:7077"


@pytest.mark.parametrize(
    ("master", "expected"),
    [("", False), ("local[4]", False), ("local", False), (URL, True), ("yarn", True)],
)
def test_what_is_a_cluster(master: str, expected: bool) -> None:
    assert cluster.is_cluster(master) is expected


def test_workers_import_our_code_compiled_from_the_archive_alone(tmp_path: Path) -> None:
    archive = cluster._archive(tmp_path)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "import processor.pipeline.tasks as t, processor.matrix.tasks, ingest.source, common.logs;"
        "print(t.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, archive], cwd="/", capture_output=True, text=True
    )
    assert done.stdout.strip() == f"{archive}/processor/pipeline/tasks.pyc", done.stderr


def test_executors_are_told_where_aws_is_but_no_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://aws")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "secret")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    settings = cluster.settings("")
    prefix = "spark.executorEnv."
    told = {k.removeprefix(prefix): v for k, v in settings.items() if k.startswith(prefix)}
    named = {"AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": "http://aws", "LC_ALL": "C.UTF-8"}
    assert {name: told.get(name) for name in named} == named
    assert "secret" not in settings.values()


def test_without_a_secret_there_is_no_session(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(cluster.SECRET, raising=False)
    with pytest.raises(SetupError, match=f"set {cluster.SECRET} in this service's environment"):
        cluster.share_secret(URL, SparkConf())
    cluster.share_secret("yarn", SparkConf())  # which makes one


class Listed(Executors):
    """Executors of these slots; the tasks that ask them run in the tests' session."""

    now: ClassVar[dict[str, int]] = {}

    def _listed(self) -> dict[str, int]:
        return self.now


@pytest.mark.parametrize(
    ("slots", "takes", "ingestion", "background"),
    [
        ([2], 8, Slots(1, 1), 1),
        ([2, 2, 2], 8, Slots(3, 1), 2),
        ([8], 8, Slots(4, 4), 3),
        ([8, 8], 3, Slots(6, 3), 7),  # no more fit into the memory of each
        ([3], 8, Slots(1, 1), 1),
        ([1], 8, Slots(1, 1), 1),  # where one has to wait for the other
        ([1, 1, 1, 1], 8, Slots(2, 1), 1),
    ],
)
def test_background_tasks_leave_ingestion_its_slots(
    spark: SparkSession, slots: list[int], takes: int, ingestion: Slots, background: int
) -> None:
    executors = Listed(spark.sparkContext, lambda: takes)
    executors.now = {str(n): each for n, each in enumerate(slots)}
    assert executors.ingestion() == ingestion
    assert executors.background() == background
    if sum(slots) > 2:  # a task for the CSV included
        assert ingestion.tasks + background + 1 <= sum(slots)


def test_executors_that_come_and_go_count_at_once(spark: SparkSession, tmp_path: Path) -> None:
    def takes() -> int:
        return 4 - 2 * (tmp_path / "small").exists()

    executors = Listed(spark.sparkContext, takes)
    executors.now = {"0": 8}
    assert executors.ingestion() == Slots(4, 4)
    (tmp_path / "small").touch()
    assert executors.ingestion() == Slots(4, 4), "who was asked is not asked again"
    executors.now = {"0": 8, "1": 8}
    assert executors.ingestion() == Slots(4, 2)
    executors.now = {"1": 8}
    assert executors.ingestion() == Slots(2, 2)


def test_the_driver_does_not_count_as_an_executor(spark: SparkSession) -> None:
    assert Executors(spark.sparkContext)._listed() == {}
