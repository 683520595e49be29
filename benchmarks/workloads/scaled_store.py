"""A store of as many photos as wanted, and what each thing that the service does with it costs.

``python -m benchmarks.workloads.scaled_store STEP FOLDER WORK_DIR [NUMBER …]`` takes one step, each in a
process of its own, and prints a :class:`Step`. FOLDER is a local one and holds the store; the photos are
:mod:`.random_photos`, in a bucket that :mod:`.listed_photos` lists.
"""

import os
import resource
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
import psutil

from benchmarks.harness.opened import Opened
from benchmarks.harness.protocol import answer
from benchmarks.harness.settings import config_of
from benchmarks.workloads import random_photos
from benchmarks.workloads.drawn_features import MODEL
from benchmarks.workloads.listed_photos import BUCKET
from benchmarks.workloads.random_photos import FILE_ROWS, Drawn
from common.config import Pca
from common.layout import BucketLayout, StoreLayout
from ingest.events import ObjectEvent
from ingest.queue import Queue, connect
from processor.matrix.matrix import Matrix
from processor.matrix.refit_policy import RefitPolicy
from processor.pipeline.comparison import Scope
from processor.pipeline.feature_store import FeatureStore
from processor.pipeline.micro_batch import MicroBatches
from processor.pipeline.outcomes import Extracted, Kind, Outcome, Work
from processor.pipeline.reconciliation import Reconciliation
from processor.pipeline.retries import Retries
from processor.service.maintenance import Maintenance
from processor.service.preflight import find_queue
from processor.service.status import status
from processor.service.why import why
from processor.spark import session
from processor.spark.background import Background
from processor.spark.resources import cores
from processor.store import delta, key_digests
from processor.store.compaction import compact
from processor.store.delta import LOG
from processor.store.index_snapshot import IndexSnapshot
from processor.store.schema import FEATURES

BATCH = 2048  # photos of a micro-batch
COMMITTED = 32 * BATCH  # that a filled store has in one commit; then small files are merged
NEW_SHARE = 1 / 16  # of a large store's photos that are new when its files are merged
COMMITS = 20  # one of which writes a checkpoint of the log
LOOKUPS = 10
OVERWRITTEN = "0" * 32  # the version of photos with new content
GROWN = 8 * BATCH  # photos between two updates of the matrix while a store grows
DRIVER_MEMORY = "1g"

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Step:
    """``seconds`` of what is measured; ``rss``: this process's peak memory in bytes, with libraries."""

    seconds: float
    rss: int
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OnDisk(BucketLayout):
    """A bucket whose store lies in a local folder, because the embedded AWS has only memory."""

    folder: str = ""

    @property
    def store(self) -> StoreLayout:
        return StoreLayout(f"{self.folder}/")


