"""Keyed tables in memory, for a model checker: what is shared is a value, and each access a request.

:class:`FakeTable` does what :class:`KeyedTable` does, but asks for each access to what it shares with
other writers. tests/processor/store/test_keyed.py runs the same steps with both and compares.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from processor.errors import CommitConflict
from processor.store.datafiles import DataFile, KeyedFile
from processor.store.index import Location
from processor.store.keyed import KeyedTable, Rewrites

Row = tuple[tuple[str, Any], ...]  # sorted items


class Shared(NamedTuple):
    """A table as all writers share it: by key, each row and the path of its data file.

    ``named`` has the keys that each commit was about, up to the newest.
    """

    version: int = 0
    named: tuple[frozenset[str], ...] = ()
    rows: frozenset[tuple[str, Row, object]] = frozenset()


class Refresh(NamedTuple):
    table: str


class Commit(NamedTuple):
    table: str
    planned_on: int
    added: frozenset[tuple[str, Row, object]]
    dropped: frozenset[str]
    named: frozenset[str]


class Touched(NamedTuple):
    table: str
    since: int
    until: int


Access = Refresh | Commit | Touched


def access(shared: Shared, request: Access) -> tuple[object, Shared]:
    """The answer to a request, and the table afterwards."""
    if isinstance(request, Refresh):
        return (shared.version, shared.rows), shared
    if isinstance(request, Touched):
        first = shared.version - len(shared.named)
        named = shared.named[request.since - first : request.until - first]
        return frozenset().union(*named), shared
    if request.planned_on != shared.version:
        return False, shared
    kept = {row for row in shared.rows if row[0] not in request.dropped}
    rows = frozenset(kept | request.added)
    assert len({key for key, _, _ in rows}) == len(rows), f"two rows of a key: {sorted(rows)}"
    return True, Shared(shared.version + 1, (*shared.named, request.named), rows)


class FakeTable(KeyedTable):
    """One writer's view; ``ask`` answers its requests, ``new_path`` names its files."""

    def __init__(
        self, name: str, ask: Callable[[Access], Any], new_path: Callable[[], object]
    ) -> None:
        self.folder = name
        self._ask = ask
        self._new_path = new_path
        self._version = -1
        self._rows: dict[str, tuple[Row, object]] = {}
        self._written: dict[object, dict[str, Row]] = {}

    @property
    def table_version(self) -> int:
        assert self._version >= 0, "used before it was refreshed"
        return self._version

    def has_file(self, path: object) -> bool:
        return any(path == there for _, there in self._rows.values())

    def find(self, keys: Iterable[str]) -> dict[str, Location]:
        found = {key: self._rows[key] for key in keys if key in self._rows}
        return {key: Location(dict(row)["version"], path) for key, (row, path) in found.items()}

    def rows(
        self, keys: Iterable[str], columns: Sequence[str] | None = None
    ) -> dict[str, dict[str, Any]]:
        found = {key: dict(self._rows[key][0]) for key in keys if key in self._rows}
        return {key: {name: row[name] for name in columns or row} for key, row in found.items()}

    def unaffordable(self, keys: Iterable[str]) -> set[str]:
        return set()

    def __len__(self) -> int:
        return len(self._rows)

    def close(self) -> None:
        pass

    def write(self, rows: Sequence[Mapping[str, object]]) -> KeyedFile:
        """Without times and details, which nobody decides by."""
        told = [{name: row[name] for name in row if name not in ("at", "detail")} for row in rows]
        file = self._file({row["key"]: tuple(sorted(row.items())) for row in told})
        return KeyedFile(file, {row["key"]: row["version"] for row in told})

    def without(self, file: DataFile, keys: Collection[str]) -> DataFile | None:
        left = {key: row for key, row in self._written[file.path].items() if key not in keys}
        return self._file(left) if left else None

    def refresh(self) -> None:
        self._version, rows = self._ask(Refresh(self.folder))
        self._rows = {key: (row, path) for key, row, path in rows}

    def touched(self, keys: Collection[str], since: int) -> set[str]:
        if self.table_version == since:
            return set()
        named = self._ask(Touched(self.folder, since, self.table_version))
        return set(keys) & named

    def commit(
        self,
        added: Sequence[KeyedFile],
        dropped: Collection[str],
        metadata: Mapping[str, object],
        *,
        about: Iterable[str] = (),
        rewrites: Rewrites | None = None,
    ) -> None:
        planned_on = self.table_version
        rows = frozenset(
            (key, row, each.file.path)
            for each in added
            for key, row in self._written[each.file.path].items()
        )
        named = frozenset({key for key, _, _ in rows}.union(dropped, about))
        if not self._ask(Commit(self.folder, planned_on, rows, frozenset(dropped), named)):
            raise CommitConflict("another writer was first")
        self._version, rows = self._ask(Refresh(self.folder))
        if self._version == planned_on + 1:  # otherwise the index waits for the next refresh
            self._rows = {key: (row, path) for key, row, path in rows}

    def _file(self, rows: dict[str, Row]) -> DataFile:
        path = self._new_path()
        self._written[path] = rows
        return DataFile(path, 1, len(rows), min(rows), max(rows))
