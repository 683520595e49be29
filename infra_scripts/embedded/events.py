"""The S3 events of the embedded AWS: moto's, completed to match what AWS sends.

moto leaves out the sequencer and the version id, and sends no event when a delete marker is created
or one of several versions is deleted.
"""

import time
from threading import Lock
from typing import Any

from moto.s3 import models, notifications

Kind = notifications.S3NotificationEvent
Event = dict[str, list[dict[str, Any]]]  # as moto types it; its members nest seven levels deep

_built_by_moto = notifications._get_s3_event
_delete_by_moto = models.S3Backend.delete_object


class Sequencer:
    """Hexadecimal numbers that only increase, as S3's do for the events of one key."""

    def __init__(self) -> None:
        self._last = 0
        self._lock = Lock()

    def next(self) -> str:
        """A number larger than any before; called from several threads."""
        with self._lock:
            self._last = max(self._last + 1, time.time_ns())
            return f"{self._last:018X}"


_sequencer = Sequencer()


def _get_s3_event(
    event_name: str,
    bucket: models.FakeBucket,
    key: "models.FakeKey | models.FakeDeleteMarker | _Deleted",
    notification_id: str,
) -> Event:
    if isinstance(key, models.FakeDeleteMarker):  # the last version of its key: moto reads its ETag
        key = _Deleted(key.name, key.version_id)
    event = _built_by_moto(event_name, bucket, key, notification_id)
    described = event["Records"][0]["s3"]["object"]
    if event_name.startswith("s3:ObjectRemoved:"):
        del described["size"]
    if event_name == Kind.OBJECT_REMOVED_DELETE_EVENT:
        del described["eTag"]
    if bucket.is_versioned:
        described["versionId"] = key.version_id
    described["sequencer"] = _sequencer.next()
    return event


class _Deleted:
    """What :func:`_get_s3_event` reads of an object that no longer exists."""

    size = 0
    etag = '"d41d8cd98f00b204e9800998ecf8427e"'  # of no bytes, as a delete marker's

    def __init__(self, name: str, version_id: str) -> None:
        self.name = name
        self.version_id = version_id


def _delete_object(
    backend: models.S3Backend,
    bucket_name: str,
    key_name: str,
    version_id: str | None = None,
    **options: bool,
) -> tuple[bool, dict[str, Any]]:
    bucket = backend.get_bucket(bucket_name)
    versions = [str(key.version_id) for key in bucket.keys.getlist(key_name, [])]
    done, answer = _delete_by_moto(backend, bucket_name, key_name, version_id, **options)
    kind = None
    if bucket.is_versioned and version_id is None and done:
        kind = Kind.OBJECT_REMOVED_DELETE_MARKER_CREATED_EVENT
    elif bucket.is_versioned and len(versions) > 1 and version_id in versions:
        kind = Kind.OBJECT_REMOVED_DELETE_EVENT  # moto sends one for the last version
    if kind is not None:
        deleted = _Deleted(key_name, version_id or answer["version-id"])
        notifications.send_event(backend.account_id, kind, bucket, deleted)
    return done, answer


def install() -> None:
    """Make moto's S3 send these events; call once, before the first request."""
    moto: Any = models  # untyped, so that its functions can be replaced
    moto.notifications._get_s3_event = _get_s3_event
    moto.S3Backend.delete_object = _delete_object
