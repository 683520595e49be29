"""Objects: read, written and replaced whole, in S3 and on the local disk."""

import io
import math
from collections.abc import Callable, Iterator

import boto3
import pytest
from botocore.exceptions import ClientError, HTTPClientError

from common.layout import split
from processor.store import objects
from tests.support.endpoints import Request, aws_at
from tests.support.forwarded import forwarding, s3_refuses
from tests.support.s3_answers import s3_answers


def test_a_missing_object(place: str) -> None:
    assert objects.get(f"{place}/none") is None
    assert not objects.exists(f"{place}/none")
    assert objects.metadata(f"{place}/none") == {}
    assert objects.age_seconds(f"{place}/none") == math.inf


def test_an_object_is_replaced_whole(place: str) -> None:
    uri = f"{place}/deep/er/ü b+%20.bin"
    objects.put(uri, b"first and long")
    assert objects.get(uri) == b"first and long"
    objects.put(uri, b"")
    assert objects.get(uri) == b""
    assert objects.exists(uri)
    assert objects.age_seconds(uri) < 60


@pytest.mark.parametrize("times", [2, objects.READS])
def test_an_object_whose_response_breaks_off_is_read_again(bucket: str, times: int) -> None:
    """By itself: whoever reads a hundred would never come to an end by beginning with the first."""
    uri = f"s3://{bucket}/data"
    objects.put(uri, bytes(range(100)))
    left = 0

    def breaks_off(request: Request) -> bool:
        nonlocal left
        left -= request.method == "GET"
        return request.method == "GET" and left >= 0

    readers: list[Callable[[], bytes | None]] = [
        lambda: objects.get(uri),
        lambda: objects.opened(uri).read(),
    ]
    with forwarding(breaks_off=breaks_off) as (url, _), aws_at(url):
        for read in readers:
            left = times
            if times < objects.READS:
                assert read() == bytes(range(100))
            else:
                with pytest.raises(HTTPClientError, match="broken"):
                    read()


LONG = 9 << 20  # S3 gets it in two pieces


