"""The index: which version of which key is in which data file of a table, on the local disk.

It answers in microseconds and bounded memory what a Delta table cannot answer without reading it:
"is this photo stored?". It is a cache of the table and nothing more: lost, damaged or outdated, it is
made again from the keys and versions in the table's files.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_LAYOUT = """
create table if not exists origin (id text not null, version integer not null);
create table if not exists files (file integer primary key, path text not null unique);
create table if not exists rows
    (key text primary key, version text not null, file integer not null) without rowid;
create index if not exists rows_by_file on rows (file);
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key's row is."""

    version: str
    path: str


class Index:
    """Keys of one table as of one of its versions. Not thread-safe: its store serialises access.

    Raises ``sqlite3.OperationalError`` when the disk is full or cannot be written.
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
            cursor.executescript(_LAYOUT)
        return connection

    def close(self) -> None:
        self._connection.close()

    # ------------------------------------------------------------------ questions

    def origin(self) -> tuple[str, int] | None:
        """Identity and version of the table that this index mirrors."""
        return self._connection.execute("select id, version from origin").fetchone()

    def paths(self) -> set[str]:
        return {path for (path,) in self._connection.execute("select path from files")}

    def has_file(self, path: str) -> bool:
        query = "select 1 from files where path = ?"
        return self._connection.execute(query, (path,)).fetchone() is not None

    def find(self, keys: Iterable[str]) -> dict[str, Place]:
        """Places of those ``keys`` that are stored."""
        query = "select version, path from rows join files using (file) where key = ?"
        found = {}
        for key in keys:
            row = self._connection.execute(query, (key,)).fetchone()
            if row:
                found[key] = Place(*row)
        return found

    def __len__(self) -> int:
        return self._connection.execute("select count(*) from rows").fetchone()[0]

    # ------------------------------------------------------------------ changes

    @contextlib.contextmanager
    def change(self, table_id: str, version: int) -> Iterator["Change"]:
        """One atomic step to ``version`` of table ``table_id``."""
        self._connection.execute("begin immediate")
        try:
            yield Change(self._connection)
            self._connection.execute("delete from origin")
            self._connection.execute("insert into origin values (?, ?)", (table_id, version))
            self._connection.execute("commit")
        except BaseException:
            self._connection.execute("rollback")
            raise


class Change:
    """The edits of one step; see :meth:`Index.change`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._run = connection.execute
        self._run_many = connection.executemany

    def clear(self) -> None:
        self._run("delete from rows")
        self._run("delete from files")

    def put(self, path: str, versions: Mapping[str, str]) -> None:
        """``versions`` by key now lie in the file ``path``."""
        self._run("insert or ignore into files (path) values (?)", (path,))
        (file,) = self._run("select file from files where path = ?", (path,)).fetchone()
        self._run_many(
            "insert or replace into rows values (?, ?, ?)",
            ((key, version, file) for key, version in versions.items()),
        )

    def drop_keys(self, keys: Iterable[str]) -> None:
        self._run_many("delete from rows where key = ?", ((key,) for key in keys))

    def move(self, old: str, new: str) -> None:
        """What is left of file ``old`` was rewritten as file ``new``."""
        self._run("update files set path = ? where path = ?", (new, old))

    def drop_file(self, path: str) -> None:
        """The file is gone, and with it whatever no other file has taken over."""
        self._run("delete from rows where file = (select file from files where path = ?)", (path,))
        self._run("delete from files where path = ?", (path,))
