"""Fixtures that all tests share: one embedded AWS and one Spark session per run."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from infra_scripts.embedded import EmbeddedAws
from processor.spark import session

pytest_plugins = ["tests.support.aws"]

# Files whose tests start the service again and again, some dozen processes each time. Several of them
# at once would overload two cores until one misses a deadline; last, they would leave the other
# processes of pytest without work. So one process begins with them, one after the other.
SERVICES = {
    f"tests/{name}.py"
    for name in (
        "demo/test_demo",
        "ingest/test_alone",
        "processor/spark/test_class_archive",
        "processor/test_commands",
        "processor/test_disk",
        "processor/test_endings",
        "processor/test_orphans",
        "test_contract",
        "test_least_privilege",
        "test_reconcile",
        "test_recovery",
    )
}


class Lanes(LoadFileScheduling):
    """A file is done by one process of pytest, and those of SERVICES by the same one."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "services" if file in SERVICES else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Lanes:
    return Lanes(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The services first, see ``--no-loadscope-reorder`` in ``run``."""
    items.sort(key=lambda item: item.nodeid.partition("::")[0] not in SERVICES)


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all services of the run keep weights and compiled networks, in all processes of pytest."""
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    (cache := shared / "cache").mkdir(exist_ok=True)
    return cache


@pytest.fixture(scope="session")
def spark(aws: EmbeddedAws) -> Iterator[SparkSession]:
    """The Spark session of the run; its workers see the embedded AWS."""
    # Not in pytest's folder, whose name may be too long for the paths of sockets.
    with tempfile.TemporaryDirectory() as folder:
        started = session.start("local[2]", "1g", Path(folder))
        yield started
        started.stop()
