"""Listings: what S3 has under a prefix, in the order of the keys, page by page.

That order is documented for general purpose buckets: of the keys' UTF-8 bytes, so of Python's strings.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from operator import itemgetter
from typing import Any, NamedTuple

from common import aws
from processor.errors import ServiceError
from processor.photos.objects import version_named

PAGE_KEYS = 1000  # the most that S3 returns

_key = itemgetter("Key")


@dataclass(frozen=True, slots=True)
class ListedObject:
    """An object as S3 lists it; ``version``: see :func:`.objects.version_of`."""

    key: str
    version: str
    bytes: int
    modified: datetime


class Page(NamedTuple):
    """Objects in the order of their keys; ``last`` is the key that it ends at, None if none follow."""

    objects: tuple[ListedObject, ...]
    last: str | None


class Listing:
    """The objects of a bucket under ``prefix``. Thread-safe.

    In a bucket with versions their ids are needed, which only the listing of all versions has; versions
    that are not current make it longer.
    """

    def __init__(self, bucket: str, prefix: str) -> None:
        """Ask S3 whether the bucket has versions. Raises botocore's errors."""
        self._bucket = bucket
        self._prefix = prefix
        self._versioned = "Status" in aws.s3().get_bucket_versioning(Bucket=bucket)

    def page(self, after: str) -> Page:
        """The next objects, with keys greater than ``after``; one request.

        Raises botocore's errors, and :class:`ServiceError` if S3 keeps no order.
        """
        return self._page_of_versions(after) if self._versioned else self._page_of_objects(after)

    def _page_of_objects(self, after: str) -> Page:
        answer = aws.s3().list_objects_v2(
            Bucket=self._bucket, Prefix=self._prefix, StartAfter=after, MaxKeys=PAGE_KEYS
        )
        return self._page(after, answer.get("Contents", ()), more=answer.get("IsTruncated", False))

    def _page_of_versions(self, after: str) -> Page:
        answer = aws.s3().list_object_versions(
            Bucket=self._bucket, Prefix=self._prefix, KeyMarker=after, MaxKeys=PAGE_KEYS
        )
        lists = answer.get("Versions", ()), answer.get("DeleteMarkers", ())
        return self._page(after, merge(*lists, key=_key), more=answer.get("IsTruncated", False))

    def _page(self, after: str, entries: Iterable[Mapping[str, Any]], *, more: bool) -> Page:
        objects = []
        last = after
        for entry in entries:
            if entry["Key"] < last:
                raise self._unordered(entry["Key"], last)
            last = entry["Key"]
            # The current version comes first. Others of the key that a page ended with may follow.
            if last > after and entry.get("IsLatest", True) and "ETag" in entry:
                version = version_named(entry.get("VersionId"), entry["ETag"])
                objects.append(ListedObject(last, version, entry["Size"], entry["LastModified"]))
        if more and last == after:
            raise self._unordered(last, after)
        return Page(tuple(objects), last if more else None)

    def _unordered(self, key: str, after: str) -> ServiceError:
        return ServiceError(
            f"S3 lists {key!r} after {after!r} under s3://{self._bucket}/{self._prefix}: only a bucket "
            "that lists its keys in the order of their bytes can be compared with the store"
        )
