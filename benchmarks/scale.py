"""What each thing that the service does costs at ten thousand, a million and ten million photos.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

from benchmarks.harness import command
from benchmarks.harness.blas import THREADS
from benchmarks.harness.child import Child, output_of, parse
from benchmarks.harness.command import Result, whole, wholes
from benchmarks.harness.errors import BenchError
from benchmarks.harness.step import Step
from benchmarks.workloads import indexing
from benchmarks.workloads.listed_photos import BUCKET, PHOTOS, ListedAws
from processor.store.index_snapshot import LEAST_ROWS

PROCESS = "benchmarks.workloads.scaled_store"
SECONDS = 4 * 3600
# Of the disk, a photo, at the worst moment: its features twice (overwrites rewrite most data files), the
# matrix twice, the CSV, the index twice and its snapshot.
PHOTO_BYTES = 4600
ADDED = 50_000  # more than the steps at one size add: 21 micro-batches
UNSTORED = 100  # photos that the bucket lists and the store lacks, which a reconciliation must find

Level = dict[str, Step]  # by the name of the step


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: a figure of a step, a number to divide it by, digits after the point."""

    name: str
    step: str
    figure: str
    unit: float = 1.0
    digits: int = 0

    def of(self, level: Level) -> float | None:
        """None where the step was not taken."""
        step = level.get(self.step)
        return None if step is None else _figure(step, self.figure) / self.unit


