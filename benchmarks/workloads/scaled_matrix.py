"""What the matrix of a :mod:`.disk_store` costs, by Spark tasks as in the service."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness.step import Clock, Step
from benchmarks.harness.usage import peak_rss
from benchmarks.workloads.disk_store import BATCH, COMMITTED, OnDisk, add, written_in
from benchmarks.workloads.drawn_features import MODEL
from benchmarks.workloads.random_photos import Drawn
from common.config import Pca
from common.layout import StoreLayout
from processor.matrix.matrix import Matrix
from processor.matrix.refit_policy import RefitPolicy
from processor.pipeline.retries import Retries
from processor.service.maintenance import Maintenance
from processor.spark import session
from processor.spark.background import Background
from processor.spark.resources import cores
from processor.store import delta
from processor.store.schema import FEATURES

GROWN = 8 * BATCH  # photos between two updates of the matrix while a store grows
DRIVER_MEMORY = "1g"


def matrix(layout: OnDisk, _work: Path, stored: int) -> Step:
    """Refits, the CSV, new photos projected, and small files merged, all by Spark tasks."""
    folder = layout.store.features
    with _background() as background:
        matrix = Matrix(layout.store, RefitPolicy(components=Pca().components), background)
        maintenance = _maintenance(layout, matrix, background)
        Path(layout.store.statistics).unlink(missing_ok=True)
        clock = Clock()
        full = matrix.update(force=True)
        full_s = clock.seconds()
        clock = Clock()
        matrix.export()
        csv_s = clock.seconds()
        csv_bytes = Path(layout.store.reduced_csv).stat().st_size
        Path(layout.store.reduced_csv).unlink()  # the next refits need the room
        _vacuum(layout.store.reduced)
        table = delta.create_table(folder, FEATURES, MODEL)
        add(table, Drawn.of(blocks=1), range(stored, stored + BATCH))
        clock = Clock()
        new = matrix.update()
        new_s = clock.seconds()
        clock = Clock()
        more = matrix.update(force=True)
        more_s = clock.seconds()
        _vacuum(layout.store.reduced)
        before, clock = written_in(folder), Clock()
        merged = maintenance.compact(folder, FEATURES)
        compaction_s = clock.seconds()
        if not full or not new or not more or new.projected != BATCH:
            raise SystemExit("the matrix was not brought up to date")
        rss = peak_rss()
        figures = {
            "fit_s": full.fit_seconds,
            "csv_s": csv_s,
            "csv_bytes": csv_bytes,
            "new_s": new_s,
            "more_s": more_s,
            "more_fit_s": more.fit_seconds,
            "compaction_s": compaction_s,
            "compaction_files": merged,
            "compaction_bytes": written_in(folder) - before,
            "photos": BATCH,
        }
        matrix.update()
        _vacuum(folder)
        _vacuum(layout.store.reduced)
        return Step(full_s, rss, figures)


def grow(layout: OnDisk, _work: Path, photos: int) -> Step:
    """From nothing to so many photos: what the matrix has written on the way, over what is left.

    With the service's own settings, but for the pause after a refit: photos come faster than ever.
    """
    settings = Pca().model_dump(exclude={"csv", "report"}) | {"least_pause": 0.0}
    worst, turns = 0.0, 0
    written, clock = Written(layout.store), Clock()
    with _background() as background:
        matrix = Matrix(layout.store, RefitPolicy(**settings), background)
        maintenance = _maintenance(layout, matrix, background)
        table, drawn = delta.create_table(layout.store.features, FEATURES, MODEL), Drawn.of()
        for turns, at in enumerate(range(0, photos, GROWN), start=1):
            add(table, drawn, range(at, min(at + GROWN, photos)))
            if turns * GROWN % COMMITTED == 0:
                while maintenance.compact(layout.store.features, FEATURES):
                    pass
                table.refresh()
            update = matrix.update()
            written.note()
            matrix.export()
            written.note()
            if 2 * table.rows >= photos:
                worst = max(worst, written.over_final(table.rows))
            refit = f": {update.refit}" if update and update.refit else ""
            print(f"{table.rows:,} photos{refit}", file=sys.stderr, flush=True)
        live = delta.open_table(layout.store.reduced)
        assert live is not None
        if live.rows != photos:
            raise SystemExit(f"the matrix has {live.rows} rows of {photos}")
    return clock.step(
        over_final=worst,
        refits=len([*Path(layout.store.pca_models).iterdir()]),
        reduced_bytes=written_in(layout.store.reduced),
        csv_bytes=written.csv,
        statistics_bytes=written.statistics,
    )


class Written:
    """What the matrix has written so far; whoever uses it may not have the matrix vacuumed."""

    def __init__(self, store: StoreLayout) -> None:
        self._store = store
        self._seen = {Path(store.reduced_csv): 0, Path(store.statistics): 0}
        self.csv = self.statistics = 0
        self._csv_row = 0.0

    def note(self) -> None:
        """Count the files that were replaced since the last call."""
        csv, statistics_cache = self._seen
        if size := self._replaced(csv):
            table = delta.open_table(self._store.reduced)
            self._csv_row = size / (table.rows if table else 1)
        self.csv += size
        self.statistics += self._replaced(statistics_cache)

    def over_final(self, photos: int) -> float:
        """Over the bytes of the matrix as it is, and of a CSV of it."""
        table = delta.open_table(self._store.reduced)
        live = sum(table.sizes().values()) if table else 0
        all_ = written_in(self._store.reduced) + written_in(self._store.pca_models)
        return (all_ + self.csv + self.statistics) / (live + photos * self._csv_row)

    def _replaced(self, file: Path) -> int:
        if not file.exists() or file.stat().st_mtime_ns == self._seen[file]:
            return 0
        self._seen[file] = file.stat().st_mtime_ns
        return file.stat().st_size


@contextmanager
def _background() -> Iterator[Background]:
    with TemporaryDirectory(prefix="bench-scale-") as scratch:
        spark = session.start("", DRIVER_MEMORY, Path(scratch))
        yield Background(spark.sparkContext, cores)
        spark.stop()


def _maintenance(layout: OnDisk, matrix: Matrix, background: Background) -> Maintenance:
    retries = Retries(layout, lambda _bodies: None)
    return Maintenance(
        layout.store, matrix, background, retries, interval_seconds=0, retention_hours=0
    )


def _vacuum(folder: str) -> None:
    table = delta.open_table(folder)
    if table:
        table.vacuum(0)
