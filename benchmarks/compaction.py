"""What looking up and overwriting photos costs where compaction orders rows by key, and where not.

Definitions and how to read the figures: benchmarks/README.md.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.harness import command
from benchmarks.harness.child import Child, parse
from benchmarks.harness.command import Result, wholes
from benchmarks.workloads.overwritten_store import Level

SECONDS = 3 * 3600
PROCESS = "benchmarks.workloads.overwritten_store"
COMPACTIONS = {"": "benchmarks.workloads.compact", "_by_size": "benchmarks.peers.size_tiers"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 only when every photo was found and overwritten."""
    return command.run(_parser(), _bench, arguments)


def _bench(options: argparse.Namespace, scratch: Path) -> Result:
    print(
        f"{'compaction':<12}{'rows':>11}{'files':>7}{'merged':>8}{'memory':>8}{'why: files':>12}"
        f"{'most':>6}{'MB':>8}{'2,048 anywhere: files':>23}{'MB':>8}{'commits':>9}{'s':>7}"
        f"{'together: files':>17}{'MB':>8}"
    )
    result: Result = {}
    runs = {}
    for suffix, compaction in COMPACTIONS.items():
        folder, output = scratch / "store", scratch / "out"
        arguments = [str(folder), compaction, *map(str, sorted(options.rows))]
        with Child(PROCESS, arguments, os.environ, output) as child:
            child.finish(SECONDS)
        shutil.rmtree(folder)
        for line in output.read_text(encoding="utf-8").splitlines():
            level = parse(Level, line, PROCESS)
            _print(suffix or "by key", level)
            short = command.short(level.rows)
            result |= {f"{name}{suffix}_{short}": value for name, value in _figures(level).items()}
            runs[f"{suffix.strip('_') or 'by_key'}_{short}"] = asdict(level)
    return {**result, "runs": runs}


def _figures(level: Level) -> dict[str, float]:
    return {
        "why_files": round(level.why_files, 2),
        "why_files_max": level.why_files_max,
        "why_bytes": round(level.why_bytes),
        "overwrite_bytes": level.scattered.bytes,
        "overwrite_s": round(level.scattered.seconds, 2),
        "overwrite_commit_bytes": level.scattered.most_bytes,
        "overwrite_together_bytes": level.together.bytes,
        "merged_over_table": round(level.merged / level.bytes, 2),
        "compaction_rss_mb": round(level.compaction_rss / 1e6),
    }


def _print(name: str, level: Level) -> None:
    anywhere, together = level.scattered, level.together
    print(
        f"{name.strip('_').replace('_', ' '):<12}{level.rows:>11,}{level.files:>7}"
        f"{level.merged / level.bytes:>7.1f}x{level.compaction_rss / 1e6:>8.0f}"
        f"{level.why_files:>12.1f}{level.why_files_max:>6}{level.why_bytes / 1e6:>8.2f}"
        f"{anywhere.files:>23}{anywhere.bytes / 1e6:>8.0f}{anywhere.commits:>9}"
        f"{anywhere.seconds:>7.1f}{together.files:>17}{together.bytes / 1e6:>8.0f}",
        flush=True,
    )


def _parser() -> argparse.ArgumentParser:
    epilog = "Needs 6 GB of free space a million rows in the temporary directory (TMPDIR)."
    parser = command.parser("compaction", __doc__, epilog)
    parser.add_argument(
        "--rows",
        type=wholes(4096),
        default="200000,1000000",
        metavar="N,…",
        help="numbers of rows (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
