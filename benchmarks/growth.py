"""Bytes that refits, mirroring and the CSV write while a store grows, over those of the final matrix.

A simulation, by the rules of the service (see benchmarks/workloads/filling.py), beside refits in equal
steps. Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.harness import command
from benchmarks.harness.command import Result, whole
from benchmarks.workloads import drawn_features, filling
from benchmarks.workloads.filling import Check, Load, Rule, Written
from common.config import Pca
from processor.matrix import pca, tasks
from processor.matrix.moments import Statistics
from processor.matrix.refit_policy import RefitPolicy
from processor.store import datafiles, schema

BEFORE = (10_000, 0.1, 3600.0)  # the peer's steps: photos, share, seconds
FILES = 2  # of a micro-batch
MEASURED_ROWS = drawn_features.FILE_ROWS


@dataclass(frozen=True, slots=True)
class RowBytes:
    """Bytes of one row in features/, reduced/ and reduced.csv, and of the statistics as a whole."""

    features: float
    reduced: float
    csv: float
    statistics: int

    def ratio(self, written: Written) -> float:
        """All that was written, over the final matrix and its CSV."""
        fits = written.refits + written.checks
        total = written.rows * self.reduced + written.refitted * self.csv + fits * self.statistics
        return total / (written.photos * (self.reduced + self.csv))


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate and print."""
    return command.run(_parser(), _bench, arguments)


def _bench(options: argparse.Namespace, scratch: Path) -> Result:
    pca_settings = Pca()  # the defaults of config.toml
    policy = RefitPolicy(
        **pca_settings.model_dump(exclude={"csv", "report"}) | {"components": options.components}
    )
    row_bytes = _row_bytes(scratch, options.components)
    print(
        f"bytes a row: {row_bytes.features:.0f} of features/, {row_bytes.reduced:.0f} of reduced/, "
        f"{row_bytes.csv:.0f} of reduced.csv; statistics: {row_bytes.statistics / 1e6:.2f} MB"
    )
    print(f"{'photos':>12}{'photos/s':>10}{'refits':>8}{'checks':>8}{'matrix':>9}{'all':>9}")
    runs = []
    for photos in options.photos:
        for per_s in options.rates:
            load = Load(photos, per_s, FILES, round(row_bytes.features))
            ours = _run(load, filling.by_need(policy), row_bytes)
            peer = _run(load, filling.in_equal_steps(*BEFORE), row_bytes)
            runs.append({"photos": photos, "photos_per_s": per_s, "ours": ours, "peer": peer})
            for name, each in (("by need", ours), ("equal steps", peer)):
                print(
                    f"{photos:>12,}{per_s:>10,}{each['refits']:>8.0f}{each['checks']:>8.0f}"
                    f"{each['matrix_over_final']:>9.2f}{each['bytes_over_final']:>9.2f}  {name}"
                )
    worst = {
        key: max(run["ours"][key] for run in runs)
        for key in ("bytes_over_final", "matrix_over_final")
    }
    return {
        "refit_bytes_over_final": worst["bytes_over_final"],
        "matrix_over_final": worst["matrix_over_final"],
        "equal_steps_bytes_over_final": max(run["peer"]["bytes_over_final"] for run in runs),
        "components": options.components,
        "row_bytes": asdict(row_bytes),
        "runs": runs,
    }


def _run(load: Load, rules: tuple[Rule, Check], row_bytes: RowBytes) -> dict[str, float]:
    """The worst moment of the last doubling, which is right after a refit."""
    course = filling.filled(load, rules)
    late = [each for each in course if 2 * each.photos >= load.photos]
    return {
        "refits": course[-1].refits,
        "checks": course[-1].checks,
        "matrix_over_final": round(max(each.rows / each.photos for each in late), 2),
        "bytes_over_final": round(max(map(row_bytes.ratio, late)), 2),
    }


def _row_bytes(scratch: Path, components: int) -> RowBytes:
    """Measured on files that the service's own tasks write."""
    (block,) = drawn_features.drawn(MEASURED_ROWS)
    features, reduced, csv = (str(scratch / name) for name in ("features", "reduced", "csv"))
    written = datafiles.write(features, drawn_features.table(block, "0-00000"))
    statistics = Statistics.of(block)
    model = pca.fit(statistics, components)
    (projected,) = tasks.project([written.path], features, reduced, "model", model, new=False)
    columns = schema.reduced(components)
    tasks.write_csv([projected.file.path], reduced, columns, csv, {})
    return RowBytes(
        features=written.size / MEASURED_ROWS,
        reduced=projected.file.size / MEASURED_ROWS,
        csv=Path(csv).stat().st_size / MEASURED_ROWS,
        statistics=len(statistics.to_bytes()) + len(model.to_bytes()),
    )


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("growth", __doc__)
    parser.add_argument(
        "--photos",
        type=whole(1000),
        nargs="+",
        default=[1_000_000, 10_000_000],
        metavar="N",
        help="sizes to grow to (default: 1 and 10 million)",
    )
    parser.add_argument(
        "--rates",
        type=whole(1),
        nargs="+",
        default=[30, 1000],
        metavar="R",
        help="photos a second (default: 30 1000)",
    )
    command.add_components(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
