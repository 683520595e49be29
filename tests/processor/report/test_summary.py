"""The summary: a value without behaviour."""

from dataclasses import FrozenInstanceError

import pytest

from tests.support.drawn_reports import summary


def test_it_is_not_changed() -> None:
    drawn = summary()
    with pytest.raises(FrozenInstanceError):
        drawn.photos = 1
