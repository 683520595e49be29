"""The reduced matrix: a PCA of the features, refitted when due, mirrored in between, exported as CSV."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
from processor.matrix.tasks import Projected
from processor.spark.background import Background
from processor.store import delta
from processor.store.datafiles import Swap
from processor.store.delta import Table
from processor.store.lease import Lease

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
        self._lease = Lease(layout.refit_lease)
        self._model: NamedModel | None = None  # the matrix's, unless others have refitted
        self.state: MatrixState | None = None  # without a matrix there is none

    def update(self, *, force: bool = False) -> Update | None:
        """Refit if due (or ``force``), and bring the matrix to the newest features.

        One service refits at a time. While another does, the matrix is only brought to the newest
        features, with the model that it has; with ``force`` its end is waited for.

        Returns None if there are no features yet or the matrix was up to date. If interrupted at any
        point, it leaves the matrix as it was or as it should be, and the next call does the rest.
        Raises :class:`CommitConflict` if others keep committing first.
        """
        tries = iter(range(MAX_CONFLICTS))
        for _ in tries:
            # Before the features, so that these are not older than what another service has mirrored.
            reduced = delta.open_table(self._layout.reduced)
            features = FeaturesSnapshot.newest(self._layout)
            if features is None:
                return None
            try:
                return self._step(features, reduced, tries, force=force)
            except CommitConflict:
                log.info("another writer committed to reduced/ first; trying again")
        raise CommitConflict(f"lost {MAX_CONFLICTS} commits to reduced/ in a row to other writers")

    def follow(self, swaps: Sequence[Swap]) -> None:
        """Move rows of the matrix as a compaction of the features has just done; a step without a refit.

        It spares the next :meth:`update` to project them again. If another writer commits first, it is
        left to that.
        """
        reduced = delta.open_table(self._layout.reduced)
        features = FeaturesSnapshot.newest(self._layout)
        model = self._current_model(reduced)
        if features is None or model is None:
            return
        try:
            self._mirror.update(features, reduced, model, since_fit(reduced), swaps=swaps)
        except CommitConflict:
            log.info(
                "another writer committed to reduced/ first; the moved rows are projected again"
            )

    def export(self, *, wait: bool = False) -> None:
        """Write ``reduced.csv`` if it is not of the matrix's model, see :meth:`.CsvExport.update`.

        Takes longer than a refit, and may be repeated; the files that it reads never change.
        """
        if self._csv:
            model = self._model  # the other thread may replace it
            self._csv.update(model.name if model else None, wait=wait)

    def _step(
        self,
        features: FeaturesSnapshot,
        reduced: Table | None,
        tries: Iterator[int],
        *,
        force: bool,
    ) -> Update | None:
        model = self._current_model(reduced)
        since = since_fit(reduced)
        reason: str | None = None
        if features.photos:
            reason = "on demand" if force else self._refits.due(model, features, since)
        if reason is None:
            return self._mirrored(features, reduced, model, since)
        with self._lease.held(wait=force) as ours:
            if not ours:
                log.info("a refit is due (%s), and another service is at it", reason)
                return self._mirrored(features, reduced, model, since)
            newest = delta.open_table(self._layout.reduced)
            if (newest and newest.table_version) != (reduced and reduced.table_version):
                raise CommitConflict("reduced/ has changed while another service had the lease")
            return self._refitted(features, reduced, model, reason, tries)

    def _refitted(
        self,
        features: FeaturesSnapshot,
        reduced: Table | None,
        previous: NamedModel | None,
        reason: str,
        tries: Iterator[int],
    ) -> Update | None:
        """Refit; where others commit new photos in the meantime, only these are projected again."""
        began = time.monotonic()
        model = self._model = self._refits.fit(features, previous, reason)
        seconds = time.monotonic() - began
        projected: dict[str, Projected] = {}
        while True:
            try:
                done = self._mirrored(features, reduced, model, SinceFit(), began, projected)
                break
            except CommitConflict:
                reduced = delta.open_table(self._layout.reduced)
                newest = FeaturesSnapshot.newest(self._layout)
                name = model_name(reduced) if reduced else None
                refitted_by_another = name != (previous and previous.name)
                if newest is None or refitted_by_another or next(tries, None) is None:
                    raise
                features = newest
                log.info("another writer committed to reduced/ during a refit; trying again")
        drift = model.pca.about.get("drift_movement")
        return done and replace(
            done, refit=reason, fit_seconds=seconds, drift=None if drift is None else float(drift)
        )

    def _mirrored(
        self,
        features: FeaturesSnapshot,
        reduced: Table | None,
        model: NamedModel | None,
        since: SinceFit,
        refit_began: float | None = None,
        projected: dict[str, Projected] | None = None,
    ) -> Update | None:
        if model is None:
            return None
        began = time.monotonic()
        rows = self._mirror.update(
            features, reduced, model, since, refit_began, projected=projected
        )
        self._refits.applied(model)
        self.state = MatrixState(
            features.table_version,
            len(features.sizes),
            sum(features.sizes.values()),
            datetime.fromisoformat(model.pca.about["fitted_at"]),
        )
        if rows is None:
            return None
        return Update(features.table_version, rows, None, 0.0, time.monotonic() - began)

    def _current_model(self, reduced: Table | None) -> NamedModel | None:
        name = model_name(reduced) if reduced else None
        if name is None:
            return None
        if self._model is None or self._model.name != name:
            self._model = models.read(self._layout, name)
        return self._model
