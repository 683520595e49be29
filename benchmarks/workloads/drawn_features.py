"""Drawn features: a table like the service's own, of as many rows as wanted.

``python -m benchmarks.workloads.drawn_features FOLDER ROWS MODEL [SEED COLUMNS FILE_ROWS]`` makes one
whose rows name MODEL as the network that computed them, or adds rows to it.

Rows are correlated like the network's (their variances fall as a power of the rank) around a mean that
is not zero. Variances of neighbouring components differ by 5 % or more among the first, less later.
"""

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from processor.store import datafiles, delta
from processor.store.schema import FEATURES

COLUMNS = 512
FILE_ROWS = 4096  # 8 MB: what compaction makes
MODEL = "drawn"

Strings = Sequence[str] | Any  # or a pyarrow array


def append(
    folder: str,
    rows: int,
    seed: int = 0,
    file_rows: int = FILE_ROWS,
    model: str = MODEL,
    columns: int = COLUMNS,
) -> None:
    """Add ``rows`` rows of the sequence ``seed`` in one commit; makes the table if need be."""
    features = delta.create_table(folder, FEATURES, model)
    added = [
        datafiles.write(folder, table(block, f"{seed}-{number:05}", model))
        for number, block in enumerate(drawn(rows, seed, file_rows, columns))
    ]
    features.commit(FEATURES, added, ())


def drawn(
    rows: int, seed: int = 0, block_rows: int = FILE_ROWS, columns: int = COLUMNS
) -> Iterator[np.ndarray]:
    """Blocks of float32 (n, columns)."""
    fixed = np.random.default_rng(1)
    axes = np.linalg.qr(fixed.standard_normal((columns, columns)))[0]
    spread = (np.arange(1, columns + 1) ** -0.6)[:, None]
    mixing = (spread * axes).astype(np.float32)
    mean = fixed.random(columns, dtype=np.float32)
    random = np.random.default_rng((2, seed))
    for start in range(0, rows, block_rows):
        count = min(block_rows, rows - start)
        yield random.standard_normal((count, columns), dtype=np.float32) @ mixing + mean


def table(block: np.ndarray, name: str, model: str = MODEL) -> pa.Table:
    """One block as rows of features/, with keys under ``name``."""
    numbers = range(len(block))
    return rows(
        block,
        [f"photos/label-{row % 50}/{name}-{row:05}.jpg" for row in numbers],
        [f"{name}-{row}" for row in numbers],
        [f"label-{row % 50}" for row in numbers],
        model,
    )


def rows(
    block: np.ndarray, keys: Strings, versions: Strings, labels: Strings, model: str = MODEL
) -> pa.Table:
    """One block as rows of features/, with these keys, versions and labels."""
    count, columns = block.shape
    offsets = pa.array(np.arange(0, (count + 1) * columns, columns, dtype=np.int32))
    features = pa.ListArray.from_arrays(
        offsets, pa.array(block.reshape(-1)), type=FEATURES.field("features").type
    )
    return pa.table(
        {
            "key": keys,
            "version": versions,
            "label": labels,
            "width": pa.array(np.full(count, 224, np.int32)),
            "height": pa.array(np.full(count, 224, np.int32)),
            "event_time": [datetime(2026, 1, 1, tzinfo=UTC)] * count,
            "model": [model] * count,
            "features": features,
        },
        schema=FEATURES,
    )


if __name__ == "__main__":
    folder, count, model, *shape = sys.argv[1:]
    seed, columns, file_rows = map(int, shape or (0, COLUMNS, FILE_ROWS))
    append(folder, int(count), seed, file_rows, model, columns)
