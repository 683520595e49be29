"""The bucket's settings: public access, ownership, encryption, policy and lifecycle.

Ours concern the whole bucket, so they are set while it is empty. Others may rely on how a bucket works
that has objects in it: there only its encryption is set, if it has none, and what differs from ours is
reported. What somebody has set explicitly stays in any case: public access, ownership, encryption,
versioning, other statements of the policy, other lifecycle rules.
"""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NotRequired, TypedDict, TypeVar

from botocore.exceptions import ClientError

from common import aws_errors
from infra_scripts import policies
from infra_scripts.parts import AnyPart, Part
from infra_scripts.stack import ABORT_UPLOADS_DAYS, Place, Stack

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.literals import TransitionDefaultMinimumObjectSizeType
    from types_boto3_s3.type_defs import (
        LifecycleRuleOutputTypeDef,
        OwnershipControlsOutputTypeDef,
        PublicAccessBlockConfigurationTypeDef,
        PutBucketLifecycleConfigurationRequestTypeDef,
        ServerSideEncryptionConfigurationOutputTypeDef,
    )

Answer = TypeVar("Answer")

ABSENT = {
    "404",
    "NoSuchBucket",
    "NoSuchBucketPolicy",
    "NoSuchLifecycleConfiguration",
    "NoSuchPublicAccessBlockConfiguration",
    "OwnershipControlsNotFoundError",
    "ServerSideEncryptionConfigurationNotFoundError",
}
NO_PUBLIC_ACCESS: "Final[PublicAccessBlockConfigurationTypeDef]" = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}
OWNER_ONLY: "Final[OwnershipControlsOutputTypeDef]" = {
    "Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]
}
ENCRYPTED: "Final[ServerSideEncryptionConfigurationOutputTypeDef]" = {
    "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
}
ABORT_RULE_ID = "fruits-abort-unfinished-uploads"


class Lifecycle(TypedDict):
    """The lifecycle rules, and what S3 stores beside them."""

    Rules: "list[LifecycleRuleOutputTypeDef]"
    TransitionDefaultMinimumObjectSize: "NotRequired[TransitionDefaultMinimumObjectSizeType]"


def parts(s3: "S3Client", stack: Stack, place: Place) -> list[AnyPart]:
    """All settings; the bucket must exist when they are written."""
    return [
        public_access(s3, stack.bucket),
        ownership(s3, stack.bucket),
        encryption(s3, stack.bucket),
        policy(s3, stack.bucket, policies.bucket_statements(stack, place)),
        lifecycle(s3, stack.bucket),
    ]


def present(read: Callable[[], Answer]) -> Answer | None:
    """What ``read`` returns, None where S3 answers that the bucket or its setting does not exist."""
    try:
        return read()
    except ClientError as error:
        if aws_errors.code_of(error) in ABSENT:
            return None
        raise


def _is_empty(s3: "S3Client", name: str) -> bool:
    """Whether nobody can rely on how the bucket works: it has no objects, or does not exist."""
    answer = present(lambda: s3.list_objects_v2(Bucket=name, MaxKeys=1))
    return answer is None or not answer.get("Contents")


def _unless_in_use(
    s3: "S3Client", name: str, ours: Answer
) -> Callable[[Answer | None], Answer | None]:
    """What is wanted: ours where nothing is set and the bucket is empty; else what is there."""
    return lambda before: before if before or not _is_empty(s3, name) else ours


def public_access(s3: "S3Client", name: str) -> "Part[PublicAccessBlockConfigurationTypeDef]":
    """No public access, whatever ACLs and policies allow."""

    def read() -> "PublicAccessBlockConfigurationTypeDef | None":
        answer = present(lambda: s3.get_public_access_block(Bucket=name))
        return answer and answer["PublicAccessBlockConfiguration"]

    def write(before: object, after: "PublicAccessBlockConfigurationTypeDef") -> None:
        s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=after)

    def note(after: "PublicAccessBlockConfigurationTypeDef | None") -> str:
        if after == NO_PUBLIC_ACCESS:
            return ""
        settings = ",".join(f"{setting}=true" for setting in NO_PUBLIC_ACCESS)
        return (
            "kept: a policy or an ACL may make objects public; unless somebody needs that: aws s3api "
            f"put-public-access-block --bucket {name} --public-access-block-configuration {settings}"
        )

    want = _unless_in_use(s3, name, NO_PUBLIC_ACCESS)
    return Part(f"bucket {name}: public access", read, want, write, note)


def ownership(s3: "S3Client", name: str) -> "Part[OwnershipControlsOutputTypeDef]":
    """The bucket's owner owns every object, and ACLs have no effect."""

    def read() -> "OwnershipControlsOutputTypeDef | None":
        answer = present(lambda: s3.get_bucket_ownership_controls(Bucket=name))
        return answer and answer["OwnershipControls"]

    def write(before: object, after: "OwnershipControlsOutputTypeDef") -> None:
        s3.put_bucket_ownership_controls(Bucket=name, OwnershipControls=after)

    def note(after: "OwnershipControlsOutputTypeDef | None") -> str:
        if after == OWNER_ONLY:
            return ""
        return (
            "kept: ACLs are in effect, so photos that other accounts upload may be unreadable for the "
            "service; unless somebody needs ACLs: aws s3api put-bucket-ownership-controls --bucket "
            f"{name} --ownership-controls 'Rules=[{{ObjectOwnership=BucketOwnerEnforced}}]'"
        )

    want = _unless_in_use(s3, name, OWNER_ONLY)
    return Part(f"bucket {name}: ownership", read, want, write, note)


