"""Likely labels: confidences that are right as often as they say, and what is none of these."""

import numpy as np
import pytest

from processor.answers.labels import FAR, LEAST_PHOTOS, VOTERS, Calibration, Likely
from processor.answers.nearest import Neighbour


def world(photos: int, seed: int, right: float) -> tuple[list[str | None], list[list[Neighbour]]]:
    """Photos whose neighbours bear the true label with the probability ``right``, by the nearest."""
    random = np.random.default_rng(seed)
    labels, found = [], []
    for _ in range(photos):
        label = f"L{random.integers(5)}"
        cosines = np.sort(random.uniform(0.6, 0.95, VOTERS))[::-1]
        one = label if random.random() < right else f"L{random.integers(5)}"
        names = [one if random.random() < 0.9 else f"L{random.integers(5)}" for _ in cosines]
        found.append(
            [Neighbour("k", *each) for each in zip(names, map(float, cosines), strict=True)]
        )
        labels.append(label)
    return labels, found


@pytest.mark.parametrize("right", [0.95, 0.6])
def test_the_confidence_is_how_often_it_is_right(right: float) -> None:
    calibration = Calibration.learn(*world(800, 1, right))
    assert calibration
    answers = []
    for label, neighbours in zip(*world(800, 2, right), strict=True):
        likely = calibration.likely(neighbours)
        assert likely
        answers.append((likely.confidence, likely.label == label))
    confidence, correct = np.mean(answers, axis=0)
    assert correct == pytest.approx(right + (1 - right) / 5, abs=0.1)
    assert confidence == pytest.approx(correct, abs=0.04)
    sure = [each for each in answers if each[0] > np.median([one for one, _ in answers])]
    assert np.mean([was for _, was in sure]) > correct, "the confidence tells answers apart"


def test_far_neighbours_and_disagreement_lower_the_confidence() -> None:
    calibration = Calibration(0.05, (-5, 1, 5), 0.4)

    def likely(*neighbours: tuple[str | None, float]) -> Likely | None:
        return calibration.likely([Neighbour("k", *each) for each in neighbours])

    def confidence(*neighbours: tuple[str | None, float]) -> float:
        found = likely(*neighbours)
        assert found
        return found.confidence if found.label == "a" else 1 - found.confidence

    near = confidence(("a", 0.9))
    assert near > 0.99
    assert confidence(("a", 0.5)) < near
    assert confidence(("a", 0.9), ("b", 0.9)) < 0.5
    assert confidence(("a", 0.9), ("b", 0.4)) == pytest.approx(near)
    assert confidence((None, 0.99), ("a", 0.9), (None, 0.8)) == near
    assert confidence(*[("a", 0.9)] * VOTERS, ("b", 0.9)) == near, "only so many vote"
    assert likely((None, 0.9)) is None
    assert likely() is None


def test_where_every_answer_was_right_the_confidence_is_high_and_finite() -> None:
    labels, found = world(LEAST_PHOTOS, 5, 1.0)
    found = [
        [each._replace(label=label) for each in some]
        for label, some in zip(labels, found, strict=True)
    ]
    calibration = Calibration.learn(labels, found)
    assert calibration
    likely = calibration.likely(found[0])
    assert likely
    assert 0.95 < likely.confidence < 1


def test_the_least_cosine_is_a_quantile_of_nearest_neighbours() -> None:
    labels, found = world(1000, 3, 0.9)
    calibration = Calibration.learn(labels, found)
    assert calibration
    share = np.mean([each[0].cosine < calibration.least_cosine for each in found])
    assert share == pytest.approx(FAR, abs=0.002)


def test_too_little_calibrates_nothing() -> None:
    labels, found = world(LEAST_PHOTOS, 4, 0.9)
    assert Calibration.learn(labels, found)
    assert Calibration.learn(labels[1:], found[1:]) is None
    assert Calibration.learn([None, *labels[1:]], found) is None
    one = [[Neighbour("k", "L", each.cosine) for each in some] for some in found]
    assert Calibration.learn(["L"] * LEAST_PHOTOS, one) is None
    assert Calibration.learn([], []) is None
