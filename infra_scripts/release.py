"""A release: the code and the configuration that an instance runs, as one archive in the bucket.

The archive is named by the SHA-256 of its bytes, and the same files give the same bytes: without times,
owners or an order of their own. It is the same wherever it is made with the same version of zlib; with
another one it is a release of its own, with the same content.
"""

import base64
import gzip
import hashlib
import io
import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from common import aws_errors
from infra_scripts.errors import StackError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import ListObjectsV2OutputTypeDef, ObjectTypeDef

    from infra_scripts.stack import Stack

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("common", "infra_scripts", "ingest", "processor", "systemd")
FILES = ("requirements.lock", "requirements.txt")
CONFIGURATION = "config.toml"
KEPT = 5  # releases in the bucket: the one that runs, and some to go back to
_OURS = re.compile(r"[0-9a-f]{64}\.tar\.gz")
_LEFT_OUT = {"__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Where an archive is in the stack's bucket, and the SHA-256 of its bytes in lower-case hex."""

    key: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Archive:
    """A release and its bytes."""

    release: Release
    data: bytes


def pack(stack: "Stack", configuration: str, root: Path = ROOT) -> Archive:
    """The release of the code in ``root`` with this text as its ``config.toml``.

    Whether git knows a file does not matter. Raises :class:`StackError` where a file is missing.
    """
    try:
        names = list(_names(root))
        members = {name: (root / name).read_bytes() for name in names}
        executable = {name for name in names if (root / name).stat().st_mode & 0o100}
    except OSError as error:
        raise StackError(
            f"the release lacks {error.filename}: {error.strerror}; deploy from a complete checkout"
        ) from error
    members[CONFIGURATION] = configuration.encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(members):
            member = tarfile.TarInfo(name)
            member.size = len(members[name])
            member.mode = 0o755 if name in executable else 0o644
            archive.addfile(member, io.BytesIO(members[name]))
    data = gzip.compress(packed.getvalue(), mtime=0)
    digest = hashlib.sha256(data).hexdigest()
    key = f"{stack.layout.releases}{digest}.tar.gz"
    return Archive(Release(key=key, sha256=digest), data)


def _names(root: Path) -> Iterator[str]:
    yield from FILES
    for folder in FOLDERS:
        if not (root / folder).is_dir():
            raise FileNotFoundError(2, "there is no such folder", str(root / folder))
        for path in (root / folder).rglob("*"):
            name = path.relative_to(root)
            if path.is_file() and not _LEFT_OUT & set(name.parts):
                yield name.as_posix()


def upload(s3: "S3Client", bucket: str, archive: Archive) -> bool:
    """Put the archive into the bucket unless it is there already; whether it was put.

    What is there is read and compared, what is put is compared by S3. Raises botocore's errors; the
    bucket then holds the whole archive or nothing of it.
    """
    key = archive.release.key
    try:
        if s3.get_object(Bucket=bucket, Key=key)["Body"].read() == archive.data:
            return False
    except ClientError as error:
        if not aws_errors.is_missing(error):
            raise
    checksum = base64.b64encode(bytes.fromhex(archive.release.sha256)).decode()
    s3.put_object(Bucket=bucket, Key=key, Body=archive.data, ChecksumSHA256=checksum)
    return True


def prune(s3: "S3Client", stack: "Stack", release: Release) -> list[str]:
    """Delete all but this release and the newest others, :data:`KEPT` in all; the keys of the deleted.

    Raises botocore's errors; the rest is deleted by the next call.
    """
    others: list[ObjectTypeDef] = []
    pages: Iterable[ListObjectsV2OutputTypeDef]
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=stack.bucket, Prefix=stack.layout.releases
    )
    for page in pages:
        others += [
            each
            for each in page.get("Contents", [])
            if each["Key"] != release.key
            and _OURS.fullmatch(each["Key"].removeprefix(stack.layout.releases))
        ]
    others.sort(key=lambda each: each["LastModified"], reverse=True)
    old = [each["Key"] for each in others[KEPT - 1 :]]
    for key in old:
        s3.delete_object(Bucket=stack.bucket, Key=key)
    return old
