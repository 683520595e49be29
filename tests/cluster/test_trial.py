"""The short trial; the long one is ``./run cluster``."""

import pytest

from tests.cluster.__main__ import main


@pytest.mark.services
def test_a_worker_that_is_killed_costs_no_photo_and_one_that_joins_gets_work() -> None:
    assert main(["--short", "--photos", "100"]) == 0
