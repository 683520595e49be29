"""The reasons: all rows counted, a few shown."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from processor.report.reasons import EXAMPLES, groups
from processor.report.summary import Group
from processor.store import datafiles
from processor.store.schema import REJECTS


def written(folder: Path, *rows: tuple[str, str]) -> str:
    """A data file of rejects/ with these keys and reasons."""
    columns = {
        "key": [key for key, _ in rows],
        "version": ["1"] * len(rows),
        "reason": [reason for _, reason in rows],
        "detail": [f"about {key}" for key, _ in rows],
        "attempts": [1] * len(rows),
        "at": [datetime(2026, 11, 1, tzinfo=UTC)] * len(rows),
    }
    return datafiles.write(str(folder), pa.table(columns, schema=REJECTS)).path


def test_groups(tmp_path: Path) -> None:
    first = written(tmp_path, *((f"a{n}", "corrupt") for n in range(2)), ("<b>", "empty"))
    second = written(tmp_path, *((f"c{n}", "corrupt") for n in range(9)))
    corrupt, empty = groups(str(tmp_path), [first, second])
    assert (corrupt.reason, corrupt.photos, len(corrupt.examples)) == ("corrupt", 11, EXAMPLES)
    assert all(detail == f"about {key}" for key, detail in corrupt.examples)
    assert empty == Group("empty", 1, [("<b>", "about <b>")])


def test_without_rows_there_are_none(tmp_path: Path) -> None:
    assert groups(str(tmp_path), []) == []