@pytest.mark.parametrize("parts", [[], [b"key\n", b"", b"a\n"], [b"x" * 1000] * (LONG // 1000)])
def test_parts_are_uploaded_as_one_object(place: str, parts: list[bytes]) -> None:
    uri = f"{place}/deep/table.csv"
    objects.put(uri, b"the old one")
    objects.upload(uri, iter(parts), "text/csv", {"model": "m"})
    assert objects.get(uri) == b"".join(parts)


@pytest.mark.parametrize("size", [10, LONG])
def test_an_upload_that_fails_leaves_the_old_object_and_nothing_else(place: str, size: int) -> None:
    uri = f"{place}/table.csv"
    objects.put(uri, b"the old one")

    def parts() -> Iterator[bytes]:
        yield bytes(size)
        raise FileNotFoundError("a data file")

    with pytest.raises(FileNotFoundError, match="a data file"):
        objects.upload(uri, parts(), "text/csv", {})
    assert objects.get(uri) == b"the old one"
    if place.startswith("s3://"):
        bucket, _ = split(place)
        assert "Uploads" not in boto3.client("s3").list_multipart_uploads(Bucket=bucket)


@pytest.mark.parametrize("size", [1, LONG])
def test_an_upload_has_type_and_metadata(bucket: str, size: int) -> None:
    objects.upload(f"s3://{bucket}/a.csv", [bytes(size)], "text/csv", {"model": "m"})
    assert boto3.client("s3").head_object(Bucket=bucket, Key="a.csv")["ContentType"] == "text/csv"
    assert objects.metadata(f"s3://{bucket}/a.csv") == {"model": "m"}
    objects.put(f"s3://{bucket}/a.csv", b"by somebody else")
    assert objects.metadata(f"s3://{bucket}/a.csv") == {}


def test_a_listing_is_of_one_folder_in_key_order(bucket: str) -> None:
    folder = f"s3://{bucket}/models/pca"
    assert list(objects.listing(folder)) == []
    for name in ("models/pca/b.npz", "models/pca/a/c.npz", "models/pca-old/a.npz", "models/x"):
        objects.put(f"s3://{bucket}/{name}", b"x")
    found = list(objects.listing(folder))
    assert [each.uri for each in found] == [f"{folder}/a/c.npz", f"{folder}/b.npz"]
    head = boto3.client("s3").head_object(Bucket=bucket, Key="models/pca/b.npz")
    assert found[1].modified == head["LastModified"]


def test_deleting_may_be_repeated(bucket: str) -> None:
    for name in ("a", "b"):
        objects.put(f"s3://{bucket}/{name}", b"x")
    for _ in range(2):
        objects.delete(f"s3://{bucket}/a")
    assert [objects.exists(f"s3://{bucket}/{name}") for name in ("a", "b")] == [False, True]


@pytest.mark.parametrize(
    "call",
    [
        objects.get,
        objects.exists,
        objects.metadata,
        objects.delete,
        lambda uri: objects.put(uri, b"x"),
    ],
)
def test_any_other_response_is_an_error(bucket: str, call: Callable[[str], object]) -> None:
    with s3_answers(403, "AccessDenied", "/a") as methods, pytest.raises(ClientError):
        call(f"s3://{bucket}/a")
    assert len(methods) == 1


def test_a_missing_bucket_is_not_a_missing_object(bucket: str) -> None:
    with pytest.raises(ClientError, match="NoSuchBucket"):
        objects.get(f"s3://{bucket}-of-nobody/a")


def test_parts_of_an_object(place: str) -> None:
    uri = f"{place}/ü b+%20.bin"
    objects.put(uri, b"0123456789")
    with objects.opened(uri) as source:
        assert source.read(3) == b"012"
        assert (source.seek(-4, io.SEEK_END), source.tell()) == (6, 6)
        assert source.read(2) == b"67"
        assert source.seek(1, io.SEEK_CUR) == 9
        assert source.read(5) == b"9"
        assert source.read(5) == b""
        assert source.seek(2) == 2
        assert source.read() == b"23456789"
    with pytest.raises(FileNotFoundError):
        objects.opened(f"{place}/none")


def test_only_the_parts_that_are_read_are_requested(bucket: str) -> None:
    objects.put(f"s3://{bucket}/a", bytes(1000))
    with s3_refuses(lambda _: None) as requests, objects.opened(f"s3://{bucket}/a") as source:
        source.seek(990)
        source.read(3)
    assert [each.headers["Range"] for each in requests] == [None, "bytes=990-992"]


def test_a_condition_decides_whether_an_object_is_replaced_or_deleted(bucket: str) -> None:
    uri = f"s3://{bucket}/once"
    assert objects.replace(uri, b"none", '"0"') is None
    first = objects.replace(uri, b"first", None)
    assert objects.tagged(uri) == (b"first", first)
    assert objects.replace(uri, b"again", None) is None
    second = objects.replace(uri, b"second", first)
    assert objects.replace(uri, b"late", first) is None
    objects.delete(uri, first)
    assert objects.tagged(uri) == (b"second", second)
    objects.delete(uri, second)
    objects.delete(uri, second)
    assert objects.tagged(uri) is None


def test_pieces_are_larger_where_there_would_be_too_many(bucket: str) -> None:
    """S3 marks the ETag with their number."""
    uri = f"s3://{bucket}/table.csv"
    for about, pieces in ((0, 3), (objects.MOST_PIECES * (9 << 20), 2)):
        objects.upload(uri, [bytes(1 << 20)] * 20, "text/csv", {}, about)
        etag = boto3.client("s3").head_object(Bucket=bucket, Key="table.csv")["ETag"]
        assert etag.strip('"').endswith(f"-{pieces}")


def test_a_listing_names_what_is_in_the_folder(place: str) -> None:
    names = ["a", "b/c", "b/d"]
    for name in names:
        objects.put(f"{place}/folder/{name}", b"")
    objects.put(f"{place}/other", b"")
    found = [each.uri for each in objects.listing(f"{place}/folder")]
    assert found == [f"{place}/folder/{name}" for name in names]
    assert list(objects.listing(f"{place}/none")) == []
