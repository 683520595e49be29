"""Keyed tables: Delta tables with at most one row per key, and the local index that makes this cheap."""

import logging
import math
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa

from processor.errors import CommitConflict
from processor.store import datafiles, delta, key_digests, objects
from processor.store.datafiles import KEY, DataFile, KeyedFile
from processor.store.index import Index, Location
from processor.store.index_snapshot import LEAST_ROWS, IndexSnapshot
from processor.store.kept_runs import KeptRuns
from processor.store.key_digests import KEYS
from processor.store.patience import patiently

log = logging.getLogger(__name__)

# How long the log may go unlisted. It keeps entries for longer, so none can expire unnoticed.
LISTED_SECONDS = 3600.0
REWRITTEN_AT_ONCE = 4  # data files of TARGET_BYTES, or as others have left them
REWRITTEN_BYTES = 1 << 30  # of data files in one commit

# Files that have been rewritten, by their path and the keys whose rows were left out.
Rewrites = dict[tuple[str, frozenset[str]], DataFile | None]


class KeyedTable:
    """A Delta table with at most one row per ``key``. Used by one thread.

    Adding rows for new keys costs the same whatever the table's size. Replacing or dropping rows
    rewrites the data files that they are in, so n of them n files at most; see :meth:`unaffordable`.

    The table is created if it is missing; an existing one keeps its ``network``. The index is rebuilt
    from the table if it is missing, damaged or of another table; that of a large table from its snapshot
    and what has been committed since. While it is opened, faults that may pass are waited out; its
    methods raise them.
    """

    def __init__(self, folder: str, schema: pa.Schema, index_file: Path, network: str = "") -> None:
        self.folder = folder
        self._schema = schema
        self._table = patiently(lambda: delta.create_table(folder, schema, network))
        self.network = self._table.network
        self._snapshot = IndexSnapshot(folder)
        self._index = Index(index_file, self._snapshot.fetch if self._is_large() else None)
        self._copy = Path(f"{index_file}.copy")  # a name that the next index sweeps
        self._runs = KeptRuns(index_file.with_name(f"runs.{index_file.name}"))
        self._listed_at = -math.inf
        patiently(self.refresh)
        self._runs.clear()  # whatever a killed process has left

    @property
    def table_version(self) -> int:
        return self._table.table_version

    def has_file(self, path: str) -> bool:
        """Whether a data file is live."""
        return self._index.has_file(path)

    def find(self, keys: Iterable[str]) -> dict[str, Location]:
        """The locations of those ``keys`` that have a row."""
        return self._index.find(keys)

    def some_keys(self, count: int) -> list[str]:
        """Up to ``count`` keys, all of one data file that is chosen at random."""
        return self._index.some_keys(count)

    def unaffordable(self, keys: Iterable[str]) -> set[str]:
        """Those of ``keys`` whose rows are better replaced or dropped in a later commit.

        With the others a commit rewrites REWRITTEN_BYTES at most, or one larger file. Files with many of
        the keys come first.
        """
        by_path = self._by_path(keys)
        sizes = self._table.sizes() if by_path else {}
        later: set[str] = set()
        size = 0
        for number, path in enumerate(
            sorted(by_path, key=lambda path: (-len(by_path[path]), path))
        ):
            size += sizes.get(path, 0)
            if number and size > REWRITTEN_BYTES:
                later |= by_path[path]
        return later

    def rows(
        self, keys: Iterable[str], columns: Sequence[str] | None = None
    ) -> dict[str, dict[str, Any]]:
        """Columns of the rows of those ``keys`` that have one; reads every file with one of them."""
        places = self.find(keys)
        return {
            row[KEY]: row
            for path in {location.path for location in places.values()}
            for row in datafiles.read(self.folder, path, columns).to_pylist()
            if row[KEY] in places
        }

    def write(self, rows: Sequence[Mapping[str, object]]) -> KeyedFile:
        """Write a data file of these rows, to be committed."""
        file = datafiles.write(self.folder, pa.Table.from_pylist(rows, schema=self._schema))
        return KeyedFile(file, {str(row[KEY]): str(row["version"]) for row in rows})

    def without(self, file: DataFile, keys: Collection[str]) -> DataFile | None:
        """A file to be committed instead of ``file``, without the rows of ``keys``; None if empty."""
        return datafiles.without(self.folder, file.path, frozenset(keys))

    def __len__(self) -> int:
        return len(self._index)

    def close(self) -> None:
        self._snapshot.stop()
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
        live = self._table.paths()
        same_table = indexed_origin is not None and indexed_origin[0] == origin[0]
        indexed = self._index.paths() if same_table else set()
        if indexed_origin == origin and indexed == live:  # a restored table repeats its versions
            return
        new = live - indexed
        if new:
            log.info("indexing %d files of %s", len(new), self.folder)
        with self._index.edit(*origin) as edits:
            if not same_table:
                edits.clear()
            edits.put_all(self._runs.rows(self._table, new))
            for path in indexed - live:
                edits.drop_file(path)
        self._runs.clear()

    def touched(self, keys: Collection[str], since: int) -> set[str]:
        """Those of ``keys`` that commits after version ``since``, up to this one, were about.

        What was planned for any other on version ``since`` still holds, whoever has committed in
        between. Costs a GET for each of those commits; where there are more of them than keys, or one
        does not name its keys (another tool's, or one that has expired), it may be any key.
        """
        commits = self.table_version - since
        if commits < 0 or commits > len(keys):  # below 0: this is another table
            return set(keys)
        entries = self._table.metadata_since(since)
        return set().union(*(key_digests.named(keys, (each or {}).get(KEYS)) for each in entries))

    def commit(
        self,
        added: Sequence[KeyedFile],
        dropped: Collection[str],
        metadata: Mapping[str, object],
        *,
        about: Iterable[str] = (),
        rewrites: Rewrites | None = None,
    ) -> None:
        """Add files and drop the existing rows of some keys, in one transaction.

        To replace a row, its key must be in ``dropped`` too. The commit is about the keys of both, and
        about those of ``about`` even if it changes nothing for them; see :meth:`touched`.
        Raises :class:`CommitConflict`: nothing was changed then, and table and index may be newer. Files
        that were rewritten in vain are orphaned until the next vacuum, unless the caller passes the same
        ``rewrites`` to the next attempt. Any other exception leaves the outcome unknown;
        :meth:`refresh` finds it out.
        """
        planned_on = self.table_version
        rewrites = {} if rewrites is None else rewrites
        doomed = self._rewrite(dropped, rewrites)
        if self.table_version != planned_on:
            raise CommitConflict(f"{self.folder} changed while its files were rewritten")
        left = {path: rewrites[path, keys] for path, keys in doomed.items()}
        new = [each.file for each in added] + [file for file in left.values() if file]
        named = {*dropped, *about}.union(*(each.object_versions for each in added))
        told = {**metadata, KEYS: key_digests.encode(named)}
        try:
            self._table.commit(self._schema, new, doomed, metadata=told)
        except CommitConflict:
            self._listed_at = -math.inf
            raise
        if self._table.table_version != planned_on + 1:
            return  # another commit came before our reload: refresh() brings the index up to date
        with self._index.edit(self._table.id, planned_on + 1, len(named)) as edits:
            edits.drop_keys(key for keys in doomed.values() for key in keys)
            for old, file in left.items():
                edits.move(old, file.path) if file else edits.drop_file(old)
            for each in added:
                edits.put(each.file.path, each.object_versions)
        if self._snapshot.may_be_due() and self._is_large():
            self._snapshot.renew(self._index.copy_to, self._copy)

    def _is_large(self) -> bool:
        """Whether it would take long to make the index."""
        return sum(filter(None, self._table.row_counts().values())) >= LEAST_ROWS

    def _rewrite(self, keys: Collection[str], done: Rewrites) -> dict[str, frozenset[str]]:
        """Rewrite the files that have rows of ``keys``, unless that is ``done``; those keys by path.

        Looks for other writers' commits on the way, so that it ends as soon as one of them has taken
        such a file away. Raises :class:`CommitConflict` then.
        """
        doomed = self._by_path(keys)
        missing = [each for each in doomed.items() if each not in done]
        for start in range(0, len(missing), REWRITTEN_AT_ONCE):
            if start:
                self.refresh()
                if self._by_path(keys) != doomed:
                    raise CommitConflict(f"another commit has rewritten files of {self.folder}")
            some = missing[start : start + REWRITTEN_AT_ONCE]
            with ThreadPoolExecutor(REWRITTEN_AT_ONCE) as pool:
                files = pool.map(lambda each: datafiles.without(self.folder, *each), some)
                done.update(zip(some, files, strict=True))
        return doomed

    def _by_path(self, keys: Iterable[str]) -> dict[str, frozenset[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for key, location in self._index.find(keys).items():
            found[location.path].add(key)
        return {path: frozenset(there) for path, there in found.items()}

    def _origin(self) -> tuple[str, int]:
        return self._table.id, self._table.table_version

    def _is_newest(self) -> bool:
        recent = time.monotonic() - self._listed_at < LISTED_SECONDS
        return recent and not objects.exists(self._table.log_entry(self.table_version + 1))
