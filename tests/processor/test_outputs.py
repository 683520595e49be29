"""docs/outputs.md: its blocks of Python are run, in order, on a store that the service filled."""

import re
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from pyspark.sql import SparkSession

from common.layout import StoreLayout
from processor.matrix import pca
from processor.matrix.moments import Statistics
from processor.report.report import Report
from processor.spark.background import Background
from tests.support.drawn_photos import photo
from tests.support.matrices import matrix
from tests.support.reports import page, source
from tests.support.world import World

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docs" / "outputs.md"
PAGE = FILE.read_text(encoding="utf-8")
BUCKET = "fruits-photos"
LABELS = ["Mango", "NA", "007", "=1+1", "'quoted"]
PHOTOS = 30  # of these labels, and two without one


def blocks(language: str, *, heading: str = "") -> list[tuple[int, str]]:
    """The blocks in a language, each with the number of its first line, of one section or of all."""
    found, at = [], ""
    lines = PAGE.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("## "):
            at = line.removeprefix("## ")
        if line == f"```{language}" and heading in ("", at):
            end = lines.index("```", number)
            found.append((number + 1, "\n".join(lines[number + 1 : end])))
    return found


@pytest.fixture
def filled(world: World, spark: SparkSession) -> World:
    """A store with versions, rejects, a matrix and its CSV."""
    keys = [f"photos/Fruit/{LABELS[n % len(LABELS)]}/{n}.jpg" for n in range(PHOTOS)]
    puts = [world.put(key, photo(n)) for n, key in enumerate(keys)]
    world.handle(*puts[:10])
    reduced = matrix(world, spark)
    reduced.update(force=True)
    bad = [world.put("photos/Fruit/Mango/bad.jpg", b"no photo"), world.put("photos/bad.jpg", b"")]
    world.handle(*puts[10:], *bad, *(world.put(f"photos/{n}.jpg", photo(90 + n)) for n in (1, 2)))
    reduced.update(force=True)
    reduced.export()
    tasks = Background(spark.sparkContext, lambda: 2)
    Report(world.recipe.layout.store, tasks, source(world.bucket), page).update()
    return world


def run(world: World) -> dict[str, object]:
    """Run the page's Python as written but for the bucket's name; an error names its line there."""
    names: dict[str, object] = {"__name__": "outputs"}
    for number, code in blocks("python"):
        text = "\n" * number + code.replace(f"s3://{BUCKET}/", f"s3://{world.bucket}/")
        exec(compile(text, str(FILE), "exec"), names)
    return names


