"""The bucket in the template, where it is new; an existing one is adopted by API instead.

Its notifications are not declared here: S3 replaces them as a whole, so ``deploy`` merges ours into
whatever others add, once the queue lets S3 send.
"""

from infra_scripts import policies
from infra_scripts.stack import ABORT_UPLOADS_DAYS, Place, Stack
from infra_scripts.template.resource import Resource, ref, resource

NONCURRENT_DAYS = 7  # as long as the tables keep their old versions by default


def resources(stack: Stack, place: Place) -> dict[str, Resource]:
    """The bucket and its policy; both stay when the stack is deleted, with every photo and feature."""
    made = {
        "Bucket": resource(
            "AWS::S3::Bucket",
            "The photos and everything computed from them.",
            {
                "BucketName": stack.bucket,
                "BucketEncryption": {
                    "ServerSideEncryptionConfiguration": [
                        {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
                    ]
                },
                "PublicAccessBlockConfiguration": {
                    "BlockPublicAcls": True,
                    "IgnorePublicAcls": True,
                    "BlockPublicPolicy": True,
                    "RestrictPublicBuckets": True,
                },
                "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
                "LifecycleConfiguration": {"Rules": _rules(stack)},
            },
            deleted="Retain",
            replaced="Retain",
            accepted={
                "CKV_AWS_18": "an access log needs a second bucket; where requests must be on record, "
                "CloudTrail's data events record them without one",
                "CKV_AWS_21": "versioning doubles the cost of photos that are overwritten, so it is "
                "whoever owns the photos who decides; the service works with it and without",
            },
        )
    }
    if statements := policies.bucket_statements(stack, place):
        made["BucketPolicy"] = resource(
            "AWS::S3::BucketPolicy",
            "Everybody must use TLS.",
            {
                "Bucket": ref("Bucket"),
                "PolicyDocument": {"Version": policies.VERSION, "Statement": statements},
            },
            deleted="Retain",
            replaced="Retain",
        )
    return made


def _rules(stack: Stack) -> list[Resource]:
    """The lifecycle: no rule deletes a photo or a version of one.

    The tables replace their files all the time. In a bucket with versioning each would stay as a
    noncurrent version, and be paid for; the tables keep their own history.
    """
    abort: Resource = {
        "Id": "fruits-abort-unfinished-uploads",
        "Status": "Enabled",
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": ABORT_UPLOADS_DAYS},
    }
    return [abort, *(_expire_noncurrent(pattern) for pattern in stack.layout.stored_keys)]


def _expire_noncurrent(pattern: str) -> Resource:
    prefix = pattern.removesuffix("*")
    return {
        "Id": f"fruits-noncurrent-{prefix.rstrip('/')}",
        "Status": "Enabled",
        "Prefix": prefix,
        "NoncurrentVersionExpiration": {"NoncurrentDays": NONCURRENT_DAYS},
        "ExpiredObjectDeleteMarker": True,
    }
