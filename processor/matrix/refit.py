"""Refits: whether one is due, and the fit itself, which reads only what has changed since the last."""

import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime

from common.layout import StoreLayout
from processor.matrix import models, partials, pca, statistics_cache, tasks
from processor.matrix.models import NamedModel
from processor.matrix.moments import Statistics
from processor.matrix.pca import PCA
from processor.matrix.refit_policy import RefitPolicy, SinceFit
from processor.matrix.snapshot import FeaturesSnapshot
from processor.spark.background import Background

log = logging.getLogger(__name__)

SPARE_COMPONENTS = 8  # fitted beyond the wanted ones, see `pca.align`
MANY_COLUMNS = 1024
SMALL_BYTES = 32 << 20  # of features that are read as fast in this process as in Spark tasks


class Refits:
    """Fits the PCA models of one store. Used by one thread."""

    def __init__(self, layout: StoreLayout, policy: RefitPolicy, background: Background) -> None:
        self._layout = layout
        self._policy = policy
        self._background = background
        # When last checked: the model, the photos, those projected since its fit.
        self._checked_at = ("", 0, 0)
        self._unchanged = ("", 0)  # the model, and the version up to which no photos changed
        self._applied = False  # whether the matrix has had the settings of our configuration

    def due(
        self, current: NamedModel | None, features: FeaturesSnapshot, since_fit: SinceFit
    ) -> str | None:
        """The reason for a refit; None if none is due. May read what has changed since the last fit.

        Settings that differ are a reason until :meth:`applied`. Later another service was started with
        others, or a refit demanded; they are adopted, or the two would refit against each other.
        """
        if not features.photos:
            return None
        if current is None:
            return "no model"
        if self._applied:
            self._adopt(current.pca.about["asked"])
        now = datetime.now(UTC)
        reason = self._policy.due(
            current.pca,
            features.photos,
            since_fit,
            lambda version: self._changed_since(features, current.name, version),
            now,
        )
        if reason or self._policy.pauses(current.pca, since_fit, now):
            return reason
        if self._checked_at[0] != current.name:
            self._checked_at = (current.name, current.pca.n_samples_, 0)
        # Replaced photos leave the number as it was, so those that were projected count as well.
        changed = max(
            abs(features.photos - self._checked_at[1]), since_fit.photos - self._checked_at[2]
        )
        if not self._policy.worth_checking(current.pca, changed):
            return None
        total = self._statistics(features)
        self._checked_at = (current.name, features.photos, since_fit.photos)
        if total is None:
            return None
        best = self._solved(total, len(current.pca.components_))
        return self._policy.outgrown(current.pca.captured(total, best))

    def fit(
        self, features: FeaturesSnapshot, previous: NamedModel | None, reason: str
    ) -> NamedModel:
        """Fit a PCA to all features, align it to the previous one, and write it to the store.

        Raises ValueError if there are no rows. If anything fails, the matrix keeps its model, and a
        model written in vain is deleted by :func:`.models.sweep`.
        """
        began = time.monotonic()
        total = self._statistics(features)
        if total is None:
            raise ValueError(f"{features.folder} has no rows to fit a PCA to")
        fitted = self._fitted(total, features, previous.pca if previous else None, reason)
        drift = _drift(fitted, previous.pca) if previous else {}
        fitted = replace(fitted, about={**fitted.about, **drift})
        model = NamedModel(models.new_name(features.table_version), fitted)
        models.write(self._layout, model)
        log.info(
            "fitted a PCA",
            extra={
                "reason": reason,
                "photos": fitted.n_samples_,
                "components": len(fitted.components_),
                "explained_variance": round(float(fitted.explained_variance_ratio_.sum()), 6),
                "features_version": features.table_version,
                "model": model.name,
                "seconds": round(time.monotonic() - began, 3),
                **drift,
            },
        )
        return model

    def applied(self, model: NamedModel) -> None:
        """Tell that the matrix is now of ``model``."""
        self._applied = self._applied or model.pca.about["asked"] == self._policy.settings

    def _adopt(self, asked: str) -> None:
        if asked == self._policy.settings:
            return
        log.warning(
            "the matrix was refitted with other [pca] settings, components %s, which this service "
            "adopts in place of components %s: configure all services of a store alike",
            *(asked, self._policy.settings),
        )
        self._policy = self._policy.with_settings(asked)

    def _fitted(
        self, total: Statistics, features: FeaturesSnapshot, previous: PCA | None, reason: str
    ) -> PCA:
        about = {
            "features": features.folder,
            "features_version": str(features.table_version),
            "network": features.network,
            "fitted_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "reason": reason,
            "asked": self._policy.settings,
        }
        wanted = self._policy.components
        spare = SPARE_COMPONENTS if previous and isinstance(wanted, int) else 0
        fitted = self._solved(total, wanted + spare)
        fitted = replace(fitted, whiten=self._policy.whiten, about=about)
        if previous:
            fitted = pca.align(fitted, previous)
        return fitted.leading(wanted) if isinstance(wanted, int) else fitted

    def _solved(self, total: Statistics, components: int | float) -> PCA:
        """The PCA, by a task if there are many columns.

        scipy keeps Python's lock while it solves: half a minute for 4,096 columns, 0.05 s for 512. No
        micro-batch would go on in this process.
        """
        if len(total.mean) < MANY_COLUMNS:
            return pca.fit(total, components)
        with partials.folder(self._layout) as folder:
            (name,) = self._background.run(
                [partials.write(folder, total)],
                lambda names: tasks.fit(folder, names, components),
            )
            return PCA.from_bytes(partials.read(folder, name))

    def _changed_since(self, features: FeaturesSnapshot, name: str, fitted_on: int) -> bool:
        # Otherwise a store that gets only bad photos would read more log entries each minute.
        since = self._unchanged[1] if self._unchanged[0] == name else fitted_on
        if features.photos_changed_since(since):
            return True
        self._unchanged = (name, features.table_version)
        return False

    def _statistics(self, features: FeaturesSnapshot) -> Statistics | None:
        """The statistics of all features; None if there are no rows."""

        def read(paths: Collection[str]) -> Statistics | None:
            if sum(features.sizes.get(path, SMALL_BYTES) for path in paths) < SMALL_BYTES:
                return tasks.statistics(features.folder, paths)
            return self._read_by_tasks(features.folder, paths)

        return statistics_cache.statistics(self._layout, features.sizes, read)

    def _read_by_tasks(self, folder: str, paths: Collection[str]) -> Statistics | None:
        with partials.folder(self._layout) as target:
            names = self._background.run(
                sorted(paths), lambda share: tasks.write_statistics(folder, share, target)
            )
            return partials.merged(target, names)


def _drift(fitted: PCA, previous: PCA) -> Mapping[str, str]:
    """How far a refit moved, for the log and the model's record; see :class:`.pca.Drift`."""
    if len(fitted.mean_) != len(previous.mean_):
        return {}
    found = asdict(pca.drift(fitted, previous))
    return {f"drift_{name}": f"{value:.3g}" for name, value in found.items()}
