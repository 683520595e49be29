"""Uploads: photos of a local folder into the bucket, several at a time, without those that are there.

S3 reports each new object to the queue, so nothing else needs to be told. Repeating an upload that was
interrupted continues it: an object is there whole or not at all.
"""

import base64
import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from common import aws_errors
from ingest.folder import LeftOut, LocalPhoto

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

THREADS = 32
NOTE_SECONDS = 5.0
EXAMPLES = 20  # of photos left out that are named; all are counted


@dataclass(slots=True)
class Progress:
    """What an upload has done so far."""

    uploaded: int = 0
    uploaded_bytes: int = 0
    present: int = 0  # with equal bytes already
    others: int = 0  # files that are not photos by their names
    left_out: int = 0
    examples: list[LeftOut] = field(default_factory=list)  # the first of those left out

    def leave_out(self, each: LeftOut) -> None:
        if not each.is_photo:
            self.others += 1
            return
        self.left_out += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(each)


@dataclass(frozen=True, slots=True)
class _Stored:
    """An object as S3 lists it."""

    bytes: int
    etag: str


def upload(
    s3: "S3Client",
    bucket: str,
    prefix: str,
    files: Iterable[LocalPhoto | LeftOut],
    note: Callable[[Progress], None],
) -> Progress:
    """Upload the photos among ``files``, whose keys begin with ``prefix`` and are in their order.

    An object with other bytes under a photo's key is replaced. ``note`` is called every few seconds, and
    at the end. A file that cannot be read is left out. Raises botocore's errors; what was uploaded by
    then stays, and is not uploaded again by the next call. Memory: :data:`THREADS` photos.
    """
    progress = Progress()
    noted = time.monotonic()
    waiting: deque[Future[LocalPhoto | LeftOut | None]] = deque()

    def settle() -> None:
        nonlocal noted
        match waiting.popleft().result():
            case LocalPhoto() as photo:
                progress.uploaded += 1
                progress.uploaded_bytes += photo.bytes
            case LeftOut() as left:
                progress.leave_out(left)
            case None:
                progress.present += 1
        if time.monotonic() - noted >= NOTE_SECONDS:
            note(progress)
            noted = time.monotonic()

    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="upload")
    try:
        for each, stored in _beside(files, _listed(s3, bucket, prefix)):
            if isinstance(each, LeftOut):
                progress.leave_out(each)
                continue
            waiting.append(pool.submit(_put, s3, bucket, each, stored))
            if len(waiting) >= 2 * THREADS:
                settle()
        while waiting:
            settle()
    finally:  # of an error or an interruption, too: requests that are running are waited for
        pool.shutdown(cancel_futures=True)
    note(progress)
    return progress


def _listed(s3: "S3Client", bucket: str, prefix: str) -> Iterator[tuple[str, _Stored]]:
    """What S3 has under the prefix, in the order of the keys, a page at a time."""
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", ()):
            yield entry["Key"], _Stored(entry["Size"], entry["ETag"].strip('"'))


def _beside(
    files: Iterable[LocalPhoto | LeftOut], listed: Iterator[tuple[str, _Stored]]
) -> Iterator[tuple[LocalPhoto | LeftOut, _Stored | None]]:
    """Each file with the object that has its key. Where S3 keeps no order some have none: those are
    uploaded again, which is harmless."""
    key, stored = next(listed, (None, None))
    for each in files:
        if isinstance(each, LeftOut):
            yield each, None
            continue
        while key is not None and key < each.key:
            key, stored = next(listed, (None, None))
        yield each, stored if key == each.key else None


def _put(
    s3: "S3Client", bucket: str, photo: LocalPhoto, stored: _Stored | None
) -> LocalPhoto | LeftOut | None:
    """The photo, if it was uploaded; None, if S3 has the same bytes already."""
    try:
        data = photo.path.read_bytes()
    except OSError as error:
        return LeftOut(photo.path, error.strerror or str(error))
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
    if (
        stored
        and stored.bytes == len(data)
        and _is_same(s3, bucket, photo.key, stored, data, digest)
    ):
        return None
    s3.put_object(
        Bucket=bucket,
        Key=photo.key,
        Body=data,
        ContentType=photo.content_type,
        ChecksumAlgorithm="SHA256",
        ChecksumSHA256=digest,  # S3 refuses what arrives different
    )
    return photo


def _is_same(
    s3: "S3Client", bucket: str, key: str, stored: _Stored, data: bytes, digest: str
) -> bool:
    """Whether the stored object has these bytes; False if nothing that S3 knows of it proves that."""
    if stored.etag == hashlib.md5(data, usedforsecurity=False).hexdigest():
        return True
    # Under a KMS key, or from parts, the ETag is not the MD5. What this module put has a SHA-256.
    try:
        found = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    except ClientError as error:
        if aws_errors.is_missing(error) or aws_errors.is_denied(error):
            return False
        raise
    return found.get("ChecksumSHA256") == digest
