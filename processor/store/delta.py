"""Delta tables: opened, read, and changed one transaction at a time. No other module uses delta-rs.

Every commit is made on the table version that it was planned on, and fails with
:class:`CommitConflict` if there is a newer one (delta-rs would otherwise merge the two, and it does not
deduplicate).

delta-rs reaches S3 where, and as whom, boto3 does, and its errors come as :mod:`.delta_aws` says. What
it would read with Python's lock held, so that no other thread runs until S3 has answered, is read with
boto3 instead: parts of a data file, and the log's history.
"""

import contextlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pa_dataset
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction
from deltalake.exceptions import TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from processor.errors import CommitConflict, StoreError
from processor.store import altered, datafiles, objects
from processor.store.datafiles import KEY, DataFile
from processor.store.delta_aws import storage_options, translated

LOG = "_delta_log/"
ABOVE_ANY = "\U0010ffff" * 257  # S3's keys have at most 1,024 bytes
CHECKPOINT_COMMITS = 20  # each commit since the last checkpoint costs the next ones 1-2 ms

# The property that names the network of all rows. A description is anybody's to set.
NETWORK = "fruits.model"

# How long the log keeps entries, with their checkpoints, and that a file was removed. By the second a
# checkpoint grows (50 bytes a file), and without it a vacuum goes by the age of the file instead.
KEPT = ("delta.logRetentionDuration", "delta.deletedFileRetentionDuration")
KEPT_HOURS = 168  # in a new table; a vacuum with another retention sets that

_NO_CLEAN_UP = PostCommitHookProperties(cleanup_expired_logs=False)  # it would list the whole log


