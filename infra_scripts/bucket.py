"""The bucket itself: whether it exists and may be used, and its deletion with everything in it.

CloudFormation makes it. One that exists is adopted with its contents; ``bucket_settings`` decides about
its settings.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from botocore.exceptions import ClientError

from common import aws_errors
from infra_scripts.bucket_settings import present
from infra_scripts.errors import Conflict, StackError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import (
        ListMultipartUploadsRequestTypeDef,
        ListObjectVersionsOutputTypeDef,
        ObjectIdentifierTypeDef,
    )

Existence = dict[str, str]


def exists(s3: "S3Client", name: str, region: str) -> Existence | None:
    """Where the bucket is, None where it does not exist.

    Raises :class:`Conflict` for somebody else's bucket, or one in another region.
    """
    try:
        answer = present(lambda: s3.head_bucket(Bucket=name))
    except ClientError as error:
        if not aws_errors.is_denied(error):
            raise
        raise Conflict(
            f"bucket {name!r} belongs to somebody else, or this caller lacks s3:ListBucket on it: "
            "choose another storage.bucket, or grant that"
        ) from error
    if answer is None:
        return None
    actual = answer.get("BucketRegion") or region  # not every implementation returns one
    if actual != region:
        raise Conflict(
            f"bucket {name!r} is in {actual}, but AWS_REGION is {region}, and a queue must be in its "
            f"bucket's region: set AWS_REGION={actual} or choose another storage.bucket"
        )
    return {"region": actual}


def delete(s3: "S3Client", name: str) -> int:
    """Delete the bucket with every version of every object, and return how many those were.

    The objects cannot be recovered. Raises :class:`StackError` for objects that S3 keeps, and
    botocore's ``ClientError`` or ``BotoCoreError``; the bucket then exists with the rest of its
    objects, and another call continues.
    """
    count = 0
    listed: Iterable[ListObjectVersionsOutputTypeDef]
    listed = s3.get_paginator("list_object_versions").paginate(Bucket=name)
    for page in listed:
        objects: list[ObjectIdentifierTypeDef] = [
            {"Key": each["Key"], "VersionId": each["VersionId"]}
            for each in (*page.get("Versions", []), *page.get("DeleteMarkers", []))
        ]
        _delete_objects(s3, name, objects)
        count += len(objects)
    for key, upload in list(_unfinished_uploads(s3, name)):
        s3.abort_multipart_upload(Bucket=name, Key=key, UploadId=upload)
    s3.delete_bucket(Bucket=name)
    return count


def _delete_objects(s3: "S3Client", name: str, objects: "list[ObjectIdentifierTypeDef]") -> None:
    # DeleteObjects takes XML, which has no way to write a control character; a URL has.
    plain = [each for each in objects if each["Key"].isprintable()]
    for each in objects:
        if not each["Key"].isprintable():
            s3.delete_object(Bucket=name, Key=each["Key"], VersionId=each["VersionId"])
    if not plain:
        return
    answer = s3.delete_objects(Bucket=name, Delete={"Objects": plain, "Quiet": True})
    if failed := answer.get("Errors"):
        raise StackError(
            f"{len(failed)} objects could not be deleted, the first is {failed[0]['Key']!r}: "
            f"{failed[0].get('Code')}: {failed[0].get('Message')}"
        )


def _unfinished_uploads(s3: "S3Client", name: str) -> "Iterator[tuple[str, str]]":
    """Key and id of each; keys are requested URL-encoded, which botocore does for objects only."""
    request: ListMultipartUploadsRequestTypeDef = {"Bucket": name, "EncodingType": "url"}
    while True:
        page = s3.list_multipart_uploads(**request)
        read = unquote_plus if page.get("EncodingType") == "url" else str
        for upload in page.get("Uploads", []):
            yield read(upload["Key"]), upload["UploadId"]
        if not page.get("IsTruncated"):
            return
        request["KeyMarker"] = read(page["NextKeyMarker"])
        request["UploadIdMarker"] = page["NextUploadIdMarker"]
