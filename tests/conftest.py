"""Fixtures that all tests share: one embedded AWS and one Spark session per run."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from infra_scripts.embedded import EmbeddedAws
from processor.spark import session

pytest_plugins = ["tests.support.aws"]


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all services of the run keep weights and compiled networks."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def spark(aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The Spark session of the run; its workers see the embedded AWS."""
    started = session.start("local[2]", "1g", tmp_path_factory.mktemp("spark"))
    yield started
    started.stop()
