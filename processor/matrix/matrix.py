"""The reduced matrix: a PCA of the features, refitted when due, kept in step with them in between.

Every data file of ``features/`` has one counterpart in ``reduced/``, named ``MODEL/FILE``: the same
rows, projected with the PCA model ``MODEL``. So what the matrix lacks is a difference of two sets of
names, whatever happened in between: new photos, replaced and removed ones, a compaction, a crash.
A refit is the same step with another model, where every counterpart is missing.

Each step is one Delta transaction, which names the version of ``features/`` that the matrix mirrors
(application ``features``). A reader sees the matrix before or after it. ``reduced.csv`` follows each
refit: one object, replaced whole.
"""

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from deltalake import DeltaTable

from processor.matrix import models, pca, statistics_cache, tasks
from processor.matrix.moments import Accumulator, Statistics
from processor.matrix.pca import PCA
from processor.matrix.refit_policy import Policy, Strays
from processor.matrix.tasks import Projected
from processor.spark.background import Background
from processor.store import datafiles, delta, schema
from processor.store.delta import CommitConflict

log = logging.getLogger(__name__)

MIRRORS = "features"  # the application whose version says which features the matrix mirrors
SPARE_AXES = 8  # fitted beyond the wanted ones, so that near-equal axes at the cut stay put
MAX_CONFLICTS = 20
HISTORY = 10  # entries of the log to look back for the last update
SMALL_BYTES = 32 << 20  # of features: to read them here takes no longer than to have Spark do it


@dataclass(frozen=True, slots=True)
class Update:
    """What :meth:`Matrix.update` did. ``refit``: the reason for a new model, None without one."""

    features_version: int
    projected: int  # rows written
    refit: str | None
    fit_seconds: float  # reading what is new, and the eigenproblem
    mirror_seconds: float  # projecting, writing and committing


