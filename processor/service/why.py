"""Why: everything that is known about one photo, and what follows from it.

Read from S3 alone, so it works on any machine, whether or not the service is running.
"""

from typing import Any, TypedDict

import pyarrow.compute as pc
from botocore.exceptions import ClientError

from common import aws, aws_errors
from common.layout import BucketLayout
from processor.photos.objects import version_of
from processor.store import delta

Row = dict[str, Any]  # by column; see the tables' schemas


class InS3(TypedDict):
    """The object as it is now; ``modified`` in ISO 8601."""

    version: str
    bytes: int
    modified: str


class Known(TypedDict):
    """What ``python -m processor why KEY --json`` prints; ``reduced``: its coordinates."""

    key: str
    s3: InS3 | None
    features: Row | None
    reject: Row | None
    pending: Row | None
    reduced: list[float] | None
    verdict: str


def why(layout: BucketLayout, key: str) -> Known:
    """What S3, the store and the matrix have under ``key``, and the verdict."""
    features = _row(layout.store.features, key, without=("features",))
    reject = _row(layout.store.rejects, key)
    pending = _row(layout.store.pending, key)
    try:
        now = _in_s3(layout.bucket, key)
    except ClientError:
        if pending is None:  # otherwise that row says what S3 refuses
            raise
        now = None
    reduced = _row(layout.store.reduced, key) or {}
    coordinates = [value for name, value in reduced.items() if name.startswith("pc")]
    return {
        "key": key,
        "s3": now,
        "features": features,
        "reject": reject,
        "pending": pending,
        "reduced": coordinates or None,
        "verdict": _verdict(
            layout, key, now, features, reject, pending, in_matrix=bool(coordinates)
        ),
    }


def _in_s3(bucket: str, key: str) -> InS3 | None:
    try:
        answer = aws.s3().head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if aws_errors.is_missing(error):
            return None
        raise
    return {
        "version": version_of(answer),
        "bytes": answer["ContentLength"],
        "modified": answer["LastModified"].isoformat(),
    }


def _row(folder: str, key: str, without: tuple[str, ...] = ()) -> Row | None:
    table = delta.open_table(folder)
    if table is None:
        return None
    columns = [name for name in table.columns.names if name not in without]
    found: list[Row] = table.rows_where(pc.field("key") == key, columns).to_pylist()
    return found[0] if found else None


def _verdict(
    layout: BucketLayout,
    key: str,
    now: InS3 | None,
    row: Row | None,
    reject: Row | None,
    pending: Row | None,
    *,
    in_matrix: bool,
) -> str:
    if not layout.is_photo(layout.bucket, key, now["bytes"] if now else None):
        prefix = layout.photos_prefix
        return (
            f"not a photo of this service: keys begin with {prefix!r}, and an empty object whose key "
            "ends in '/' is a folder"
        )
    if row and now and row["version"] == now["version"]:
        return "stored, up to date" + ("" if in_matrix else "; not yet in the matrix")
    if pending:
        at = pending["retry_at"].isoformat(timespec="seconds")
        tried = f"attempt {pending['attempts']}, the next after {at}"
        kept = "; its row is of an older version" if row else ""
        return f"waits: {pending['reason']}: {pending['detail']}; {tried}{kept}"
    if row:
        change = "was overwritten" if now else "was removed"
        return f"the photo {change} after its row was stored; that event is yet to be handled"
    if reject:
        return f"rejected: {reject['reason']}: {reject['detail']}"
    if now:
        return "in S3, but neither stored nor rejected: its event is queued, or was missed"
    return "unknown: neither in S3 nor in the store"
