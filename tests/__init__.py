"""The tests; an assertion in a module that they share tells as much as one in a test."""

import pytest

pytest.register_assert_rewrite(
    *(
        f"tests.{package}"
        for package in ("common", "demo", "infra_scripts", "ingest", "processor", "support")
    )
)
