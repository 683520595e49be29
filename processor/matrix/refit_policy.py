"""When a refit is due: by time, growth and drift, each with its reason in words."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from processor.matrix.pca import NOISE, PCA
from processor.matrix.tasks import Projected

LOOK_SHARE = 0.01  # of the photos come or gone, before it is asked whether the axes still fit


@dataclass(frozen=True, slots=True)
class Strays:
    """Photos that came after the fit, and how far off its axes they lie, squared and summed up.

    Kept in the log of the matrix, so that it outlives the service. Photos that were removed again
    stay counted, and those whose file was merged or rewritten count once more, fitted ones too: that
    can hide strays among others, never make up any.
    """

    photos: int = 0
    residual: float = 0.0

    def and_those(self, files: Iterable[Projected]) -> "Strays":
        """These and the photos in some new files of the matrix."""
        photos, residual = self.photos, self.residual
        for each in files:
            photos, residual = photos + each.file.rows, residual + each.residual
        return Strays(photos, residual)

    def to_metadata(self) -> dict[str, str]:
        return {"photos_since_fit": str(self.photos), "residual_since_fit": repr(self.residual)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> "Strays":
        return cls(
            int(metadata.get("photos_since_fit", 0)), float(metadata.get("residual_since_fit", 0))
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """When to refit and to what; see ``[pca]`` in config.toml."""

    components: int | float
    whiten: bool
    interval_seconds: int
    growth_photos: int
    growth_share: float
    least_captured: float = 0.0
    most_residual: float = 0.0

    @property
    def asked(self) -> str:
        """What a model must have been fitted to."""
        return f"{self.components}, whiten {self.whiten}"

    def due(
        self, model: PCA, photos: int, strays: Strays, changed_since: Callable[[int], bool]
    ) -> str | None:
        """Why a refit is due, as far as figures at hand tell; None if none is.

        ``changed_since`` tells whether photos came or went after a version of the features. It is
        asked only once the fit is old.
        """
        about = model.about
        if about["asked"] != self.asked:
            return f"configuration changed from {about['asked']} to {self.asked}"
        changed = abs(photos - model.n_samples_)
        if 0 < self.growth_photos <= changed:
            return f"{changed} photos came or went since the fit"
        if self.growth_share and changed >= self.growth_share * model.n_samples_:
            return f"{changed / model.n_samples_:.1%} of the fitted photos came or went"
        age = (datetime.now(UTC) - datetime.fromisoformat(about["fitted_at"])).total_seconds()
        old = 0 < self.interval_seconds <= age
        if old and changed_since(int(about["features_version"])):
            return f"the fit is {age:.0f} s old"
        return self._astray(model, strays)

    def worth_a_look(self, model: PCA, changed: int) -> bool:
        """Whether to ask for :meth:`outgrown`, which costs reading what is new."""
        return bool(self.least_captured) and changed >= LOOK_SHARE * model.n_samples_

    def outgrown(self, captured: float) -> str | None:
        """Why a refit is due, given :meth:`processor.matrix.pca.PCA.captured` of all photos."""
        if captured >= self.least_captured:
            return None
        return f"the axes hold {captured:.2%} of the variance that as many could hold"

    def _astray(self, model: PCA, strays: Strays) -> str | None:
        if not self.most_residual or strays.photos < max(1.0, LOOK_SHARE * model.n_samples_):
            return None
        usual = max(model.reconstruction_error, NOISE * model.total_variance_)
        times = strays.residual / strays.photos / usual if usual else 0.0
        if times <= self.most_residual:
            return None
        return f"new photos lie {times:.1f} times as far off the axes (mean square) as the fitted"
