"""Listings: what S3 has now, in the order of its keys, with the versions that a GET would return."""

from collections.abc import Callable

import boto3
import pytest

from processor.errors import ServiceError
from processor.photos import listing, objects
from processor.photos.listing import ListedObject, Listing
from tests.support.endpoints import Silent, aws_at, serving
from tests.support.keys import ODD_KEYS, PLAIN_KEYS

KEYS = [f"photos/{key}" for key in (*PLAIN_KEYS, *ODD_KEYS) if "\x00" not in key]


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAGE_KEYS", 3)


def listed(bucket: str, after: str = "", prefix: str = "photos/") -> list[ListedObject]:
    found, last = [], after
    pages = Listing(bucket, prefix)
    while last is not None:
        some, last = pages.page(last)
        found += some
    return found


def keys(*arguments: str) -> list[str]:
    return [each.key for each in listed(*arguments)]


def set_versioning(bucket: str, status: str) -> None:
    boto3.client("s3").put_bucket_versioning(
        Bucket=bucket, VersioningConfiguration={"Status": status}
    )


def test_every_key_comes_once_in_the_order_of_its_bytes(bucket: str) -> None:
    s3 = boto3.client("s3")
    for key in [*KEYS, "photo", "photos", "photos0"]:
        s3.put_object(Bucket=bucket, Key=key, Body=b"12")
    found = listed(bucket)
    assert [each.key for each in found] == sorted(KEYS, key=str.encode)
    assert {each.bytes for each in found} == {2}
    set_versioning(bucket, "Enabled")
    assert listed(bucket) == found


def test_the_versions_are_those_that_a_get_returns(bucket: str) -> None:
    """Before a bucket had versions, while it has, and after they were suspended."""
    s3 = boto3.client("s3")
    for at, status in enumerate(["", "Enabled", "Suspended"]):
        if status:
            set_versioning(bucket, status)
        for key in ("photos/same", f"photos/{at}"):
            s3.put_object(Bucket=bucket, Key=key, Body=bytes(at + 1))
        for each in listed(bucket):
            got = objects.get(bucket, each.key, 100)
            assert (each.version, each.bytes) == (got.version, len(got.data))
            assert each.modified.replace(microsecond=0) == got.modified.replace(microsecond=0)


def test_of_many_versions_only_the_current_one_comes(bucket: str) -> None:
    """More than a page has of one key; deleted keys have none, and come back with their marker."""
    s3 = boto3.client("s3")
    set_versioning(bucket, "Enabled")
    for key in ("photos/a", "photos/b", "photos/c"):
        for size in range(5):
            current = s3.put_object(Bucket=bucket, Key=key, Body=bytes(size))["VersionId"]
    marker = s3.delete_object(Bucket=bucket, Key="photos/b")["VersionId"]
    found = listed(bucket)
    assert [each.key for each in found] == ["photos/a", "photos/c"]
    assert found[-1].version == current
    s3.delete_object(Bucket=bucket, Key="photos/b", VersionId=marker)
    assert keys(bucket) == ["photos/a", "photos/b", "photos/c"]


@pytest.mark.parametrize("status", ["", "Enabled"])
def test_it_continues_after_any_key(bucket: str, status: str) -> None:
    if status:
        set_versioning(bucket, status)
    s3 = boto3.client("s3")
    for n in range(0, 10, 2):
        s3.put_object(Bucket=bucket, Key=f"photos/{n}", Body=b"")
        s3.put_object(Bucket=bucket, Key=f"photos/{n}", Body=b"1")
    for after in range(10):
        rest = [f"photos/{n}" for n in range(0, 10, 2) if n > after]
        assert keys(bucket, f"photos/{after}") == rest


@pytest.mark.parametrize("status", ["", "Enabled"])
def test_nothing_is_listed_of_nothing(bucket: str, status: str) -> None:
    if status:
        set_versioning(bucket, status)
    assert listed(bucket) == []


def answering(page: Callable[[str], list[str]]) -> type[Silent]:
    """An S3 without versions that lists these keys."""

    class Lists(Silent):
        def do_GET(self) -> None:
            entries = "".join(
                f"<Contents><Key>{key}</Key><ETag>1</ETag><Size>1</Size>"
                "<LastModified>2026-11-26T00:00:00Z</LastModified></Contents>"
                for key in page(self.path)
            )
            more = "<IsTruncated>true</IsTruncated>"
            self.send(200, {}, f"<ListBucketResult>{more}{entries}</ListBucketResult>".encode())

    return Lists


@pytest.mark.parametrize("listed_keys", [["b", "a"], ["a"], []], ids=["unordered", "again", "none"])
def test_an_s3_that_keeps_no_order_is_refused(aws: object, listed_keys: list[str]) -> None:
    """Whatever is compared with the store would be wrong, or never end."""
    with (
        serving(answering(lambda path: [] if "versioning" in path else listed_keys)) as url,
        aws_at(url),
    ):
        pages = Listing("bucket", "")
        with pytest.raises(ServiceError, match="in the order of their bytes"):
            pages.page("a")
