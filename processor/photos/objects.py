"""Photos in S3: what is under a key now, whatever the events say.

Errors: :class:`Missing`, :class:`TooLarge`, :class:`Refused`, :class:`Unavailable`, see
:mod:`processor.errors`. Errors that concern all photos rather than one (no such bucket, invalid or
no credentials) leave :func:`get` as botocore's own and fail the micro-batch.
"""

import logging
import threading
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential
from urllib3.exceptions import HTTPError

from common import aws, aws_errors
from processor.errors import Missing, PhotoError, Refused, TooLarge, Unavailable
from processor.photos import native_s3

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import GetObjectOutputTypeDef, HeadObjectOutputTypeDef

log = logging.getLogger(__name__)

ARCHIVED = "archived"
_REFUSED = {"AccessDenied": "forbidden", "InvalidObjectState": ARCHIVED}
_noted = threading.Event()


@dataclass(frozen=True, slots=True, eq=False)
class PhotoObject:
    """An object's bytes, its version (see :func:`version_of`) and when it was last modified."""

    data: bytes
    version: str
    modified: datetime


def version_of(answer: "GetObjectOutputTypeDef | HeadObjectOutputTypeDef") -> str:
    """The identity of an object's content: its version id, in an unversioned bucket its ETag."""
    return version_named(answer.get("VersionId"), answer["ETag"])


def version_named(version_id: str | None, etag: str) -> str:
    """The same of an object with these two."""
    return version_id if version_id and version_id != "null" else etag.strip('"')


def current_version(bucket: str, key: str) -> str | None:
    """The version that S3 has under ``key`` now; None if there is no object or no bucket.

    Raises :class:`Unavailable`, and :class:`Refused` without the true reason: only :func:`get` learns
    it, because a response to HEAD has no body.
    """
    try:
        return version_of(aws.s3().head_object(Bucket=bucket, Key=key))
    except ClientError as error:
        if aws_errors.status_of(error) in (404, 405):  # 405: a delete marker
            return None
        if aws_errors.is_overloaded(error):
            raise Unavailable(_describe(error)) from error
        raise Refused("forbidden", _describe(error)) from error
    except BotoCoreError as error:
        if concerns_all(error):
            raise
        raise Unavailable(str(error)) from error


def get(bucket: str, key: str, max_bytes: int) -> PhotoObject:
    """Read the object under ``key`` as it is now; if its body breaks off, up to three times again.

    Raises :class:`Missing`, :class:`TooLarge` (above ``max_bytes``, unread), :class:`Refused`,
    :class:`Unavailable`, and botocore's error if it concerns all photos.
    """
    try:
        return _get_natively(bucket, key, max_bytes)
    except native_s3.ERRORS as error:
        hindrance = error
    found = _get_with_botocore(bucket, key, max_bytes)
    if not isinstance(hindrance, ValueError):  # a key that obstore cannot ask for
        _note(hindrance)
    return found


def is_served(bucket: str, key: str) -> bool | None:
    """Whether S3 would deliver the object now, without reading it; None if there is none to deliver.

    That is also one in an archive. Raises botocore's error if it concerns all photos, like :func:`get`.
    """
    try:
        get(bucket, key, max_bytes=-1)
    except Missing:
        return None
    except Refused as error:
        return None if error.reason == ARCHIVED else False
    except Unavailable:
        return False
    except TooLarge:
        pass
    return True


def _note(hindrance: Exception) -> None:
    """Log once per process that a GET needed botocore, because many such make a service slower."""
    if not _noted.is_set():
        _noted.set()
        reason = str(hindrance).partition("\n")[0]
        log.info("botocore could read the object, obstore could not: %s", reason)


def _get_natively(bucket: str, key: str, max_bytes: int) -> PhotoObject:
    answer = native_s3.get(bucket, key)
    meta = answer.meta
    version = version_named(meta["version"], meta["e_tag"] or "")
    _check_size(meta["size"], max_bytes, version)
    return PhotoObject(answer.bytes().to_bytes(), version, meta["last_modified"])


def _get_with_botocore(bucket: str, key: str, max_bytes: int) -> PhotoObject:
    try:
        return _get(bucket, key, max_bytes)
    except ClientError as error:
        raise _fault(error) from error
    except (BotoCoreError, HTTPError) as error:
        if concerns_all(error):
            raise
        raise Unavailable(f"reading {key!r} failed: {error}") from error


@retry(
    retry=retry_if_exception_type((*aws_errors.BROKEN_OFF, ReadTimeoutError)),
    stop=stop_after_attempt(3),
    wait=wait_random_exponential(multiplier=0.2, max=2.0),
    reraise=True,
)
def _get(bucket: str, key: str, max_bytes: int) -> PhotoObject:
    answer = aws.s3().get_object(Bucket=bucket, Key=key)
    version = version_of(answer)
    # Not `with answer["Body"]`, which hands out urllib3's response and with it errors of urllib3.
    with closing(answer["Body"]) as body:
        _check_size(answer["ContentLength"], max_bytes, version)
        return PhotoObject(body.read(), version, answer["LastModified"])


def _check_size(size: int, max_bytes: int, version: str) -> None:
    if size > max_bytes:
        raise TooLarge(f"{size} bytes; images.max_bytes allows {max_bytes}", version)


def concerns_all(error: Exception) -> bool:
    """Whether it is about the bucket, the credentials or the clock, and does not pass by itself."""
    code = aws_errors.code_of(error)
    if isinstance(error, ClientError):
        bad = code in aws_errors.BAD_CREDENTIALS or aws_errors.is_wrong_clock(error)
        return bad or code == "NoSuchBucket"
    return aws_errors.is_lasting_refusal(error)


def _fault(error: ClientError) -> ClientError | PhotoError:
    code = aws_errors.code_of(error)
    if concerns_all(error):
        return error
    if aws_errors.is_missing(error):
        return Missing(code)
    if aws_errors.is_overloaded(error):
        return Unavailable(_describe(error))
    if aws_errors.is_key_refusal(error):
        return Refused("encrypted", _describe(error))
    reason = _REFUSED.get(code, "forbidden" if aws_errors.status_of(error) == 403 else "refused")
    return Refused(reason, _describe(error))


def _describe(error: ClientError) -> str:
    return f"S3 answered {aws_errors.code_of(error)}: {aws_errors.message_of(error)}"
