"""Seconds of a refit without cached statistics, and of one after 1 % more rows, which reads only these.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.harness import command
from benchmarks.harness.command import Result, whole
from benchmarks.workloads import drawn_features, refits
from common.layout import StoreLayout
from processor.matrix.pca import PCA


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 only when every refit succeeded."""
    return command.run(_parser(), _bench, arguments)


def _bench(options: argparse.Namespace, scratch: Path) -> Result:
    store = f"{scratch}/"
    print(f"drawing {options.rows:,} rows of {drawn_features.COLUMNS} columns", flush=True)
    drawn_features.append(StoreLayout(store).features, options.rows)
    measured, rss = refits.run(store, options.components, options.rows // 100, options.repeats)
    full, more = refits.median(measured.full), refits.median(measured.more)
    print(f"{'':<10}{'fit':>8}{'table':>8}{'CSV':>8}   seconds, medians of {options.repeats}")
    for label, each in (("all rows", full), ("+1 %", more)):
        print(f"{label:<10}{each.fit:>8.3f}{each.table:>8.3f}{each.csv:>8.3f}")
    figures = {
        "full_fit_s": full.fit,
        "full_table_s": full.table,
        "more_fit_s": more.fit,
        "more_table_s": more.table,
        "csv_s": full.csv,
        "incremental_over_full": more.fit / full.fit,
        "refit_rewrite_over_full": more.table / full.table,
        "largest_movement": _largest_movement(store),
        "peak_rss_mb": rss / 1e6,
    }
    print(
        f"fit: {figures['incremental_over_full']:.1%} of a full one; with the rewritten table: "
        f"{figures['refit_rewrite_over_full']:.1%}; old coordinates moved by "
        f"{figures['largest_movement']:.2%} at most (RMS)"
    )
    runs = {"full": measured.full, "more": measured.more}
    return {
        "rows": options.rows,
        "components": options.components,
        **{name: float(f"{value:.4g}") for name, value in figures.items()},
        "runs": {
            f"{name}_{part}": [round(asdict(each)[part], 4) for each in of_name]
            for name, of_name in runs.items()
            for part in ("fit", "table", "csv")
        },
    }


def _largest_movement(store: str) -> float:
    """Of all refits that found more rows; see :class:`processor.matrix.pca.Drift`."""
    models = (
        PCA.from_bytes(path.read_bytes()) for path in Path(StoreLayout(store).pca_models).iterdir()
    )
    return max(float(model.about.get("drift_movement", 0)) for model in models)


def _parser() -> argparse.ArgumentParser:
    epilog = (
        "Needs 5 GB of free space a million rows in the temporary directory (TMPDIR); one in "
        "memory (/dev/shm) keeps the disk out of the figures."
    )
    parser = command.parser("refit", __doc__, epilog)
    parser.add_argument(
        "--rows", type=whole(1000), default=1_000_000, metavar="N", help="default: %(default)s"
    )
    command.add_components(parser)
    command.add_repeats(parser, 5)
    return parser


if __name__ == "__main__":
    sys.exit(main())
