"""AWS: clients, the one rule for the region, and errors explained to the operator.

Credentials and endpoint come from the standard chain (``AWS_PROFILE``, ``AWS_ENDPOINT_URL``, the
instance's role, …), never from a file of ours.

Errors::

    RuntimeError
    └── EndpointError        AWS_ENDPOINT_URL is not a URL

Failed requests raise botocore's own ``ClientError`` or ``BotoCoreError``; the functions below classify
and explain them.
"""

import contextlib
import functools
import os
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, overload

import boto3
import botocore.session
from boto3.exceptions import Boto3Error
from botocore import exceptions as boto
from botocore.config import Config
from botocore.utils import InstanceMetadataRegionFetcher

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials
    from types_boto3_cloudwatch import CloudWatchClient
    from types_boto3_logs import CloudWatchLogsClient
    from types_boto3_s3 import S3Client
    from types_boto3_sqs import SQSClient
    from types_boto3_sts import STSClient

CONNECT_SECONDS = 5
READ_SECONDS = 30
ATTEMPTS = 4  # per request, the first included; botocore backs off exponentially between them
S3_CONNECTIONS = 32

# Error codes with one meaning for every caller, whichever service returns them.
DENIED = {"AccessDenied", "AccessDeniedException", "AllAccessDisabled"}
BAD_CREDENTIALS = {
    "AccountProblem",
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "InvalidSignatureException",
    "InvalidToken",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "MissingSecurityHeader",
    "NotSignedUp",
    "OptInRequired",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnauthorizedAccess",
    "UnrecognizedClientException",
}
_WRONG_CLOCK = {"RequestExpired", "RequestTimeTooSkewed"}
_MISSING_OBJECT = {"404", "MethodNotAllowed", "NoSuchKey", "NoSuchVersion", "NotFound"}
_MISSING_QUEUE = {"NonExistentQueue", "QueueDoesNotExist"}
_CHANGING = {"OperationAborted", "OperationAbortedException", "QueueDeletedRecently"}
_OVERLOADED = {"BandwidthLimitExceeded", "RequestLimitExceeded", "RequestTimeout", "SlowDown"}

_OTHER_REGION = {"301", "AuthorizationHeaderMalformed", "PermanentRedirect"}

# There are credentials, but who issues them (the instance's role, a process) does not answer now.
_NO_ISSUER = (boto.CredentialRetrievalError, boto.MetadataRetrievalError)
_NO_CREDENTIALS = (
    *_NO_ISSUER,
    boto.ConfigParseError,
    boto.InvalidConfigError,
    boto.LoginError,
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.ProfileNotFound,
    boto.RefreshWithMFAUnsupportedError,
    boto.SSOError,
    boto.TokenRetrievalError,
    boto.UnknownCredentialError,
)
_STILL_EXPIRED = "refreshed credentials are still expired"  # botocore's bare RuntimeError

_FOR_CREDENTIALS = {"AssumeRole", "AssumeRoleWithWebIdentity"}

