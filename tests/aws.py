"""The embedded AWS for tests: one per run."""

import os
from collections.abc import Iterator

import pytest

from infra_scripts.embedded import EmbeddedAws


@pytest.fixture(scope="session")
def aws() -> Iterator[EmbeddedAws]:
    """The embedded AWS, and this process' environment leading to it."""
    with EmbeddedAws() as server:
        before = dict(os.environ)
        os.environ.update(server.environment)
        yield server
        os.environ.clear()
        os.environ.update(before)
