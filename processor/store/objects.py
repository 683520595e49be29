"""Single objects of the store: read, written and replaced as a whole.

A URI is ``s3://bucket/key``, or a local path in benchmarks. Every error of S3 except "no such object" is
raised as botocore's.
"""

import io
import math
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from common import aws, aws_errors
from common.layout import split

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import HeadObjectOutputTypeDef, ObjectIdentifierTypeDef


DELETED_AT_ONCE = 1000  # the most that S3 allows in a request
PIECE_BYTES, MOST_PIECES = 8 << 20, 10_000  # of an upload; the most that S3 takes
# What S3 answers where a condition does not hold, or holds no longer while others write.
_OTHERWISE = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "404", "409", "412"}
READS = 5  # of an object whose response breaks off, before whoever reads many begins with the first


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One entry of a listing."""

    uri: str
    modified: datetime


def get(uri: str) -> bytes | None:
    """The bytes of one object; None if it does not exist."""
    if not uri.startswith("s3://"):
        return Path(uri).read_bytes() if Path(uri).exists() else None
    bucket, key = split(uri)
    try:
        return _read(Bucket=bucket, Key=key)
    except ClientError as error:
        if aws_errors.is_missing(error):
            return None
        raise


@retry(
    retry=retry_if_exception_type(aws_errors.BROKEN_OFF),
    wait=wait_random_exponential(multiplier=0.2, max=2.0),
    stop=stop_after_attempt(READS),
    reraise=True,
)
def _read(**request: Any) -> bytes:
    """The bytes that S3 answers."""
    body: bytes = aws.s3().get_object(**request)["Body"].read()
    return body


def opened(uri: str) -> io.RawIOBase | io.BufferedReader:
    """An object that stays as it is, to read parts of it, each with one request.

    Other threads run while S3 answers. Raises FileNotFoundError.
    """
    if not uri.startswith("s3://"):
        return Path(uri).open("rb")
    answer = _head(uri)
    if answer is None:
        raise FileNotFoundError(uri)
    return _Parts(uri, answer["ContentLength"])


class _Parts(io.RawIOBase):
    def __init__(self, uri: str, size: int) -> None:
        self._bucket, self._key = split(uri)
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = self._size if size < 0 else min(self._at + size, self._size)
        if end <= self._at:
            return b""
        part = f"bytes={self._at}-{end - 1}"
        body = _read(Bucket=self._bucket, Key=self._key, Range=part)
        self._at = end
        return body


def put(uri: str, body: bytes) -> None:
    """Write or replace one object."""
    if uri.startswith("s3://"):
        bucket, key = split(uri)
        aws.s3().put_object(Bucket=bucket, Key=key, Body=body)
        return
    Path(uri).parent.mkdir(parents=True, exist_ok=True)
    Path(uri).write_bytes(body)


def tagged(uri: str) -> tuple[bytes, str] | None:
    """The bytes of one ``s3://`` object, and the tag of exactly these; None if it does not exist."""
    bucket, key = split(uri)
    try:
        answer = aws.s3().get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if aws_errors.is_missing(error):
            return None
        raise
    return answer["Body"].read(), answer["ETag"]


def replace(uri: str, body: bytes, tag: str | None) -> str | None:
    """Write one ``s3://`` object if it still has this tag (None: does not exist); its new tag.

    None if it is otherwise: nothing was written then, or by this call, whose answer was lost. An S3
    without conditions writes in any case.
    """
    bucket, key = split(uri)
    condition: dict[str, Any] = {"IfMatch": tag} if tag else {"IfNoneMatch": "*"}
    try:
        return aws.s3().put_object(Bucket=bucket, Key=key, Body=body, **condition)["ETag"]
    except ClientError as error:
        if aws_errors.code_of(error) in _OTHERWISE:
            return None
        raise


