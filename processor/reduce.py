"""The reduced matrix: a PCA of the features, refitted when due, kept in step with them in between.

Every data file of ``features/`` has one counterpart in ``reduced/``, named ``MODEL/FILE``: the same
rows, projected with the PCA model ``MODEL``. So what the matrix lacks is a difference of two sets of
names, whatever happened in between: new photos, replaced and removed ones, a compaction, a crash.
A refit is the same step with another model, where every counterpart is missing.

Each step is one Delta transaction, which names the version of ``features/`` that the matrix mirrors
(application ``features``). A reader sees the matrix before or after it.
"""

import io
import logging
import math
import secrets
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from botocore.exceptions import ClientError
from deltalake import DeltaTable
from pyspark import RDD, Broadcast, SparkContext

from processor import files, known, pca, schema, tables
from processor.files import DataFile
from processor.moments import Accumulator, Statistics
from processor.pca import PCA
from processor.tables import CommitConflict

log = logging.getLogger(__name__)

MIRRORS = "features"  # the application whose version says which features the matrix mirrors
READ_ROWS = 4096
SPARE_AXES = 8  # fitted beyond the wanted ones, so that near-equal axes at the cut stay put
LOOK_SHARE = (
    0.01  # of the photos come or gone, before it is worth asking whether the axes still fit
)
MAX_CONFLICTS = 20


@dataclass(frozen=True, slots=True)
class Policy:
    """When to refit and to what; see ``[pca]`` in config.toml."""

    components: int | float
    whiten: bool
    interval_seconds: int
    growth_photos: int
    growth_share: float
    least_captured: float = 0.0


@dataclass(frozen=True, slots=True)
class Update:
    """What :meth:`Matrix.update` did. ``refit``: the reason for a new model, None without one."""

    features_version: int
    projected: int  # rows written
    refit: str | None


