"""Tables that somebody has altered: what is theirs to set, and one line for what cannot be kept to."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, Field
from deltalake.table import TableFeatures

from processor.errors import StoreError
from processor.store import datafiles, delta
from processor.store.datafiles import DataFile

SCHEMA = pa.schema([pa.field("key", pa.string(), nullable=False)])


def write(folder: str, *keys: str) -> DataFile:
    return datafiles.write(folder, pa.table({"key": list(keys)}, schema=SCHEMA))


def add_feature(feature: TableFeatures) -> Callable[[DeltaTable], object]:
    return lambda table: table.alter.add_feature(feature, allow_protocol_versions_increase=True)


def set_properties(**properties: str) -> Callable[[DeltaTable], object]:
    named = {name.replace("_", "."): value for name, value in properties.items()}
    return lambda table: table.alter.set_table_properties(named, raise_if_not_exists=False)


def protocol(**members: Any) -> Callable[[DeltaTable], object]:
    """Require what delta-rs does not know, as a newer writer could."""
    entry = {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, **members}}

    def write_entry(table: DeltaTable) -> None:
        log = Path(table.table_uri.removeprefix("file://"), "_delta_log")
        (log / f"{table.version() + 1:020}.json").write_text(json.dumps(entry))

    return write_entry


REFUSED: dict[str, tuple[Callable[[DeltaTable], object], str]] = {
    "append-only": (set_properties(delta_appendOnly="true"), "delta.appendOnly to false"),
    "a constraint": (
        lambda table: table.alter.add_constraint({"short": "key <> 'long'"}),
        "DROP CONSTRAINT short",
    ),
    "deletion vectors": (add_feature(TableFeatures.DeletionVectors), "'deletionVectors'"),
    "column mapping": (add_feature(TableFeatures.ColumnMapping), "'columnMapping'"),
    "a reader feature": (
        protocol(readerFeatures=["wonderful"], writerFeatures=["wonderful"]),
        "wonderful",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_kept_to_is_named_with_its_fix(folder: str, name: str) -> None:
    alter, words = REFUSED[name]
    running = delta.create_table(folder, SCHEMA)
    running.commit(SCHEMA, [write(folder, "a")], [])
    alter(DeltaTable(folder))
    for use in (
        running.refresh,
        lambda: delta.open_table(folder),
        lambda: delta.create_table(folder, SCHEMA),
    ):
        with pytest.raises(StoreError) as raised:
            use()
        assert words in str(raised.value)
        assert str(raised.value).startswith(folder)
        assert "\n" not in str(raised.value)


def test_a_refusal_of_a_commit_is_not_a_conflict(folder: str) -> None:
    delta.create_table(folder, SCHEMA)
    protocol(minReaderVersion=1, writerFeatures=["rowTracking", "domainMetadata"])(
        DeltaTable(folder)
    )
    opened = delta.open_table(folder)
    assert opened
    with pytest.raises(StoreError, match=r"RowTracking.*storage\.store_prefix"):
        opened.commit(SCHEMA, [write(folder, "a")], [])


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (pa.field("key", pa.int64(), nullable=False), "'key' is int64, not string"),
        (pa.field("other", pa.string()), "'key' is missing, not string"),
    ],
)
def test_other_columns_are_refused(folder: str, field: pa.Field, words: str) -> None:
    delta.create_table(folder, pa.schema([field]))
    with pytest.raises(StoreError, match=words):
        delta.create_table(folder, SCHEMA)


def test_what_is_anybodys_to_set_changes_nothing(folder: str) -> None:
    ours = delta.create_table(folder, SCHEMA, "a network")
    ours.commit(SCHEMA, [file := write(folder, "a")], [])
    theirs = DeltaTable(folder)
    theirs.alter.set_table_description("photos of our shops")
    theirs.alter.set_table_name("fruits")
    theirs.alter.add_columns([Field("note", "string")])
    set_properties(delta_enableChangeDataFeed="true", team="fruits")(theirs)
    ours.refresh()
    assert ours.network == "a network"
    opened = delta.create_table(folder, SCHEMA, "another")
    assert opened.network == "a network"
    opened.commit(SCHEMA, [write(folder, "b")], [file.path])
    assert opened.dataset().to_table().to_pylist() == [{"key": "b", "note": None}]
