"""The reduced matrix: a PCA of the features, refitted when due, mirrored in between, exported as CSV."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from common.layout import StoreLayout
from processor.errors import CommitConflict
from processor.matrix import models
from processor.matrix.export import CsvExport
from processor.matrix.mirror import Mirror, model_name, since_fit
from processor.matrix.models import NamedModel
from processor.matrix.refit import Refits
from processor.matrix.refit_policy import RefitPolicy, SinceFit
from processor.matrix.snapshot import FeaturesSnapshot
from processor.spark.background import Background
from processor.store import delta
from processor.store.compaction import Swap
from processor.store.delta import Table

log = logging.getLogger(__name__)

MAX_CONFLICTS = 20


@dataclass(frozen=True, slots=True)
class Update:
    """What :meth:`Matrix.update` did. ``refit``: the reason for a new model, None if there is none."""

    features_version: int
    projected: int  # rows
    refit: str | None
    fit_seconds: float  # reading what is new, and the eigenproblem
    mirror_seconds: float  # projecting, writing and committing
    drift: float | None = None  # of a refit, see :attr:`.pca.Drift.movement`


@dataclass(frozen=True, slots=True)
class MatrixState:
    """The matrix as the last :meth:`Matrix.update` left it, and the features that it mirrors."""

    features_version: int
    files: int  # of the features
    bytes: int
    fitted_at: datetime


class Matrix:
    """The reduced matrix of one store. Several services may share it.

    Used by one thread, but for :meth:`export`, which another thread may call at any time.
    """

    def __init__(
        self, layout: StoreLayout, policy: RefitPolicy, background: Background, *, csv: bool = True
    ) -> None:
        """``csv``: whether :meth:`export` writes ``reduced.csv``."""
        self._layout = layout
        self._refits = Refits(layout, policy, background)
        self._mirror = Mirror(layout, background)
        self._csv = CsvExport(layout, background) if csv else None
        self._model: NamedModel | None = None  # the matrix's, unless others have refitted
        self.state: MatrixState | None = None  # without a matrix there is none

    def update(self, *, force: bool = False) -> Update | None:
        """Refit if due (or ``force``), and bring the matrix to the newest features.

        Returns None if there are no features yet or the matrix was up to date. If interrupted at any
        point, it leaves the matrix as it was or as it should be, and the next call does the rest.
        Raises :class:`CommitConflict` if others keep committing first.
        """
        for _ in range(MAX_CONFLICTS):
            features = FeaturesSnapshot.newest(self._layout)
            if features is None:
                return None
            try:
                return self._step(features, force=force)
            except CommitConflict:
                log.info("another writer committed to reduced/ first; trying again")
        raise CommitConflict(f"lost {MAX_CONFLICTS} commits to reduced/ in a row to other writers")

    def follow(self, swaps: Sequence[Swap]) -> None:
        """Move rows of the matrix as a compaction of the features has just done; a step without a refit.

        It spares the next :meth:`update` to project them again. If another writer commits first, it is
        left to that.
        """
        features, reduced = (
            FeaturesSnapshot.newest(self._layout),
            delta.open_table(self._layout.reduced),
        )
        model = self._current_model(reduced)
        if features is None or model is None:
            return
        try:
            self._mirror.update(features, reduced, model, since_fit(reduced), swaps=swaps)
        except CommitConflict:
            log.info(
                "another writer committed to reduced/ first; the moved rows are projected again"
            )

    def export(self) -> None:
        """Write ``reduced.csv`` if it is not of the matrix's model, see :meth:`.CsvExport.update`.

        Takes longer than a refit, and may be repeated; the files that it reads never change.
        """
        if self._csv:
            model = self._model  # the other thread may replace it
            self._csv.update(model.name if model else None)

    def _step(self, features: FeaturesSnapshot, *, force: bool) -> Update | None:
        began = time.monotonic()
        reduced = delta.open_table(self._layout.reduced)
        model = self._current_model(reduced)
        since = since_fit(reduced)
        reason: str | None = None
        if features.photos:
            reason = "on demand" if force else self._refits.due(model, features, since)
        if reason:
            model = self._model = self._refits.fit(features, model, reason)
            since = SinceFit()
        if model is None:
            return None
        fitted = time.monotonic()
        rows = self._mirror.update(features, reduced, model, since, began if reason else None)
        self._refits.applied(model)
        self.state = MatrixState(
            features.table_version,
            len(features.sizes),
            sum(features.sizes.values()),
            datetime.fromisoformat(model.pca.about["fitted_at"]),
        )
        if rows is None:
            return None
        ended = time.monotonic()
        drift = model.pca.about.get("drift_movement") if reason else None
        return Update(
            *(features.table_version, rows, reason, fitted - began, ended - fitted),
            drift=None if drift is None else float(drift),
        )

    def _current_model(self, reduced: Table | None) -> NamedModel | None:
        name = model_name(reduced) if reduced else None
        if name is None:
            return None
        if self._model is None or self._model.name != name:
            self._model = models.read(self._layout, name)
        return self._model
