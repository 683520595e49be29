"""Calls to S3: the operation is in the method, the path and the query of a request.

Which actions it needs is in the user guide of S3: "Required permissions for Amazon S3 API operations".
"""

import re
from collections.abc import Mapping
from html import unescape
from typing import Final
from urllib.parse import parse_qs, unquote

from infra_scripts.embedded.calls import Call, Permission, Request, UnknownCallError
from infra_scripts.stack import Place

# By method and the name in the query that makes it another operation: operation and action.
_BUCKET: Final[dict[tuple[str, str], tuple[str, str]]] = {
    ("HEAD", ""): ("HeadBucket", "ListBucket"),
    ("PUT", ""): ("CreateBucket", "CreateBucket"),
    ("DELETE", ""): ("DeleteBucket", "DeleteBucket"),
    ("GET", ""): ("ListObjects", "ListBucket"),
    ("GET", "list-type"): ("ListObjectsV2", "ListBucket"),
    ("GET", "versions"): ("ListObjectVersions", "ListBucketVersions"),
    ("GET", "uploads"): ("ListMultipartUploads", "ListBucketMultipartUploads"),
    ("GET", "location"): ("GetBucketLocation", "GetBucketLocation"),
    ("GET", "policyStatus"): ("GetBucketPolicyStatus", "GetBucketPolicyStatus"),
    **{
        (method, name): (f"{verb}{operation}", f"{action_verb}{action}")
        for name, operation, action in (
            ("versioning", "BucketVersioning", "BucketVersioning"),
            ("encryption", "BucketEncryption", "EncryptionConfiguration"),
            ("lifecycle", "BucketLifecycleConfiguration", "LifecycleConfiguration"),
            ("notification", "BucketNotificationConfiguration", "BucketNotification"),
            ("ownershipControls", "BucketOwnershipControls", "BucketOwnershipControls"),
            ("publicAccessBlock", "PublicAccessBlock", "BucketPublicAccessBlock"),
            ("tagging", "BucketTagging", "BucketTagging"),
        )
        for method, verb, action_verb in (
            ("GET", "Get", "Get"),
            ("PUT", "Put", "Put"),
            ("DELETE", "Delete", "Put"),
        )
    },
    ("GET", "policy"): ("GetBucketPolicy", "GetBucketPolicy"),
    ("PUT", "policy"): ("PutBucketPolicy", "PutBucketPolicy"),
    ("DELETE", "policy"): ("DeleteBucketPolicy", "DeleteBucketPolicy"),
}
_OBJECT: Final[dict[tuple[str, str], tuple[str, str]]] = {
    ("GET", ""): ("GetObject", "GetObject"),
    ("HEAD", ""): ("HeadObject", "GetObject"),
    ("PUT", ""): ("PutObject", "PutObject"),
    ("DELETE", ""): ("DeleteObject", "DeleteObject"),
    ("POST", "uploads"): ("CreateMultipartUpload", "PutObject"),
    ("PUT", "uploadId"): ("UploadPart", "PutObject"),
    ("POST", "uploadId"): ("CompleteMultipartUpload", "PutObject"),
    ("GET", "uploadId"): ("ListParts", "ListMultipartUploadParts"),
    ("DELETE", "uploadId"): ("AbortMultipartUpload", "AbortMultipartUpload"),
    ("POST", "restore"): ("RestoreObject", "RestoreObject"),
    ("GET", "tagging"): ("GetObjectTagging", "GetObjectTagging"),
    ("PUT", "tagging"): ("PutObjectTagging", "PutObjectTagging"),
}
_OF_VERSIONS = {"GetObject": "GetObjectVersion", "DeleteObject": "DeleteObjectVersion"}
_OTHER_NAMES = {
    "delete",
    "acl",
    "attributes",
    "cors",
    "inventory",
    "legal-hold",
    "logging",
    "object-lock",
}
_NAMES = {name for _, name in (*_BUCKET, *_OBJECT) if name} | _OTHER_NAMES


def call_of(request: Request, place: Place) -> Call:
    """What a request to S3 calls, with the bucket's name in the path. Raises UnknownCallError."""
    query = parse_qs(request.query, keep_blank_values=True)
    bucket, _, key = unquote(request.path).removeprefix("/").partition("/")
    name = next(iter(_NAMES & query.keys()), "")
    if not bucket and request.method == "GET":
        return Call("s3:ListBuckets", (Permission("s3:ListAllMyBuckets", "*"),))
    if not key and (request.method, name) == ("POST", "delete"):
        return _deletion(bucket, request.body, place)
    known = (_OBJECT if key else _BUCKET).get((request.method, name))
    if known is None:
        raise UnknownCallError(f"s3: {request.method} {request.path}?{request.query}")
    operation, action = known
    if not key:
        context = _listing_context(query) if action.startswith("ListBucket") else ()
        needed = Permission(f"s3:{action}", place.bucket_arn(bucket), context)
        return Call(f"s3:{operation}", (needed,))
    if "versionId" in query:
        action = _OF_VERSIONS.get(action, action)
    needed = Permission(f"s3:{action}", place.bucket_arn(f"{bucket}/{key}"))
    if source := request.headers.get("x-amz-copy-source"):
        return _copy(operation, needed, source, place)
    reads = operation in ("GetObject", "HeadObject")
    listing = (Permission("s3:ListBucket", place.bucket_arn(bucket)),) if reads else ()
    return Call(f"s3:{operation}", (needed, *_with_headers(request, needed.resource)), listing)


def _listing_context(query: Mapping[str, list[str]]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (f"s3:{name}", query[name][0]) for name in ("prefix", "delimiter") if name in query
    )


def _deletion(bucket: str, body: bytes, place: Place) -> Call:
    """DeleteObjects needs a permission for each object that it names."""
    needed = []
    for each in re.findall(r"<Object>(.*?)</Object>", body.decode(), re.DOTALL):
        found = re.search(r"<Key>(.*?)</Key>", each, re.DOTALL)
        action = "s3:DeleteObjectVersion" if "<VersionId>" in each else "s3:DeleteObject"
        key = unescape(found[1]) if found else ""
        needed.append(Permission(action, place.bucket_arn(f"{bucket}/{key}")))
    return Call("s3:DeleteObjects", tuple(needed))


def _copy(operation: str, target: Permission, source: str, place: Place) -> Call:
    path, _, version = source.partition("?versionId=")
    action = "s3:GetObjectVersion" if version else "s3:GetObject"
    read = Permission(action, place.bucket_arn(unquote(path).removeprefix("/")))
    name = {"PutObject": "CopyObject", "UploadPart": "UploadPartCopy"}[operation]
    return Call(f"s3:{name}", (read, target))


def _with_headers(request: Request, resource: str) -> list[Permission]:
    """What headers of an upload need in addition."""
    extra = {"x-amz-tagging": "s3:PutObjectTagging", "x-amz-acl": "s3:PutObjectAcl"}
    return [Permission(extra[name], resource) for name in extra if name in request.headers]
