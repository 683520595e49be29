"""Parts: what was written is read back; one that is gone is an error."""

from pathlib import Path

import pyarrow as pa
import pytest

from processor.report import parts


def test_round_trip(tmp_path: Path) -> None:
    table = pa.table({"key": ["a", "\u202e<script>"], "thumbnail": [b"\0", None]})
    name = parts.write(str(tmp_path), table)
    assert parts.read(str(tmp_path), name) == table
    assert parts.write(str(tmp_path), table) != name


def test_a_part_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        parts.read(str(tmp_path), "none.arrow")
