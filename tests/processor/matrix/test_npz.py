"""npz: arrays are restored bit for bit, damage is detected, and nothing is ever unpickled."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from processor.matrix.npz import pack, unpack

light = settings(max_examples=60, deadline=None)

NAMES = st.sampled_from(["mean", "count", "about", "ü"])
# NumPy takes NULs at the end of a string for padding.
TEXTS = st.text(st.characters(codec="utf-8"), max_size=9).filter(lambda text: text[-1:] != "\0")
SCALARS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.booleans() | TEXTS
ARRAYS = hnp.arrays(
    st.sampled_from(["<f4", "<f8", "<i8", "?", "<U3"]),
    hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4),
)
CONTENTS = st.dictionaries(NAMES, SCALARS | ARRAYS)


def assert_equal(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        if isinstance(value, np.ndarray):
            assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
            assert found[name].tobytes() == value.tobytes()
        else:
            assert (type(found[name]), found[name]) == (type(value), value)


@light
@given(CONTENTS, st.sampled_from(["pca/1", "statistics/1"]))
def test_what_was_packed_is_unpacked(contents: dict[str, Any], kind: str) -> None:
    data = pack(kind, **contents)
    assert_equal(unpack(kind, data, contents), contents)
    assert pack(kind, **contents) == data


def test_the_bytes_do_not_depend_on_the_time() -> None:
    with zipfile.ZipFile(io.BytesIO(pack("pca/1", mean=np.zeros(3)))) as archive:
        assert {each.date_time for each in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_only_what_was_asked_for_is_read() -> None:
    data = pack("pca/1", mean=np.zeros(3), count=7)
    assert unpack("pca/1", data, ["count"]) == {"count": 7}
    with pytest.raises(ValueError, match=r"not pca/1: .*axes"):
        unpack("pca/1", data, ["axes"])


def test_bytes_of_another_kind_are_refused() -> None:
    data = pack("pca/1", mean=np.zeros(3))
    with pytest.raises(ValueError, match="not statistics/1: they are pca/1"):
        unpack("statistics/1", data, ["mean"])
    anybodys = io.BytesIO()
    np.savez(anybodys, mean=np.zeros(3))
    with pytest.raises(ValueError, match="not pca/1"):
        unpack("pca/1", anybodys.getvalue(), ["mean"])


@light
@given(st.data())
def test_damaged_bytes_are_refused_or_harmless(data: st.DataObject) -> None:
    contents = {"mean": np.arange(5.0), "count": 7}
    good = pack("pca/1", **contents)
    place = data.draw(st.integers(0, len(good) - 1))
    if data.draw(st.booleans()):
        bad = good[:place]
    else:
        flipped = good[place] ^ 1 << data.draw(st.integers(0, 7))
        bad = good[:place] + bytes([flipped]) + good[place + 1 :]
    try:
        found = unpack("pca/1", bad, contents)
    except ValueError:
        return
    assert_equal(found, contents)


class Touches:
    """An attack: whoever unpickles it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_pickles_are_neither_written_nor_read(tmp_path: Path) -> None:
    hostile = np.array([Touches(tmp_path / "touched")], dtype=object)
    with pytest.raises(ValueError, match="allow_pickle"):
        pack("pca/1", mean=hostile)
    file = io.BytesIO()
    np.savez(file, kind="pca/1", mean=hostile)
    with pytest.raises(ValueError, match="not pca/1"):
        unpack("pca/1", file.getvalue(), ["mean"])
    assert not (tmp_path / "touched").exists()
