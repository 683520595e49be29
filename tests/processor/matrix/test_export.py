"""The export: reduced.csv is the matrix of the last refit, written once per refit."""

import csv
import io
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from common.layout import StoreLayout
from processor.matrix.export import CsvExport
from processor.matrix.matrix import Matrix, Update
from processor.matrix.mirror import model_name
from processor.matrix.refit_policy import RefitPolicy
from processor.matrix.tasks import write_csv
from processor.store import datafiles, delta, objects
from processor.store.lease import Lease
from processor.store.schema import reduced
from tests.support.disks import small_disk
from tests.support.drawn_photos import photo
from tests.support.feature_files import commit_features, features_table
from tests.support.in_process import InThisProcess
from tests.support.matrices import assert_csv_whole, assert_whole, matrix, put
from tests.support.spectra import geometric, sample
from tests.support.world import World


def exported(matrix: Matrix, *, force: bool = False) -> Update | None:
    """What the update did that the CSV was written after."""
    done = matrix.update(force=force)
    matrix.export()
    return done


def test_csv_has_the_rows_of_the_table(world: World, spark: SparkSession) -> None:
    key = 'photos/a "b",c/ü\n🍎.jpg'
    world.handle(world.put(key, photo(99)), world.put("photos/plain.jpg", photo(98)))
    put(world, *range(5))
    exported(matrix(world, spark))
    assert assert_csv_whole(world) == set(assert_whole(world)) == set(world.features())


FORMULAS = [
    "=1+2",
    "+1",
    "-1",
    "@A1",
    "\t=1",
    "\r=1",
    "\n=1",
    "\uff1d1",
    "\uff0b1",
    "\uff0d1",
    "\uff201",
]
LABELS = [*FORMULAS, *(f"'{text}" for text in FORMULAS), "'", "''", "a=1", "plain"]


def test_no_label_is_a_formula_and_all_can_be_read_back(
    layout: StoreLayout, tmp_path: Path
) -> None:
    table = pa.table({"key": [f"photos/{n}" for n in range(len(LABELS))], "label": LABELS})
    folder = str(tmp_path)
    table = table.append_column("pc1", pa.array([-1.0] * len(LABELS), pa.float32()))
    paths = [datafiles.write(folder, table).path]
    write_csv(paths, folder, table.schema, layout.reduced_csv, {})
    text = (objects.get(layout.reduced_csv) or b"").decode()
    lines = list(csv.DictReader(io.StringIO(text, newline="")))
    assert not [line["label"] for line in lines if line["label"].startswith(tuple("=+-@\t\r\n"))]
    assert [line["label"].removeprefix("'") for line in lines] == LABELS
    assert [line["label"] for line in lines[-2:]] == LABELS[-2:]
    assert {line["pc1"] for line in lines} == {"-1"}


def test_the_csv_needs_no_disk(
    layout: StoreLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(tmp_path / "reduced")
    table = pa.Table.from_pylist(
        [{"key": f"photos/{n}", "label": "x" * 900, "pc1": 1.0, "pc2": 2.0} for n in range(12_000)],
        schema=reduced(2),
    )
    paths = [datafiles.write(folder, table).path]
    with small_disk(tmp_path / "tmp", 1 << 16) as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        assert write_csv(paths, folder, table.schema, layout.reduced_csv, {}) == len(table)
    text = (objects.get(layout.reduced_csv) or b"").decode()
    lines = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [line["key"] for line in lines] == table["key"].to_pylist()


def test_a_csv_that_fell_behind_is_brought_up(world: World, spark: SparkSession) -> None:
    put(world, *range(5))
    exported(matrix(world, spark))
    old = world.s3.get_object(Bucket=world.bucket, Key="reduced.csv")
    exported(matrix(world, spark), force=True)
    world.s3.put_object(  # as if the refit had ended right after its commit
        Bucket=world.bucket, Key="reduced.csv", Body=old["Body"].read(), Metadata=old["Metadata"]
    )
    assert exported(matrix(world, spark)) is None
    assert_csv_whole(world)
    answer = world.s3.head_object(Bucket=world.bucket, Key="reduced.csv")
    table = delta.open_table(f"s3://{world.bucket}/reduced")
    assert table
    assert answer["Metadata"]["model"] == model_name(table) != old["Metadata"]["model"]


@pytest.fixture
def layout(bucket: str) -> StoreLayout:
    return StoreLayout(f"s3://{bucket}/")


def refitted(layout: StoreLayout) -> str:
    """The name of a new model that the matrix is made with; its CSV is up to date."""
    exported(Matrix(layout, RefitPolicy(components=2), InThisProcess()), force=True)
    table = delta.open_table(layout.reduced)
    name = model_name(table) if table else None
    assert name
    assert objects.metadata(layout.reduced_csv)["model"] == name
    return name


def csv_model(layout: StoreLayout) -> str | None:
    return objects.metadata(layout.reduced_csv).get("model")


def test_without_a_matrix_there_is_no_csv(layout: StoreLayout) -> None:
    export = CsvExport(layout, InThisProcess())
    export.update(None)
    assert not objects.exists(layout.reduced_csv)
    delta.create_table(layout.reduced, reduced(2), "")
    export.update(None)
    assert not objects.exists(layout.reduced_csv)


def test_it_is_written_once_for_each_model(layout: StoreLayout) -> None:
    commit_features(layout, features_table(sample(9, geometric)))
    first = refitted(layout)
    export = CsvExport(layout, InThisProcess())
    export.update(first)
    objects.delete(layout.reduced_csv)  # to see whether it is written again
    export.update(first)
    export.update(None)
    assert csv_model(layout) is None
    CsvExport(layout, InThisProcess()).update(first)
    assert csv_model(layout) == first


def test_one_service_writes_it_at_a_time(layout: StoreLayout) -> None:
    commit_features(layout, features_table(sample(9, geometric)))
    Matrix(layout, RefitPolicy(components=2), InThisProcess()).update()
    export = CsvExport(layout, InThisProcess())
    with Lease(layout.csv_lease).held() as ours:
        assert ours
        export.update(None)
    assert csv_model(layout) is None
    export.update(None)
    assert csv_model(layout)


def test_no_csv_is_written_where_none_is_wanted(layout: StoreLayout) -> None:
    commit_features(layout, features_table(sample(9, geometric)))
    exported(Matrix(layout, RefitPolicy(components=2), InThisProcess(), csv=False))
    assert delta.open_table(layout.reduced)
    assert not objects.exists(layout.reduced_csv)


def test_a_csv_that_another_service_has_written_is_not_written_again(layout: StoreLayout) -> None:
    commit_features(layout, features_table(sample(9, geometric)))
    first = refitted(layout)
    export = CsvExport(layout, InThisProcess())
    export.update(first)
    second = refitted(layout)
    objects.upload(layout.reduced_csv, [b"by another"], "text/csv", {"model": second})
    export.update(second)
    assert objects.get(layout.reduced_csv) == b"by another"


@pytest.mark.parametrize("known", [True, False])
def test_a_refit_of_another_service_is_exported_too(layout: StoreLayout, known: bool) -> None:
    commit_features(layout, features_table(sample(9, geometric)))
    first = refitted(layout)
    export = CsvExport(layout, InThisProcess())
    export.update(first)
    second = refitted(layout)
    objects.delete(layout.reduced_csv)  # as if the other had died before it was written
    export.update(second if known else None)
    assert csv_model(layout) == second != first
