"""What can go wrong with the AWS stack, each in one line that names the cause and the fix.

InfraError
├── EmbeddedAwsError   the embedded AWS did not start
└── StackError         the stack cannot be read or changed; run the same command again once mended
    ├── Refused        credentials are missing, wrong or not allowed to do it
    ├── Unreachable    no answer from the endpoint
    └── Conflict       something is there already that this stack must not take or cannot share
"""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore import exceptions as boto

CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.TokenRetrievalError,
    boto.SSOError,
    boto.ProfileNotFound,
)
BAD_CREDENTIALS = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
DENIED = {"403", "AccessDenied", "AccessDeniedException", "AllAccessDisabled", "Forbidden"}
BUSY = {"OperationAborted", "OperationAbortedException", "QueueDeletedRecently"}

# IAM's name for an operation, where it is not the service and the operation's name.
ACTIONS = {
    "DeleteObjects": "s3:DeleteObject and s3:DeleteObjectVersion",
    "GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "GetBucketNotificationConfiguration": "s3:GetBucketNotification",
    "GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "HeadBucket": "s3:ListBucket",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "ListObjectVersions": "s3:ListBucketVersions",
    "PutBucketEncryption": "s3:PutEncryptionConfiguration",
    "PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
    "PutBucketNotificationConfiguration": "s3:PutBucketNotification",
    "PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
}
SQS_OPERATIONS = {
    "CreateQueue",
    "DeleteQueue",
    "GetQueueAttributes",
    "GetQueueUrl",
    "SetQueueAttributes",
}


class InfraError(RuntimeError):
    """The base of all; its text is one line for the person at the terminal."""


class EmbeddedAwsError(InfraError):
    """The embedded AWS did not start, or is not running."""


class StackError(InfraError):
    """The stack is as it was, or changed in part: the same command again converges."""


class Refused(StackError):
    """AWS knows no such caller, or does not let it do this."""


class Unreachable(StackError):
    """The endpoint did not answer; whether the last request took effect is unknown."""


class Conflict(StackError):
    """What is there belongs to somebody else or serves another purpose; nothing was changed."""


@contextmanager
def one_line() -> Iterator[None]:
    """Turn every error of boto3 inside into a :class:`StackError`. Also a decorator."""
    try:
        yield
    except (boto.ClientError, boto.BotoCoreError) as error:
        raise explain(error) from error


def code_of(error: boto.ClientError) -> str:
    """The service's name for the error: ``NoSuchBucket``, or ``404`` where it has no body."""
    return str(error.response.get("Error", {}).get("Code", ""))


def explain(error: boto.ClientError | boto.BotoCoreError) -> StackError:
    """The error of our tree, in one line, for an error of boto3."""
    if isinstance(error, boto.ClientError):
        return _explain_answer(error)
    said = " ".join(str(error).split())
    if isinstance(error, CREDENTIALS):
        return Refused(
            f"no usable AWS credentials ({said}): set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or give the instance a role"
        )
    if isinstance(error, boto.NoRegionError):
        return StackError("no AWS region is set: set AWS_REGION, for example to eu-west-1")
    if isinstance(error, (boto.ConnectionError, boto.HTTPClientError)):
        return Unreachable(
            f"{said.rstrip('.')}: check the network, AWS_ENDPOINT_URL and AWS_REGION"
        )
    return StackError(said)


def _explain_answer(error: boto.ClientError) -> StackError:
    code, operation = code_of(error), error.operation_name
    said = " ".join(str(error.response.get("Error", {}).get("Message", "")).split())
    if code in BAD_CREDENTIALS:
        return Refused(
            f"AWS does not accept the credentials ({code}: {said}): renew or correct them"
        )
    if code in DENIED:
        return Refused(
            f"{operation} was denied ({said}): allow {action_of(operation)} to this caller"
        )
    if code.rpartition(".")[2] in BUSY:
        return StackError(f"{operation}: AWS is busy with an earlier change: retry in a minute")
    return StackError(f"{operation} failed: {code}: {said}")


def action_of(operation: str) -> str:
    """The IAM action that allows ``operation`` of S3, SQS, CloudWatch Logs or STS."""
    if operation in SQS_OPERATIONS:
        return f"sqs:{operation}"
    if "Log" in operation or "Retention" in operation:
        return f"logs:{operation}"
    return ACTIONS.get(operation, f"s3:{operation}")
