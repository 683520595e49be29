"""Delta tables: opened, read, and changed by one transaction at a time; only here is delta-rs known.

Every commit names the table version that it was planned on and fails with :class:`CommitConflict` if
another came between (delta-rs would otherwise merge the two, and it does not deduplicate).
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pa_dataset
import pyarrow.fs as pa_fs
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.fs import DeltaStorageHandler
from deltalake.transaction import AddAction, RemoveAction

from common import aws
from processor.errors import CommitConflict
from processor.store import objects
from processor.store.datafiles import KEY, DataFile

CHECKPOINT_COMMITS = 20  # each commit since the last checkpoint costs the next ones 1-2 ms

_NO_CLEAN_UP = PostCommitHookProperties(cleanup_expired_logs=False)  # it lists the whole log


class Table:
    """A Delta table, seen at one of its versions. Not thread-safe.

    Costs of what it tells are those of the log that lies in memory; no data file is read for it.
    """

    def __init__(self, folder: str, table: DeltaTable) -> None:
        self.folder = folder
        self._table = table

    @property
    def id(self) -> str:
        """The identity of the table: another table in the same folder has another."""
        return str(self._table.metadata().id)

    @property
    def table_version(self) -> int:
        return self._table.version()

    @property
    def description(self) -> str:
        return self._table.metadata().description or ""

    @property
    def columns(self) -> pa.Schema:
        return pa.schema(self._table.schema().to_arrow())

    @property
    def rows(self) -> int:
        return sum(self._actions()["num_records"].to_pylist())

    def paths(self) -> set[str]:
        """Relative paths of the live data files."""
        return set(self._actions()["path"].to_pylist())

    def sizes(self) -> dict[str, int]:
        """Bytes of the live data files, by relative path."""
        actions = self._actions()
        paths, sizes = actions["path"].to_pylist(), actions["size_bytes"].to_pylist()
        return dict(zip(paths, sizes, strict=True))

    def transaction_version(self, application: str) -> int | None:
        """The version that the last commit recorded for an application; None if none did."""
        return self._table.transaction_version(application)

    def history(self, limit: int) -> Iterator[dict[str, Any]]:
        """What the last ``limit`` commits recorded, newest first."""
        return iter(self._table.history(limit))

    def rows_changed_since(self, table_version: int) -> bool:
        """Whether rows came or went between ``table_version`` and this one.

        Vacuums, compactions and commits without files change none. True where the log cannot tell,
        because its entries have expired or the table is another one. Costs reading the entries,
        newest first, back to the first that changed rows.
        """
        newer = range(self.table_version, table_version, -1)
        entries = (objects.get(self.log_entry(version)) for version in newer)
        return self.table_version < table_version or any(
            entry is None or _changes_rows(entry) for entry in entries
        )

    def log_entry(self, table_version: int) -> str:
        """The URI of the log's entry for a version."""
        return f"{self.folder}/_delta_log/{table_version:020}.json"

    def dataset(self) -> pa_dataset.Dataset:
        """All rows, to be read by columns, filters and batches."""
        return self._table.to_pyarrow_dataset()

    def open_file(self, path: str) -> pa.NativeFile:
        """A data file for reading parts of it. delta-rs holds the interpreter's lock as it reads."""
        handler = DeltaStorageHandler(self.folder, storage_options(self.folder))
        return pa_fs.PyFileSystem(handler).open_input_file(path)

    def refresh(self) -> None:
        """Move on to the newest version; lists the log, and reads what came since."""
        self._table.update_incremental()

    def commit(
        self,
        schema: pa.Schema,
        added: Iterable[DataFile],
        removed: Iterable[str],
        *,
        overwrite: bool = False,
        data_change: bool = True,
        metadata: Mapping[str, object] | None = None,
        transactions: Mapping[str, int] | None = None,
    ) -> None:
        """Commit one transaction on exactly this version; then move on to the newest.

        ``overwrite`` removes whatever ``added`` does not name and may change the schema. With nothing
        added or removed it still writes a version. Without ``data_change`` the same rows only lie in
        other files, and readers that stream the table skip the version. Raises
        :class:`CommitConflict`; any other exception leaves the outcome unknown.
        """
        now = int(time.time() * 1000)
        actions: list[AddAction | RemoveAction] = [
            *(_add_action(each, now, data_change=data_change) for each in added),
            *(RemoveAction(path, data_change, deletion_timestamp=now) for path in removed),
        ]
        properties = CommitProperties(
            custom_metadata=dict(metadata or {}),
            max_commit_retries=0,  # a retry would keep what was planned on an older version
            app_transactions=[Transaction(app, n) for app, n in (transactions or {}).items()],
        )
        mode = "overwrite" if overwrite else "append"
        try:
            self._table.create_write_transaction(
                actions,
                mode,
                schema,
                commit_properties=properties,
                post_commithook_properties=_NO_CLEAN_UP,
            )
        except CommitFailedError as error:
            raise CommitConflict(str(error)) from error
        self._table.update_incremental()

    def vacuum(self, retention_hours: int) -> int:
        """Delete files older than ``retention_hours`` that this version does not need; how many.

        Versions that did need them can then no longer be read. Files that a running task has written
        and nobody has committed yet look the same: the retention must be longer than any task.
        Entries of the log that are older than the log's own retention are deleted too.
        """
        deleted = self._table.vacuum(
            retention_hours, dry_run=False, enforce_retention_duration=False, full=True
        )
        self._table.cleanup_metadata()
        return len(deleted)

    def _actions(self) -> pa.Table:
        return pa.table(self._table.get_add_actions())


def open_table(folder: str, table_version: int | None = None) -> Table | None:
    """The Delta table at ``folder``, at its newest version unless told otherwise; None without any."""
    try:
        table = DeltaTable(folder, version=table_version, storage_options=storage_options(folder))
    except TableNotFoundError:
        return None
    return Table(folder, table)


def create_table(folder: str, schema: pa.Schema, description: str) -> Table:
    """The Delta table at ``folder``, created if need be; safe against another who creates it too."""
    table = DeltaTable.create(
        folder,
        schema=schema,
        mode="ignore",
        description=description,
        storage_options=storage_options(folder),
        configuration={
            "delta.checkpointInterval": str(CHECKPOINT_COMMITS),
            "delta.logRetentionDuration": "interval 30 days",
        },
    )
    return Table(folder, table)


def storage_options(folder: str) -> dict[str, str] | None:
    """What delta-rs does not find by itself: endpoint and region as boto3 has them.

    None for a local folder.
    """
    if not folder.startswith("s3://"):
        return None
    meta = aws.s3().meta
    options = {"AWS_REGION": meta.region_name or "us-east-1"}
    if not meta.endpoint_url.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        options["AWS_ENDPOINT_URL"] = meta.endpoint_url
        options["AWS_ALLOW_HTTP"] = str(meta.endpoint_url.startswith("http://")).lower()
    return options


def _changes_rows(entry: bytes) -> bool:
    """By the protocol of Delta, https://github.com/delta-io/delta/blob/master/PROTOCOL.md."""
    actions = map(json.loads, entry.splitlines())
    return any(
        action.get(kind, {}).get("dataChange") for action in actions for kind in ("add", "remove")
    )


def _add_action(file: DataFile, now_ms: int, *, data_change: bool) -> AddAction:
    stats = {
        "numRecords": file.rows,
        "minValues": {KEY: file.first_key},
        "maxValues": {KEY: file.last_key},
        "nullCount": {KEY: 0},
    }
    return AddAction(file.path, file.size, {}, now_ms, data_change, json.dumps(stats))
