"""The summary: a value without behaviour."""

from dataclasses import FrozenInstanceError

import pytest

from tests.support.summaries import SUMMARY


def test_it_is_not_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        SUMMARY.photos = 1
