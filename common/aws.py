"""AWS: clients, and the one rule for the region.

Credentials and endpoint come from the standard chain (``AWS_PROFILE``, ``AWS_ENDPOINT_URL``, the
instance's role, …), never from a file of ours.
What failed requests raise, and what it means, is in :mod:`common.aws_errors`.
"""

import contextlib
import functools
import os
import threading
from datetime import datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, overload

import boto3
import botocore.session
from boto3.s3.transfer import TransferConfig
from botocore import exceptions as boto
from botocore.config import Config
from botocore.utils import InstanceMetadataRegionFetcher, parse_timestamp

from common import aws_errors, redaction

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_cloudwatch import CloudWatchClient
    from types_boto3_logs import CloudWatchLogsClient
    from types_boto3_s3 import S3Client
    from types_boto3_sqs import SQSClient
    from types_boto3_sts import STSClient

CONNECT_SECONDS = 5
READ_SECONDS = 30
ATTEMPTS = 4  # per request, the first included; botocore backs off exponentially between them
S3_CONNECTIONS = 32

_creating = threading.Lock()  # a session is not thread-safe


@functools.cache
def _core() -> botocore.session.Session:
    session = botocore.session.get_session()
    parsers = session.get_component("response_parser_factory")
    parsers.set_parser_defaults(timestamp_parser=_timestamp)
    return session


def _timestamp(value: str | float) -> datetime:
    """As botocore's, which takes three quarters of the time of a listing, where S3 writes ISO 8601."""
    if isinstance(value, str) and value.endswith("Z"):
        with contextlib.suppress(ValueError):
            return datetime.fromisoformat(value)
    parsed: datetime = parse_timestamp(value)
    return parsed


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
    service: Literal["cloudformation"],
    *,
    connections: int = ...,
    read_seconds: int = ...,
    attempts: int = ...,
) -> "CloudFormationClient": ...
@overload
def client(
    service: Literal["ec2", "kms"],
    *,
    connections: int = ...,
    read_seconds: int = ...,
    attempts: int = ...,
) -> Any: ...
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
    Raises :class:`~common.aws_errors.EndpointError`, and botocore's ``NoRegionError`` or
    ``NoCredentialsError`` if there are none now: a client that was made without would never find any.
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
            raise aws_errors.EndpointError(
                f"{error}: correct AWS_ENDPOINT_URL, e.g. http://host:port"
            ) from error
    if found is None:
        made.close()
        raise boto.NoCredentialsError
    made.meta.events.register_first("before-parse", _refuse_half)
    named = made.meta.service_model.service_id.hyphenize()
    made.meta.events.register_first(f"needs-retry.{named}.*", _retry_as_parsed)
    return made


def _refuse_half(operation_model: Any, response_dict: dict[str, Any], **_: object) -> None:
    """Take a response whose body breaks off for a 503.

    botocore ignores its length: from half a JSON document it reads no member, and from half an XML
    document an error that it does not retry. Bodies that are streamed it counts itself.
    """
    body, length = response_dict["body"], response_dict["headers"].get("Content-Length", 0)
    has_body = isinstance(body, bytes) and operation_model.http["method"] != "HEAD"
    if has_body and len(body) < int(length):
        response_dict.update(status_code=503, body=b"")


def _retry_as_parsed(response: tuple[Any, Any] | None, **_: object) -> None:
    """Retry by the status that :func:`_refuse_half` leaves; for S3, botocore does it by itself."""
    if response:
        response[0].status_code = response[1]["ResponseMetadata"]["HTTPStatusCode"]


_sharing = threading.Lock()


@functools.cache
def _shared_s3() -> "S3Client":
    return client("s3", connections=S3_CONNECTIONS, attempts=ATTEMPTS + 1)


def s3() -> "S3Client":
    """The S3 client that all threads of this process share."""
    with _sharing:  # or each thread of a fresh worker would create one
        return _shared_s3()


def in_pieces(piece_bytes: int) -> TransferConfig:
    """How to upload something whose size is not known: in pieces of so many bytes, if it is larger."""
    return TransferConfig(multipart_threshold=piece_bytes, multipart_chunksize=piece_bytes)


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
    frozen = found.get_frozen_credentials()
    redaction.hide(frozen.secret_key, frozen.token)
    return frozen


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
        if aws_errors.is_missing_queue(error):
            return None
        raise
