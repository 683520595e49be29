"""The schema: the columns that readers of the tables rely on; they survive Delta and Parquet."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from processor.store import datafiles, delta, schema
from processor.store.schema import FEATURES, REJECTS

NOON = datetime(2026, 11, 22, 12, 0, 0, 123456, UTC)
ROWS = {
    "features": (
        FEATURES,
        {
            "key": "photos/a.jpg",
            "version": "1",
            "label": None,
            "width": 40,
            "height": 30,
            "event_time": NOON,
            "model": "vgg16",
            "features": [0.5, 1.5],
        },
    ),
    "rejects": (
        REJECTS,
        {
            "key": "photos/a.jpg",
            "version": "",
            "reason": "empty",
            "detail": "no bytes",
            "attempts": 1,
            "at": NOON,
        },
    ),
    "reduced": (
        schema.reduced(2),
        {"key": "photos/a.jpg", "label": None, "pc1": 0.5, "pc2": -1.5},
    ),
}


def described(columns: pa.Schema) -> list[str]:
    return [f"{each.name} {each.type}{'' if each.nullable else '!'}" for each in columns]


def test_the_columns_are_the_published_ones() -> None:
    """To change a line here is to change the contract with every reader of the tables."""
    assert described(FEATURES) == [
        "key string!",
        "version string!",
        "label string",
        "width int32!",
        "height int32!",
        "event_time timestamp[us, tz=UTC]!",
        "model string!",
        "features list<element: float not null>!",
    ]
    assert described(REJECTS) == [
        "key string!",
        "version string!",
        "reason string!",
        "detail string!",
        "attempts int32!",
        "at timestamp[us, tz=UTC]!",
    ]


@pytest.mark.parametrize("components", [1, 3, 64])
def test_the_matrix_has_a_column_for_each_component(components: int) -> None:
    wanted = ["key string!", "label string"]
    wanted += [f"pc{n} float!" for n in range(1, components + 1)]
    assert described(schema.reduced(components)) == wanted


@pytest.mark.parametrize("name", ROWS)
def test_they_survive_parquet_and_delta(folder: str, name: str) -> None:
    columns, row = ROWS[name]
    rows = pa.Table.from_pylist([row], schema=columns)
    file = datafiles.write(folder, rows)
    assert datafiles.read(folder, file.path).schema == columns
    table = delta.create_table(folder, columns, "")
    table.commit(columns, [file], [])
    opened = delta.open_table(folder)
    assert opened
    assert opened.columns == columns
    assert opened.dataset().to_table().to_pylist() == [row]
