"""The Spark tasks of the matrix: read features, sum statistics, project, rearrange, write the CSV.

This is what runs in a worker: no session, no index, no queue.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from processor.matrix import partials, pca
from processor.matrix.moments import Accumulator, Statistics
from processor.matrix.pca import PCA
from processor.store import datafiles, objects, schema
from processor.store.datafiles import DataFile, Swap

# How formulas begin in spreadsheets (OWASP, CSV injection), and our own mark.
_FORMULA = r"^['=+\-@\t\r\n\x{ff1d}\x{ff0b}\x{ff0d}\x{ff20}]"
READ_ROWS = 2048  # 4 MB of 512 columns; half or twice as many cost a tenth more
CSV_TYPE = "text/csv; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Projected:
    """A data file of the matrix, and the sum of its rows' squared residuals if these are new, else 0."""

    file: DataFile
    residual: float


def statistics(folder: str, paths: Iterable[str]) -> Statistics | None:
    """The statistics of all features in some data files; None if these have no rows."""
    total: Accumulator | None = None
    for path in paths:
        for batch in datafiles.batches(folder, path, ["features"], READ_ROWS):
            rows = datafiles.features_in(batch)
            total = total or Accumulator(rows.shape[1])
            total.add(rows)
    return total.statistics() if total else None


def write_statistics(folder: str, paths: Iterable[str], target: str) -> Iterator[str]:
    """Write the statistics of all features in some data files as an object in ``target``; its name.

    None of both if these have no rows. May be repeated: the name is a new one.
    """
    found = statistics(folder, paths)
    if found:
        yield partials.write(target, found)


def fit(folder: str, names: Iterable[str], components: int | float) -> Iterator[str]:
    """Fit a PCA to each of the statistics ``names`` in ``folder``, and write it there; its name."""
    for name in names:
        found = Statistics.from_bytes(partials.read(folder, name))
        yield partials.write(folder, pca.fit(found, components))


def project(
    paths: Iterable[str], source: str, target: str, name: str, fitted: PCA, *, new: bool
) -> Iterator[Projected]:
    """Write the counterpart of each data file of ``source``, ``NAME/FILE`` in ``target``.

    ``new``: the PCA was not fitted to these rows, so their residuals are measured too. May be
    repeated. Memory: the file, its coordinates, and a batch.
    """
    columns = schema.reduced(len(fitted.components_))
    for path in paths:
        parts = []
        residual = 0.0
        for batch in datafiles.batches(source, path, ["key", "label", "features"], READ_ROWS):
            rows = datafiles.features_in(batch)
            coordinates = fitted.project(rows)
            residual += fitted.residual(rows, coordinates) if new else 0.0
            components = map(pa.array, np.ascontiguousarray(coordinates.T))
            parts.append(
                pa.record_batch([batch["key"], batch["label"], *components], schema=columns)
            )
        file = datafiles.write(target, pa.Table.from_batches(parts), path=f"{name}/{path}")
        yield Projected(file, residual)


def rearrange(swaps: Iterable[Swap], folder: str, name: str) -> Iterator[DataFile]:
    """Write the counterparts of the files that each swap added, from those of the files it removed.

    Nothing is projected, and ``features/`` not read. May be repeated. Memory: twice the counterparts of
    one swap. Raises ValueError if these have other keys.
    """
    for swap in swaps:
        read = [datafiles.read(folder, f"{name}/{file.path}") for file in swap.removed]
        rows = pa.concat_tables(read).sort_by(datafiles.KEY)
        start = 0
        for file in sorted(swap.added, key=lambda each: each.first_key):
            part = rows.slice(start, file.rows)
            written = datafiles.write(folder, part, path=f"{name}/{file.path}")
            if (written.rows, written.first_key, written.last_key) != (
                *(file.rows, file.first_key, file.last_key),
            ):
                raise ValueError(f"{folder}/{written.path} has other keys than the features")
            start += file.rows
            yield written


def write_csv(
    paths: Iterable[str],
    folder: str,
    columns: pa.Schema,
    target: str,
    metadata: Mapping[str, str],
    about_bytes: int = 0,
) -> int:
    """Replace ``target`` with the rows of some data files of the matrix, as CSV; their number.

    ``about_bytes`` is how many they may be, at a guess; see :func:`.objects.upload`.

    Text that a spreadsheet would take for a formula has an apostrophe before it. To get the text back,
    remove one leading apostrophe, which text that begins with one has too.

    Memory: one data file, and what :func:`.objects.upload` takes. Nothing is written to the disk, which
    may be a small one in memory: 10 million rows of 64 columns are 7 GB.
    """
    written = 0

    def parts() -> Iterator[bytes]:
        nonlocal written
        yield _csv(columns.empty_table(), header=True)
        for path in paths:
            rows = datafiles.read(folder, path).cast(columns)
            for n, field in enumerate(columns):
                if pa.types.is_string(field.type):
                    rows = rows.set_column(n, field, _harmless(rows[field.name]))
            for batch in rows.to_batches(READ_ROWS):
                yield _csv(batch, header=False)
            written += len(rows)

    objects.upload(target, parts(), CSV_TYPE, metadata, about_bytes)
    return written


def _csv(rows: pa.Table | pa.RecordBatch, *, header: bool) -> bytes:
    buffer = pa.BufferOutputStream()
    pa_csv.write_csv(rows, buffer, pa_csv.WriteOptions(include_header=header))
    return bytes(buffer.getvalue())


def _harmless(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    marked = pc.binary_join_element_wise("'", texts, "")
    return pc.if_else(pc.match_substring_regex(texts, _FORMULA), marked, texts)
