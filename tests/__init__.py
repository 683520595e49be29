"""The tests. Assertions in modules that they share report as much as those in a test."""

import pytest

pytest.register_assert_rewrite(
    *(
        f"tests.{package}"
        for package in ("common", "demo", "infra_scripts", "ingest", "processor", "support")
    )
)
