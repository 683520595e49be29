"""Fixtures of the tests of the embedded AWS."""

from collections.abc import Iterator

import pytest

from infra_scripts.embedded import EmbeddedAws


@pytest.fixture(scope="package")
def short_lived() -> Iterator[EmbeddedAws]:
    """An embedded AWS that a test may stop for a while, apart from the one that all tests share."""
    with EmbeddedAws() as embedded:
        yield embedded
