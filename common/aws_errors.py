"""AWS' errors: what they mean, whichever service returns them, and in one line for the operator.

Failed requests raise botocore's own ``ClientError`` or ``BotoCoreError``; the functions below classify
and explain them. Of ours there is one::

    RuntimeError
    └── EndpointError        AWS_ENDPOINT_URL is not a URL
"""

from boto3.exceptions import Boto3Error
from botocore import exceptions as boto
from urllib3.exceptions import HTTPError

# Of a body that breaks off, which botocore does not ask for again, as it does for a response. In there,
# urllib3's errors of TLS stay its own.
BROKEN_OFF = (boto.IncompleteReadError, boto.ResponseStreamingError, HTTPError)

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
_OF_EC2 = {"DescribeInstanceTypeOfferings", "DescribeSubnets", "DescribeVpcs"}

# The IAM action that allows an operation, where it isn't simply `service:Operation`.
_ACTIONS = {
    **{each: f"sts:{each}" for each in sorted(_FOR_CREDENTIALS)},
    **{each: f"ec2:{each}" for each in sorted(_OF_EC2)},
    "DescribeKey": "kms:DescribeKey",
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


def is_lasting_refusal(error: Exception) -> bool:
    """Whether it is a refusal that somebody has to mend."""
    return is_refusal(error) and not is_transient(error)


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
    # ThrottlingException, KMS.ThrottlingException, RequestThrottled, …
    throttled = "Throttl" in code or code in _OVERLOADED
    return throttled or status_of(error) >= 500 or status_of(error) == 429


def is_wrong_clock(error: Exception) -> bool:
    """Whether AWS refused the request because of the time it was signed at."""
    return code_of(error) in _WRONG_CLOCK


def is_unreachable(error: Exception) -> bool:
    """Whether no response came, so it is unknown whether the request took effect."""
    return isinstance(error, (boto.ConnectionError, boto.HTTPClientError))


def action_of(operation: str) -> str:
    """The IAM action that allows ``operation`` of a service that is used here."""
    if "Queue" in operation or "Message" in operation:
        return f"sqs:{operation.removesuffix('Batch')}"
    if "Stack" in operation or "ChangeSet" in operation:
        return f"cloudformation:{operation}"
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
    if code == "400":
        return (
            f"{operation} failed: 400 without a reason (S3 gives none for a HEAD): the credentials may "
            "have expired, or the bucket be in another region"
        )
    if code.rpartition(".")[2] in _CHANGING:
        return f"{operation}: AWS is busy with an earlier change: retry in a minute"
    return f"{operation} failed: {code}: {message}"
