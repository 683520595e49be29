"""Keyed tables under test: opened, with data files to commit, and read as any reader would."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from processor.store import datafiles, delta
from processor.store.datafiles import KeyedFile
from processor.store.delta import Table
from processor.store.keyed import KeyedTable

SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
    ]
)


def write(folder: str, versions: dict[str, str]) -> KeyedFile:
    rows = {"key": list(versions), "version": list(versions.values())}
    return KeyedFile(datafiles.write(folder, pa.table(rows, schema=SCHEMA)), versions)


def table_of(folder: str, written: Sequence[Mapping[str, str]]) -> Table:
    """A table with a data file of each, versions by key; a key has the last of its versions."""
    rows = {key: version for each in written for key, version in each.items()}
    table = delta.create_table(folder, SCHEMA, "a description")
    own = [{key: rows.pop(key) for key in each if key in rows} for each in written]
    table.commit(SCHEMA, [write(folder, each).file for each in own if each], [])
    return table


@contextlib.contextmanager
def readings() -> Iterator[list[str]]:
    """The paths of the data files whose columns were read."""
    read: list[str] = []
    real = Table.read_columns

    def noted(self: Table, path: str, columns: object) -> pa.Table:
        read.append(path)
        return real(self, path, columns)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Table, "read_columns", noted)
        yield read


def content(folder: str) -> dict[str, str]:
    """The table as any reader sees it, checked for double keys and wrong statistics."""
    table = delta.open_table(folder)
    assert table is not None
    rows = table.dataset().to_table().to_pylist()
    assert len({row["key"] for row in rows}) == len(rows) == table.rows
    return {row["key"]: row["version"] for row in rows}


def opened(folder: str, index: Path) -> KeyedTable:
    return KeyedTable(folder, SCHEMA, index, "a description")
