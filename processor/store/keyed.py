"""Keyed tables: Delta tables with at most one row per key, and the local index that makes this cheap."""

import logging
import math
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from processor.errors import CommitConflict
from processor.store import datafiles, delta, objects
from processor.store.datafiles import KeyedFile
from processor.store.index import Index, Location
from processor.store.patience import patiently

log = logging.getLogger(__name__)

# How long the log may go unlisted. It keeps entries for longer, so none can expire unnoticed.
LISTED_SECONDS = 3600.0


class KeyedTable:
    """A Delta table with at most one row per ``key``. Used by one thread.

    Adding rows for new keys costs the same whatever the table's size. Replacing or dropping rows
    rewrites the data files that they are in.

    The table is created if it is missing; an existing one keeps its description. The index is rebuilt
    from the table if it is missing, damaged or of another table. While it is opened, faults that may
    pass are waited out; its methods raise them.
    """

    def __init__(
        self, folder: str, schema: pa.Schema, index_file: Path, description: str = ""
    ) -> None:
        self.folder = folder
        self._schema = schema
        self._table = patiently(lambda: delta.create_table(folder, schema, description))
        self.description = self._table.description
        self._index = Index(index_file)
        self._listed_at = -math.inf
        patiently(self.refresh)

    @property
    def table_version(self) -> int:
        return self._table.table_version

    def has_file(self, path: str) -> bool:
        """Whether a data file is live."""
        return self._index.has_file(path)

    def find(self, keys: Iterable[str]) -> dict[str, Location]:
        """The locations of those ``keys`` that have a row."""
        return self._index.find(keys)

    def __len__(self) -> int:
        return len(self._index)

    def close(self) -> None:
        self._index.close()

    def refresh(self) -> None:
        """Bring table and index to the newest version, at the cost of what has changed.

        If nothing has, that is one HEAD request: versions have no gaps, so a newer one exists only if
        the next one does. delta-rs would list the log, which is slower and, on AWS, 12 times as
        expensive. The log is listed after a conflict, and once an hour, because the next version's
        entry may have expired.
        """
        indexed_origin = self._index.origin()
        if indexed_origin == self._origin() and self._is_newest():
            return
        self._table.refresh()
        self._listed_at = time.monotonic()
        origin = self._origin()
        if indexed_origin == origin:
            return
        live = self._table.paths()
        same_table = indexed_origin is not None and indexed_origin[0] == origin[0]
        indexed = self._index.paths() if same_table else set()
        new = sorted(live - indexed)
        if new:
            log.info("indexing %d files of %s", len(new), self.folder)
        with self._index.edit(*origin) as edits, ThreadPoolExecutor(8) as pool:
            if not same_table:
                edits.clear()
            for path, versions in zip(new, pool.map(self._object_versions, new), strict=True):
                edits.put(path, versions)
            for path in indexed - live:
                edits.drop_file(path)

    def commit(
        self, added: Sequence[KeyedFile], dropped: Collection[str], metadata: Mapping[str, object]
    ) -> None:
        """Add files and drop the existing rows of some keys, in one transaction.

        To replace a row, its key must be in ``dropped`` too. Raises :class:`CommitConflict`: nothing
        was changed then, but files rewritten for the commit are orphaned until the next vacuum. Any
        other exception leaves the outcome unknown; :meth:`refresh` finds it out.
        """
        doomed: dict[str, set[str]] = defaultdict(set)
        for key, location in self._index.find(dropped).items():
            doomed[location.path].add(key)
        with ThreadPoolExecutor(4) as pool:
            left = pool.map(
                lambda path: datafiles.without(self.folder, path, frozenset(doomed[path])), doomed
            )
            rewritten = dict(zip(doomed, left, strict=True))
        new = [each.file for each in added] + [file for file in rewritten.values() if file]
        planned_on = self._table.table_version
        try:
            self._table.commit(self._schema, new, doomed, metadata=metadata)
        except CommitConflict:
            self._listed_at = -math.inf
            raise
        if self._table.table_version != planned_on + 1:
            return  # another commit came before our reload: refresh() brings the index up to date
        with self._index.edit(self._table.id, planned_on + 1) as edits:
            edits.drop_keys(key for keys in doomed.values() for key in keys)
            for old, file in rewritten.items():
                edits.move(old, file.path) if file else edits.drop_file(old)
            for each in added:
                edits.put(each.file.path, each.object_versions)

    def _origin(self) -> tuple[str, int]:
        return self._table.id, self._table.table_version

    def _is_newest(self) -> bool:
        recent = time.monotonic() - self._listed_at < LISTED_SECONDS
        return recent and not objects.exists(self._table.log_entry(self.table_version + 1))

    def _object_versions(self, path: str) -> dict[str, str]:
        with self._table.open_file(path) as source:
            table = pq.ParquetFile(source).read(columns=["key", "version"])
        return dict(zip(table["key"].to_pylist(), table["version"].to_pylist(), strict=True))
