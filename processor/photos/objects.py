"""Photos in S3: what is under a key now, whatever the events say.

Errors: :class:`Missing`, :class:`TooLarge`, :class:`Refused`, :class:`Unavailable`, see
:mod:`processor.errors`. Errors that concern all photos rather than one (no such bucket, invalid or
no credentials) leave :func:`get` as botocore's own and fail the micro-batch.
"""

from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from common import aws
from processor.errors import Missing, PhotoError, Refused, TooLarge, Unavailable

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import GetObjectOutputTypeDef, HeadObjectOutputTypeDef

_REFUSED = {"AccessDenied": "forbidden", "InvalidObjectState": "archived"}


@dataclass(frozen=True, slots=True, eq=False)
class PhotoObject:
    """An object's bytes, its version (see :func:`version_of`) and when it was last modified."""

    data: bytes
    version: str
    modified: datetime


def version_of(answer: "GetObjectOutputTypeDef | HeadObjectOutputTypeDef") -> str:
    """The identity of an object's content: its version id, in an unversioned bucket its ETag."""
    version_id = answer.get("VersionId")
    return version_id if version_id and version_id != "null" else answer["ETag"].strip('"')


def current_version(bucket: str, key: str) -> str | None:
    """The version that S3 has under ``key`` now; None if there is no object or no bucket.

    Raises :class:`Unavailable`, and :class:`Refused` without the true reason: only :func:`get` learns
    it, because a response to HEAD has no body.
    """
    try:
        return version_of(aws.s3().head_object(Bucket=bucket, Key=key))
    except ClientError as error:
        if aws.status_of(error) in (404, 405):  # 405: a delete marker
            return None
        if aws.is_overloaded(error):
            raise Unavailable(_describe(error)) from error
        raise Refused("forbidden", _describe(error)) from error
    except BotoCoreError as error:
        if aws.is_refusal(error):  # there are no credentials
            raise
        raise Unavailable(str(error)) from error


def get(bucket: str, key: str, max_bytes: int) -> PhotoObject:
    """Read the object under ``key`` as it is now, in at most three attempts if its body breaks off.

    Raises :class:`Missing`, :class:`TooLarge` (above ``max_bytes``, unread), :class:`Refused`,
    :class:`Unavailable`, and botocore's error if it concerns all photos.
    """
    try:
        return _get(bucket, key, max_bytes)
    except ClientError as error:
        raise _fault(error) from error
    except BotoCoreError as error:
        if aws.is_refusal(error):  # there are no credentials
            raise
        raise Unavailable(f"reading {key!r} failed: {error}") from error


# botocore retries a request, but not a body that breaks off.
@retry(
    retry=retry_if_exception_type((IncompleteReadError, ReadTimeoutError, ResponseStreamingError)),
    stop=stop_after_attempt(3),
    wait=wait_random_exponential(multiplier=0.2, max=2.0),
    reraise=True,
)
def _get(bucket: str, key: str, max_bytes: int) -> PhotoObject:
    answer = aws.s3().get_object(Bucket=bucket, Key=key)
    version = version_of(answer)
    # Not `with answer["Body"]`, which hands out urllib3's response and with it errors of urllib3.
    with closing(answer["Body"]) as body:
        if answer["ContentLength"] > max_bytes:
            detail = f"{answer['ContentLength']} bytes; images.max_bytes allows {max_bytes}"
            raise TooLarge(detail, version)
        return PhotoObject(body.read(), version, answer["LastModified"])


def _fault(error: ClientError) -> ClientError | PhotoError:
    code = aws.code_of(error)
    if code == "NoSuchBucket" or code in aws.BAD_CREDENTIALS or aws.is_wrong_clock(error):
        return error
    if aws.is_missing(error):
        return Missing(code)
    if aws.is_overloaded(error):
        return Unavailable(_describe(error))
    reason = _REFUSED.get(code, "forbidden" if aws.status_of(error) == 403 else "refused")
    return Refused(reason, _describe(error))


def _describe(error: ClientError) -> str:
    return f"S3 answered {aws.code_of(error)}: {aws.message_of(error)}"