class Matrix:
    """The reduced matrix under one store URI. Used by one thread; several services may share it."""

    def __init__(self, uri: str, policy: Policy, context: SparkContext, parallelism: int) -> None:
        self._uri = uri
        self._policy = policy
        self._context = context
        self._parallelism = parallelism
        self._model: tuple[str, PCA] | None = None
        self._looked_at = ("", 0)  # the model and the photos when its axes were last judged

    def update(self, *, force: bool = False) -> Update | None:
        """Refit if due (or ``force``), then bring the matrix to the newest features.

        Returns None when there are no features yet or nothing had to be done. Interrupted at any
        point it leaves the matrix as it was, or as it should be.
        """
        for _ in range(MAX_CONFLICTS):
            features = tables.open_table(f"{self._uri}features")
            if features is None:
                return None
            try:
                return self._step(features, force)
            except CommitConflict:
                log.info("another writer changed reduced/ first; looking again")
        raise CommitConflict(f"{MAX_CONFLICTS} commits to reduced/ in a row were overtaken")

    def write_csv(self) -> None:
        """Replace ``reduced.csv`` by the present matrix; readers see the old or the new one, whole."""
        table = tables.open_table(f"{self._uri}reduced")
        if table is None:
            return
        with tempfile.NamedTemporaryFile(prefix="reduced-", suffix=".csv") as local:
            columns = pa.schema(table.schema().to_arrow())
            with pa_csv.CSVWriter(local, columns) as writer:
                for path in sorted(tables.paths(table)):
                    writer.write(files.read(f"{self._uri}reduced", path).cast(columns))
            local.flush()
            self._put_csv(Path(local.name), table)

    def _step(self, features: DeltaTable, force: bool) -> Update | None:
        live = tables.paths(features)
        photos = tables.rows(features)
        reduced = tables.open_table(f"{self._uri}reduced")
        previous = self._current_model(reduced)
        reason = "on demand" if force else self._due(previous, features, live, photos)
        if photos == 0:
            reason = None
        if reason:
            name, model = self._fit(features, live, previous, reason)
        elif previous:
            name, model = previous
        else:
            return None
        rows = self._mirror(features, live, reduced, name, model)
        if reason:
            self.write_csv()
        return None if rows is None else Update(features.version(), rows, reason)

    # ------------------------------------------------------------------ the model

    def _current_model(self, reduced: DeltaTable | None) -> tuple[str, PCA] | None:
        names = {path.partition("/")[0] for path in tables.paths(reduced)} if reduced else set()
        if len(names) != 1:
            return None
        (name,) = names
        if self._model is None or self._model[0] != name:
            body = read_model(self._uri, name)
            self._model = (name, body) if body else None
        return self._model

    def _due(
        self, current: tuple[str, PCA] | None, features: DeltaTable, live: set[str], photos: int
    ) -> str | None:
        """Why a refit is due, or None."""
        if current is None:
            return "no model"
        name, model = current
        about = model.about
        asked = f"{self._policy.components}, whiten {self._policy.whiten}"
        if about["asked"] != asked:
            return f"configuration changed from {about['asked']} to {asked}"
        changed = abs(photos - model.n_samples_)
        if 0 < self._policy.growth_photos <= changed:
            return f"{changed} photos came or went since the fit"
        if self._policy.growth_share and changed >= self._policy.growth_share * model.n_samples_:
            return f"{changed / model.n_samples_:.1%} of the fitted photos came or went"
        age = (datetime.now(UTC) - datetime.fromisoformat(about["fitted_at"])).total_seconds()
        moved = features.version() != int(about["features_version"])
        if moved and 0 < self._policy.interval_seconds <= age:
            return f"the fit is {age:.0f} s old"
        return self._outgrown(name, model, live, photos)

    def _outgrown(self, name: str, model: PCA, live: set[str], photos: int) -> str | None:
        """Why the axes no longer fit the photos, if so; looked into after each hundredth of growth."""
        if self._looked_at[0] != name:
            self._looked_at = (name, model.n_samples_)
        grown = abs(photos - self._looked_at[1]) >= LOOK_SHARE * model.n_samples_
        if not (self._policy.least_captured and photos and grown):
            return None
        total = known.statistics(self._uri, live, self._statistics)
        self._looked_at = (name, photos)
        captured = model.captured(total) if total else 1.0
        if captured >= self._policy.least_captured:
            return None
        return f"the axes hold {captured:.2%} of the variance that as many could hold"

    def _fit(
        self,
        features: DeltaTable,
        live: set[str],
        previous: tuple[str, PCA] | None,
        reason: str,
    ) -> tuple[str, PCA]:
        folder = f"{self._uri}features"
        total = known.statistics(self._uri, live, self._statistics)
        if total is None:
            raise ValueError(f"{folder} has no rows to fit a PCA to")
        now = datetime.now(UTC)
        about = {
            "features": folder,
            "features_version": str(features.version()),
            "network": features.metadata().description or "",
            "fitted_at": now.isoformat(timespec="seconds"),
            "reason": reason,
            "asked": f"{self._policy.components}, whiten {self._policy.whiten}",
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
        name = f"{now:%Y%m%dT%H%M%S}-v{features.version()}-{secrets.token_hex(3)}"
        write_model(self._uri, name, model)
        log.info(
            "fitted a PCA",
            extra={
                "reason": reason,
                "photos": model.n_samples_,
                "components": len(model.components_),
                "explained_variance": round(float(model.explained_variance_ratio_.sum()), 6),
                "features_version": features.version(),
                "model": name,
                **moved,
            },
        )
        return name, model

    def _statistics(self, paths: Collection[str]) -> Statistics | None:
        """The statistics of some data files of features/, by Spark tasks; None without a row."""
        folder = f"{self._uri}features"
        parts = self._shares(sorted(paths)).mapPartitions(
            lambda share: [statistics_of(folder, share)]
        )
        total: Accumulator | None = None
        for part in parts.toLocalIterator():
            if part is not None:
                total = (total or Accumulator(len(part.mean))).merge(part)
        return total.statistics() if total else None

    # ------------------------------------------------------------------ the matrix

    def _mirror(
        self,
        features: DeltaTable,
        live: set[str],
        reduced: DeltaTable | None,
        name: str,
        model: PCA,
    ) -> int | None:
        """Make ``reduced/`` the projection of these features; None when it is already."""
        columns = schema.reduced(len(model.components_))
        if reduced is None:
            reduced = tables.create_table(f"{self._uri}reduced", columns, "")
        wanted = {f"{name}/{path}": path for path in live}
        present = tables.paths(reduced)
        if wanted.keys() == present and reduced.transaction_version(MIRRORS) == features.version():
            return None
        missing = [wanted[path] for path in sorted(wanted.keys() - present)]
        added = self._project(missing, name, model)
        tables.commit(
            reduced,
            columns,
            added,
            () if not wanted.keys() & present else present - wanted.keys(),
            # Only an overwrite may change the columns, and it removes whatever it does not add.
            overwrite=not wanted.keys() & present,
            metadata={"model": name, "features_version": features.version()},
            transactions={MIRRORS: features.version()},
        )
        return sum(file.rows for file in added)

    def _project(self, paths: Sequence[str], name: str, model: PCA) -> list[DataFile]:
        if not paths:
            return []
        source, target = f"{self._uri}features", f"{self._uri}reduced"
        shared = self._context.broadcast(model.to_bytes())
        try:
            jobs = self._shares(paths).mapPartitions(
                lambda share: projected(share, source, target, name, shared)
            )
            return jobs.collect()
        finally:
            shared.destroy()

    def _shares(self, paths: Sequence[str]) -> RDD[str]:
        count = min(len(paths), self._parallelism * max(1, math.isqrt(len(paths) // 64)))
        return self._context.parallelize(paths, max(1, count))

    def _put_csv(self, local: Path, table: DeltaTable) -> None:
        bucket, prefix = files.split(self._uri)
        about = {
            "reduced-version": str(table.version()),
            "features-version": str(table.transaction_version(MIRRORS)),
        }
        files.s3().upload_file(
            str(local),
            bucket,
            f"{prefix}reduced.csv",
            ExtraArgs={"ContentType": "text/csv; charset=utf-8", "Metadata": about},
        )


def statistics_of(folder: str, paths: Iterable[str]) -> Statistics | None:
    """Statistics of all features in some data files; None without any. Runs in a Spark task."""
    total: Accumulator | None = None
    for path in paths:
        for batch in files.batches(folder, path, ["features"], READ_ROWS):
            rows = _matrix(batch)
            total = total or Accumulator(rows.shape[1])
            total.add(rows)
    return total.statistics() if total else None


def projected(
    paths: Iterable[str], source: str, target: str, name: str, model: Broadcast[bytes]
) -> Iterator[DataFile]:
    """Write the counterpart of each data file. Runs in a Spark task."""
    fitted = PCA.from_bytes(model.value)
    columns = schema.reduced(len(fitted.components_))
    for path in paths:
        parts = []
        for batch in files.batches(source, path, ["key", "label", "features"], READ_ROWS):
            coordinates = fitted.project(_matrix(batch)).T
            axes = [pa.array(np.ascontiguousarray(axis)) for axis in coordinates]
            parts.append(pa.record_batch([batch["key"], batch["label"], *axes], schema=columns))
        yield files.write(target, pa.Table.from_batches(parts), path=f"{name}/{path}")


def _moved(model: PCA, previous: PCA) -> dict[str, str]:
    """How far a refit went, for the log and the model's record; see :class:`processor.pca.Drift`."""
    if len(model.mean_) != len(previous.mean_):
        return {}
    found = asdict(pca.drift(model, previous))
    return {f"drift_{name}": f"{value:.3g}" for name, value in found.items()}


def read_model(uri: str, name: str) -> PCA | None:
    """The PCA model ``name``; None when it is lost."""
    bucket, prefix = files.split(uri)
    try:
        answer = files.s3().get_object(Bucket=bucket, Key=f"{prefix}models/pca/{name}.npz")
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return None
        raise
    return PCA.from_bytes(answer["Body"].read())


def write_model(uri: str, name: str, model: PCA) -> None:
    """Keep a model; models are never changed once written."""
    bucket, prefix = files.split(uri)
    body = io.BytesIO(model.to_bytes())
    files.s3().put_object(Bucket=bucket, Key=f"{prefix}models/pca/{name}.npz", Body=body)


def _matrix(batch: pa.RecordBatch) -> np.ndarray:
    """The features of a batch as float32 (rows, columns), without a copy."""
    lists = batch["features"]
    flat = lists.flatten().to_numpy()
    if len(flat) % len(batch):
        raise ValueError(f"features of unequal length in a batch of {len(batch)} rows")
    return flat.reshape(len(batch), -1)
