"""Fixtures that all tests share: one embedded AWS and one Spark session per run."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from infra_scripts.embedded import EmbeddedAws
from processor.spark import session

pytest_plugins = ["tests.support.aws"]


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