# The IAM action that allows an operation, where it isn't simply `service:Operation`.
_ACTIONS = {
    **{each: f"sts:{each}" for each in sorted(_FOR_CREDENTIALS)},
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


# Everything that a client, or its creation, raises; for `except`.
ERRORS = (boto.ClientError, boto.BotoCoreError, Boto3Error, EndpointError)

# ---------------------------------------------------------------------- clients

_creating = threading.Lock()  # a session is not thread-safe


@functools.cache
def _core() -> botocore.session.Session:
    return botocore.session.get_session()


@functools.cache
def _session() -> boto3.Session:
    """One for the process: each resolves credentials by itself, which may ask for a one-time code."""
    return boto3.Session(botocore_session=_core())


@functools.cache
def _instance_region() -> str:
    """The region in the instance's metadata. Raises LookupError after a second without any."""
    found: str | None = InstanceMetadataRegionFetcher(timeout=1, num_attempts=1).retrieve_region()
    if not found:
        raise LookupError("no instance metadata")  # not cached: it may be there next time
    return found


def region() -> str | None:
    """``AWS_REGION``, else ``AWS_DEFAULT_REGION``, else the profile's, else the instance's.

    boto3 by itself reads neither the first, which every other AWS tool reads, nor the last.
    """
    configured = os.environ.get("AWS_REGION") or _session().region_name
    if configured:
        return configured
    try:
        return _instance_region()
    except LookupError:
        return None


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
    Raises :class:`EndpointError`, and botocore's ``NoRegionError`` or ``NoCredentialsError`` if there
    are none now: a client that was made without would never find any.
    """
    config = Config(
        max_pool_connections=connections,
        connect_timeout=CONNECT_SECONDS,
        read_timeout=read_seconds,
        retries={"mode": "standard", "total_max_attempts": attempts},
    )
    with _creating:
        try:
            found = _session().get_credentials()
            made = _session().client(service, region_name=region(), config=config)
        except boto.BotoCoreError:  # some are ValueErrors too
            raise
        except ValueError as error:
            raise EndpointError(
                f"{error}: correct AWS_ENDPOINT_URL, e.g. http://host:port"
            ) from error
    if found is None:
        made.close()
        raise boto.NoCredentialsError
    return made


_sharing = threading.Lock()


@functools.cache
def _shared_s3() -> "S3Client":
    return client("s3", connections=S3_CONNECTIONS, attempts=ATTEMPTS + 1)


def s3() -> "S3Client":
    """The S3 client that all threads of this process share."""
    with _sharing:  # or each thread of a fresh worker would create one
        return _shared_s3()


@functools.cache
def bucket_url(bucket: str) -> str:
    """Where requests for the bucket go: its name is in the host or in the path, as botocore decides.

    Makes no request. Raises as :func:`client`, and botocore's ``ParamValidationError``.
    """
    urls: list[str] = []

    def note(params: dict[str, str], **_: object) -> tuple[SimpleNamespace, dict[str, object]]:
        urls.append(params["url"])
        return SimpleNamespace(status_code=200), {}  # a response, so that none is requested

    asking = client("s3")
    with contextlib.closing(asking):
        asking.meta.events.register("before-call.s3.HeadBucket", note)
        asking.head_bucket(Bucket=bucket)
    return urls[0].rstrip("/")


def credentials() -> "ReadOnlyCredentials":
    """What requests are signed with now; temporary ones are renewed in time.

    Raises botocore's ``NoCredentialsError``, and its other errors of a renewal that fails.
    """
    with _creating:
        found = _session().get_credentials()
    if found is None:
        raise boto.NoCredentialsError
    return found.get_frozen_credentials()


def ca_bundle() -> str | None:
    """The file of certificates that botocore trusts, if a variable or the profile names one."""
    with _creating:
        configured: str | None = _core().get_config_variable("ca_bundle")
    return configured or os.environ.get("REQUESTS_CA_BUNDLE")


def forget() -> None:
    """Drop the session and what was made of it, after a change of the environment."""
    for each in (_core, _session, _shared_s3, bucket_url):
        each.cache_clear()


def queue_url(sqs: "SQSClient", name: str) -> str | None:
    """The URL of the queue ``name``, None if there is no such queue. Raises botocore's errors."""
    try:
        return sqs.get_queue_url(QueueName=name)["QueueUrl"]
    except boto.ClientError as error:
        if is_missing_queue(error):
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
        return code_of(error) in BAD_CREDENTIALS or is_denied(error)
    return isinstance(error, _NO_CREDENTIALS) or (
        type(error) is RuntimeError and _STILL_EXPIRED in str(error)
    )


def is_transient(error: Exception) -> bool:
    """Whether the same request may succeed by itself, later and in this process."""
    return (
        is_overloaded(error)
        or is_unreachable(error)
        or isinstance(error, (boto.IncompleteReadError, *_NO_ISSUER))
    )


def is_of_issuer(error: Exception) -> bool:
    """Whether it answers a request for credentials, which botocore makes before that of the caller."""
    return isinstance(error, boto.ClientError) and error.operation_name in _FOR_CREDENTIALS


def is_denied(error: Exception) -> bool:
    """Whether AWS knows the caller, and does not let them."""
    if code_of(error) in BAD_CREDENTIALS or is_wrong_clock(error):
        return False
    code = code_of(error)
    return code in DENIED or code in ("403", "Forbidden") or status_of(error) == 403


def is_key_refusal(error: Exception) -> bool:
    """Whether the KMS key of a bucket or queue cannot be used: disabled, deleted, not allowed."""
    return code_of(error).startswith(("KMS.", "Kms")) and not is_overloaded(error)


def is_missing(error: Exception) -> bool:
    """Whether there is no such object, or a delete marker in its place.

    A response to HEAD does not say whether it is the bucket that is missing; any other does.
    """
    return code_of(error) in _MISSING_OBJECT


def is_missing_queue(error: Exception) -> bool:
    """Whether there is no such queue."""
    return code_of(error).rpartition(".")[2] in _MISSING_QUEUE


def is_overloaded(error: Exception) -> bool:
    """Whether the service could not serve the request now; later it may."""
    code = code_of(error)
    throttled = (
        "Throttl" in code or code in _OVERLOADED
    )  # ThrottlingException, KMS.…, RequestThrottled
    return throttled or status_of(error) >= 500 or status_of(error) == 429


def is_wrong_clock(error: Exception) -> bool:
    """Whether AWS refused the request because of the time it was signed at."""
    return code_of(error) in _WRONG_CLOCK


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
    if isinstance(error, _NO_ISSUER):
        return f"{subject}AWS credentials cannot be renewed: {message}"
    if isinstance(error, _NO_CREDENTIALS):
        return (
            f"{subject}no usable AWS credentials ({message}): set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or give the instance a role"
        )
    if isinstance(error, boto.NoRegionError):
        return f"{subject}no AWS region is set: set AWS_REGION, for example to eu-west-1"
    if isinstance(error, boto.InvalidRegionError):
        return f"{subject}{message.rstrip('.')}: correct AWS_REGION, for example to eu-west-1"
    if is_unreachable(error):
        return f"{subject}{message.rstrip('.')}: check the network, AWS_ENDPOINT_URL and AWS_REGION"
    return subject + message


def _explain_response(error: boto.ClientError, hint: str) -> str:
    code, operation, message = code_of(error), error.operation_name, message_of(error)
    if code in _WRONG_CLOCK:
        return f"AWS refuses the time of this machine ({code}: {message}): set its clock"
    if code in BAD_CREDENTIALS:
        return f"AWS does not accept the credentials ({code}: {message}): renew or correct them"
    if code == "NoSuchBucket":
        return (
            f"{operation}: there is no such bucket ({message}): deploy it (python -m infra_scripts "
            "deploy) or correct storage.bucket"
        )
    if code in _OTHER_REGION:
        return f"{operation}: the bucket is in another region ({message}): correct AWS_REGION"
    if is_denied(error):
        return (
            f"no permission: {operation} was denied ({message}); "
            f"grant {action_of(operation)} to these credentials{f' ({hint})' if hint else ''}"
        )
    if code.rpartition(".")[2] in _CHANGING:
        return f"{operation}: AWS is busy with an earlier change: retry in a minute"
    return f"{operation} failed: {code}: {message}"
