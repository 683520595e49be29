"""How often the label of a held-out photo is found: by its nearest neighbour, by logistic regression."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse.csgraph import connected_components
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from processor.answers.nearest import unit
from processor.matrix import pca
from processor.matrix.moments import Statistics
from processor.network.spec import Features

FOLDS = 3
SCENE = 0.97  # of the nearest pairs most are the same heap of fruit, photographed again

Labels = npt.NDArray[np.str_]
Folds = npt.NDArray[np.int64]  # for each photo the fold in which it is held out


class Accuracy(NamedTuple):
    """The share of held-out photos whose label was found, over all folds."""

    nearest: float
    logistic: float


def at_random(count: int) -> Folds:
    """Each photo in any fold, so that photos of the same scene are mostly on both sides."""
    return np.random.default_rng(0).permutation(count) % FOLDS


def by_scene(features: Features) -> tuple[Folds, int]:
    """All photos of a scene in one fold, which may be any; and the number of scenes.

    A scene: photos with a cosine of at least SCENE, and those with one to any of them, and so on.
    """
    near = unit(features) @ unit(features).T >= SCENE
    scenes, scene_of = connected_components(near, directed=False)
    return at_random(scenes)[scene_of], scenes


def accuracy(features: Features, labels: Labels, folds: Folds, components: int | None) -> Accuracy:
    """Of the features, or of the components of a PCA that is fitted without those held out."""
    right = np.zeros(2)
    for number in np.unique(folds):
        out = folds == number
        known, asked = features[~out], features[out]
        if components is not None:
            fitted = pca.fit(Statistics.of(known), components)
            known, asked = fitted.project(known), fitted.project(asked)
        nearest = labels[~out][(unit(asked) @ unit(known).T).argmax(axis=1)]
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        likely = model.fit(known, labels[~out]).predict(asked)
        right += [(nearest == labels[out]).sum(), (likely == labels[out]).sum()]
    by_nearest, by_logistic = (right / len(labels)).tolist()
    return Accuracy(by_nearest, by_logistic)