TABLE = (
    Row("data files in `features/`", "status", "files"),
    Row("fill with compaction, s", "fill", "seconds", digits=1),
    Row("start without an index, s", "start", "seconds", digits=2),
    Row("… memory, MB", "start", "rss", 1e6),
    Row("… index, MB", "start", "index_bytes", 1e6, 1),
    Row("start from the index's snapshot, s", "restored", "seconds", digits=2),
    Row("start with the index kept, s", "kept", "seconds", digits=2),
    Row("micro-batch of 2,048 new photos, ms", "commits", "seconds", 1e-3),
    Row("… over a store of the first size, in turn", "commits", "over_small", digits=2),
    Row("… the slowest, ms", "commits", "most_s", 1e-3),
    Row("… driver's memory, MB", "commits", "rss", 1e6),
    Row("2,048 overwrites anywhere, s", "overwrites", "seconds", digits=1),
    Row("… written, MB", "overwrites", "bytes", 1e6),
    Row("… in commits", "overwrites", "commits"),
    Row("`status`, s", "status", "seconds", digits=2),
    Row("… to open `features/`, ms", "status", "open_s", 1e-3),
    Row("… reads, MB", "status", "bytes", 1e6, 2),
    Row("… memory, MB", "status", "rss", 1e6),
    Row("`why`, s", "why", "seconds", digits=2),
    Row("… data files opened", "why", "files", digits=1),
    Row("… data files opened, at most", "why", "most_files"),
    Row("… reads, MB", "why", "bytes", 1e6, 2),
    Row("… memory, MB", "why", "rss", 1e6),
    Row("`reconcile`, s", "reconcile", "seconds", digits=1),
    Row("… memory, MB", "reconcile", "rss", 1e6),
    Row("refit of everything, s", "matrix", "seconds", digits=1),
    Row("… of it, the fit", "matrix", "fit_s", digits=1),
    Row("refit after one more micro-batch, s", "matrix", "more_s", digits=1),
    Row("… of it, the fit", "matrix", "more_fit_s", digits=2),
    Row("a new micro-batch projected, s", "matrix", "new_s", digits=2),
    Row("`reduced.csv`, s", "matrix", "csv_s", digits=1),
    Row("… MB", "matrix", "csv_bytes", 1e6),
    Row("compaction after 21 micro-batches, s", "matrix", "compaction_s", digits=2),
    Row("… written, MB", "matrix", "compaction_bytes", 1e6),
    Row("memory of the refits' driver, MB", "matrix", "rss", 1e6),
    Row("… with JVM and workers, MB", "matrix", "all_rss", 1e6),
    Row("log of `features/`, MB", "status", "log_bytes", 1e6, 1),
    Row("… its newest checkpoint, kB", "status", "checkpoint_bytes", 1e3),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 only when every step succeeded."""
    return command.run(_parser(), _bench, arguments)


def _bench(options: argparse.Namespace, scratch: Path) -> Result:
    sizes = sorted(options.rows)
    if any(after - before < ADDED for before, after in pairwise(sizes)):
        raise BenchError(f"--rows: each size must be {ADDED:,} photos above the one before")
    if options.folder and not options.folder.is_dir():
        raise BenchError(f"--folder: there is no folder {options.folder}")
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder or scratch) as folder:
        here = Path(folder)
        _check_room(here, max(sizes[-1], options.grow_rows), options.index_rows)
        grown = _grown(here, options.grow_rows)
        store, levels, stored = Store(here), {}, 0
        for rows in sizes:
            levels[rows] = store.level(rows, stored, sizes[0], rows <= options.reconcile_rows)
            stored = store.stored
        shutil.rmtree(here)
        here.mkdir()
        index = _index(here, options.index_rows) if options.index_rows else None
    print("\n".join(table(levels)))
    return _result(levels, grown, index)


class Store:
    """One store, which grows from level to level. Every step is a process of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._work = folder / "work"
        self.stored = self._stale = 0  # photos; those of another version than the bucket lists

    def level(self, rows: int, start: int, small: int, reconciled: bool) -> Level:  # noqa: FBT001
        """Fill it up to ``rows`` and take all steps there."""
        shutil.rmtree(self._work, ignore_errors=True)  # of the size before
        found = {"fill": self._step("fill", start, rows), "start": self._step("start")}
        if rows >= LEAST_ROWS:
            self._step("snapshot")
            found["restored"] = self._step("start", work="restored")
            shutil.rmtree(self._folder / "restored")
        found["kept"] = self._step("start")
        step("fill", self._folder / "small", self._work, 0, small)
        found["commits"] = commits = self._step("commits", rows, small)
        shutil.rmtree(self._folder / "small")
        self.stored = rows + round(commits.figures["photos"])
        found["matrix"] = matrix = self._step("matrix", self.stored)
        self.stored += round(matrix.figures["photos"])
        os.environ[PHOTOS] = str(self.stored + UNSTORED)
        with ListedAws() as aws:
            stack = {"FRUITS_STORAGE__BUCKET": BUCKET, "FRUITS_INSTANCE__TYPE": ""}
            here = aws.over({**os.environ, **stack})
            output_of("infra_scripts", "deploy", environment=here)
            found["status"] = self._step("status", environment=here)
            found["why"] = self._step("why", self.stored, environment=here)
            if reconciled:
                found["reconcile"] = done = self._step("reconcile", self.stored, environment=here)
                if done.figures["found"] != UNSTORED + self._stale:
                    expected = f"{UNSTORED} missing and {self._stale} stale photos"
                    raise BenchError(f"{done.figures['found']:.0f} were found of {expected}")
        found["overwrites"] = overwrites = self._step("overwrites", rows)
        self._stale += round(overwrites.figures["stale"])
        return found

    def _step(
        self,
        name: str,
        *numbers: int,
        work: str = "work",
        environment: Mapping[str, str] | None = None,
    ) -> Step:
        return step(name, self._folder / "store", self._folder / work, *numbers, over=environment)


def step(
    name: str, store: Path, work: Path, *numbers: int, over: Mapping[str, str] | None = None
) -> Step:
    """Take a step, and print how long it took. Raises :class:`BenchError` if it failed."""
    began = time.monotonic()
    environment = {THREADS: "1", **(os.environ if over is None else over)}
    arguments = [name, str(store), str(work), *map(str, numbers)]
    with Child(PROCESS, arguments, environment, store.with_name("out")) as child:
        child.finish(SECONDS)
        done = child.result(Step)
        done.figures["all_rss"] = child.usage.peak_rss_bytes
        done.figures["all_cpu_s"] = cpu = child.usage.cpu_seconds()
    spent = time.monotonic() - began
    sizes = " ".join(f"{n:,}" for n in numbers)
    print(f"{name:>12} {sizes:<24}{spent:>8.1f} s  CPU {cpu:>7.1f} s", flush=True)
    return done


def table(levels: Mapping[int, Level]) -> list[str]:
    """The figures in Markdown; the last column is the last size over the one before."""
    sizes = sorted(levels)
    head = [f"{rows:,}" for rows in sizes]
    last = [f"{command.short(sizes[-1])} over {command.short(sizes[-2])}"] if len(sizes) > 1 else []
    lines = [_line(["photos", *head, *last]), _line(["---"] * (1 + len(head) + len(last)))]
    for row in TABLE:
        values = [row.of(levels[rows]) for rows in sizes]
        cells = ["" if value is None else f"{value:,.{row.digits}f}" for value in values]
        if last:
            *_, before, now = values
            cells.append(f"{now / before:.2f}" if before and now is not None else "")
        lines.append(_line([row.name, *cells]))
    return lines


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _figure(step: Step, name: str) -> float:
    return float(getattr(step, name)) if name in ("seconds", "rss") else step.figures[name]


def _result(levels: Mapping[int, Level], grown: Step | None, index: indexing.Run | None) -> Result:
    sizes = sorted(levels)
    first, largest = command.short(sizes[0]), levels[sizes[-1]]["start"]
    indexed, seconds = (index.rows, index.seconds) if index else (sizes[-1], largest.seconds)
    result: Result = {
        "index_rows": indexed,
        "index_rows_per_s": round(indexed / seconds),
        "index_peak_mb": round((index.rss if index else largest.rss) / 1e6),
        "refit_bytes_over_final": round(grown.figures["over_final"], 2) if grown else None,
    }
    for rows, level in levels.items():
        at = command.short(rows)
        restored = level.get("restored")
        result |= {
            f"start_s_{at}": round(level["start"].seconds, 2),
            f"start_restored_s_{at}": round(restored.seconds, 2) if restored else None,
            f"start_kept_s_{at}": round(level["kept"].seconds, 2),
            f"commit_{at}_ms": round(1000 * level["commits"].seconds, 1),
            f"commit_{at}_over_{first}": round(level["commits"].figures["over_small"], 3),
            f"why_files_{at}": round(level["why"].figures["files"], 1),
            f"why_mb_{at}": round(level["why"].figures["bytes"] / 1e6, 2),
            f"overwrite_mb_{at}": round(level["overwrites"].figures["bytes"] / 1e6),
            f"refit_s_{at}": round(level["matrix"].seconds, 1),
            f"driver_rss_{at}_mb": round(level["commits"].rss / 1e6),
        }
    runs = {
        command.short(rows): {name: asdict(each) for name, each in levels[rows].items()}
        for rows in sizes
    }
    return {**result, "runs": runs, "grown": asdict(grown) if grown else None}


def _grown(here: Path, rows: int) -> Step | None:
    """A store that grows with its matrix, by the service's own code; deleted afterwards."""
    if not rows:
        return None
    done = step("grow", here / "grown", here / "work", rows)
    shutil.rmtree(here / "grown")
    print(
        f"{'':12} the matrix has written {done.figures['over_final']:.2f} times what is left, "
        f"in {done.figures['refits']:.0f} refits"
    )
    return done


def _index(here: Path, rows: int) -> indexing.Run:
    """The index of so many keys alone."""
    process, folder = "benchmarks.workloads.indexing", str(here / "keys")
    output_of(process, "fill", folder, str(rows))
    run = parse(indexing.Run, output_of(process, "index", folder, f"{here}/index.sqlite"), process)
    print(
        f"{'index':>12} {rows:<24,}{run.seconds:>8.1f} s, {rows / run.seconds:,.0f} rows/s, "
        f"{run.rss / 1e6:.0f} MB, on the disk {run.bytes / 1e6:,.0f} MB"
    )
    return run


def _check_room(folder: Path, rows: int, index_rows: int) -> None:
    free = shutil.disk_usage(folder).free
    need = max(rows * PHOTO_BYTES, index_rows * 400) + (1 << 28)
    if free < need:
        raise BenchError(
            f"{folder.parent} has {free / 1e9:,.1f} GB free, and {need / 1e9:,.1f} GB are needed: name "
            "a larger disk with --folder, or fewer photos with --rows"
        )


def _parser() -> argparse.ArgumentParser:
    epilog = "Needs 4.6 GB of disk a million photos: 46 GB for ten million."
    parser = command.parser("scale", __doc__, epilog)
    at_least: Callable[[str], int] = whole(0)
    parser.add_argument(
        "--rows",
        type=wholes(4096),
        default="10000,1000000,10000000",
        metavar="N,…",
        help=f"numbers of photos at which to measure, each at least {ADDED:,} above the one before "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        metavar="DIR",
        help="where the store lies (default: the folder for temporary files); a folder is made in it, "
        "and removed at the end",
    )
    parser.add_argument(
        "--grow-rows",
        type=at_least,
        default=1_000_000,
        metavar="N",
        help="photos up to which a store grows together with its matrix; 0: none (default: %(default)s)",
    )
    parser.add_argument(
        "--reconcile-rows",
        type=at_least,
        default=1_000_000,
        metavar="N",
        help="the largest number of photos at which to reconcile (default: %(default)s)",
    )
    parser.add_argument(
        "--index-rows",
        type=at_least,
        default=0,
        metavar="N",
        help="make the index of so many keys alone, too, such as 100000000: a quarter of an hour, 40 GB",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
