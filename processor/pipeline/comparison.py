"""The comparison of bucket and store: which photos have no up-to-date row, and no event on the way.

Two sorted sequences are merged, what S3 lists and the rows of all tables, so memory is bounded whatever
their number. A difference is a hint, like any event: whoever handles it reads the present state from S3.
"""

from collections.abc import Iterator, Set
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from heapq import merge
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from common.layout import BucketLayout
from processor.photos.listing import ListedObject, Listing, Page
from processor.pipeline.outcomes import CRASH, VANISHED
from processor.store import delta
from processor.store.patience import patiently
from processor.store.sorted_rows import sorted_rows


class Difference(StrEnum):
    """How the store differs from the bucket in one photo."""

    MISSING = "missing"  # the store knows nothing of it
    STALE = "stale"  # what the store has is of another version
    REMOVED = "removed"  # the store has something, but there is no such photo
    RETRIED = "retried"  # it waits, or was rejected for a reason that is to be tried again


class Note(NamedTuple):
    """A row of rejects/ or pending/."""

    version: str
    reason: str


@dataclass(frozen=True, slots=True)
class Known:
    """What the store has of one photo; ``version``: of the object that its row is of."""

    version: str | None = None
    reject: Note | None = None
    pending: Note | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What is compared, and what counts as a difference.

    Only photos whose keys begin with ``prefix``; of those in S3 only those last modified from ``since``
    until ``before``. ``rejects`` are reasons that are tried again, and with ``pending`` all photos that
    wait are, but for suspects: each of their attempts may cost a worker.
    """

    prefix: str
    since: datetime | None = None
    before: datetime | None = None
    rejects: Set[str] = frozenset()
    pending: bool = False

    def difference(self, now: ListedObject | None, known: Known) -> Difference | None:
        """How ``known`` differs from what S3 lists ``now``, None if it does not."""
        if now is None:
            return Difference.REMOVED
        if self.since and now.modified < self.since:
            return None
        if self.before and now.modified > self.before:
            return None
        if known.version == now.version and not known.reject:
            return self._retried(known.pending)
        if known.pending and known.pending.version == now.version:
            return self._retried(known.pending)
        if known.reject and known.reject.version == now.version and known.version is None:
            again = known.reject.reason in {VANISHED, *self.rejects}
            return Difference.RETRIED if again else None
        return Difference.MISSING if known == Known() else Difference.STALE

    def _retried(self, pending: Note | None) -> Difference | None:
        again = self.pending and pending is not None and pending.reason != CRASH
        return Difference.RETRIED if again else None


class Compared(NamedTuple):
    """A key, what S3 lists under it, and the difference."""

    key: str
    now: ListedObject | None
    difference: Difference | None


def compare(
    layout: BucketLayout, scope: Scope, scratch: Path, after: str = ""
) -> Iterator[Compared]:
    """Each key greater than ``after`` of bucket or store, in order.

    First the tables are read, as they are at that moment, and sorted in the folder ``scratch``; then the
    bucket is listed, so a row without an object is one whose photo was removed. Raises botocore's
    errors, :class:`StoreError`, and :class:`ServiceError` if S3 keeps no order; OSError if the disk is
    full.
    """

    def rows(name: str, folder: str, *columns: str) -> Iterator[tuple[str, str, object]]:
        table = delta.open_table(folder)
        if table:
            for key, *values in sorted_rows(
                table, columns, scratch, prefix=scope.prefix, after=after
            ):
                yield key, name, Note(*values) if len(values) > 1 else values[0]

    store = layout.store
    merged = merge(  # which asks each for its first item, in this order
        rows("version", store.features, "version"),
        rows("reject", store.rejects, "version", "reason"),
        rows("pending", store.pending, "version", "reason"),
        ((each.key, "now", each) for each in _photos(layout, scope.prefix, after)),
        key=itemgetter(0),
    )
    for key, group in groupby(merged, key=itemgetter(0)):
        known: dict[str, Any] = {name: value for _, name, value in group}
        now = known.pop("now", None)
        yield Compared(key, now, scope.difference(now, Known(**known)))


def _photos(layout: BucketLayout, prefix: str, after: str) -> Iterator[ListedObject]:
    """What S3 lists, a page ahead of the caller. Faults of AWS that may pass are waited out."""
    listing = patiently(lambda: Listing(layout.bucket, prefix))

    def page(after: str) -> Page:
        return patiently(lambda: listing.page(after))

    pool = ThreadPoolExecutor(1)
    try:
        ahead: Future[Page] | None = pool.submit(page, after)
        while ahead:
            objects, last = ahead.result()
            ahead = None if last is None else pool.submit(page, last)
            yield from (o for o in objects if layout.is_photo(layout.bucket, o.key, o.bytes))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
