"""Tables: Delta tables on S3, of one row per key, each changed by one transaction at a time.

Errors::

    CommitConflict           another writer committed first: nothing was changed, look again and retry

Any other exception out of a commit leaves its outcome unknown: the table's log tells on the next
:meth:`KeyedTable.refresh`.

The only module that knows Delta Lake. Every commit names the version that it was planned on and fails
if another came between (delta-rs would otherwise merge the two, and does not deduplicate).
"""

import json
import logging
import math
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pa_fs
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.fs import DeltaStorageHandler
from deltalake.transaction import AddAction, RemoveAction

from processor.store import datafiles
from processor.store.datafiles import DataFile
from processor.store.index import Index, Place

log = logging.getLogger(__name__)

CHECKPOINT_COMMITS = 20  # each commit since the last checkpoint costs the next ones 1-2 ms
LISTED_SECONDS = 3600.0  # the log keeps an entry for longer, so one that came since is still there

_NO_CLEAN_UP = PostCommitHookProperties(cleanup_expired_logs=False)  # it lists the whole log


class CommitConflict(RuntimeError):
    """Another writer committed first; nothing was changed."""


def storage_options() -> dict[str, str]:
    """What delta-rs does not find by itself: endpoint and region as boto3 has them."""
    meta = datafiles.s3().meta
    options = {"AWS_REGION": meta.region_name or "us-east-1"}
    if not meta.endpoint_url.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        options["AWS_ENDPOINT_URL"] = meta.endpoint_url
        options["AWS_ALLOW_HTTP"] = str(meta.endpoint_url.startswith("http://")).lower()
    return options


def open_table(folder: str, version: int | None = None) -> DeltaTable | None:
    """The Delta table at ``folder``, or None when there is none yet."""
    options = storage_options() if folder.startswith("s3://") else None
    try:
        return DeltaTable(folder, version=version, storage_options=options)
    except TableNotFoundError:
        return None


def create_table(folder: str, schema: pa.Schema, description: str) -> DeltaTable:
    """The Delta table at ``folder``, made if need be; safe against another who makes it too."""
    options = storage_options() if folder.startswith("s3://") else None
    return DeltaTable.create(
        folder,
        schema=schema,
        mode="ignore",
        description=description,
        storage_options=options,
        configuration={
            "delta.checkpointInterval": str(CHECKPOINT_COMMITS),
            "delta.logRetentionDuration": "interval 30 days",
        },
    )


def paths(table: DeltaTable) -> set[str]:
    """Relative paths of the table's live data files."""
    return set(pa.table(table.get_add_actions())["path"].to_pylist())


def columns(table: DeltaTable) -> pa.Schema:
    """The table's columns."""
    return pa.schema(table.schema().to_arrow())


def sizes(table: DeltaTable) -> dict[str, int]:
    """Bytes of the table's live data files, by relative path."""
    actions = pa.table(table.get_add_actions())
    return dict(zip(actions["path"].to_pylist(), actions["size_bytes"].to_pylist(), strict=True))


def vacuum(table: DeltaTable, retention_hours: int) -> int:
    """Delete files older than ``retention_hours`` that the newest version does not need; how many.

    Versions that did need them can then not be read any more. Files that a running task has written
    and nobody has committed yet look the same: the retention must be longer than any task. Entries of
    the log that are older than the log's own retention are deleted too.
    """
    deleted = table.vacuum(
        retention_hours, dry_run=False, enforce_retention_duration=False, full=True
    )
    table.cleanup_metadata()
    return len(deleted)


def rows(table: DeltaTable) -> int:
    """The number of rows, from the log alone."""
    return sum(pa.table(table.get_add_actions())["num_records"].to_pylist())


def changed_between(folder: str, version: int, newer: int) -> bool:
    """Whether rows came or went after ``version``, up to ``newer``.

    A vacuum, merged files and a commit without files change none. True where the log cannot tell, as
    its entries have expired or the table is another one. Costs reading the entries, newest first, to
    the first that did.
    """
    entries = (datafiles.get(_log_entry(folder, each)) for each in range(newer, version, -1))
    return newer < version or any(entry is None or _changes_rows(entry) for entry in entries)


def _log_entry(folder: str, version: int) -> str:
    return f"{folder}/_delta_log/{version:020}.json"


def _changes_rows(entry: bytes) -> bool:
    """By the protocol of Delta, https://github.com/delta-io/delta/blob/master/PROTOCOL.md."""
    actions = map(json.loads, entry.splitlines())
    return any(
        action.get(kind, {}).get("dataChange") for action in actions for kind in ("add", "remove")
    )


