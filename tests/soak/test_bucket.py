"""The soak's view of a bucket: what is live, what the tables say, and what is amiss with the matrix."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from common.aws import forget
from common.layout import REPORT_MAP, REPORT_PAGE
from infra_scripts.embedded import EmbeddedAws
from ingest.events import message
from processor.store import datafiles, delta, schema
from tests.soak.bucket import SoakBucket, causes
from tests.soak.contents import contents
from tests.soak.settings import settings
from tests.soak.verdict import Noted
from tests.support.object_events import event

REDUCED = schema.reduced(1)
KEYS = pa.schema([REDUCED.field("key")])


@pytest.fixture
def bucket(aws: EmbeddedAws) -> Iterator[SoakBucket]:
    forget()
    made = SoakBucket(settings("soak-of-the-tests", Path("cache")), versioned=False)
    yield made
    made.delete()
    forget()


def store(bucket: SoakBucket, *keys: str) -> None:
    """Make features/ have these keys."""
    folder = f"s3://{bucket.name}/features"
    file = datafiles.write(folder, pa.table({"key": keys}, schema=KEYS))
    delta.create_table(folder, KEYS).commit(KEYS, [file], (), overwrite=True)


def project(bucket: SoakBucket, *models: str, keys: str, version: int) -> None:
    """Make reduced/ have these keys, once for each model."""
    folder = f"s3://{bucket.name}/reduced"
    rows = pa.table([list(keys), ["l"] * len(keys), [0.5] * len(keys)], schema=REDUCED)
    files = [
        datafiles.write(folder, rows, path=f"{model}/{datafiles.new_name()}") for model in models
    ]
    table = delta.create_table(folder, REDUCED)
    table.commit(REDUCED, files, (), overwrite=True, transactions={"features": version})


def export(bucket: SoakBucket, text: str, model: str, version: int) -> None:
    bucket.s3.put_object(
        Bucket=bucket.name,
        Key="reduced.csv",
        Body=text.encode(),
        Metadata={"model": model, "reduced-version": str(version)},
    )


def test_what_is_live_and_what_nobody_put(bucket: SoakBucket) -> None:
    assert (bucket.live(), bucket.stored(), bucket.noted("pending")) == ({}, [], [])
    known = contents()[0]
    for key, data in {"photos/a b+é.jpg": known.data, "photos/x.jpg": b"other"}.items():
        bucket.s3.put_object(Bucket=bucket.name, Key=key, Body=data)
    live = bucket.live()
    assert live["photos/a b+é.jpg"].content == known
    assert live["photos/x.jpg"].content.name == "bytes that nobody put"
    assert bucket.backlog() == 2


def test_the_notes_of_a_table(bucket: SoakBucket) -> None:
    columns = pa.schema([(name, pa.string()) for name in ("key", "version", "reason", "detail")])
    folder = f"s3://{bucket.name}/rejects"
    file = datafiles.write(folder, pa.table([["k"], ["1"], ["corrupt"], ["d"]], schema=columns))
    delta.create_table(folder, columns).commit(columns, [file], ())
    assert bucket.noted("rejects") == [Noted("k", "1", "corrupt")]


def test_a_matrix_that_is_as_it_should_be_and_all_that_may_be_amiss(bucket: SoakBucket) -> None:
    assert bucket.matrix_fault() is None  # there are no features
    store(bucket, "a", "b")
    assert bucket.matrix_fault() == "there is no reduced/"
    project(bucket, "m", keys="a", version=1)
    assert bucket.matrix_fault() == "reduced/ has not the keys of features/ at version 1"
    project(bucket, "m", keys="ab", version=1)
    good = "key,label,pc1\na,l,0.5\nb,l,0.5\n"
    for text, model, fault in (
        (good, "n", "reduced.csv is of model n, not m"),
        (good.replace("pc1", "pc2"), "m", "reduced.csv has the columns ['key', 'label', 'pc2']"),
        (good + "b,l\n", "m", "reduced.csv has a line of another length"),
        (good + "b,l,0.5\n", "m", "reduced.csv has not the keys of reduced/ at version 2"),
        (good.replace("0.5", "nan"), "m", "reduced.csv has a component that is not a number"),
        (good, "m", None),
    ):
        export(bucket, text, model, 2)
        assert bucket.matrix_fault() == fault
    store(bucket, "a", "c")
    assert bucket.matrix_fault() == "reduced/ lags behind features/"


def test_a_matrix_of_two_models(bucket: SoakBucket) -> None:
    store(bucket, "a", "a")
    project(bucket, "m", "n", keys="a", version=1)
    assert bucket.matrix_fault() == "reduced/ has rows of several models: ['m', 'n']"


def put_report(bucket: SoakBucket, key: str, body: bytes, model: str) -> None:
    about = {"model": model, "reduced-version": "1"}
    bucket.s3.put_object(Bucket=bucket.name, Key=key, Body=body, Metadata=about)


def test_a_report_that_is_as_it_should_be_and_all_that_may_be_amiss(bucket: SoakBucket) -> None:
    def points(keys: str) -> bytes:
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"key": list(keys)}), sink)
        return sink.getvalue().to_pybytes()

    assert bucket.report_fault() is None  # there is no matrix
    project(bucket, "m", keys="ab", version=0)
    assert bucket.report_fault() == "there is no reports/latest.html"
    put_report(bucket, REPORT_PAGE, b"<html>", "m")
    assert bucket.report_fault() == "there is no reports/map.parquet"
    for page, keys, model, fault in (
        (b"<html>", "ab", "n", "reports/map.parquet is of model n, not m"),
        (b"<html>", "ab", "m", "reports/latest.html is cut off"),
        (
            b"<html></html>\n",
            "ac",
            "m",
            "reports/map.parquet has not the keys of reduced/ at version 1",
        ),
        (b"<html></html>\n", "ba", "m", None),
    ):
        put_report(bucket, REPORT_PAGE, page, "m")
        put_report(bucket, REPORT_MAP, points(keys), model)
        assert bucket.report_fault() == fault


def test_dead_letters_by_cause(bucket: SoakBucket) -> None:
    for body in ("rubbish", message([event("photos/k", etag="e")])):
        bucket.sqs.send_message(QueueUrl=bucket.dead_letter_url, MessageBody=body)
    bodies = bucket.dead_letters()
    assert causes(bodies) == {"malformed": 1, "received too often": 1}
    assert bucket.dead_letters() == []
