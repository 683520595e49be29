"""Kept runs: sorted rows of data files on the local disk, while an index is made of them.

To make the index of a large table takes minutes, and reading the table's keys a part of them. Data files
never change, so what was read of them is kept until the index is there: whoever is killed before that
reads only the rest when it starts again. As with the index, a file is believed only if not a bit has
changed since it was written, so nothing has to be synced: each is named by its digest.
"""

import contextlib
import hashlib
import io
import json
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import pyarrow as pa

from processor.store import sorted_rows
from processor.store.datafiles import KEY
from processor.store.delta import Table

FORMAT = b"key, version, file: 1"  # of the runs; part of their digests
COLUMNS = (KEY, "version")
PATHS = b"paths"  # of the data files, in the metadata; a row has its path's place there

Row = tuple[str, str, str]  # key, version, path of the data file


class KeptRuns:
    """The runs in one folder, which is made when it is needed. Used by one thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def rows(self, table: Table, paths: Collection[str]) -> Iterator[Row]:
        """The rows of these data files of ``table``, in the order of their keys, in bounded memory.

        Before the first row, all files are read, but for those that kept runs have the rows of. What
        fits into one run is not kept. Raises FileNotFoundError if a vacuum has deleted a file, and
        OSError if the disk is full.
        """
        missing = set(paths)
        with contextlib.ExitStack() as opened:
            runs = []
            for path, there in self._kept():
                if wanted := missing.intersection(there):
                    runs.append(_rows(opened.enter_context(path.open("rb")), there, wanted))
                    missing -= wanted
                else:
                    path.unlink()
            for parts in sorted_rows.read_ahead(table, sorted(missing), COLUMNS):
                body = _encoded(parts)
                missing -= parts.keys()
                run = opened.enter_context(self._keep(body)) if missing else io.BytesIO(body)
                runs.append(_rows(run, list(parts), set(parts)))
            yield from sorted_rows.merged(runs)

    def clear(self) -> None:
        """Delete all runs: the index is there."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._folder)

    def _kept(self) -> Iterator[tuple[Path, Sequence[str]]]:
        """The runs that are as they were written, and their data files. The others are deleted."""
        for path in sorted(self._folder.glob("*")):
            with path.open("rb") as run:
                intact = hashlib.file_digest(run, _digest).hexdigest() == path.name
                run.seek(0)
                there = json.loads(pa.ipc.open_stream(run).schema.metadata[PATHS]) if intact else []
            if intact:
                yield path, there
            else:
                path.unlink()

    def _keep(self, body: bytes) -> IO[bytes]:
        digest = _digest()
        digest.update(body)
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / digest.hexdigest()
        path.write_bytes(body)
        return path.open("rb")


def _encoded(parts: Mapping[str, pa.Table]) -> bytes:
    """A run of the rows of these data files."""
    numbered = [
        rows.append_column("file", pa.array([number] * len(rows), pa.int32()))
        for number, rows in enumerate(parts.values())
    ]
    run = pa.concat_tables(numbered).sort_by(KEY)
    buffer = io.BytesIO()
    sorted_rows.write(run.replace_schema_metadata({PATHS: json.dumps(list(parts))}), buffer)
    return buffer.getvalue()


def _rows(run: IO[bytes], paths: Sequence[str], wanted: Collection[str]) -> Iterator[Row]:
    places = [path if path in wanted else None for path in paths]
    for key, version, number in sorted_rows.rows_in(run):
        path = places[number]
        if path is not None:
            yield key, version, path


def _digest() -> "hashlib._Hash":
    return hashlib.sha256(FORMAT)