def upload(
    uri: str,
    parts: Iterable[bytes],
    content_type: str,
    metadata: Mapping[str, str],
    about_bytes: int = 0,
) -> None:
    """Replace one object with the bytes of ``parts``; readers see the old one or the new, whole.

    They are sent while the next ones are made, without a file on the disk, in pieces, of which ten are
    in memory and S3 takes 10,000. A piece has 8 MB, which ends at 80 GB; more where ``about_bytes``, a
    guess, is above half of that. ``metadata`` is stored with the object; with a local URI it is
    dropped. Raises what ``parts`` raises, too; a failed upload leaves the old object.
    """
    file = io.BufferedReader(_Joined(parts))
    if not uri.startswith("s3://"):
        partial = Path(f"{uri}.partial")
        partial.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as written:
            shutil.copyfileobj(file, written)
        partial.replace(uri)
        return
    bucket, key = split(uri)
    extra = {"ContentType": content_type, "Metadata": dict(metadata)}
    pieces = aws.in_pieces(max(PIECE_BYTES, 2 * about_bytes // MOST_PIECES))
    aws.s3().upload_fileobj(file, bucket, key, ExtraArgs=extra, Config=pieces)


class _Joined(io.RawIOBase):
    """The bytes of all parts, to be read as one file."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = iter(parts)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            part = next(self._parts, None)
            if part is None:
                return 0
            self._rest = memoryview(part)
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def metadata(uri: str) -> dict[str, str]:
    """The metadata that :func:`upload` stored with an object; empty if there is no such object."""
    answer = _head(uri) if uri.startswith("s3://") else None
    return answer["Metadata"] if answer else {}


def age_seconds(uri: str) -> float:
    """The seconds since an object was written; infinite if there is no such object."""
    if uri.startswith("s3://"):
        answer = _head(uri)
        written = answer["LastModified"].timestamp() if answer else -math.inf
    else:
        written = Path(uri).stat().st_mtime if Path(uri).exists() else -math.inf
    return time.time() - written


def exists(uri: str) -> bool:
    """Whether the object exists."""
    return _head(uri) is not None if uri.startswith("s3://") else Path(uri).exists()


def listing(folder: str) -> Iterator[ListedObject]:
    """All objects under a folder, at any depth, in the order of their keys."""
    if not folder.startswith("s3://"):
        for path in sorted(each for each in Path(folder).rglob("*") if each.is_file()):
            yield ListedObject(str(path), datetime.fromtimestamp(path.stat().st_mtime, UTC))
        return
    bucket, prefix = split(f"{folder}/")
    pages = aws.s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    for page in pages:
        for each in page.get("Contents", ()):
            yield ListedObject(f"s3://{bucket}/{each['Key']}", each["LastModified"])


def delete_all(folder: str, paths: Iterable[str]) -> None:
    """Delete the objects under ``folder`` that have these relative paths, if they exist.

    Raises botocore's ClientError for the first that S3 refuses to delete; the others are deleted.
    """
    if not folder.startswith("s3://"):
        for path in paths:
            Path(folder, path).unlink(missing_ok=True)
        return
    bucket, prefix = split(f"{folder}/")
    listed: list[ObjectIdentifierTypeDef] = [{"Key": f"{prefix}{path}"} for path in paths]
    for start in range(0, len(listed), DELETED_AT_ONCE):
        some = listed[start : start + DELETED_AT_ONCE]
        answer = aws.s3().delete_objects(Bucket=bucket, Delete={"Objects": some, "Quiet": True})
        for error in answer.get("Errors", ()):
            raise ClientError(
                {
                    "Error": {
                        "Code": error["Code"],
                        "Message": f"{error['Key']}: {error['Message']}",
                    }
                },
                "DeleteObjects",
            )


def delete(uri: str, tag: str | None = None) -> None:
    """Delete one ``s3://`` object, if it exists, and still has this tag if one is given."""
    bucket, key = split(uri)
    condition: dict[str, Any] = {"IfMatch": tag} if tag else {}
    try:
        aws.s3().delete_object(Bucket=bucket, Key=key, **condition)
    except ClientError as error:
        if not tag or aws_errors.code_of(error) not in _OTHERWISE:
            raise


def _head(uri: str) -> "HeadObjectOutputTypeDef | None":
    bucket, key = split(uri)
    try:
        return aws.s3().head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if aws_errors.is_missing(error):
            return None
        raise
