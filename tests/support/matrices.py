"""A matrix under test: photos to put, its updates, and what must be true of it at any time."""

import csv
import io

import numpy as np
from pyspark.sql import SparkSession

from processor.matrix import models
from processor.matrix.matrix import Matrix
from processor.matrix.mirror import mirrored_version, model_name
from processor.matrix.refit_policy import RefitPolicy
from processor.spark.background import Background
from processor.store import delta
from tests.support.drawn_photos import photo
from tests.support.world import World

NEVER = RefitPolicy(components=3)


def matrix(world: World, spark: SparkSession, policy: RefitPolicy = NEVER) -> Matrix:
    return Matrix(world.recipe.layout.store, policy, Background(spark.sparkContext, lambda: 2))


def put(world: World, *numbers: int) -> None:
    world.handle(*(world.put(f"photos/L{n % 3}/{n}.jpg", photo(n)) for n in numbers))


def assert_whole(world: World) -> dict[str, dict]:
    """Its keys are those of the features version it names; its rows are exact and of one model."""
    reduced = delta.open_table(f"s3://{world.bucket}/reduced")
    assert reduced is not None
    version = mirrored_version(reduced)
    features = delta.open_table(f"s3://{world.bucket}/features", version)
    assert features is not None
    (name,) = {path.partition("/")[0] for path in reduced.paths()}
    model = models.read(world.recipe.layout.store, name)
    assert model is not None
    rows = {row["key"]: row for row in reduced.dataset().to_table().to_pylist()}
    source = features.dataset().to_table().to_pylist()
    assert len(source) == reduced.rows == len(rows)
    for row in source:
        expected = model.pca.project(np.array([row["features"]], np.float32))[0]
        found = [rows[row["key"]][f"pc{n + 1}"] for n in range(len(expected))]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
        assert rows[row["key"]]["label"] == row["label"]
    return rows


def assert_csv_whole(world: World) -> set[str]:
    """reduced.csv is exactly the version of the matrix that it names. Returns its keys."""
    answer = world.s3.get_object(Bucket=world.bucket, Key="reduced.csv")
    about, text = answer["Metadata"], answer["Body"].read().decode()
    lines = {line["key"]: line for line in csv.DictReader(io.StringIO(text, newline=""))}
    table = delta.open_table(f"s3://{world.bucket}/reduced", int(about["reduced-version"]))
    assert table is not None
    assert about["model"] == model_name(table)
    assert about["features-version"] == str(mirrored_version(table))
    rows = table.dataset().to_table().to_pylist()
    assert len(rows) == len(lines)
    for row in rows:
        line = lines[row["key"]]
        assert line["label"] == (row["label"] or "")
        names = [name for name in row if name.startswith("pc")]
        found = [float(line[name]) for name in names]
        np.testing.assert_allclose(found, [row[name] for name in names], rtol=1e-5, atol=1e-7)
    return set(lines)
