"""Seconds of a refit that knows nothing and of one after 1 % more rows, whose fit reads only these.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import command as _command
from benchmarks.harness.command import whole
from benchmarks.workloads import drawn_features as _features
from benchmarks.workloads import refits as _refits
from processor.matrix.pca import PCA


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 only when every refit went through."""
    return _command.run(_parser(), _bench, arguments)


def _bench(asked: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    store = f"{scratch}/"
    print(f"drawing {asked.rows:,} rows of {_features.COLUMNS} columns", flush=True)
    _features.append(f"{store}features", asked.rows)
    told, rss = _refits.run(store, asked.components, asked.rows // 100, asked.repeats)
    median = {
        (name, part): statistics.median(each[part] for each in told[name])
        for name in ("full", "more")
        for part in ("fit", "table", "csv")
    }
    print(f"{'':<10}{'fit':>8}{'table':>8}{'CSV':>8}   seconds, medians of {asked.repeats}")
    for name, said in (("full", "all rows"), ("more", "+1 %")):
        fit, table, csv = (median[name, part] for part in ("fit", "table", "csv"))
        print(f"{said:<10}{fit:>8.3f}{table:>8.3f}{csv:>8.3f}")
    found = {
        "full_fit_s": median["full", "fit"],
        "full_table_s": median["full", "table"],
        "more_fit_s": median["more", "fit"],
        "more_table_s": median["more", "table"],
        "csv_s": median["full", "csv"],
        "incremental_over_full": median["more", "fit"] / median["full", "fit"],
        "refit_rewrite_over_full": median["more", "table"] / median["full", "table"],
        "largest_movement": _largest_movement(store),
        "peak_rss_mb": rss / 1e6,
    }
    print(
        f"fit: {found['incremental_over_full']:.1%} of a full one; with the rewritten table: "
        f"{found['refit_rewrite_over_full']:.1%}; old coordinates moved by "
        f"{found['largest_movement']:.2%} at most (RMS)"
    )
    runs = {
        f"{name}_{part}": [round(each[part], 4) for each in told[name]]
        for name in ("full", "more")
        for part in ("fit", "table", "csv")
    }
    return {
        "rows": asked.rows,
        "components": asked.components,
        **{name: float(f"{value:.4g}") for name, value in found.items()},
        "runs": runs,
    }


def _largest_movement(store: str) -> float:
    """Of all refits that found more rows; see :class:`processor.matrix.pca.Drift`."""
    models = (PCA.from_bytes(path.read_bytes()) for path in Path(store, "models/pca").iterdir())
    return max(float(model.about.get("drift_movement", 0)) for model in models)


def _parser() -> argparse.ArgumentParser:
    epilog = (
        "Needs 5 GB of free space a million rows in the temporary directory (TMPDIR); one in "
        "memory (/dev/shm) keeps the disk out of the figures."
    )
    parser = _command.parser("refit", __doc__, epilog)
    parser.add_argument(
        "--rows", type=whole(1000), default=1_000_000, metavar="N", help="default: %(default)s"
    )
    parser.add_argument(
        "--components", type=whole(1), default=64, metavar="K", help="default: %(default)s"
    )
    _command.add_repeats(parser, 5)
    return parser


if __name__ == "__main__":
    sys.exit(main())