def encryption(s3: "S3Client", name: str) -> "Part[ServerSideEncryptionConfigurationOutputTypeDef]":
    """Objects are encrypted; whatever encryption is set already is at least as strong as ours."""

    def read() -> "ServerSideEncryptionConfigurationOutputTypeDef | None":
        answer = present(lambda: s3.get_bucket_encryption(Bucket=name))
        return answer and answer["ServerSideEncryptionConfiguration"]

    def write(before: object, after: "ServerSideEncryptionConfigurationOutputTypeDef") -> None:
        s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration=after)

    return Part(f"bucket {name}: encryption", read, lambda before: before or ENCRYPTED, write)


def policy(
    s3: "S3Client", name: str, statements: list[policies.Document]
) -> Part[policies.Document]:
    """Our statements, among whatever other statements there are."""
    sids = {statement["Sid"] for statement in statements}

    def has_ours(document: policies.Document | None) -> bool:
        return sids <= policies.sids(document)

    def read() -> policies.Document | None:
        answer = present(lambda: s3.get_bucket_policy(Bucket=name))
        return answer and json.loads(answer["Policy"])

    def want(before: policies.Document | None) -> policies.Document | None:
        if has_ours(before) or _is_empty(s3, name):
            return policies.merge(before, statements)
        return before

    def write(before: object, after: policies.Document) -> None:
        s3.put_bucket_policy(Bucket=name, Policy=json.dumps(after))

    def note(after: policies.Document | None) -> str:
        if has_ours(after):
            return ""
        return (
            "kept: the bucket answers over plain HTTP too; unless somebody needs that, e.g. a website, "
            f"add to its policy: {json.dumps(statements)}"
        )

    return Part(f"bucket {name}: policy", read, want, write, note)


def lifecycle(s3: "S3Client", name: str) -> Part[Lifecycle]:
    """The rule that aborts unfinished uploads, among whatever other rules there are."""

    def read() -> Lifecycle | None:
        answer = present(lambda: s3.get_bucket_lifecycle_configuration(Bucket=name))
        if answer is None:
            return None
        found: Lifecycle = {"Rules": answer.get("Rules", [])}
        if size := answer.get("TransitionDefaultMinimumObjectSize"):
            found["TransitionDefaultMinimumObjectSize"] = size
        return found

    def has_ours(found: Lifecycle | None) -> bool:
        return any(rule.get("ID") == ABORT_RULE_ID for rule in (found or {"Rules": []})["Rules"])

    def want(before: Lifecycle | None) -> Lifecycle | None:
        known = before or Lifecycle(Rules=[])
        if any(_aborts_uploads(rule) for rule in known["Rules"]):
            return known
        if not (has_ours(before) or _is_empty(s3, name)):
            return before
        others = [rule for rule in known["Rules"] if rule.get("ID") != ABORT_RULE_ID]
        ours: LifecycleRuleOutputTypeDef = {
            "ID": ABORT_RULE_ID,
            "Status": "Enabled",
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": ABORT_UPLOADS_DAYS},
        }
        # S3 refuses a mix of rules with the old top-level prefix and rules with a filter.
        if any("Prefix" in rule for rule in others):
            ours["Prefix"] = ""
        else:
            ours["Filter"] = {"Prefix": ""}
        return {**known, "Rules": [*others, ours]}

    def write(before: object, after: Lifecycle) -> None:
        request: PutBucketLifecycleConfigurationRequestTypeDef = {
            "Bucket": name,
            "LifecycleConfiguration": {"Rules": after["Rules"]},
        }
        if size := after.get("TransitionDefaultMinimumObjectSize"):
            request["TransitionDefaultMinimumObjectSize"] = size
        s3.put_bucket_lifecycle_configuration(**request)

    def note(after: Lifecycle | None) -> str:
        said = []
        if not has_ours(after):
            said.append(
                "kept: uploads that nobody finishes may stay, invisible, and cost as much as objects; "
                "unless somebody uploads for longer than that, add a lifecycle rule "
                f"{ABORT_RULE_ID!r} that aborts them after {ABORT_UPLOADS_DAYS} day"
            )
        if not _expires_versions(after) and _has_versions(s3, name):
            said.append(
                "kept: every file that the tables replace or delete stays as a noncurrent version, and "
                "costs as much as objects; add the lifecycle rules in docs/operations.md, 'A bucket of "
                "your own'"
            )
        return "; ".join(said)

    return Part(f"bucket {name}: lifecycle", read, want, write, note)


def _has_versions(s3: "S3Client", name: str) -> bool:
    answer = present(lambda: s3.get_bucket_versioning(Bucket=name))
    return bool(answer and answer.get("Status"))


def _expires_versions(found: Lifecycle | None) -> bool:
    return any(
        rule.get("Status") == "Enabled" and "NoncurrentVersionExpiration" in rule
        for rule in (found or {"Rules": []})["Rules"]
    )


def _aborts_uploads(rule: "LifecycleRuleOutputTypeDef") -> bool:
    """Whether it is our rule, complete; S3 may return the empty filter in another form."""
    scope = rule.get("Filter") or {"Prefix": rule.get("Prefix", "")}
    return (
        rule.get("ID") == ABORT_RULE_ID
        and rule.get("Status") == "Enabled"
        and scope == {"Prefix": ""}
        and rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation")
        == ABORT_UPLOADS_DAYS
    )