def commit(
    table: DeltaTable,
    schema: pa.Schema,
    added: Iterable[DataFile],
    removed: Iterable[str],
    *,
    overwrite: bool = False,
    data_change: bool = True,
    metadata: Mapping[str, Any] | None = None,
    transactions: Mapping[str, int] | None = None,
) -> None:
    """One transaction on exactly the version that ``table`` stands at; then ``table`` moves on.

    ``overwrite`` removes whatever ``added`` does not name and may change the schema. With nothing
    added or removed it still writes a version. Without ``data_change`` the same rows only lie in other
    files, and who streams the table skips the version. Raises :class:`CommitConflict`.
    """
    now = int(time.time() * 1000)
    actions: list[Any] = [_add_action(each, now, data_change) for each in added]
    actions += [RemoveAction(path, data_change, deletion_timestamp=now) for path in removed]
    properties = CommitProperties(
        custom_metadata=dict(metadata or {}),
        max_commit_retries=0,  # a retry would keep what was planned on an older version
        app_transactions=[Transaction(app, n) for app, n in (transactions or {}).items()],
    )
    mode = "overwrite" if overwrite else "append"
    try:
        table.create_write_transaction(
            actions,
            mode,
            schema,
            commit_properties=properties,
            post_commithook_properties=_NO_CLEAN_UP,
        )
    except CommitFailedError as error:
        raise CommitConflict(str(error)) from error
    table.update_incremental()


def _add_action(file: DataFile, now_ms: int, data_change: bool) -> AddAction:
    stats = {
        "numRecords": file.rows,
        "minValues": {datafiles.KEY: file.first_key},
        "maxValues": {datafiles.KEY: file.last_key},
        "nullCount": {datafiles.KEY: 0},
    }
    return AddAction(file.path, file.size, {}, now_ms, data_change, json.dumps(stats))


class KeyedTable:
    """A Delta table with at most one row per ``key``, and the local index that makes this cheap.

    Adding rows for new keys costs the same whatever the table's size. Replacing or dropping rows
    rewrites the data files that they are in.
    """

    def __init__(
        self, folder: str, schema: pa.Schema, index_file: Path, description: str = ""
    ) -> None:
        self.folder = folder
        self._schema = schema
        self._table = create_table(folder, schema, description)
        self.description = self._table.metadata().description or ""
        self._index = Index(index_file)
        self._listed_at = -math.inf
        self.refresh()

    @property
    def version(self) -> int:
        return self._table.version()

    def has_file(self, path: str) -> bool:
        return self._index.has_file(path)

    def find(self, keys: Iterable[str]) -> dict[str, Place]:
        return self._index.find(keys)

    def __len__(self) -> int:
        return len(self._index)

    def close(self) -> None:
        self._index.close()

    def refresh(self) -> None:
        """Bring table and index to the newest version; costs what changed since.

        If nothing did, one HEAD request: versions have no gaps, so the next one tells of all. delta-rs
        would list the log, which is slower and, on AWS, twelve times as dear. It does so after a
        conflict, and once an hour, for the next version's entry expires some day.
        """
        origin = self._index.origin()
        if origin == self._here() and self._is_newest():
            return
        self._table.update_incremental()
        self._listed_at = time.monotonic()
        here = self._here()
        if origin == here:
            return
        live = paths(self._table)
        same_table = origin is not None and origin[0] == here[0]
        known = self._index.paths() if same_table else set()
        fresh = sorted(live - known)
        if fresh:
            log.info("indexing %d files of %s", len(fresh), self.folder)
        with self._index.change(*here) as change, ThreadPoolExecutor(8) as pool:
            if not same_table:
                change.clear()
            for path, versions in zip(fresh, pool.map(self._versions, fresh), strict=True):
                change.put(path, versions)
            for path in known - live:
                change.drop_file(path)

    def _here(self) -> tuple[str, int]:
        return str(self._table.metadata().id), self._table.version()

    def _is_newest(self) -> bool:
        recent = time.monotonic() - self._listed_at < LISTED_SECONDS
        return recent and not datafiles.exists(_log_entry(self.folder, self.version + 1))

    def _versions(self, path: str) -> dict[str, str]:
        options = storage_options() if self.folder.startswith("s3://") else None
        filesystem = pa_fs.PyFileSystem(DeltaStorageHandler(self.folder, options))
        with filesystem.open_input_file(path) as source:
            table = pq.ParquetFile(source).read(columns=["key", "version"])
        return dict(zip(table["key"].to_pylist(), table["version"].to_pylist(), strict=True))

    def commit(
        self,
        added: Sequence[tuple[DataFile, Mapping[str, str]]],
        dropped: Collection[str],
        metadata: Mapping[str, Any],
    ) -> None:
        """Add files (with the version of each key in them) and drop the present rows of some keys.

        One transaction. Raises :class:`CommitConflict`; nothing was changed then, though files that
        were rewritten for it stay behind as litter for the next vacuum.
        """
        doomed: dict[str, set[str]] = defaultdict(set)
        for key, place in self._index.find(dropped).items():
            doomed[place.path].add(key)
        with ThreadPoolExecutor(4) as pool:
            left = pool.map(
                lambda path: datafiles.without(self.folder, path, frozenset(doomed[path])), doomed
            )
            rewritten = dict(zip(doomed, left, strict=True))
        new = [file for file, _ in added] + [file for file in rewritten.values() if file]
        planned_on = self._table.version()
        try:
            commit(self._table, self._schema, new, doomed, metadata=metadata)
        except CommitConflict:
            self._listed_at = -math.inf
            raise
        if self._table.version() != planned_on + 1:
            return  # somebody was faster than our reload: refresh() sorts it out
        with self._index.change(str(self._table.metadata().id), planned_on + 1) as change:
            change.drop_keys(key for keys in doomed.values() for key in keys)
            for old, file in rewritten.items():
                change.move(old, file.path) if file else change.drop_file(old)
            for file, versions in added:
                change.put(file.path, versions)
