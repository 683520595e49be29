"""The bucket: its safety settings, and the notifications to the queue.

An existing bucket is adopted: what is set there beside our settings, its versioning and its
content stay as they are.
"""

import json
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from common import aws
from infra_scripts import notifications, policies
from infra_scripts.errors import Conflict, StackError
from infra_scripts.parts import Part
from infra_scripts.stack import ABORT_UPLOADS_DAYS, Place, Stack

ABSENT = {
    "404",
    "NoSuchBucket",
    "NoSuchBucketPolicy",
    "NoSuchLifecycleConfiguration",
    "NoSuchPublicAccessBlockConfiguration",
    "OwnershipControlsNotFoundError",
    "ServerSideEncryptionConfigurationNotFoundError",
}
NO_PUBLIC_ACCESS = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}
OWNER_ONLY = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
ENCRYPTED = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
ABORT_RULE_ID = "fruits-abort-unfinished-uploads"


def parts(s3: Any, stack: Stack, place: Place) -> list[Part]:
    """The bucket itself, its settings, and last the notifications (their queue must exist)."""
    name = stack.bucket

    def setting(
        label: str,
        call: str,
        field: str,
        want: Callable[[Any], Any],
        parse: Callable[[Any], Any] = lambda value: value,
        text: Callable[[Any], Any] = lambda value: value,
    ) -> Part:
        """A setting that S3 reads as ``get_<call>`` and replaces as ``put_<call>``."""

        def read() -> Any:
            answer = _present(getattr(s3, f"get_{call}"), Bucket=name)
            return None if answer is None else parse(answer[field])

        def write(before: Any, after: Any) -> None:
            getattr(s3, f"put_{call}")(**{"Bucket": name, field: text(after)})

        return Part(f"bucket {name}: {label}", read, want, write)

    statements = policies.bucket_statements(stack, place)
    return [
        Part(
            f"bucket {name}",
            lambda: exists(s3, name, place.region),
            lambda before: {"region": place.region},
            lambda before, after: _create(s3, name, place.region),
        ),
        setting(
            "public access",
            "public_access_block",
            "PublicAccessBlockConfiguration",
            lambda before: NO_PUBLIC_ACCESS,
        ),
        setting(
            "ownership", "bucket_ownership_controls", "OwnershipControls", lambda before: OWNER_ONLY
        ),
        setting(
            "encryption",
            "bucket_encryption",
            "ServerSideEncryptionConfiguration",
            # Whatever encryption is there is at least as strong as ours.
            lambda before: before or ENCRYPTED,
        ),
        setting(
            "policy",
            "bucket_policy",
            "Policy",
            lambda before: policies.merge(before, statements),
            json.loads,
            json.dumps,
        ),
        lifecycle_part(s3, name),
        Part(
            f"bucket {name}: notifications to {stack.queue}",
            lambda: _present(notifications.read, s3, name) or None,
            lambda before: notifications.want(before, stack, place),
            lambda before, after: notifications.write(s3, name, after),
        ),
    ]


def exists(s3: Any, name: str, region: str) -> dict[str, str] | None:
    """The bucket as a value, or None. Raises :class:`Conflict` if it is not ours or elsewhere."""
    try:
        answer = _present(s3.head_bucket, Bucket=name)
    except ClientError as error:
        if aws.code_of(error) not in aws.DENIED:
            raise
        raise Conflict(
            f"bucket {name!r} belongs to somebody else, or this caller lacks s3:ListBucket on it: "
            "choose another storage.bucket, or allow that"
        ) from error
    if answer is None:
        return None
    there = answer.get("BucketRegion") or region  # not every implementation tells
    if there != region:
        raise Conflict(
            f"bucket {name!r} is in {there}, but AWS_REGION is {region}, and a queue must be in its "
            f"bucket's region: set AWS_REGION={there} or choose another storage.bucket"
        )
    return {"region": there}


def _create(s3: Any, name: str, region: str) -> None:
    # us-east-1 is the one region that must not be named.
    where = {"CreateBucketConfiguration": {"LocationConstraint": region}}
    try:
        s3.create_bucket(Bucket=name, **({} if region == "us-east-1" else where))
    except s3.exceptions.BucketAlreadyOwnedByYou:
        pass
    except s3.exceptions.BucketAlreadyExists as error:
        raise Conflict(
            f"bucket name {name!r} is taken by another account: choose another storage.bucket"
        ) from error
    s3.get_waiter("bucket_exists").wait(Bucket=name, WaiterConfig={"Delay": 1})


def lifecycle_part(s3: Any, name: str) -> Part:
    """The rule that aborts unfinished uploads, among whatever other rules there are."""

    def read() -> dict[str, Any] | None:
        answer = _present(s3.get_bucket_lifecycle_configuration, Bucket=name)
        return answer and {key: answer[key] for key in answer if key != "ResponseMetadata"}

    def want(before: dict[str, Any] | None) -> dict[str, Any]:
        known = before or {}
        rules = known.get("Rules", [])
        if any(_aborts_uploads(rule) for rule in rules):
            return known
        others = [rule for rule in rules if rule.get("ID") != ABORT_RULE_ID]
        # S3 refuses a mix of rules with the old top-level prefix and rules with a filter.
        old_style = any("Prefix" in rule for rule in others)
        ours = {
            "ID": ABORT_RULE_ID,
            "Status": "Enabled",
            **({"Prefix": ""} if old_style else {"Filter": {"Prefix": ""}}),
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": ABORT_UPLOADS_DAYS},
        }
        return {**known, "Rules": [*others, ours]}

    def write(before: Any, after: dict[str, Any]) -> None:
        beside = {key: after[key] for key in after if key != "Rules"}
        s3.put_bucket_lifecycle_configuration(
            Bucket=name, LifecycleConfiguration={"Rules": after["Rules"]}, **beside
        )

    return Part(f"bucket {name}: lifecycle", read, want, write)


def _aborts_uploads(rule: dict[str, Any]) -> bool:
    """Whether it is our rule, whole; S3 may give the empty filter back in another form."""
    scope = rule.get("Filter") or {"Prefix": rule.get("Prefix", "")}
    return (
        rule.get("ID") == ABORT_RULE_ID
        and rule.get("Status") == "Enabled"
        and scope == {"Prefix": ""}
        and rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation")
        == ABORT_UPLOADS_DAYS
    )


def _present(read: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What ``read`` gives, or None where S3 says that there is none."""
    try:
        return read(*args, **kwargs)
    except ClientError as error:
        if aws.code_of(error) in ABSENT:
            return None
        raise


def delete(s3: Any, name: str) -> int:
    """Delete the bucket with every version of every object; say how many those were.

    Repeat it after a failure. Nothing brings the objects back.
    """
    count = 0
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=name):
        listed = page.get("Versions", []) + page.get("DeleteMarkers", [])
        if not listed:
            continue
        objects = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in listed]
        answer = s3.delete_objects(Bucket=name, Delete={"Objects": objects, "Quiet": True})
        if failed := answer.get("Errors"):
            raise StackError(
                f"{len(failed)} objects could not be deleted, the first is {failed[0]['Key']!r}: "
                f"{failed[0].get('Code')}: {failed[0].get('Message')}"
            )
        count += len(listed)
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=name):
        for upload in page.get("Uploads", []):
            s3.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
    s3.delete_bucket(Bucket=name)
    return count
