"""The tasks of the matrix: statistics, projections and CSV of data files, batch by batch."""

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from processor.matrix import pca, tasks
from processor.matrix.moments import Statistics
from processor.store import datafiles, schema
from tests.support.feature_files import features_table
from tests.support.spectra import geometric, sample

ROWS = tasks.READ_ROWS + 100  # of the first file: more than one batch
FIRST, SECOND = sample(ROWS, geometric), sample(7, geometric, seed=1, mean=3.0)


@pytest.fixture
def source(tmp_path: Path) -> str:
    return str(tmp_path / "features")


@pytest.fixture
def paths(source: str) -> list[str]:
    """Two data files of features."""
    tables = features_table(FIRST), features_table(SECOND, first=ROWS)
    return [datafiles.write(source, each).path for each in tables]


def test_statistics_are_those_of_all_rows(source: str, paths: list[str]) -> None:
    found = tasks.statistics(source, paths)
    wanted = Statistics.of(np.concatenate([FIRST, SECOND]))
    assert found
    assert found.count == wanted.count
    np.testing.assert_allclose(found.mean, wanted.mean, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.scatter, wanted.scatter, atol=1e-5 * wanted.scatter.max())
    assert tasks.statistics(source, []) is None


@pytest.mark.parametrize("lengths", [(2, 3), (1, 3)])
def test_features_of_unequal_length_are_an_error(source: str, lengths: tuple[int, int]) -> None:
    odd = [np.ones(length, np.float32) for length in lengths]
    table = features_table(np.ones((2, 2), np.float32))
    features = pa.array(odd, table.schema.field("features").type)
    at = table.schema.get_field_index("features")
    table = table.set_column(at, table.schema.field(at), features)
    path = datafiles.write(source, table).path
    with pytest.raises(ValueError, match="unequal length"):
        tasks.statistics(source, [path])


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("new", [False, True])
def test_each_file_has_a_counterpart_with_its_rows(
    tmp_path: Path, source: str, paths: list[str], whiten: bool, new: bool
) -> None:
    target = str(tmp_path / "reduced")
    model = pca.fit(Statistics.of(FIRST), 3, whiten=whiten)
    made = list(tasks.project(paths, source, target, "MODEL", model, new=new))
    assert [each.file.path for each in made] == [f"MODEL/{path}" for path in paths]
    for each, path, rows in zip(made, paths, (FIRST, SECOND), strict=True):
        found = datafiles.read(target, each.file.path)
        assert found.schema == schema.reduced(3)
        assert each.file.rows == len(found) == len(rows)
        origin = datafiles.read(source, path, ["key", "label"])
        assert found.select(["key", "label"]).equals(origin)
        coordinates = np.stack([found[f"pc{n}"].to_numpy() for n in (1, 2, 3)], axis=1)
        wanted = model.project(rows)
        np.testing.assert_allclose(coordinates, wanted, rtol=1e-5, atol=1e-5)
        residual = model.residual(rows, wanted) if new else 0.0
        assert each.residual == pytest.approx(residual, rel=1e-5)
    assert not new or made[0].residual > 0


def test_the_csv_has_all_rows_and_replaces_the_one_before(tmp_path: Path) -> None:
    folder, target = str(tmp_path / "reduced"), tmp_path / "reduced.csv"
    columns = schema.reduced(2)
    odd = 'photos/a "b",c/ü\n🍎.jpg'
    rows = [
        {"key": odd, "label": 'a "b",c', "pc1": 0.1, "pc2": -3.5e-8},
        {"key": "photos/b.jpg", "label": None, "pc1": 1e9, "pc2": 0.0},
        {"key": "photos/c.jpg", "label": "ü", "pc1": -0.0, "pc2": 1 / 3},
    ]
    tables = [pa.Table.from_pylist(each, schema=columns) for each in (rows[:2], rows[2:])]
    paths = [datafiles.write(folder, each).path for each in tables]

    def written(paths: list[str]) -> list[dict[str, str]]:
        count = tasks.write_csv(paths, folder, columns, str(target), {"model": "MODEL"})
        with target.open(newline="") as file:
            lines = list(csv.DictReader(file))
        assert count == len(lines)
        return lines

    lines = written(paths)
    assert [line["key"] for line in lines] == [row["key"] for row in rows]
    assert [line["label"] for line in lines] == ['a "b",c', "", "ü"]
    for line, row in zip(lines, rows, strict=True):
        assert [np.float32(line[axis]) for axis in ("pc1", "pc2")] == [
            np.float32(row[axis]) for axis in ("pc1", "pc2")
        ]
    assert len(written(paths[1:])) == 1
    assert written([]) == []
    assert target.read_text() == '"key","label","pc1","pc2"\n'
