"""The refit policy: whether a refit is due by time, growth or drift, with the reason in words."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from processor.matrix.pca import NOISE, PCA

CHECK_SHARE = 0.01  # of the photos must have changed before the components are checked


@dataclass(frozen=True, slots=True)
class OutOfSample:
    """Photos added after the fit, and the sum of their squared residuals (see ``PCA.residual``).

    Kept in the matrix's log, so that it outlives the service. Photos that were removed again stay
    counted, and those whose file was compacted or rewritten count again, even fitted ones: that can
    hide outliers among others, but never invent any.
    """

    photos: int = 0
    residual: float = 0.0

    def plus(self, photos: int, residual: float) -> "OutOfSample":
        """These and ``photos`` more, whose squared residuals add up to ``residual``."""
        return OutOfSample(self.photos + photos, self.residual + residual)

    def to_metadata(self) -> dict[str, str]:
        return {"photos_since_fit": str(self.photos), "residual_since_fit": repr(self.residual)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> "OutOfSample":
        return cls(
            int(metadata.get("photos_since_fit", 0)), float(metadata.get("residual_since_fit", 0))
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
        out_of_sample: OutOfSample,
        changed_since: Callable[[int], bool],
    ) -> str | None:
        """The reason for a refit, by the figures at hand; None if none is due.

        ``changed_since`` tells whether photos were added or removed after a version of the features.
        It is called only if the fit is old.
        """
        about = pca.about
        if about["asked"] != self.settings:
            return f"configuration changed from {about['asked']} to {self.settings}"
        changed = abs(photos - pca.n_samples_)
        if 0 < self.growth_photos <= changed:
            return f"the number of photos has changed by {changed} since the fit"
        if self.growth_share and changed >= self.growth_share * pca.n_samples_:
            return (
                f"the number of photos has changed by {changed / pca.n_samples_:.1%} since the fit"
            )
        age = (datetime.now(UTC) - datetime.fromisoformat(about["fitted_at"])).total_seconds()
        old = 0 < self.interval_seconds <= age
        if old and changed_since(int(about["features_version"])):
            return f"the fit is {age:.0f} s old"
        return self._large_residual(pca, out_of_sample)

    def worth_checking(self, pca: PCA, changed: int) -> bool:
        """Whether to check :meth:`outgrown`, which costs reading what is new."""
        return bool(self.least_captured) and changed >= CHECK_SHARE * pca.n_samples_

    def outgrown(self, captured: float) -> str | None:
        """The reason for a refit, given ``PCA.captured`` of all photos; None if none is due."""
        if captured >= self.least_captured:
            return None
        return f"the components capture {captured:.2%} of the variance that as many could capture"

    def _large_residual(self, pca: PCA, out_of_sample: OutOfSample) -> str | None:
        enough = max(1.0, CHECK_SHARE * pca.n_samples_)
        if not self.most_residual or out_of_sample.photos < enough:
            return None
        usual = max(pca.reconstruction_error, NOISE * pca.total_variance_)
        times = out_of_sample.residual / out_of_sample.photos / usual if usual else 0.0
        if times <= self.most_residual:
            return None
        return f"new photos have {times:.1f} times the mean squared residual of the fitted ones"
