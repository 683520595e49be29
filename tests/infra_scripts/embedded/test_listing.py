"""Listings of the embedded S3: pages, prefixes and delimiters as S3 has them."""

import pytest

from tests.support.aws import DeployedStack


def test_listings_are_pages_of_what_is_requested(stack: DeployedStack) -> None:
    names = [f"log/{number:02}" for number in range(7)]
    for name in ["lo", *names, "log/sub/x", "logs"]:
        stack.put(name)
    stack.put("log/deleted")
    stack.s3.delete_object(Bucket=stack.bucket, Key="log/deleted")

    def listed(**request: str | int) -> list[str]:
        pages = stack.s3.get_paginator("list_objects_v2").paginate(Bucket=stack.bucket, **request)
        return [
            found
            for page in pages
            for found in (
                *(each["Key"] for each in page.get("Contents", [])),
                *(each["Prefix"] for each in page.get("CommonPrefixes", [])),
            )
        ]

    every = ["lo", *names, "log/sub/x", "logs"]
    few = {"PaginationConfig": {"PageSize": 2}}
    assert listed() == listed(**few) == every
    assert listed(Prefix="log/", **few) == every[1:-1]
    assert listed(Prefix="log/", StartAfter=names[4], **few) == [*names[5:], "log/sub/x"]
    assert listed(StartAfter="log/05a") == [names[6], "log/sub/x", "logs"]
    assert listed(Prefix="log/", StartAfter="log/sub/x") == []
    assert listed(Prefix="log/", Delimiter="/") == [*names, "log/sub/"]
    assert listed(Prefix="log/", Delimiter="/", StartAfter="log/05") == [names[6], "log/sub/"]
    assert listed(Prefix="none/") == []


def test_versions_and_uploads_are_listed_url_encoded_on_request(stack: DeployedStack) -> None:
    """As S3 does; botocore requests and decodes it for versions by itself."""
    keys = [f"photos/\x01 +%20{number}.jpg" for number in range(3)]
    for key in keys:
        stack.put(key)
    pages = stack.s3.get_paginator("list_object_versions").paginate(
        Bucket=stack.bucket, PaginationConfig={"PageSize": 2}
    )
    assert [each["Key"] for page in pages for each in page.get("Versions", [])] == keys
    stack.s3.create_multipart_upload(Bucket=stack.bucket, Key="a +%20")
    for request, key in (({}, "a +%20"), ({"EncodingType": "url"}, "a%20%2B%2520")):
        (upload,) = stack.s3.list_multipart_uploads(Bucket=stack.bucket, **request)["Uploads"]
        assert upload["Key"] == key


def test_any_key_may_be_the_one_after_which_a_listing_begins(stack: DeployedStack) -> None:
    """Also one that XML cannot hold, or that has been deleted."""
    keys = ["a\x01", "a\x01b", "b", "c"]
    for key in keys:
        stack.put(key)
    stack.s3.delete_object(Bucket=stack.bucket, Key="b")
    for after, rest in (("a\x01", ["a\x01b", "c"]), ("b", ["c"]), ("", ["a\x01", "a\x01b", "c"])):
        objects = stack.s3.list_objects_v2(Bucket=stack.bucket, StartAfter=after)
        versions = stack.s3.list_object_versions(Bucket=stack.bucket, KeyMarker=after)
        for entries in (objects["Contents"], versions["Versions"]):
            assert [each["Key"] for each in entries] == rest


def test_all_versions_are_listed_in_pages_of_any_size(stack: DeployedStack) -> None:
    stack.s3.put_bucket_versioning(
        Bucket=stack.bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    for name in ("a", "b", "a", "c", "a"):
        stack.put(name)
    stack.s3.delete_object(Bucket=stack.bucket, Key="b")
    for size in range(1, 8):
        pages = stack.s3.get_paginator("list_object_versions").paginate(
            Bucket=stack.bucket, PaginationConfig={"PageSize": size}
        )
        found = [
            (each["Key"], each["IsLatest"], "ETag" in each)
            for page in pages
            for each in (*page.get("Versions", []), *page.get("DeleteMarkers", []))
        ]
        assert sorted(found) == [
            *(("a", False, True), ("a", False, True), ("a", True, True)),
            *(("b", False, True), ("b", True, False), ("c", True, True)),
        ]


@pytest.mark.parametrize("call", ["list_objects_v2", "list_object_versions"])
def test_a_bucket_that_does_not_exist_is_named(stack: DeployedStack, call: str) -> None:
    with pytest.raises(stack.s3.exceptions.NoSuchBucket):
        getattr(stack.s3, call)(Bucket="no-such-bucket")
