"""The near-duplicates among all stored photos, in bounded memory: rows wait on the disk.

``near_duplicates`` has the method. Beside the 150 bytes a row that it takes, memory is that of reading.
"""

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa

from processor.answers import near_duplicates
from processor.answers.nearest import unit
from processor.answers.rows import Block, StoredRows
from processor.errors import ServiceError
from processor.store.datafiles import KEY


def duplicates(
    rows: StoredRows,
    least_cosine: float,
    scratch: Path,
    note: Callable[[float], object] = lambda _share: None,
) -> list[list[str]]:
    """Keys of photos that near-duplicates connect, a list for each group, the largest group first.

    ``note`` gets the share of all pairs that are compared or excluded, again and again. Unnamed files in
    ``scratch`` hold 4 d bytes a row, and the keys, until it ends. Raises like :meth:`.StoredRows.scan`,
    and :class:`ServiceError` if they cannot be written.
    """
    try:
        with (
            tempfile.TemporaryFile(dir=scratch) as features,
            tempfile.TemporaryFile(dir=scratch) as names,
        ):
            columns = _write(rows, features, names)
            if not columns:
                return []
            mapped = np.memmap(features, np.float32, "r").reshape(-1, columns)
            group = near_duplicates.groups(mapped, least_cosine, note=note)
            return _named(group, pa.ipc.open_stream(names))
    except OSError as error:
        if not error.errno:  # not the system's
            raise
        raise ServiceError(f"service.work_dir {scratch}: {error.strerror}") from error


def _write(rows: StoredRows, features: IO[bytes], names: IO[bytes]) -> int:
    """Write unit rows to one file and their keys, in the same order, to another; the rows' columns."""
    columns = 0
    writing = threading.Lock()
    with pa.ipc.new_stream(names, pa.schema([pa.field(KEY, pa.string())])) as keys:

        def take(block: Block) -> None:
            nonlocal columns
            scaled = unit(block.features)
            with writing:
                columns = scaled.shape[1]
                features.write(scaled.data)
                keys.write_batch(pa.record_batch([block.keys], [KEY]))

        rows.scan(take)
    features.flush()
    names.seek(0)
    return columns


def _named(group: near_duplicates.Numbers, keys: pa.RecordBatchReader) -> list[list[str]]:
    shared = np.bincount(group) > 1
    named: dict[int, list[str]] = {}
    start = 0
    for batch in keys:
        here = group[start : start + len(batch)]
        for row in np.flatnonzero(shared[here]):
            named.setdefault(int(here[row]), []).append(batch[KEY][row].as_py())
        start += len(batch)
    return sorted((sorted(each) for each in named.values()), key=lambda each: (-len(each), each[0]))
