"""Delta tables: opened, read, and changed one transaction at a time. No other module uses delta-rs.

Every commit is made on the table version that it was planned on, and fails with
:class:`CommitConflict` if there is a newer one (delta-rs would otherwise merge the two, and it does not
deduplicate).
"""

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pa_dataset
import pyarrow.fs as pa_fs
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.fs import DeltaStorageHandler
from deltalake.transaction import AddAction, RemoveAction

from common import aws
from processor.errors import CommitConflict, StoreError, StoreUnavailable
from processor.store import datafiles, objects
from processor.store.datafiles import KEY, DataFile

LOG = "_delta_log/"
CHECKPOINT_COMMITS = 20  # each commit since the last checkpoint costs the next ones 1-2 ms

_REQUEST = "Error performing"  # is in the text of delta-rs' errors if a request to S3 failed
_REFUSED = re.compile(r"\b4(?!08|29)\d\d [A-Z][a-z]+")  # a status, such as "403 Forbidden"
_DRAWN = re.compile(r"\x1b\[\d*m|↳")  # how delta-rs draws a chain of causes

_NO_CLEAN_UP = PostCommitHookProperties(cleanup_expired_logs=False)  # it would list the whole log


class Table:
    """A Delta table at one of its versions. Not thread-safe.

    Its properties, paths and sizes come from the log, which is in memory; no data file is read.
    """

    def __init__(self, folder: str, table: DeltaTable) -> None:
        self.folder = folder
        self._table = table

    @property
    def id(self) -> str:
        """The table's identity; it changes if the folder is deleted and a new table created there."""
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
        """The version last committed for an application (see :meth:`commit`); None if none was."""
        return self._table.transaction_version(application)

    def history(self, limit: int) -> Iterator[dict[str, Any]]:
        """The commit metadata of the last ``limit`` versions, newest first."""
        return iter(self._table.history(limit))

    def rows_changed_since(self, table_version: int) -> bool:
        """Whether rows were added or removed after ``table_version``, up to this version.

        Vacuums, compactions and commits without files do neither. True if the log cannot tell,
        because its entries have expired or the table is another one. Reads the entries, newest first,
        back to the first that changed rows.
        """
        newer = range(self.table_version, table_version, -1)
        entries = (objects.get(self.log_entry(version)) for version in newer)
        return self.table_version < table_version or any(
            entry is None or _changes_rows(entry) for entry in entries
        )

    def log_entry(self, table_version: int) -> str:
        """The URI of a version's entry in the log."""
        return f"{self.folder}/{LOG}{table_version:020}.json"

    def dataset(self) -> pa_dataset.Dataset:
        """All rows, to be read by columns, filters and batches."""
        return self._table.to_pyarrow_dataset()

    @contextmanager
    def open_file(self, path: str) -> Iterator[pa.NativeFile]:
        """A data file, opened to read parts of it. delta-rs holds the GIL while it reads.

        Raises :class:`StoreUnavailable`, also while it is read.
        """
        handler = DeltaStorageHandler(self.folder, storage_options(self.folder))
        with _unavailable(), pa_fs.PyFileSystem(handler).open_input_file(path) as file:
            yield file

    def refresh(self) -> None:
        """Advance to the newest version: lists the log and reads its new entries.

        Raises :class:`StoreUnavailable`.
        """
        with _unavailable():
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
        """Commit one transaction on exactly this version, then advance to the newest.

        ``overwrite`` removes every file but those ``added``, and may change the schema. A commit that
        neither adds nor removes files still writes a version. Without ``data_change`` the same rows
        are only moved to other files, and readers that stream the table skip the version.
        ``transactions`` records a version for each application. Raises :class:`CommitConflict`, and
        nothing was changed; any other exception, :class:`StoreUnavailable` for one, leaves the outcome
        unknown.
        """
        now = int(time.time() * 1000)
        actions: list[AddAction | RemoveAction] = [
            *(_add_action(each, now, data_change=data_change) for each in added),
            *(RemoveAction(path, data_change, deletion_timestamp=now) for path in removed),
        ]
        properties = CommitProperties(
            custom_metadata=dict(metadata or {}),
            max_commit_retries=0,  # a retry would commit what was planned on an older version
            app_transactions=[Transaction(app, n) for app, n in (transactions or {}).items()],
        )
        mode = "overwrite" if overwrite else "append"
        try:
            with _unavailable():
                self._table.create_write_transaction(
                    actions,
                    mode,
                    schema,
                    commit_properties=properties,
                    post_commithook_properties=_NO_CLEAN_UP,
                )
        except CommitFailedError as error:
            raise CommitConflict(str(error)) from error
        self.refresh()

    def vacuum(self, retention_hours: int) -> int:
        """Delete files older than ``retention_hours`` that this version does not need; their number.

        Only files that the table has had, and orphans that bear a name of ours: what somebody else keeps
        in the folder is not ours to delete, which is why this is not delta-rs' own vacuum. Versions that
        do need the deleted files can no longer be read then. Files that a running task has written and
        nobody has committed yet look the same, so the retention must be longer than any task takes.
        Log entries older than the log's own retention are deleted too.
        """
        removed, unknown = (
            set(self._table.vacuum(retention_hours, enforce_retention_duration=False, full=full))
            for full in (False, True)
        )
        ours = removed | {path for path in unknown if datafiles.is_name(path)}
        objects.delete_all(self.folder, sorted(ours))
        self._table.cleanup_metadata()
        return len(ours)

    def _actions(self) -> pa.Table:
        return pa.table(self._table.get_add_actions())


def open_table(folder: str, table_version: int | None = None) -> Table | None:
    """The Delta table at ``folder``, at ``table_version`` or its newest; None if there is no table.

    Raises :class:`StoreUnavailable`.
    """
    options = storage_options(folder)
    try:
        with _unavailable():
            table = DeltaTable(folder, version=table_version, storage_options=options)
    except TableNotFoundError:
        return None
    return Table(folder, table)


def create_table(folder: str, schema: pa.Schema, description: str) -> Table:
    """The Delta table at ``folder``, created if it is missing; several processes may do so at once.

    An existing table keeps its schema and its description. Raises :class:`StoreUnavailable`, and
    :class:`StoreError` instead of making a table among files that are not ours.
    """
    if folder.startswith("s3://"):
        _check_no_strangers(folder)
    with _unavailable():
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


@contextmanager
def _unavailable() -> Iterator[None]:
    """Raise :class:`StoreUnavailable` for faults of S3 that may pass.

    delta-rs raises OSError for whatever S3 answers and for no answer, and tells more in the text only.
    """
    try:
        yield
    except OSError as error:
        text = " ".join(_DRAWN.sub(" ", str(error)).split())
        if _REQUEST not in text or _REFUSED.search(text):
            raise
        raise StoreUnavailable(text) from error


def _check_no_strangers(folder: str) -> None:
    """Any that come once there is a table are left alone, see :meth:`Table.vacuum`."""
    if next(objects.listing(f"{folder}/{LOG}".rstrip("/")), None):
        return
    for each in objects.listing(folder):
        path = each.uri.removeprefix(f"{folder}/")
        if not datafiles.is_name(path):
            raise StoreError(
                f"{folder} holds {path!r}, which is not of a table: move it away, or set "
                "storage.store_prefix to a folder of the store's own"
            )


def storage_options(folder: str) -> dict[str, str] | None:
    """What delta-rs cannot find by itself: the endpoint and the region that boto3 uses.

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
    """Whether a log entry adds or removes rows.

    See https://github.com/delta-io/delta/blob/master/PROTOCOL.md.
    """
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