class Table:
    """A Delta table at one of its versions. Not thread-safe.

    Opening or refreshing it raises :class:`StoreError` if somebody has altered it in a way that the
    service cannot keep to, see :mod:`.altered`.

    Its properties, paths and sizes come from the log, which is in memory; no data file is read.
    """

    def __init__(self, folder: str, table_version: int | None = None) -> None:
        """``table_version``: by default its newest. Raises delta-rs' own ``TableNotFoundError``."""
        self.folder = folder
        self._open(table_version)

    @property
    def id(self) -> str:
        """The table's identity; it changes if the folder is deleted and a new table created there."""
        return str(self._table.metadata().id)

    @property
    def table_version(self) -> int:
        return self._table.version()

    @property
    def network(self) -> str:
        """The model id of the network of all rows; empty if the table records none."""
        return self._table.metadata().configuration.get(NETWORK) or ""

    @property
    def columns(self) -> pa.Schema:
        return pa.schema(self._table.schema().to_arrow())

    @property
    def rows(self) -> int:
        return sum(self._actions()["num_records"].to_pylist())

    def paths(self) -> set[str]:
        """Relative paths of the live data files."""
        return set(self._actions()["path"].to_pylist())

    def files(self) -> list[DataFile]:
        """The live data files. Bounds that the log does not have are those of any key.

        Other writers' may be cut: shorter than the first key, or above the last.
        """
        found = pa.table(self._table.get_add_actions(flatten=True)).to_pylist()
        return [
            DataFile(
                each["path"],
                each["size_bytes"],
                each["num_records"] or 0,
                _or(each.get(f"min.{KEY}"), ""),
                _or(each.get(f"max.{KEY}"), ABOVE_ANY),
            )
            for each in found
        ]

    def sizes(self) -> dict[str, int]:
        """Bytes of the live data files, by relative path."""
        actions = self._actions()
        paths, sizes = actions["path"].to_pylist(), actions["size_bytes"].to_pylist()
        return dict(zip(paths, sizes, strict=True))

    def row_counts(self) -> dict[str, int | None]:
        """Rows of the live data files, by relative path; None where its writer did not say."""
        actions = self._actions()
        paths, rows = actions["path"].to_pylist(), actions["num_records"].to_pylist()
        return dict(zip(paths, rows, strict=True))

    def transaction_version(self, application: str) -> int | None:
        """The version last committed for an application (see :meth:`commit`); None if none was."""
        with translated(self.folder):
            return self._renewed().transaction_version(application)

    def history(self, limit: int) -> Iterator[dict[str, Any]]:
        """The commit metadata of the last ``limit`` versions, newest first; fewer if entries expired."""
        for version in range(self.table_version, max(self.table_version - limit, -1), -1):
            entry = objects.get(self.log_entry(version))
            if entry is None:
                return
            yield _metadata(entry)

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

    def metadata_since(self, table_version: int) -> list[dict[str, Any] | None]:
        """The commit metadata of each version after ``table_version``; None where it has expired."""
        return self.metadata_of(range(table_version + 1, self.table_version + 1))

    def metadata_of(self, versions: Iterable[int]) -> list[dict[str, Any] | None]:
        """The commit metadata of these versions; None where it has expired."""
        with ThreadPoolExecutor(8) as pool:
            return [
                None if entry is None else _metadata(entry)
                for entry in pool.map(objects.get, map(self.log_entry, versions))
            ]

    def log_entry(self, table_version: int) -> str:
        """The URI of a version's entry in the log."""
        return f"{self.folder}/{LOG}{table_version:020}.json"

    def dataset(self) -> pa_dataset.Dataset:
        """All rows, to be read by columns, filters and batches; delta-rs' own errors arise then."""
        with translated(self.folder):
            return self._renewed().to_pyarrow_dataset()

    def rows_where(self, condition: pc.Expression, columns: Sequence[str]) -> pa.Table:
        """Columns of the rows that meet a condition. Reads the data files that may have any."""
        with translated(self.folder):
            return self.dataset().to_table(columns=list(columns), filter=condition)

    def read_columns(self, path: str, columns: Sequence[str]) -> pa.Table:
        """Columns of a data file, without reading its others. Raises FileNotFoundError."""
        with objects.opened(f"{self.folder}/{path}") as source:
            return datafiles.without_views(pq.ParquetFile(source).read(columns=list(columns)))

    def refresh(self) -> None:
        """Advance to the newest version: lists the log and reads its new entries."""
        with translated(self.folder):
            if self._options == storage_options(self.folder):
                self._table.update_incremental()
                self._check()
            else:
                self._open(None)

    def _open(self, table_version: int | None) -> None:
        options = storage_options(self.folder)
        self._table = DeltaTable(self.folder, version=table_version, storage_options=options)
        self._options = options
        self._check()

    def _renewed(self) -> DeltaTable:
        """The table, opened again at its version if it has credentials that were renewed since.

        delta-rs keeps those that it opened a table with; temporary ones expire within hours.
        """
        if self._options != storage_options(self.folder):
            self._open(self.table_version)
        return self._table

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
        ``transactions`` records a version for each application. Raises :class:`CommitConflict` or, for
        what somebody has set on the table, :class:`StoreError`, and nothing was changed; any other
        exception leaves the outcome unknown.
        """
        planned_on = self.id
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
        with translated(self.folder):
            table = self._renewed()
            if self.id != planned_on:
                raise CommitConflict(f"{self.folder} was replaced by another table")
            table.create_write_transaction(
                actions,
                mode,
                schema,
                commit_properties=properties,
                post_commithook_properties=_NO_CLEAN_UP,
            )
            table.update_incremental()

    def vacuum(self, retention_hours: int) -> int:
        """Delete files older than ``retention_hours`` that this version does not need; their number.

        Only files that the table has had, and orphans that bear a name of ours: what somebody else keeps
        in the folder is not ours to delete, which is why this is not delta-rs' own vacuum. Versions that
        do need the deleted files can no longer be read then. Files that a running task has written and
        nobody has committed yet look the same, so the retention must be longer than any task takes.

        Log entries and checkpoints of that age are deleted too, but for those that a younger version
        is read from. The table's own properties, which other writers go by as well, are set to the same
        retention where they differ. That is a commit, for which delta-rs keeps Python's lock.
        """
        self._keep_for(retention_hours)
        with translated(self.folder):
            removed, unknown = (
                set(
                    self._renewed().vacuum(
                        retention_hours, enforce_retention_duration=False, full=full
                    )
                )
                for full in (False, True)
            )
        ours = removed | {path for path in unknown if datafiles.is_name(path)}
        objects.delete_all(self.folder, sorted(ours))
        with translated(self.folder):
            self._renewed().cleanup_metadata()
        return len(ours)

    def name_network(self, network: str) -> None:
        """Record that all rows are of ``network``, in a table made before that was recorded as today.

        If there are rows, it is the network that they name. Several processes may do so at once.
        """
        rows = self.dataset().head(1, columns=["model"]).to_pylist()
        known = rows[0]["model"] if rows else network
        with contextlib.suppress(CommitConflict), translated(self.folder):  # another one has
            self._renewed().alter.set_table_properties({NETWORK: known}, raise_if_not_exists=False)
        self.refresh()

    def _keep_for(self, hours: int) -> None:
        wanted = _kept_for(hours)
        if wanted.items() <= self._table.metadata().configuration.items():
            return
        with contextlib.suppress(CommitConflict), translated(self.folder):  # the next vacuum will
            self._renewed().alter.set_table_properties(wanted, raise_if_not_exists=False)
        self.refresh()

    def _check(self) -> None:
        properties = self._table.metadata().configuration
        altered.check(self.folder, properties, self._table.protocol().reader_features or ())

    def _actions(self) -> pa.Table:
        return pa.table(self._table.get_add_actions())


def open_table(folder: str, table_version: int | None = None) -> Table | None:
    """The Delta table at ``folder``, at ``table_version`` or its newest; None if there is no table."""
    with translated(folder):
        try:
            return Table(folder, table_version)
        except TableNotFoundError:
            return None


def create_table(folder: str, schema: pa.Schema, network: str = "") -> Table:
    """The Delta table at ``folder``, created if it is missing; several processes may do so at once.

    An existing table keeps its schema and its ``network``, if it has one. Raises :class:`StoreError` if
    its columns are not those of ``schema``, and instead of making a table among files that are not ours.
    """
    if folder.startswith("s3://"):
        _check_no_strangers(folder)
    named = {NETWORK: network} if network else {}
    # A conflict: another process has created it since delta-rs looked.
    with contextlib.suppress(CommitConflict), translated(folder):
        DeltaTable.create(
            folder,
            schema=schema,
            mode="ignore",
            description=network,  # for people
            storage_options=storage_options(folder),
            configuration={
                "delta.checkpointInterval": str(CHECKPOINT_COMMITS),
                **_kept_for(KEPT_HOURS),
                # Otherwise delta-rs takes columns without statistics for empty: a filter finds no row.
                "delta.dataSkippingStatsColumns": KEY,
                **named,
            },
            # Tried again it would succeed, as a second table in the place of the first.
            commit_properties=CommitProperties(max_commit_retries=0),
            raise_if_key_not_exists=False,  # delta-rs does not know NETWORK
        )
    with translated(folder):
        table = Table(folder)
    altered.check_columns(folder, table.columns, schema)
    if network and not table.network:
        table.name_network(network)
    return table


def _check_no_strangers(folder: str) -> None:
    """Any that come once there is a table are left alone, see :meth:`Table.vacuum`."""
    if next(objects.listing(f"{folder}/{LOG}".rstrip("/")), None):
        return
    for each in objects.listing(folder):
        path = each.uri.removeprefix(f"{folder}/")
        if path.startswith(LOG):  # of a table that another service has made since
            return
        if not datafiles.is_name(path) and not path.startswith("_"):  # hidden from all readers
            raise StoreError(
                f"{folder} holds {path!r}, which is not of a table: move it away, or set "
                "storage.store_prefix to a folder of the store's own"
            )


def _kept_for(hours: int) -> dict[str, str]:
    return dict.fromkeys(KEPT, f"interval {hours} hours")


def _changes_rows(entry: bytes) -> bool:
    """Whether a log entry adds or removes rows.

    See https://github.com/delta-io/delta/blob/master/PROTOCOL.md.
    """
    return any(
        action.get(kind, {}).get("dataChange")
        for action in _actions_in(entry)
        for kind in ("add", "remove")
    )


def _metadata(entry: bytes) -> dict[str, Any]:
    return next((each["commitInfo"] for each in _actions_in(entry) if "commitInfo" in each), {})


def _actions_in(entry: bytes) -> Iterator[dict[str, Any]]:
    return map(json.loads, entry.splitlines())


def _or(bound: str | None, unknown: str) -> str:
    return unknown if bound is None else bound


def _add_action(file: DataFile, now_ms: int, *, data_change: bool) -> AddAction:
    stats = {
        "numRecords": file.rows,
        "minValues": {KEY: file.first_key},
        "maxValues": {KEY: file.last_key},
        "nullCount": {KEY: 0},
    }
    return AddAction(file.path, file.size, {}, now_ms, data_change, json.dumps(stats))
