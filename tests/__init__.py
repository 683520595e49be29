"""The tests; an assertion in a module that they share tells as much as one in a test."""

import pytest

pytest.register_assert_rewrite(
    *(f"tests.{package}" for package in ("demo", "infra_scripts", "ingest", "processor"))
)
