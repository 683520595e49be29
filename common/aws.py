"""AWS: clients, the one rule for the region, and errors explained to the operator.

Credentials and endpoint come from the standard chain (``AWS_PROFILE``, ``AWS_ENDPOINT_URL``, the
instance's role, …), never from a file of ours.

Errors::

    RuntimeError
    └── EndpointError        AWS_ENDPOINT_URL is not a URL

Failed requests raise botocore's own ``ClientError`` or ``BotoCoreError``; the functions below classify
and explain them.
"""

import functools
import os
from typing import TYPE_CHECKING, Any, Literal, overload

import boto3
from boto3.exceptions import Boto3Error
from botocore import exceptions as boto
from botocore.config import Config
from botocore.utils import InstanceMetadataRegionFetcher

if TYPE_CHECKING:
    from types_boto3_cloudwatch import CloudWatchClient
    from types_boto3_logs import CloudWatchLogsClient
    from types_boto3_s3 import S3Client
    from types_boto3_sqs import SQSClient
    from types_boto3_sts import STSClient

CONNECT_SECONDS = 5
READ_SECONDS = 30
ATTEMPTS = 4  # per request, the first included; botocore backs off exponentially between them
S3_CONNECTIONS = 32

# Everything that a client raises, for `except`.
ERRORS = (boto.ClientError, boto.BotoCoreError, Boto3Error)

# Error codes with one meaning for every caller, whichever service returns them.
MISSING_QUEUE = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
DENIED = {"403", "AccessDenied", "AccessDeniedException", "AllAccessDisabled", "Forbidden"}
BAD_CREDENTIALS = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnrecognizedClientException",
}
BUSY = {"OperationAborted", "OperationAbortedException", "QueueDeletedRecently"}

_NO_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.TokenRetrievalError,
    boto.SSOError,
    boto.ProfileNotFound,
)

# The IAM action that allows an operation, where it isn't simply `service:Operation`.
_ACTIONS = {
    "DeleteObjects": "s3:DeleteObject and s3:DeleteObjectVersion",
    "GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "GetBucketNotificationConfiguration": "s3:GetBucketNotification",
    "GetCallerIdentity": "sts:GetCallerIdentity",
    "GetMetricStatistics": "cloudwatch:GetMetricStatistics",
    "GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "HeadBucket": "s3:ListBucket",
    "HeadObject": "s3:GetObject",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "ListObjectVersions": "s3:ListBucketVersions",
    "ListObjectsV2": "s3:ListBucket",
    "PutBucketEncryption": "s3:PutEncryptionConfiguration",
    "PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
    "PutBucketNotificationConfiguration": "s3:PutBucketNotification",
    "PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
}

# How the operator finds out which permissions the service needs.
SERVICE_POLICY = "`python -m infra_scripts policy` prints what the service needs"


class EndpointError(RuntimeError):
    """``AWS_ENDPOINT_URL`` cannot be used; the message says what it should look like."""


# ---------------------------------------------------------------------- clients


@functools.cache
def _instance_region() -> str | None:
    """The region in the instance's metadata; queried once, for at most a second."""
    found: str | None = InstanceMetadataRegionFetcher(timeout=1, num_attempts=1).retrieve_region()
    return found


def region() -> str | None:
    """``AWS_REGION``, else ``AWS_DEFAULT_REGION``, else the profile's, else the instance's.

    boto3 by itself reads neither the first, which every other AWS tool reads, nor the last.
    """
    return os.environ.get("AWS_REGION") or boto3.Session().region_name or _instance_region()


@overload
def client(
    service: Literal["s3"], *, connections: int = ..., read_seconds: int = ..., attempts: int = ...
) -> "S3Client": ...
@overload
def client(
    service: Literal["sqs"], *, connections: int = ..., read_seconds: int = ..., attempts: int = ...
) -> "SQSClient": ...
@overload
def client(
    service: Literal["logs"],
    *,
    connections: int = ...,
    read_seconds: int = ...,
    attempts: int = ...,
) -> "CloudWatchLogsClient": ...
@overload
def client(
    service: Literal["cloudwatch"],
    *,
    connections: int = ...,
    read_seconds: int = ...,
    attempts: int = ...,
) -> "CloudWatchClient": ...
@overload
def client(
    service: Literal["sts"], *, connections: int = ..., read_seconds: int = ..., attempts: int = ...
) -> "STSClient": ...
def client(
    service: str,
    *,
    connections: int = 10,
    read_seconds: int = READ_SECONDS,
    attempts: int = ATTEMPTS,
) -> Any:
    """A new client, for as many threads as it has ``connections``; makes no request to AWS.

    ``read_seconds`` is the read timeout of one attempt; ``attempts`` counts the first one too.
    Raises :class:`EndpointError`, and botocore's ``NoRegionError`` if no region can be found.
    """
    config = Config(
        max_pool_connections=connections,
        connect_timeout=CONNECT_SECONDS,
        read_timeout=read_seconds,
        retries={"mode": "standard", "total_max_attempts": attempts},
    )
    session = boto3.Session(region_name=region())  # a new one: boto3's default is not thread-safe
    try:
        return session.client(service, config=config)
    except ValueError as error:
        raise EndpointError(f"{error}: correct AWS_ENDPOINT_URL, e.g. http://host:port") from error


