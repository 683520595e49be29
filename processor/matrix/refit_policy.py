"""The refit policy: whether a refit is due by growth, drift or time, with the reason in words.

A refit rewrites the matrix, so refits of a growing store must not come at equal steps: filling a store
to N photos would cost N squared. With growth by share, each refit but the first finds the store larger
by that share, and all of them together write at most N (1 + 1 / share) rows. ``./run bench growth``
plays that with this very policy.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from processor.matrix.pca import NOISE, PCA

SMALL_PHOTOS = 10_000  # a store that may be refitted by time: the matrix is 3 MB, its CSV 7 MB
ENOUGH_SHARE = 0.01  # of the fitted photos must be new, or their mean residual says nothing
CHECK_SHARE = 0.1  # of the photos must be new or gone before the components are checked


@dataclass(frozen=True, slots=True)
class SinceFit:
    """What the matrix's log carries from the last refit on, so that it outlives the service.

    Photos added after the fit, and the sum of their squared residuals (see ``PCA.residual``). Those that
    were removed again stay counted, and those whose file was rewritten count again, even fitted ones,
    and so do those of a compaction that the mirror was not told of: that can hide outliers among others,
    but never invent any.

    ``refit_seconds``: how long the refit took, from its first look at the features to its commit.
    """

    photos: int = 0
    residual: float = 0.0
    refit_seconds: float = 0.0

    def plus(self, photos: int, residual: float) -> "SinceFit":
        """These and ``photos`` more, whose squared residuals add up to ``residual``."""
        return replace(self, photos=self.photos + photos, residual=self.residual + residual)

    def to_metadata(self) -> dict[str, str]:
        return {
            "photos_since_fit": str(self.photos),
            "residual_since_fit": repr(self.residual),
            "refit_seconds": repr(self.refit_seconds),
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> "SinceFit":
        return cls(
            int(metadata.get("photos_since_fit", 0)),
            float(metadata.get("residual_since_fit", 0)),
            float(metadata.get("refit_seconds", 0)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RefitPolicy:
    """When to refit, and with which settings; see ``[pca]`` in config.toml. A limit of 0 is disabled."""

    components: int | float
    whiten: bool = False
    interval_seconds: int = 0
    growth_photos: int = 0
    growth_share: float = 0.0
    least_captured: float = 0.0
    most_residual: float = 0.0
    least_pause: float = 0.0

    @property
    def settings(self) -> str:
        """The settings that a PCA must have been fitted with; it records them as ``asked``."""
        return f"{self.components}, whiten {self.whiten}"

    def with_settings(self, settings: str) -> "RefitPolicy":
        """This policy with the :attr:`settings` of another one."""
        components, _, whiten = settings.partition(", whiten ")
        return replace(
            self,
            components=int(components) if components.isdecimal() else float(components),
            whiten=whiten == str(True),
        )

    def due(
        self,
        pca: PCA,
        photos: int,
        since_fit: SinceFit,
        changed_since: Callable[[int], bool],
        now: datetime,
    ) -> str | None:
        """The reason for a refit at the time ``now``, by the figures at hand; None if none is due.

        ``changed_since`` tells whether photos were added or removed after a version of the features.
        It is called only if the fit is old.
        """
        about = pca.about
        if about["asked"] != self.settings:
            return f"configuration changed from {about['asked']} to {self.settings}"
        if self.pauses(pca, since_fit, now):
            return None
        if grown := self._grown(pca.n_samples_, photos):
            return grown
        age = _age(pca, now)
        old = photos <= SMALL_PHOTOS and 0 < self.interval_seconds <= age
        if old and changed_since(int(about["features_version"])):
            return f"the fit is {age:.0f} s old"
        return self._large_residual(pca, since_fit)

    def pauses(self, pca: PCA, since_fit: SinceFit, now: datetime) -> bool:
        """Whether it is too soon after the last refit for another, by growth, time or drift.

        So refits take no more than a share of the time, however large the store and its drift.
        """
        return _age(pca, now) < self.least_pause * since_fit.refit_seconds

    def worth_checking(self, pca: PCA, changed: int) -> bool:
        """Whether to check :meth:`outgrown`, which costs reading what is new, and writing 1 MB."""
        return bool(self.least_captured) and changed >= CHECK_SHARE * pca.n_samples_

    def outgrown(self, captured: float) -> str | None:
        """The reason for a refit, given ``PCA.captured`` of all photos; None if none is due."""
        if captured >= self.least_captured:
            return None
        return f"the components capture {captured:.2%} of the variance that as many could capture"

    def _grown(self, fitted: int, photos: int) -> str | None:
        """By both limits, as far as they are set; a halved store counts like one that has doubled."""
        changed = abs(photos - fitted)
        if not (self.growth_photos or self.growth_share) or changed < max(1, self.growth_photos):
            return None
        if not self.growth_share:
            return f"the number of photos has changed by {changed} since the fit"
        if changed < self.growth_share * min(fitted, photos):
            return None
        return f"the number of photos has changed by {changed / fitted:.1%} since the fit"

    def _large_residual(self, pca: PCA, since_fit: SinceFit) -> str | None:
        enough = max(1.0, ENOUGH_SHARE * pca.n_samples_)
        if not self.most_residual or since_fit.photos < enough:
            return None
        usual = max(pca.reconstruction_error, NOISE * pca.total_variance_)
        times = since_fit.residual / since_fit.photos / usual if usual else 0.0
        if times <= self.most_residual:
            return None
        return f"new photos have {times:.1f} times the mean squared residual of the fitted ones"


def _age(pca: PCA, now: datetime) -> float:
    """Seconds since the fit, by the clock of the service that fitted."""
    return (now - datetime.fromisoformat(pca.about["fitted_at"])).total_seconds()
