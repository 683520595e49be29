"""Calls to S3: the actions that the user guide of S3 lists for each operation."""

import pytest

from infra_scripts.embedded.calls import Call, Permission, Request, UnknownCallError
from infra_scripts.embedded.s3_calls import call_of
from infra_scripts.stack import Place

PLACE = Place("aws", "eu-west-1", "111111111111")


def call(line: str, body: str = "", **headers: str) -> Call:
    """Of a request line such as ``GET /bucket/key?query``."""
    method, _, url = line.partition(" ")
    path, _, query = url.partition("?")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return call_of(Request("s3", method, path, query, named, body.encode()), PLACE)


def needs(found: Call) -> list[str]:
    return [f"{each.action} {each.resource.removeprefix('arn:aws:')}" for each in found.permissions]


@pytest.mark.parametrize(
    ("line", "operation", "action"),
    [
        ("GET /b/k", "GetObject", "GetObject"),
        ("GET /b/k?x-id=GetObject", "GetObject", "GetObject"),
        ("GET /b/k?versionId=1", "GetObject", "GetObjectVersion"),
        ("HEAD /b/k", "HeadObject", "GetObject"),
        ("HEAD /b/k?versionId=1", "HeadObject", "GetObjectVersion"),
        ("PUT /b/k", "PutObject", "PutObject"),
        ("DELETE /b/k", "DeleteObject", "DeleteObject"),
        ("DELETE /b/k?versionId=null", "DeleteObject", "DeleteObjectVersion"),
        ("POST /b/k?uploads", "CreateMultipartUpload", "PutObject"),
        ("PUT /b/k?partNumber=1&uploadId=2", "UploadPart", "PutObject"),
        ("POST /b/k?uploadId=2", "CompleteMultipartUpload", "PutObject"),
        ("GET /b/k?uploadId=2", "ListParts", "ListMultipartUploadParts"),
        ("DELETE /b/k?uploadId=2", "AbortMultipartUpload", "AbortMultipartUpload"),
    ],
)
def test_objects(line: str, operation: str, action: str) -> None:
    found = call(line)
    assert found.operation == f"s3:{operation}"
    assert needs(found) == [f"s3:{action} s3:::b/k"]


@pytest.mark.parametrize(
    ("line", "operation", "action"),
    [
        ("HEAD /b", "HeadBucket", "ListBucket"),
        ("PUT /b", "CreateBucket", "CreateBucket"),
        ("DELETE /b/", "DeleteBucket", "DeleteBucket"),
        ("GET /b?uploads", "ListMultipartUploads", "ListBucketMultipartUploads"),
        ("GET /b?versioning", "GetBucketVersioning", "GetBucketVersioning"),
        ("GET /b?encryption", "GetBucketEncryption", "GetEncryptionConfiguration"),
        ("PUT /b?encryption", "PutBucketEncryption", "PutEncryptionConfiguration"),
        ("PUT /b?lifecycle", "PutBucketLifecycleConfiguration", "PutLifecycleConfiguration"),
        ("DELETE /b?lifecycle", "DeleteBucketLifecycleConfiguration", "PutLifecycleConfiguration"),
        ("PUT /b?notification", "PutBucketNotificationConfiguration", "PutBucketNotification"),
        ("GET /b?publicAccessBlock", "GetPublicAccessBlock", "GetBucketPublicAccessBlock"),
        ("PUT /b?ownershipControls", "PutBucketOwnershipControls", "PutBucketOwnershipControls"),
        ("DELETE /b?policy", "DeleteBucketPolicy", "DeleteBucketPolicy"),
    ],
)
def test_buckets(line: str, operation: str, action: str) -> None:
    found = call(line)
    assert found.operation == f"s3:{operation}"
    assert needs(found) == [f"s3:{action} s3:::b"]


def test_listings_carry_their_prefix() -> None:
    [needed] = call("GET /b?list-type=2&prefix=photos%2Fa%20b&max-keys=1").permissions
    arn = "arn:aws:s3:::b"
    assert needed == Permission("s3:ListBucket", arn, (("s3:prefix", "photos/a b"),))
    [needed] = call("GET /b?versions&prefix=").permissions
    assert needed == Permission("s3:ListBucketVersions", arn, (("s3:prefix", ""),))
    assert call("GET /b?list-type=2").permissions == (Permission("s3:ListBucket", arn),)
    assert needs(call("GET /")) == ["s3:ListAllMyBuckets *"]


def test_a_missing_object_is_told_only_to_those_who_may_list() -> None:
    listing = (Permission("s3:ListBucket", "arn:aws:s3:::b"),)
    assert call("GET /b/k").if_missing == call("HEAD /b/k").if_missing == listing
    assert call("DELETE /b/k").if_missing == ()


def test_each_object_of_a_deletion_counts() -> None:
    body = (
        "<Delete><Object><Key>a&amp;b &#13;</Key></Object><Object><Key>c</Key><VersionId>1"
        "</VersionId></Object><Quiet>true</Quiet></Delete>"
    )
    assert needs(call("POST /b?delete", body)) == [
        "s3:DeleteObject s3:::b/a&b \r",
        "s3:DeleteObjectVersion s3:::b/c",
    ]


def test_a_copy_reads_its_source() -> None:
    found = call("PUT /b/k", x_amz_copy_source="/other/a%20b?versionId=1")
    assert found.operation == "s3:CopyObject"
    assert needs(found) == ["s3:GetObjectVersion s3:::other/a b", "s3:PutObject s3:::b/k"]
    part = call("PUT /b/k?partNumber=1&uploadId=2", x_amz_copy_source="other/a")
    assert part.operation == "s3:UploadPartCopy"


def test_headers_of_an_upload_need_more() -> None:
    found = call("PUT /b/k", x_amz_tagging="a=b", x_amz_acl="private")
    assert needs(found)[1:] == ["s3:PutObjectTagging s3:::b/k", "s3:PutObjectAcl s3:::b/k"]


def test_keys_are_decoded() -> None:
    assert needs(call("GET /b//photos/%F0%9F%8D%8E%2Bc%25")) == [
        "s3:GetObject s3:::b//photos/🍎+c%"
    ]


def test_what_no_rule_covers_is_an_error() -> None:
    with pytest.raises(UnknownCallError, match=r"GET /b/k\?legal-hold"):
        call("GET /b/k?legal-hold")