@functools.cache
def s3() -> "S3Client":
    """The S3 client that all threads of this process share."""
    return client("s3", connections=S3_CONNECTIONS, attempts=ATTEMPTS + 1)


def queue_url(sqs: "SQSClient", name: str) -> str | None:
    """The URL of the queue ``name``, None if there is no such queue. Raises botocore's errors."""
    try:
        return sqs.get_queue_url(QueueName=name)["QueueUrl"]
    except boto.ClientError as error:
        if code_of(error) in MISSING_QUEUE:
            return None
        raise


# ---------------------------------------------------------------------- errors


def code_of(error: Exception) -> str:
    """The service's name for the error: ``NoSuchBucket``, or ``404`` if the response has no body.

    Empty for an error that is not a service's response.
    """
    if not isinstance(error, boto.ClientError):
        return ""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: Exception) -> int:
    """The HTTP status of the response, 0 if unknown."""
    if not isinstance(error, boto.ClientError):
        return 0
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def message_of(error: boto.ClientError) -> str:
    """The service's own message, as one line."""
    return " ".join(str(error.response.get("Error", {}).get("Message", "")).split())


def is_refusal(error: Exception) -> bool:
    """Whether AWS does not recognise the caller (or there are no credentials), or denies access."""
    if isinstance(error, boto.ClientError):
        return code_of(error) in BAD_CREDENTIALS | DENIED or status_of(error) == 403
    return isinstance(error, _NO_CREDENTIALS)


def is_unreachable(error: Exception) -> bool:
    """Whether no response came, so it is unknown whether the request took effect."""
    return isinstance(error, (boto.ConnectionError, boto.HTTPClientError))


def action_of(operation: str) -> str:
    """The IAM action that allows ``operation`` of S3, SQS, STS, CloudWatch or CloudWatch Logs."""
    if "Queue" in operation or "Message" in operation:
        return f"sqs:{operation}"
    if "Log" in operation or "Retention" in operation:
        return f"logs:{operation}"
    return _ACTIONS.get(operation, f"s3:{operation}")


def explain(error: Exception, what: str = "", *, hint: str = SERVICE_POLICY) -> str:
    """One of :data:`ERRORS` in one line: what was requested, AWS's response, and the fix.

    ``what`` names what the request was about, for instance ``bucket 'fruits-photos'``.
    ``hint`` follows a missing permission; the default is right for permissions of the service.
    """
    subject = f"{what}: " if what else ""
    if isinstance(error, boto.ClientError):
        return subject + _explain_response(error, hint)
    message = " ".join(str(error).split())
    if isinstance(error, _NO_CREDENTIALS):
        return (
            f"{subject}no usable AWS credentials ({message}): set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or give the instance a role"
        )
    if isinstance(error, boto.NoRegionError):
        return f"{subject}no AWS region is set: set AWS_REGION, for example to eu-west-1"
    if is_unreachable(error):
        return f"{subject}{message.rstrip('.')}: check the network, AWS_ENDPOINT_URL and AWS_REGION"
    return subject + message


def _explain_response(error: boto.ClientError, hint: str) -> str:
    code, operation, message = code_of(error), error.operation_name, message_of(error)
    if code in BAD_CREDENTIALS:
        return f"AWS does not accept the credentials ({code}: {message}): renew or correct them"
    if code in DENIED or status_of(error) == 403:
        return (
            f"no permission: {operation} was denied ({message}); "
            f"grant {action_of(operation)} to these credentials{f' ({hint})' if hint else ''}"
        )
    if code.rpartition(".")[2] in BUSY:
        return f"{operation}: AWS is busy with an earlier change: retry in a minute"
    return f"{operation} failed: {code}: {message}"
