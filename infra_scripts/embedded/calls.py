"""Calls: what a request to AWS is, as IAM sees it: operations, actions, resources and condition keys.

Which actions an operation of S3 needs is in the user guide ("Required permissions for Amazon S3 API
operations"); the other services name their actions after their operations, batches apart.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from infra_scripts.stack import Place

Parameters = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Permission:
    """One action on one resource, with the condition keys of the request."""

    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """An operation (``s3:HeadObject``), and the permissions that its caller needs; perhaps none.

    ``if_missing`` are those without which S3 answers 403, not 404, for an object that does not exist.
    """

    operation: str
    permissions: tuple[Permission, ...]
    if_missing: tuple[Permission, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """A request over HTTP; ``headers`` by lower-case names, ``path`` not decoded."""

    service: str  # as it is signed for
    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class UnknownCallError(ValueError):
    """A request that no rule here covers: add one."""


def call_of(request: Request, place: Place) -> Call:
    """What the request calls. Raises :class:`UnknownCallError`."""
    if request.service == "s3":
        return _of_s3(request, place)
    operation, parameters = _operation(request)
    service = _PREFIXES.get(request.service, request.service)
    name = f"{service}:{operation}"
    if name in _FREE:
        return Call(name, ())
    action = f"{service}:{_BATCHES.get(operation, operation)}"
    resources = _RESOURCES.get(service, _any)(operation, parameters, place)
    return Call(name, tuple(Permission(action, each) for each in resources))


# --- S3: the operation is in the method, the path and the query ---

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


def _of_s3(request: Request, place: Place) -> Call:
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
        key = _unescape(found[1]) if found else ""
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


def _unescape(text: str) -> str:
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        text = text.replace(entity, character)
    return text


# --- the other services: the operation is in a header, the path, or the form ---

_PREFIXES = {"monitoring": "cloudwatch"}  # IAM's name where it is not the one that is signed for
_BATCHES = {
    "SendMessageBatch": "SendMessage",
    "DeleteMessageBatch": "DeleteMessage",
    "ChangeMessageVisibilityBatch": "ChangeMessageVisibility",
}
_FREE = {"sts:GetCallerIdentity"}  # allowed to everybody


def _operation(request: Request) -> tuple[str, Parameters]:
    target = request.headers.get("x-amz-target", "")
    if target:
        return target.rpartition(".")[2], json.loads(request.body or b"{}")
    if "/operation/" in request.path:  # in CBOR, which has no resource in what we call
        return request.path.rpartition("/")[2], {}
    form = parse_qs((request.body or b"").decode() or request.query, keep_blank_values=True)
    if "Action" not in form:
        raise UnknownCallError(f"{request.service}: {request.method} {request.path}")
    return form["Action"][0], {name: values[0] for name, values in form.items()}


def _any(operation: str, parameters: Parameters, place: Place) -> list[str]:
    return ["*"]


def _queue(operation: str, parameters: Parameters, place: Place) -> list[str]:
    name = parameters.get("QueueName") or parameters.get("QueueUrl", "*").rpartition("/")[2]
    return [place.queue_arn(name)] if operation != "ListQueues" else ["*"]


def _log_group(operation: str, parameters: Parameters, place: Place) -> list[str]:
    if operation == "DescribeLogGroups":
        return [f"{place.log_group_arn('')}:log-stream:"]
    group = place.log_group_arn(parameters.get("logGroupName", "*"))
    return [f"{group}:log-stream:{parameters.get('logStreamName', '')}"]


def _cloudformation_stack(operation: str, parameters: Parameters, place: Place) -> list[str]:
    name = parameters.get("StackName", "")
    if not name:
        return ["*"]
    arn = f"arn:{place.partition}:cloudformation:{place.region}:{place.account}:stack/{name}/id"
    return [name if name.startswith("arn:") else arn]


def _parameter(operation: str, parameters: Parameters, place: Place) -> list[str]:
    names = parameters.get("Names") or [parameters.get("Name", "*")]
    # Of the public ones, under /aws/service/, the account is left out.
    return [
        f"arn:{place.partition}:ssm:{place.region}:"
        f"{'' if name.startswith('/aws/') else place.account}:parameter/{name.lstrip('/')}"
        for name in names
    ]


_RESOURCES: Final[dict[str, Callable[[str, Parameters, Place], list[str]]]] = {
    "sqs": _queue,
    "logs": _log_group,
    "cloudformation": _cloudformation_stack,
    "ssm": _parameter,
}
