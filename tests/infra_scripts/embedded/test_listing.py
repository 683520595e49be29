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
