"""The likely label of a photo by its nearest neighbours, with a confidence that is calibrated.

Each of the VOTERS nearest votes for its label, with the weight exp(-(1 - cosine) / temperature), where
the temperature is a share of the usual distance to the nearest. The label with the most votes is the
likely one. How often such an answer is right is learnt from the store itself: a sample of its photos is
judged by their neighbours without themselves, and a logistic regression (Platt, Probabilistic outputs
for support vector machines, 1999) is fitted to whether that was right, by the share of the votes and
the cosine of the nearest. So what is called 90 % likely is right nine times in ten, for photos like
those stored. (Votes and a background with weights of maximum likelihood, without the regression, had
three times its calibration error.)

Of other photos that cannot be said. They are found by the distance of the nearest neighbour: where it
is further than for all but FAR of the stored photos, the answer is that it is none of these.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from processor.answers.nearest import Neighbour

VOTERS = 5
SHARPNESS = 0.3  # the temperature over the median distance, 1 - cosine, to the nearest
LEAST_PHOTOS = 50  # a sample with fewer calibrates nothing
FAR = (
    0.01  # the share of photos like those stored that may be called none of these: one in a hundred
)

_SURE = 1e-3  # votes are taken to be no more unanimous than 1 less this
_RIDGE = 0.01  # keeps the regression finite where every answer was right
_STEPS = 50

Array = npt.NDArray[np.float64]


class Likely(NamedTuple):
    """A label, and how likely it is that of the photo, 0 to 1."""

    label: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was learnt. ``least_cosine``: a nearest neighbour with a smaller one is too far away.

    ``weights``: of a constant, of the votes' log odds and of the nearest cosine.
    """

    temperature: float
    weights: tuple[float, float, float]
    least_cosine: float

    @classmethod
    def learn(
        cls, labels: Sequence[str | None], found: Sequence[Sequence[Neighbour]]
    ) -> Self | None:
        """From the labels of some stored photos, and the nearest of each without itself.

        None if there are fewer than LEAST_PHOTOS with a label and a neighbour, or fewer than two labels.
        """
        judged = [
            (label, neighbours)
            for label, neighbours in zip(labels, found, strict=True)
            if label is not None and any(each.label is not None for each in neighbours)
        ]
        if len(judged) < LEAST_PHOTOS or len({label for label, _ in judged}) < 2:
            return None
        nearest = [max(each.cosine for each in neighbours) for _, neighbours in judged]
        temperature = max(SHARPNESS * float(1 - np.median(nearest)), 1e-6)
        answers = [_vote(neighbours, temperature) for _, neighbours in judged]
        right = np.array(
            [given.label == label for given, (label, _) in zip(answers, judged, strict=True)]
        )
        seen = np.array([(given.log_odds, given.nearest) for given in answers])
        return cls(temperature, _logistic(seen, right), float(np.quantile(nearest, FAR)))

    def likely(self, neighbours: Iterable[Neighbour]) -> Likely | None:
        """The likely label by the nearest neighbours, the nearest first; None if none has a label."""
        some = list(neighbours)
        if all(each.label is None for each in some):
            return None
        given = _vote(some, self.temperature)
        constant, votes, nearest = self.weights
        odds = constant + votes * given.log_odds + nearest * given.nearest
        return Likely(given.label, float(1 / (1 + np.exp(-odds))))


class _Vote(NamedTuple):
    label: str
    log_odds: float
    nearest: float


def _vote(neighbours: Iterable[Neighbour], temperature: float) -> _Vote:
    voters = [(each.label, each.cosine) for each in neighbours if each.label is not None][:VOTERS]
    nearest = voters[0][1]
    votes: dict[str, float] = {}
    for label, cosine in voters:
        votes[label] = votes.get(label, 0) + float(np.exp((cosine - nearest) / temperature))
    label = max(votes, key=lambda each: votes[each])
    share = min(votes[label] / sum(votes.values()), 1 - _SURE)
    return _Vote(label, float(np.log(share / (1 - share))), nearest)


def _logistic(seen: Array, right: npt.NDArray[np.bool_]) -> tuple[float, float, float]:
    """The weights of a constant and of the two columns of ``seen``, by Newton's method."""
    mean, spread = seen.mean(axis=0), seen.std(axis=0) + 1e-9
    columns = np.column_stack([np.ones(len(seen)), (seen - mean) / spread])
    weights = np.zeros(3)
    for _ in range(_STEPS):
        likely = 1 / (1 + np.exp(-columns @ weights))
        curvature = (columns * (likely * (1 - likely))[:, None]).T @ columns
        slope = columns.T @ (right - likely) - _RIDGE * weights
        weights += np.linalg.solve(curvature + _RIDGE * np.eye(3), slope)
    votes, nearest = (weights[1:] / spread).tolist()
    return float(weights[0] - votes * mean[0] - nearest * mean[1]), votes, nearest