class Threads:
    """Tasks that run in threads of this process."""

    def run(self, items: Sequence[T], work: Callable[[Iterable[T]], Iterable[R]]) -> list[R]:
        share = max(1, -(-len(items) // cores()))
        shares = [items[at : at + share] for at in range(0, len(items), share)]
        with ThreadPoolExecutor(cores()) as pool:
            return [each for some in pool.map(lambda s: list(work(s)), shares) for each in some]


class Clock:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    def step(self, **figures: float) -> Step:
        return Step(self.seconds(), peak_rss(), figures)

    def seconds(self) -> float:
        return time.perf_counter() - self._began


# ------------------------------------------------------------------ filling


def fill(layout: OnDisk, _work: Path, start: int, stop: int) -> Step:
    """Add the photos from ``start`` on, in fewer commits than the service would need, and merge files.

    The log has the bytes that it would have of micro-batches: all files, all keys' digests.
    """
    clock, drawn = Clock(), Drawn.of()
    folder = layout.store.features
    table = delta.create_table(folder, FEATURES, MODEL)
    merged = 0.0
    at = compacted = start
    while at < stop:
        add(table, drawn, range(at, min(at + COMMITTED, stop)))
        at = min(at + COMMITTED, stop)
        if at < stop and at - compacted < at * NEW_SHARE:
            continue
        began, compacted = time.perf_counter(), at
        while compact(folder, FEATURES, Threads()):
            table.refresh()
            table.vacuum(0)  # or the disk would hold all that was ever merged
        merged += time.perf_counter() - began
        print(f"{at:,}", file=sys.stderr, flush=True)
    return clock.step(compaction_s=merged)


def add(table: delta.Table, drawn: Drawn, numbers: range) -> None:
    """Commit these photos, in files as tasks write them."""
    with ThreadPoolExecutor(cores()) as pool:
        files = list(
            pool.map(lambda part: drawn.write(table.folder, part), random_photos.parts(numbers))
        )
    names = random_photos.keys(random_photos.ranks(numbers)).to_pylist()
    about = {"batch": 0, "photos": len(numbers), key_digests.KEYS: key_digests.encode(names)}
    table.commit(FEATURES, files, (), metadata=about)


# ------------------------------------------------------------------ starts


def start(layout: OnDisk, work: Path) -> Step:
    """Open the store with whatever ``work`` has of an index, as the service does at its start."""
    clock = Clock()
    store = FeatureStore.open(layout.store, MODEL, work)
    seconds = clock.seconds()
    rows = len(store.features)
    clock = Clock()
    store.close()
    closed, size = clock.seconds(), (work / "features.sqlite").stat().st_size
    return Step(seconds, peak_rss(), {"rows": rows, "close_s": closed, "index_bytes": size})


def snapshot(layout: OnDisk, work: Path) -> Step:
    """Write the index as the snapshot of the table."""
    clock = Clock()
    copy = work / "copy"
    shutil.copyfile(work / "features.sqlite", copy)
    IndexSnapshot(layout.store.features).write(copy)
    return clock.step()


# ------------------------------------------------------------------ micro-batches


class Uploads:
    """Micro-batches of one store, by the service's own code, with drawn features."""

    def __init__(self, layout: OnDisk, work: Path) -> None:
        self._layout = layout
        self._store = FeatureStore.open(layout.store, MODEL, work)
        self._batches = MicroBatches(self._store, layout, self._extract)
        self._drawn = Drawn.of(blocks=1)
        self._extracting = 0.0

    def put(self, numbers: Sequence[int], etag: str = "") -> float:
        """Seconds to make the photos durable, once they are computed; ``etag``: not their first."""
        places = random_photos.ranks(numbers)
        names, etags = random_photos.keys(places), random_photos.etags(places)
        events = [
            ObjectEvent(
                *(BUCKET, key, None, etag or first, 100_000),
                *("ObjectCreated:Put", datetime.now(UTC), None),
            )
            for key, first in zip(names.to_pylist(), etags.to_pylist(), strict=True)
        ]
        self._extracting = 0.0
        clock = Clock()
        done = self._batches.handle(events, 0)
        seconds = clock.seconds() - self._extracting
        if done.stored != len(events):
            raise SystemExit(f"{done.stored} of {len(events)} photos were stored")
        return seconds

    def version(self) -> int:
        return self._store.features.table_version

    def overwritten(self, numbers: Sequence[int]) -> int:
        """How many of them are."""
        names = random_photos.keys(random_photos.ranks(numbers)).to_pylist()
        found = self._store.features.find(names).values()
        return sum(each.object_version == OVERWRITTEN for each in found)

    def close(self) -> None:
        self._batches.close()

    def _extract(self, work: Sequence[Work]) -> list[Extracted]:
        clock = Clock()
        shares = (work[at : at + FILE_ROWS] for at in range(0, len(work), FILE_ROWS))
        results = [self._write(share) for share in shares]
        self._extracting += clock.seconds()
        return results

    def _write(self, work: Sequence[Work]) -> Extracted:
        names = [each.key for each in work]
        versions = [each.event_version or "" for each in work]
        labels = [self._layout.label_of(name) or "" for name in names]
        file = self._drawn.write_rows(self._layout.store.features, names, versions, labels)
        stored = zip(names, versions, strict=True)
        return Extracted(file, tuple(Outcome(key, Kind.STORED, version) for key, version in stored))


def commits(layout: OnDisk, work: Path, stored: int, small: int) -> Step:
    """COMMITS micro-batches of new photos, in turn with as many in a store of ``small`` photos.

    That one is ``small`` beside FOLDER.
    """
    there = OnDisk(BUCKET, folder=str(Path(layout.folder).with_name("small")))
    uploads, yardstick = Uploads(layout, work), Uploads(there, work / "yardstick")
    ours, theirs = [], []
    for turn in range(COMMITS):
        new = range(turn * BATCH, (turn + 1) * BATCH)
        ours.append(uploads.put(range(stored + new.start, stored + new.stop)))
        theirs.append(yardstick.put(range(small + new.start, small + new.stop)))
    rss = peak_rss()
    uploads.close()
    yardstick.close()
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return Step(
        statistics.median(ours),
        rss,
        {
            "over_small": statistics.median(ratios),
            "small_s": statistics.median(theirs),
            "most_s": max(ours),
            "photos": COMMITS * BATCH,
        },
    )


def overwrites(layout: OnDisk, work: Path, stored: int) -> Step:
    """A micro-batch of photos from anywhere that have new content; ``stale``: before it they had not."""
    uploads = Uploads(layout, work)
    random = np.random.default_rng(stored)
    chosen = random.choice(stored, min(BATCH, stored), replace=False).tolist()
    before, version = written_in(layout.store.features), uploads.version()
    stale = len(chosen) - uploads.overwritten(chosen)
    seconds = uploads.put(chosen, OVERWRITTEN)
    written = written_in(layout.store.features) - before
    taken = uploads.version() - version
    rss = peak_rss()
    uploads.close()
    return Step(seconds, rss, {"bytes": written, "commits": taken, "stale": stale})


# ------------------------------------------------------------------ questions


def ask_status(layout: OnDisk, _work: Path) -> Step:
    """What ``python -m processor status`` does; ``open_s``: of it, to open the features."""
    queue = config_of(os.environ).queue
    read, clock = bytes_read(), Clock()
    table = delta.open_table(layout.store.features)
    assert table is not None
    opened = {"open_s": clock.seconds(), "open_bytes": bytes_read() - read}
    read, clock = bytes_read(), Clock()
    found = status(layout.store, queue.name, queue.dead_letter_name)
    done = clock.step(bytes=bytes_read() - read, photos=found["photos"], **opened)
    entries = [*Path(layout.store.features, LOG).iterdir()]
    newest = max((each for each in entries if each.suffix == ".parquet"), default=None)
    return Step(
        done.seconds,
        done.rss,
        {
            **done.figures,
            "files": found["features"]["files"],
            "version": table.table_version,
            "log_bytes": sum(each.stat().st_size for each in entries),
            "checkpoint_bytes": newest.stat().st_size if newest else 0,
        },
    )


def ask_why(layout: OnDisk, _work: Path, stored: int) -> Step:
    """What ``python -m processor why`` does, for some photos; data files that it opens in all tables."""
    queue = config_of(os.environ).queue.dead_letter_name
    chosen = np.random.default_rng(2).choice(stored, LOOKUPS, replace=False).tolist()
    tables = [
        folder
        for folder in Path(layout.folder).rglob("*")
        if folder.is_dir() and not {"_delta_log", "_index"} & set(folder.parts)
    ]
    seconds, files, read = [], [], []
    with Opened(tables) as opened:
        for key in random_photos.keys(random_photos.ranks(chosen)).to_pylist():
            opened.names()
            before, clock = bytes_read(), Clock()
            known = why(layout, key, queue)
            seconds.append(clock.seconds())
            read.append(bytes_read() - before)
            files.append(sum(name.endswith(".parquet") for name in opened.names()))
            if known["features"] is None or known["reduced"] is None:
                raise SystemExit(f"{key} was not found")
    return Step(
        statistics.median(seconds),
        peak_rss(),
        {
            "files": statistics.mean(files),
            "most_files": max(files),
            "bytes": statistics.median(read),
        },
    )


def reconcile(layout: OnDisk, work: Path, stored: int) -> Step:
    """What ``python -m processor reconcile`` does."""
    config = config_of(os.environ)
    queue = Queue(connect(1), find_queue(config.queue.name, "queue.name"))
    clock, used = Clock(), time.process_time()
    scope = Scope(prefix=layout.photos_prefix)
    done = Reconciliation(layout, work, queue.send_all).run(scope)
    cpu = time.process_time() - used
    return clock.step(found=done.found, objects=done.objects, cpu_s=cpu, stored=stored)


# ------------------------------------------------------------------ the matrix


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
    settings = Pca().model_dump(exclude={"csv"}) | {"least_pause": 0.0}
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


# ------------------------------------------------------------------ measuring


def written_in(folder: str) -> int:
    """Bytes of all files there."""
    return sum(each.stat().st_size for each in Path(folder).rglob("*") if each.is_file())


def bytes_read() -> int:
    """By this process so far, of files and connections, whether cached or not."""
    return int(psutil.Process().io_counters().read_chars)


def peak_rss() -> int:
    """Of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


STEPS: dict[str, Callable[..., Step]] = {
    "fill": fill,
    "start": start,
    "snapshot": snapshot,
    "commits": commits,
    "overwrites": overwrites,
    "status": ask_status,
    "why": ask_why,
    "reconcile": reconcile,
    "matrix": matrix,
    "grow": grow,
}


def main(step: str, folder: str, work: str, *numbers: str) -> None:
    Path(work).mkdir(parents=True, exist_ok=True)
    answer(STEPS[step](OnDisk(BUCKET, folder=folder), Path(work), *map(int, numbers)))


if __name__ == "__main__":
    main(*sys.argv[1:])
