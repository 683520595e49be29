"""A store that grows, with commits timed at each of several sizes.

``python -m benchmarks.workloads.growing_store URI WORK_DIR AWS_PID OTHER_AWS OTHER_PID ROWS …``, where
AWS_PID and OTHER_PID are the processes of two embedded AWS and OTHER_AWS is the URL of the second,
fills features/ up to each number of ROWS and times micro-batches there: new photos (each in turn with
one of the yardstick, whose store has as many rows as the first of ROWS), replaced ones, and, as a peer,
new ones by delta-rs' own MERGE. Prints one :class:`Level` a line.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.harness.child import output_of
from benchmarks.harness.protocol import answer
from benchmarks.workloads.store_driver import BATCH, CommitCost, StoreDriver
from benchmarks.workloads.yardstick import yardstick

COMMITS, REPLACEMENTS, MERGES = 40, 5, 3  # 40: two checkpoints of the log among them


@dataclass(frozen=True, slots=True)
class Level:
    """What was measured at one number of rows; ``replace`` and ``merge`` in seconds."""

    rows: int
    files: int
    version: int
    rss: int  # bytes, of the driver
    here: list[CommitCost]
    yardstick: list[CommitCost]  # in turn with those
    replace: list[float]
    merge: list[float]


def main(
    uri: str, work_dir: str, aws_pid: str, other_url: str, other_pid: str, *levels: str
) -> None:
    driver = StoreDriver(uri, Path(work_dir, "store"), int(aws_pid))
    stored = 0
    for rows in map(int, levels):
        driver.fill(range(stored, rows))
        stored = rows
        elsewhere = [f"{uri}{rows}/", f"{work_dir}/{rows}", other_pid, levels[0]]
        with yardstick(other_url, elsewhere) as commit_there:
            pairs = [(driver.commit(), commit_there()) for _ in range(COMMITS)]
        answer(_level(driver, rows, pairs))


def _level(driver: StoreDriver, rows: int, pairs: list[tuple[CommitCost, CommitCost]]) -> Level:
    rss = psutil.Process().memory_info().rss
    replace = [driver.replace(seed) for seed in range(REPLACEMENTS)]
    merging = map(str, (rows, MERGES, BATCH))
    merged = output_of("benchmarks.peers.delta_merge", driver.features_folder, *merging)
    version = driver.refresh()
    return Level(
        rows=rows,
        files=len(driver.files()),
        version=version,
        rss=rss,
        here=[here for here, _ in pairs],
        yardstick=[there for _, there in pairs],
        replace=replace,
        merge=json.loads(merged),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
