"""Listings of the embedded S3: pages, prefixes and delimiters as S3 has them."""

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