def test_the_page(
    filled: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AWS_ALLOW_HTTP", raising=False)
    found = run(filled)
    assert "3 components keep" in capsys.readouterr().out
    stored = filled.features()
    assert len(stored) == PHOTOS + 2
    _check_rows(found, stored)
    _check_polars(found)
    _check_duckdb(found)
    _check_spark(found, stored)
    _check_whitened(found)
    _check_queries(found)
    _check_an_old_version(found)


def _check_rows(found: dict, stored: dict) -> None:
    assert found["yesterday"].version() == found["features"].version() - 1
    assert found["then"].version() == found["features"].version()
    assert dict(zip(found["rows"]["key"].to_pylist(), found["X"].tolist(), strict=True)) == {
        key: row["features"] for key, row in stored.items()
    }
    np.testing.assert_allclose(found["mean"], found["X"].mean(axis=0), rtol=1e-5)
    assert found["mangos"].num_rows == 6
    assert set(found["matrix"].index) == set(stored)
    csv = found["csv"].set_index("key")["label"].dropna()
    assert csv.to_dict() == {k: row["label"] for k, row in stored.items() if row["label"]}
    assert len(found["csv"]) == len(stored)
    assert len(found["guess"]) == 2
    assert set(found["shown"]["key"]) == set(stored)
    assert len(found["like_the_first"]) == 10
    assert 0 <= found["accuracy"] <= 1


def _check_polars(found: dict) -> None:
    assert found["earlier"].shape == (10, found["X"].shape[1])
    assert set(found["by_label"]["label"]) == {*LABELS, None}
    shares = found["rejected"].sort("label", nulls_last=True)
    assert shares.select("label", "reason", "rejected", "share").rows() == [
        ("Mango", "unsupported", 1, 1 / 7),
        (None, "empty", 1, 1 / 3),
    ]


def _check_duckdb(found: dict) -> None:
    reasons = {reason: count for reason, count, _ in found["reasons"]}
    assert reasons == {"unsupported": 1, "empty": 1}
    assert sum(count for _, count, _ in found["counts"]) == PHOTOS + 2
    unit = found["X"] / np.linalg.norm(found["X"], axis=1, keepdims=True)
    others = zip((unit[1:] @ unit[0]).tolist(), found["rows"]["key"].to_pylist()[1:], strict=True)
    best = sorted((-cosine, key) for cosine, key in others)[:10]
    assert {key for key, _, _ in found["nearest"]} == {key for _, key in best}
    np.testing.assert_allclose([c for *_, c in found["nearest"]], [-c for c, _ in best], atol=1e-5)


def _check_spark(found: dict, stored: dict) -> None:
    by_task = {row["key"]: (row["label"], row["features"]) for row in found["frame"].collect()}
    assert by_task == {key: (row["label"], row["features"]) for key, row in stored.items()}
    assert found["points"].count() == len(stored)


def _check_whitened(found: dict) -> None:
    """The page's projection by hand is also that of a whitened model, with a column of no variance."""
    rows = np.random.default_rng(3).normal(2, 1, (50, 6)).astype(np.float32)
    rows[:, 5] = 1
    for whiten in (True, False):
        fitted = pca.fit(Statistics.of(rows), 6, whiten=whiten)
        np.testing.assert_allclose(
            found["project"](rows, vars(fitted)), fitted.project(rows), rtol=1e-4, atol=1e-4
        )


def _check_queries(found: dict) -> None:
    """What Athena is asked, DuckDB answers too."""
    connection = duckdb.connect()
    connection.execute("CREATE SCHEMA fruits")
    tables = {"features": found["photos"], "rejects": found["rejects"]}
    tables["reduced"] = found["reduced"].to_pyarrow_dataset()
    for name, dataset in tables.items():
        connection.register(f"the_{name}", dataset)
        connection.execute(f"CREATE TABLE fruits.{name} AS SELECT * FROM the_{name}")
    _, (_, queries) = blocks("sql", heading="Athena")
    answers = [connection.execute(each).fetchall() for each in queries.split(";") if each.strip()]
    by_label, reasons, joined = answers
    assert [len(by_label), len(reasons), len(joined)] == [6, 2, 6]


def _check_an_old_version(found: dict) -> None:
    """A version whose files are gone fails, in each tool as the page says; the newest is whole."""
    before: DeltaTable = found["table"]("reduced", 1)
    uri, options = before.table_uri, found["options"]()
    dataset = before.to_pyarrow_dataset()  # noqa: F841 - DuckDB finds it by its name
    newest: DeltaTable = found["table"]("reduced")
    assert newest.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(FileNotFoundError):
        before.to_pyarrow_table()
    with pytest.raises(FileNotFoundError):
        pl.scan_delta(uri, version=1, storage_options=options).collect()
    with pytest.raises(duckdb.Error):
        duckdb.sql("SELECT sum(pc1) FROM dataset").fetchall()
    with pytest.raises(DeltaError):
        found["table"]("reduced", 99)
    assert found["table"]("reduced").to_pyarrow_table().num_rows == PHOTOS + 2


def test_what_is_not_run_parses() -> None:
    ((_, extension),) = blocks("sql", heading="DuckDB")
    statements = duckdb.extract_statements(extension)
    assert len(statements) == 9
    (_, definitions), _ = blocks("sql", heading="Athena")
    named = re.findall(
        r"^CREATE EXTERNAL TABLE fruits\.(\w+) LOCATION '(\S+)/' TBLPROPERTIES "
        r"\('table_type' = 'DELTA'\);$",
        definitions,
        re.MULTILINE,
    )
    layout = StoreLayout(f"s3://{BUCKET}/")
    assert named == [(each, getattr(layout, each)) for each in ("features", "rejects", "reduced")]
    assert len(definitions.splitlines()) == 1 + len(named)


@pytest.mark.parametrize("page", ["outputs.md", "features.md"])
def test_links_lead_somewhere(page: str) -> None:
    file = FILE.with_name(page)
    for name, anchor in re.findall(r"\]\(([\w./]*)(?:#([\w-]+))?\)", file.read_text("utf-8")):
        target = file.parent / name if name else file
        heads = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.MULTILINE)
        assert not anchor or anchor in {
            re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in heads
        }
