"""The points: values without behaviour."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from processor.report.points import NEIGHBOURS, Points


def test_they_are_not_changed() -> None:
    none = np.empty((0, NEIGHBOURS), np.int32)
    points = Points([], [], np.empty((0, 2), np.float32), none, none.astype(np.float32), [], 0)
    with pytest.raises(FrozenInstanceError):
        points.population = 1
