"""The data sources: what they read of a bucket, and what they leave alone."""

from pathlib import Path
from types import SimpleNamespace

import boto3
import numpy as np
import pyspark
import pytest
from pyspark.sql import SparkSession

from common.layout import StoreLayout
from notebooks import sources
from notebooks.sources import HADOOP, Photos, Table, photos, s3a_settings
from tests.support.aws import DeployedStack
from tests.support.feature_files import NOON, commit_features, features_table

NAMES = ["b/2 +é.jpg", "b/3.jpg", "a.jpg"]


@pytest.fixture
def reading(spark: SparkSession) -> SparkSession:
    spark.dataSource.register(Photos)
    spark.dataSource.register(Table)
    return spark


def test_photos_are_listed_or_read_as_the_columns_want(
    reading: SparkSession, stack: DeployedStack
) -> None:
    bucket = stack.bucket
    s3 = boto3.client("s3")
    for name in NAMES:
        s3.put_object(Bucket=bucket, Key=f"photos/{name}", Body=name.encode())
    s3.put_object(Bucket=bucket, Key="photos/folder/", Body=b"")
    s3.put_object(Bucket=bucket, Key="elsewhere/c.jpg", Body=b"c")
    folder = f"{bucket}/photos/"
    listed = photos(reading, folder, ["path", "length"]).collect()
    assert sorted((row.path, row.length) for row in listed) == sorted(
        (f"s3://{bucket}/photos/{name}", len(name.encode())) for name in NAMES
    )
    keys = [f"photos/{NAMES[0]}", "photos/gone.jpg"]
    read = photos(reading, folder, ["content", "path"], keys=keys).collect()
    assert {row.path.rpartition("/")[2]: row.content for row in read} == {
        "2 +é.jpg": NAMES[0].encode(),
        "gone.jpg": None,
    }


def test_a_listing_reads_no_object(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("an object was read")

    monkeypatch.setattr(sources.objects, "get", refuse)
    reader = sources._PhotoReader("s3://bucket/photos/", ["path", "length"], None)
    part = SimpleNamespace(value=[sources._Photo("photos/a.jpg", None, 3)])
    assert list(reader.read(part)) == [("s3://bucket/photos/a.jpg", 3)]


def test_tables_are_read_as_they_are(reading: SparkSession, tmp_path: Path) -> None:
    layout = StoreLayout(f"{tmp_path}/")
    values = np.arange(10, dtype=np.float32).reshape(5, 2)
    commit_features(layout, features_table(values[:2]), features_table(values[2:], first=2))
    whole = reading.read.format("table").load(layout.features)
    assert whole.rdd.getNumPartitions() == 2
    rows = {row.key: row.asDict() for row in whole.collect()}
    assert len(rows) == 5
    assert rows["photos/000003.jpg"] | {"event_time": None} == {
        "key": "photos/000003.jpg",
        "version": "1",
        "label": "L3",
        "width": 40,
        "height": 30,
        "event_time": None,
        "model": "vgg16-drawn",
        "features": [6.0, 7.0],
    }
    assert rows["photos/000003.jpg"]["event_time"].timestamp() == NOON.timestamp()
    some = reading.read.format("table").schema("label string, key string").load(layout.features)
    assert [tuple(row) for row in some.where("label = 'L1'").collect()] == [
        ("L1", "photos/000001.jpg")
    ]


def test_a_table_that_is_not_there_has_no_rows(reading: SparkSession, tmp_path: Path) -> None:
    nothing = reading.read.format("table").load(str(tmp_path / "rejects"))
    assert nothing.collect() == []
    assert "reason" in nothing.columns


def test_the_jar_for_s3a_is_that_of_this_spark() -> None:
    jars = Path(pyspark.__file__).parent / "jars"
    assert (jars / f"hadoop-client-api-{HADOOP}.jar").exists()
    found = s3a_settings({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
    assert found["spark.jars.packages"] == f"org.apache.hadoop:hadoop-aws:{HADOOP}"
    assert found["spark.hadoop.fs.s3a.endpoint"] == "http://127.0.0.1:1"
    assert "spark.hadoop.fs.s3a.endpoint" not in s3a_settings({})
