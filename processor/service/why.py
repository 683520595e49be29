"""Why: everything that is known about one photo, and what follows from it.

Read from AWS alone, so it works on any machine, whether or not the service is running.
"""

import contextlib
import time
from typing import Any, TypedDict

import pyarrow.compute as pc
from botocore.exceptions import ClientError

from common import aws, aws_errors
from common.layout import BucketLayout
from ingest.dead_letters import Cause, received
from ingest.queue import BATCH, Queue, connect
from processor.errors import PreflightError
from processor.photos.objects import version_of
from processor.service.preflight import find_queue
from processor.store import delta

# Of the dead letters: how many are looked at, for how long, and when others see them if we are killed.
MOST_LETTERS = 1000
LOOK_SECONDS = 10
HIDDEN_SECONDS = 30

Row = dict[str, Any]  # by column; see the tables' schemas


class InS3(TypedDict):
    """The object as it is now; ``modified`` in ISO 8601."""

    version: str
    bytes: int
    modified: str


class Letter(TypedDict):
    """A dead letter about the photo; ``cause`` as in ``redrive --cause``, ``sent`` in ISO 8601."""

    cause: str
    message_id: str
    sent: str
    reason: str


class Letters(TypedDict):
    """The dead letters about the photo; ``all``: whether all there are were looked at.

    ``fault``: why they could not be looked at.
    """

    found: list[Letter]
    looked_at: int
    all: bool
    fault: str | None


class Known(TypedDict):
    """What ``python -m processor why KEY --json`` prints; ``reduced``: its coordinates."""

    key: str
    s3: InS3 | None
    features: Row | None
    reject: Row | None
    pending: Row | None
    reduced: list[float] | None
    dead_letters: Letters
    verdict: str


def why(layout: BucketLayout, key: str, dead_letter_name: str) -> Known:
    """What S3, the store, the matrix and the dead-letter queue have of ``key``, and the verdict."""
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
    letters = _letters(layout, key, dead_letter_name)
    verdict = _verdict(layout, key, now, features, reject, pending, in_matrix=bool(coordinates))
    return {
        "key": key,
        "s3": now,
        "features": features,
        "reject": reject,
        "pending": pending,
        "reduced": coordinates or None,
        "dead_letters": letters,
        "verdict": verdict + _consequence(letters["found"]),
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


def _letters(layout: BucketLayout, key: str, queue_name: str) -> Letters:
    seen: Letters = {"found": [], "looked_at": 0, "all": False, "fault": None}
    try:
        url = find_queue(queue_name, "queue.dead_letter_name")
        with contextlib.closing(connect(1)) as client:
            _look(Queue(client, url), layout, key, seen)
    except PreflightError as error:
        seen["fault"] = str(error)
    except aws_errors.ERRORS as error:
        seen["fault"] = aws_errors.explain(error, f"queue {queue_name!r}")
    return seen


def _look(queue: Queue, layout: BucketLayout, key: str, seen: Letters) -> None:
    """Look at the dead letters for a while, and make them visible again. Raises botocore's errors."""
    until = time.monotonic() + LOOK_SECONDS
    held = []
    hidden_from_us = queue.depth().in_flight
    try:
        for letters in received(
            queue,
            lambda event: layout.contains(event.bucket, event.key),
            visibility_timeout_seconds=HIDDEN_SECONDS,
        ):
            held += [each.delivery for each in letters]
            seen["looked_at"] = len(held)
            seen["found"] += [
                {
                    "cause": each.cause.value,
                    "message_id": each.delivery.message_id,
                    "sent": each.delivery.sent_at.isoformat(),
                    "reason": each.reason,
                }
                for each in letters
                if each.concerns(key)
            ]
            if len(held) >= MOST_LETTERS or time.monotonic() > until:
                return
        seen["all"] = not hidden_from_us
    finally:
        with contextlib.suppress(*aws_errors.ERRORS):  # they become visible by themselves
            for at in range(0, len(held), BATCH):
                queue.hide(held[at : at + BATCH], 0)


def _consequence(letters: list[Letter]) -> str:
    """What the dead letters about the photo add to the verdict."""
    if not letters:
        return ""
    if any(each["cause"] == Cause.VALID for each in letters):
        return (
            "; a dead letter about it can be processed: `python -m processor redrive` moves it back"
        )
    first = letters[0]
    return (
        f"; a dead letter about it is {first['cause']}: {first['reason']}; `python -m processor redrive "
        "--dry-run` shows what moving it back would do"
    )


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
        return (
            "in S3, but neither stored nor rejected: its event is queued, or was missed, and "
            "`python -m processor reconcile` queues it again"
        )
    return "unknown: neither in S3 nor in the store"
