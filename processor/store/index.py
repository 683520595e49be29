"""The index: which version of which object is in which data file of a table, on the local disk.

It answers in microseconds and bounded memory what a Delta table cannot answer without being read: "is
this photo stored?". It is only a cache of the table: if it is lost, damaged or outdated, it is rebuilt
from the keys and versions in the table's files.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_TABLES = """
create table if not exists origin (id text not null, version integer not null);
create table if not exists files (file integer primary key, path text not null unique);
create table if not exists rows
    (key text primary key, version text not null, file integer not null) without rowid;
create index if not exists rows_by_file on rows (file);
"""


@dataclass(frozen=True, slots=True)
class Location:
    """The location of a key's row: its data file, and the version of the object that it is of."""

    object_version: str
    path: str


class Index:
    """The keys of one table at one of its versions. Not thread-safe: its owner serialises access.

    A damaged file at ``path`` is replaced by an empty index. All methods raise
    ``sqlite3.OperationalError`` if the disk is full or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = self._connect(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            for part in path.parent.glob(f"{path.name}*"):  # damaged: it is only a cache
                part.unlink()
            self._connection = self._connect(path)

    @staticmethod
    def _connect(path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute("pragma journal_mode = wal")
            cursor.execute("pragma synchronous = normal")
            cursor.executescript(_TABLES)
        return connection

    def close(self) -> None:
        self._connection.close()

    # ------------------------------------------------------------------ lookups

    def origin(self) -> tuple[str, int] | None:
        """The id and the version of the table that this index mirrors; None if it is new."""
        found: tuple[str, int] | None = self._connection.execute(
            "select id, version from origin"
        ).fetchone()
        return found

    def paths(self) -> set[str]:
        return {path for (path,) in self._connection.execute("select path from files")}

    def has_file(self, path: str) -> bool:
        query = "select 1 from files where path = ?"
        return self._connection.execute(query, (path,)).fetchone() is not None

    def find(self, keys: Iterable[str]) -> dict[str, Location]:
        """The locations of those ``keys`` that are stored."""
        query = "select version, path from rows join files using (file) where key = ?"
        found = {}
        for key in keys:
            row = self._connection.execute(query, (key,)).fetchone()
            if row:
                found[key] = Location(*row)
        return found

    def some_keys(self, count: int) -> list[str]:
        """Up to ``count`` keys of one file, chosen at random."""
        query = (
            "select key from rows "
            "where file = (select file from files order by random() limit 1) limit ?"
        )
        return [key for (key,) in self._connection.execute(query, (count,))]

    def __len__(self) -> int:
        (count,) = self._connection.execute("select count(*) from rows").fetchone()
        return int(count)

    # ------------------------------------------------------------------ edits

    @contextlib.contextmanager
    def edit(self, table_id: str, table_version: int) -> Iterator["Edits"]:
        """Take the index to ``table_version`` of table ``table_id``: all edits are kept, or none."""
        self._connection.execute("begin immediate")
        try:
            yield Edits(self._connection)
            self._connection.execute("delete from origin")
            self._connection.execute("insert into origin values (?, ?)", (table_id, table_version))
            self._connection.execute("commit")
        except BaseException:
            self._connection.execute("rollback")
            raise


class Edits:
    """The edits of one :meth:`Index.edit`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._run = connection.execute
        self._run_many = connection.executemany

    def clear(self) -> None:
        self._run("delete from rows")
        self._run("delete from files")

    def put(self, path: str, object_versions: Mapping[str, str]) -> None:
        """Record that the rows of these objects, versions by key, are in the file ``path``."""
        self._run("insert or ignore into files (path) values (?)", (path,))
        (file,) = self._run("select file from files where path = ?", (path,)).fetchone()
        self._run_many(
            "insert or replace into rows values (?, ?, ?)",
            ((key, version, file) for key, version in object_versions.items()),
        )

    def drop_keys(self, keys: Iterable[str]) -> None:
        self._run_many("delete from rows where key = ?", ((key,) for key in keys))

    def move(self, old: str, new: str) -> None:
        """Record that the remaining rows of file ``old`` were rewritten as file ``new``."""
        self._run("update files set path = ? where path = ?", (new, old))

    def drop_file(self, path: str) -> None:
        """Drop a file, and its rows except those that :meth:`put` has recorded for another."""
        self._run("delete from rows where file = (select file from files where path = ?)", (path,))
        self._run("delete from files where path = ?", (path,))