class Matrix:
    """The reduced matrix under one store URI. Used by one thread; several services may share it."""

    def __init__(self, uri: str, policy: Policy, background: Background) -> None:
        self._uri = uri
        self._policy = policy
        self._background = background
        self._model: tuple[str, PCA] | None = None  # the matrix's, unless others have refitted
        self._looked_at = ("", 0)  # the model and the photos when its axes were last judged
        self._unchanged = ("", 0)  # the model, and up to which version no photo came or went
        self._csv_of: str | None = None  # the model of reduced.csv; None until asked

    def update(self, *, force: bool = False) -> Update | None:
        """Refit if due (or ``force``), then bring the matrix to the newest features.

        Returns None when there are no features yet or nothing had to be done. Interrupted at any
        point it leaves the matrix as it was, or as it should be.
        """
        for _ in range(MAX_CONFLICTS):
            features = delta.open_table(f"{self._uri}features")
            if features is None:
                return None
            try:
                done = self._step(features, force)
            except CommitConflict:
                log.info("another writer changed reduced/ first; looking again")
                continue
            self._write_csv()
            return done
        raise CommitConflict(f"{MAX_CONFLICTS} commits to reduced/ in a row were overtaken")

    def _step(self, features: DeltaTable, force: bool) -> Update | None:
        began = time.monotonic()
        live = delta.sizes(features)
        photos = delta.rows(features)
        reduced = delta.open_table(f"{self._uri}reduced")
        previous = self._current_model(reduced)
        strays = _strays(reduced)
        reason = "on demand" if force else self._due(previous, features, live, photos, strays)
        if photos == 0:
            reason = None
        if reason:
            name, model = self._model = self._fit(features, live, previous, reason)
            strays = Strays()
        elif previous:
            name, model = previous
        else:
            return None
        fitted = time.monotonic()
        rows = self._mirror(features, live, reduced, name, model, strays)
        if rows is None:
            return None
        ended = time.monotonic()
        return Update(features.version(), rows, reason, fitted - began, ended - fitted)

    # ------------------------------------------------------------------ the model

    def _current_model(self, reduced: DeltaTable | None) -> tuple[str, PCA] | None:
        name = model_name(reduced) if reduced else None
        if name is None:
            return None
        if self._model is None or self._model[0] != name:
            body = models.read(self._uri, name)
            self._model = (name, body) if body else None
        return self._model

    def _due(
        self,
        current: tuple[str, PCA] | None,
        features: DeltaTable,
        live: Mapping[str, int],
        photos: int,
        strays: Strays,
    ) -> str | None:
        """Why a refit is due, or None."""
        if current is None:
            return "no model"
        name, model = current
        reason = self._policy.due(
            model, photos, strays, lambda version: self._changed_since(features, name, version)
        )
        if reason or not photos:
            return reason
        if self._looked_at[0] != name:
            self._looked_at = (name, model.n_samples_)
        if not self._policy.worth_a_look(model, abs(photos - self._looked_at[1])):
            return None
        total = self._statistics(live)
        self._looked_at = (name, photos)
        return self._policy.outgrown(model.captured(total)) if total else None

    def _changed_since(self, features: DeltaTable, name: str, fitted_on: int) -> bool:
        # A store that gets nothing but bad photos would read ever more entries again each minute.
        since = self._unchanged[1] if self._unchanged[0] == name else fitted_on
        if delta.changed_between(f"{self._uri}features", since, features.version()):
            return True
        self._unchanged = (name, features.version())
        return False

    def _fit(
        self,
        features: DeltaTable,
        live: Mapping[str, int],
        previous: tuple[str, PCA] | None,
        reason: str,
    ) -> tuple[str, PCA]:
        began = time.monotonic()
        folder = f"{self._uri}features"
        total = self._statistics(live)
        if total is None:
            raise ValueError(f"{folder} has no rows to fit a PCA to")
        about = {
            "features": folder,
            "features_version": str(features.version()),
            "network": features.metadata().description or "",
            "fitted_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "reason": reason,
            "asked": self._policy.asked,
        }
        wanted, whiten = self._policy.components, self._policy.whiten
        if previous and isinstance(wanted, int):
            model = pca.fit(total, wanted + SPARE_AXES, whiten=whiten, about=about)
            model = pca.align(model, previous[1]).leading(wanted)
        else:
            model = pca.fit(total, wanted, whiten=whiten, about=about)
            model = pca.align(model, previous[1]) if previous else model
        moved = _moved(model, previous[1]) if previous else {}
        model = replace(model, about={**model.about, **moved})
        name = models.new_name(features.version())
        models.write(self._uri, name, model)
        log.info(
            "fitted a PCA",
            extra={
                "reason": reason,
                "photos": model.n_samples_,
                "components": len(model.components_),
                "explained_variance": round(float(model.explained_variance_ratio_.sum()), 6),
                "features_version": features.version(),
                "model": name,
                "seconds": round(time.monotonic() - began, 3),
                **moved,
            },
        )
        return name, model

    def _statistics(self, live: Mapping[str, int]) -> Statistics | None:
        """The statistics of the data files of features/, given their bytes; None without a row."""

        def read(paths: Collection[str]) -> Statistics | None:
            if sum(live.get(path, SMALL_BYTES) for path in paths) < SMALL_BYTES:
                return tasks.statistics(f"{self._uri}features", paths)
            return self._read_by_tasks(paths)

        return statistics_cache.statistics(self._uri, live, read)

    def _read_by_tasks(self, paths: Collection[str]) -> Statistics | None:
        folder = f"{self._uri}features"
        total: Accumulator | None = None
        for part in self._background.run(
            sorted(paths), lambda share: [tasks.statistics(folder, share)]
        ):
            if part is not None:
                total = (total or Accumulator(len(part.mean))).merge(part)
        return total.statistics() if total else None

    # ------------------------------------------------------------------ the matrix

    def _mirror(
        self,
        features: DeltaTable,
        live: Collection[str],
        reduced: DeltaTable | None,
        name: str,
        model: PCA,
        strays: Strays,
    ) -> int | None:
        """Make ``reduced/`` the projection of these features; None when it is already."""
        columns = schema.reduced(len(model.components_))
        if reduced is None:
            reduced = delta.create_table(f"{self._uri}reduced", columns, "")
        wanted = {f"{name}/{path}": path for path in live}
        present = delta.paths(reduced)
        if wanted.keys() == present and reduced.transaction_version(MIRRORS) == features.version():
            return None
        missing = [wanted[path] for path in sorted(wanted.keys() - present)]
        afresh = not wanted.keys() & present
        added = self._project(missing, name, model, new=not afresh)
        if not afresh:
            strays = strays.and_those(added)
        delta.commit(
            reduced,
            columns,
            [each.file for each in added],
            () if afresh else present - wanted.keys(),
            # Only an overwrite may change the columns, and it removes whatever it does not add.
            overwrite=afresh,
            metadata={
                "model": name,
                "features_version": features.version(),
                **strays.to_metadata(),
            },
            transactions={MIRRORS: features.version()},
        )
        return sum(each.file.rows for each in added)

    def _project(
        self, paths: Sequence[str], name: str, model: PCA, *, new: bool
    ) -> list[Projected]:
        if not paths:
            return []
        source, target = f"{self._uri}features", f"{self._uri}reduced"
        shared = self._background.broadcast(model.to_bytes())
        try:
            return self._background.run(
                paths,
                lambda share: tasks.project(share, source, target, name, shared, new=new),
            )
        finally:
            shared.destroy()

    def _write_csv(self) -> None:
        """Bring ``reduced.csv`` to the present model, also if whoever fitted it died before that."""
        if self._model and self._model[0] == self._csv_of:
            return
        folder, target = f"{self._uri}reduced", f"{self._uri}reduced.csv"
        table = delta.open_table(folder)
        name = model_name(table) if table else None
        if table is None or name is None:
            return
        if self._csv_of is None:
            self._csv_of = datafiles.about(target).get("model", "")
        if self._csv_of == name:
            return
        began = time.monotonic()
        paths, columns = sorted(delta.paths(table)), delta.columns(table)
        about = {
            "model": name,
            "reduced-version": str(table.version()),
            "features-version": str(table.transaction_version(MIRRORS)),
        }
        (rows,) = self._background.run(
            [paths],  # one share: one task writes them all
            lambda share: [tasks.write_csv(each, folder, columns, target, about) for each in share],
        )
        self._csv_of = name
        log.info(
            "wrote reduced.csv",
            extra={"rows": rows, "seconds": round(time.monotonic() - began, 3), **about},
        )


def model_name(reduced: DeltaTable) -> str | None:
    """The name of the model that a version of the matrix is made with; None without a row."""
    names = {path.partition("/")[0] for path in delta.paths(reduced)}
    return names.pop() if len(names) == 1 else None


def _strays(reduced: DeltaTable | None) -> Strays:
    """What the matrix's last update tells of photos that came after the fit; unknown: none.

    It is the newest entry of the log, unless a vacuum has come after it, with two entries.
    """
    if reduced is None:
        return Strays()
    entries = (entry for look_back in (1, HISTORY) for entry in reduced.history(look_back))
    return Strays.from_metadata(next((each for each in entries if "model" in each), {}))


def _moved(model: PCA, previous: PCA) -> Mapping[str, str]:
    """How far a refit went, for the log and the model's record; see :class:`~.pca.Drift`."""
    if len(model.mean_) != len(previous.mean_):
        return {}
    found = asdict(pca.drift(model, previous))
    return {f"drift_{name}": f"{value:.3g}" for name, value in found.items()}
