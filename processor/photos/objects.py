"""Photos in S3: what is there now under a key, whatever the events said.

Errors::

    Missing                  no such object (or its newest version is a delete marker)
    Refused                  S3 will not give this object to us; asking again does not help
    Unavailable              S3 could not answer now; asking later may help

Anything else that S3 answers (no such bucket, invalid credentials) concerns every photo, not one: it
is raised as botocore's ``ClientError`` and fails the micro-batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    IncompleteReadError,
    NoCredentialsError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from processor.store.datafiles import s3

_MISSING = {"404", "NoSuchKey", "NotFound", "NoSuchVersion", "MethodNotAllowed"}
_REFUSED = {"AccessDenied": "forbidden", "InvalidObjectState": "archived"}
_EVERYBODYS = {
    "NoSuchBucket",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
    "RequestTimeTooSkewed",
}


class Missing(Exception):
    """There is no object under this key."""


class Refused(Exception):
    """S3 does not give us this object; ``reason`` is a short name, ``version`` may be unknown."""

    def __init__(self, reason: str, detail: str, version: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.version = version


class Unavailable(Exception):
    """S3 could not answer; later it may."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredPhoto:
    """An object's bytes and the version (version id, else ETag) that they are of."""

    data: bytes
    version: str
    modified: datetime


def version_of(answer: Mapping[str, Any]) -> str:
    """The identity of an object's content: its version id, in an unversioned bucket its ETag."""
    version_id = answer.get("VersionId")
    return version_id if version_id not in (None, "", "null") else answer["ETag"].strip('"')


def current_version(bucket: str, key: str) -> str | None:
    """The version that S3 has under ``key`` now; None if there is none.

    Raises :class:`Unavailable`, and :class:`Refused` without the reason: only :func:`get` learns it,
    for S3's answer to HEAD has no body.
    """
    try:
        return version_of(s3().head_object(Bucket=bucket, Key=key))
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status in (404, 405):  # 405: a delete marker
            return None
        if status < 500 and status != 429:
            raise Refused("forbidden", _say(error)) from error
        raise Unavailable(_say(error)) from error
    except BotoCoreError as error:
        raise Unavailable(str(error)) from error


def get(bucket: str, key: str, max_bytes: int) -> StoredPhoto:
    """The object under ``key`` as it is now. An object above ``max_bytes`` is not read.

    Raises :class:`Missing`, :class:`Refused`, :class:`Unavailable`.
    """
    try:
        return _get(bucket, key, max_bytes)
    except ClientError as error:
        raise _fault(error) from error
    except NoCredentialsError:
        raise
    except BotoCoreError as error:
        raise Unavailable(f"reading {key!r} failed: {error}") from error


# botocore tries a request again, but not a body that breaks off.
@retry(
    retry=retry_if_exception_type((IncompleteReadError, ReadTimeoutError, ResponseStreamingError)),
    stop=stop_after_attempt(3),
    wait=wait_random_exponential(multiplier=0.2, max=2.0),
    reraise=True,
)
def _get(bucket: str, key: str, max_bytes: int) -> StoredPhoto:
    answer = s3().get_object(Bucket=bucket, Key=key)
    version = version_of(answer)
    with answer["Body"] as body:
        if answer["ContentLength"] > max_bytes:
            detail = f"{answer['ContentLength']} bytes; images.max_bytes allows {max_bytes}"
            raise Refused("too-large", detail, version)
        return StoredPhoto(body.read(), version, answer["LastModified"])


def _fault(error: ClientError) -> Exception:
    code = error.response["Error"]["Code"]
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    if code in _EVERYBODYS:
        return error
    if code in _MISSING:
        return Missing(code)
    if status >= 500 or status == 429 or code in ("SlowDown", "RequestTimeout"):
        return Unavailable(_say(error))
    reason = _REFUSED.get(code, "forbidden" if status == 403 else "refused")
    return Refused(reason, _say(error))


def _say(error: ClientError) -> str:
    return f"S3 answered {error.response['Error']['Code']}: {error.response['Error'].get('Message', '')}"
