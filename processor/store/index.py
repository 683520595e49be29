"""The index: which version of which object is in which data file of a table, on the local disk.

It answers in microseconds and bounded memory what a Delta table cannot answer without being read: "is
this photo stored?". It is only a cache of the table: if it is lost, damaged or outdated, it is rebuilt
from the keys and versions in the table's files.

A damaged page may still parse, and a row that is not found would be added a second time. So a file is
believed only if it was closed and not a bit has changed since: its digest lies beside it while it is
closed. What a killed service leaves is not believed, so nothing has to be synced either.

Rows are kept in the order of keys and in no other: rows that come in that order are appended, and a
second order would double size and cost. So a row whose file was dropped stays where it is, without
effect, until its key is put again: at most one for each photo that another writer has removed.
"""

import contextlib
import glob
import hashlib
import math
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processor.errors import ServiceError

FEW_ROWS = 8192  # at most 32 MB of pages in memory, each row in another

# A cache of 16 MB keeps the pages of 2,048 keys from the plan of a micro-batch to its commit.
_SETTINGS = """
pragma locking_mode = exclusive;
pragma synchronous = off;
pragma cache_size = -16384;
"""
_TABLES = """
create table if not exists origin (id text not null, version integer not null);
create table if not exists files
    (file integer primary key autoincrement, path text not null unique, first_key text not null);
create table if not exists rows
    (key text primary key, version text not null, file integer not null) without rowid;
"""


@dataclass(frozen=True, slots=True)
class Location:
    """The location of a key's row: its data file, and the version of the object that it is of."""

    object_version: str
    path: str


class Index:
    """The keys of one table at one of its versions. Not thread-safe: its owner serialises access.

    A file at ``path`` that is not as :meth:`close` left it is replaced by an empty index. All methods
    raise :class:`ServiceError` if the file is damaged in use, or the disk is full or cannot be written;
    the next index is empty then.
    """

    def __init__(self, path: Path, restore: Callable[[Path, Path], object] | None = None) -> None:
        """``restore`` may write the file and its digest, where they are not as they were left."""
        self._path = path
        self._digest = Path(f"{path}.sha256")
        self._intact = True
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            believed = self._is_believed()
            if restore and not believed:
                self._sweep()
                restore(self._path, self._digest)
                believed = self._is_believed()
            self._sweep(but=path if believed else None)
            self._connection = self._connect()
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error

    def _sweep(self, but: Path | None = None) -> None:
        for part in self._path.parent.glob(f"{glob.escape(self._path.name)}*"):
            if part != but:
                part.unlink()

    def _is_believed(self) -> bool:
        try:
            return self._digest.read_text() == digest_of(self._path)
        except (FileNotFoundError, ValueError):
            return False

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.executescript(_SETTINGS + _TABLES)
        return connection

    def close(self) -> None:
        """Close the file, to be believed by the next index unless this one was found damaged."""
        self._connection.close()
        if self._intact:
            with contextlib.suppress(OSError):  # deleted, or the disk is full: made again
                self._digest.write_text(digest_of(self._path))

    def copy_to(self, path: Path) -> None:
        """Write a copy of the file, as it is. Raises OSError: there is no room, or it is damaged."""
        path.unlink(missing_ok=True)
        if shutil.disk_usage(path.parent).free < 2 * self._path.stat().st_size:
            raise OSError(f"there is no room for a copy of {self._path}")
        try:
            with contextlib.closing(sqlite3.connect(path)) as copy:
                copy.executescript("pragma synchronous = off; pragma journal_mode = off;")
                self._connection.backup(copy)
        except sqlite3.Error as error:
            raise OSError(f"{path}: {error}") from error

    def _unusable(self, cause: Exception) -> ServiceError:
        self._intact = False
        return ServiceError(
            f"the index {self._path} cannot be used ({cause}); the next start makes it again"
        )

    def _rows(self, query: str, *values: str | int) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    # ------------------------------------------------------------------ lookups

    def origin(self) -> tuple[str, int] | None:
        """The id and the version of the table that this index mirrors; None if it is new."""
        for id_, version in self._rows("select id, version from origin"):
            return id_, version
        return None

    def paths(self) -> set[str]:
        return {path for (path,) in self._rows("select path from files")}

    def has_file(self, path: str) -> bool:
        return bool(self._rows("select 1 from files where path = ?", path))

    def find(self, keys: Iterable[str]) -> dict[str, Location]:
        """The locations of those ``keys`` that are stored."""
        query = "select version, path from rows join files using (file) where key = ?"
        return {key: Location(*row) for key in keys for row in self._rows(query, key)}

    def some_keys(self, count: int) -> list[str]:
        """Up to ``count`` keys that follow one another, from a random data file's first on."""
        query = (
            "select key from rows cross join files using (file) "
            "where key >= (select first_key from files order by random() limit 1) "
            "order by key limit ?"
        )
        return [key for (key,) in self._rows(query, count)]

    def __len__(self) -> int:
        ((count,),) = self._rows("select count(*) from rows where file in (select file from files)")
        return int(count)

    # ------------------------------------------------------------------ edits

    @contextlib.contextmanager
    def edit(self, table_id: str, table_version: int, rows: float = math.inf) -> Iterator["Edits"]:
        """Take the index to ``table_version`` of table ``table_id``: all edits are kept, or none.

        ``rows``: how many are put or dropped at most. With up to FEW_ROWS, what would undo the edits
        is kept in memory; to write it took as long as everything else.
        """
        try:
            journal = "memory" if rows <= FEW_ROWS else "truncate"
            self._connection.execute(f"pragma journal_mode = {journal}")
            self._connection.execute("begin")
            yield Edits(self._connection)
            self._connection.execute("delete from origin")
            self._connection.execute("insert into origin values (?, ?)", (table_id, table_version))
            self._connection.execute("commit")
        except BaseException as error:
            with contextlib.suppress(sqlite3.Error):
                self._connection.rollback()
            if isinstance(error, sqlite3.Error):
                raise self._unusable(error) from error
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
        self.put_all((key, object_versions[key], path) for key in sorted(object_versions))

    def put_all(self, rows: Iterable[tuple[str, str, str]]) -> None:
        """Record rows: key, version, path of the data file.

        In the order of their keys they cost the same whatever their number, and no memory.
        """
        files: dict[str, int] = {}

        def values() -> Iterator[tuple[str, str, int]]:
            for key, version, path in rows:
                if path not in files:
                    files[path] = self._file(path, key)
                yield key, version, files[path]

        self._run_many("insert or replace into rows values (?, ?, ?)", values())

    def _file(self, path: str, first_key: str) -> int:
        self._run(
            "insert into files (path, first_key) values (?1, ?2) on conflict (path) "
            "do update set first_key = min(first_key, ?2)",
            (path, first_key),
        )
        ((file,),) = self._run("select file from files where path = ?", (path,)).fetchall()
        return int(file)

    def drop_keys(self, keys: Iterable[str]) -> None:
        self._run_many("delete from rows where key = ?", ((key,) for key in keys))

    def move(self, old: str, new: str) -> None:
        """Record that the remaining rows of file ``old`` were rewritten as file ``new``."""
        self._run("update files set path = ? where path = ?", (new, old))

    def drop_file(self, path: str) -> None:
        """Drop a file, and its rows except those that :meth:`put` has recorded for another."""
        self._run("delete from files where path = ?", (path,))


def digest_of(path: Path) -> str:
    """The digest of an index's file, and of what this version of the code expects in it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.sha256(_TABLES.encode())).hexdigest()
