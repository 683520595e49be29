"""Advice: there is some for every reason that the service gives."""

import pytest

from processor.pipeline.outcomes import CRASH, REASONS, UNWRITABLE, VANISHED
from processor.report.advice import advice

PENDING = ("forbidden", "encrypted", "archived", "refused", "unavailable", UNWRITABLE, VANISHED)


@pytest.mark.parametrize("reason", [*REASONS, CRASH, *PENDING])
def test_each_reason_has_advice_of_its_own(reason: str) -> None:
    assert advice(reason) != advice("some other")
    assert advice(reason).isprintable()


def test_any_other_reason() -> None:
    assert "why KEY" in advice("<script>")
