"""Object events: what an SQS message body says has happened to objects in S3.

The only place that decodes keys: outside, `ObjectEvent.key` is what GetObject takes. In S3's
notification they are form-encoded (a space is `+` or `%20`, a plus `%2B`); EventBridge's are taken
verbatim, because its reference does not mention an encoding and consumers report raw keys:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html

An event is a hint: it may come twice, late or out of order, and whoever acts on it reads the
object's present state from S3. So a needless event costs a request, and a dropped one a photo.
"""

import json
import re
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote_plus, unquote_plus

# Ceph's own are ObjectSynced (:Create, :Delete, :DeletionMarkerCreated) and ObjectLifecycle.
_CREATIONS = ("ObjectCreated", "ObjectSynced:Create")
_RESTORATIONS = ("ObjectRestore:Completed",)  # not :Post, a request, nor :Delete, the copy's expiry
_REMOVALS = ("ObjectRemoved", "LifecycleExpiration", "ObjectLifecycle:Expiration", "ObjectSynced:D")
_CREATED_BY = {  # EventBridge's reason -> S3's event name
    "PutObject": "ObjectCreated:Put",
    "POST Object": "ObjectCreated:Post",
    "CopyObject": "ObjectCreated:Copy",
    "CompleteMultipartUpload": "ObjectCreated:CompleteMultipartUpload",
}
# For a time that an event lacks, or that cannot be one (Go's zero time, say): older than any real one.
UNKNOWN_TIME = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(9000, 1, 1, tzinfo=UTC)  # near the year 9999 it is no time in zones east of UTC
_HEX = re.compile("[0-9a-fA-F]+")
_short = reprlib.Repr()
_short.maxstring, _short.maxlevel = 60, 1
_shown = _short.repr  # one short line of any value, its unprintable characters escaped


class MalformedMessage(ValueError):
    """The body is not a message of a known kind: poison, because no retry mends it.

    The message of this error is one printable line that says what is wrong where.
    """


class ForeignMessage(MalformedMessage):
    """The body is a message as it should be, but about objects that are not this consumer's."""


@dataclass(frozen=True, slots=True)
class ObjectEvent:
    """One creation or removal of an object, or restoration from an archive, as S3 reported it."""

    bucket: str
    key: str  # decoded, and not normalised: to S3, NFC and NFD are different keys
    version_id: str | None  # None in a bucket without versions
    etag: str | None  # without quotes; removals often have none
    size: int | None  # bytes
    event_name: str  # as S3 writes it, without "s3:": "ObjectCreated:Put"
    event_time: datetime  # aware, UTC; UNKNOWN_TIME if it is missing or nonsense
    sequencer: str | None  # as sent; `newest` knows how to compare it

    @property
    def removed(self) -> bool:
        """Whether the object was removed; in a versioned bucket, perhaps only a version or marker."""
        return self.event_name.startswith(_REMOVALS)


def parse(body: str) -> tuple[ObjectEvent, ...]:
    """The object events of one SQS message, in its order.

    Reads S3's notification, EventBridge's event (as matched, not transformed), and SNS's envelope
    around either; SNS's signatures are not checked, the queue's policy says who may send. S3's
    test event, other kinds of record (tagging, ACL, replication, a restore that has begun or expired,
    ...) and an empty list of records contain no object events: deleting such a message loses nothing.

    Anything else raises MalformedMessage, and nothing else is ever raised. One malformed record
    makes the whole message malformed; otherwise it would be deleted with its well-formed neighbours.
    SNS's request to confirm a subscription is malformed, too: somebody must see it. A time alone never
    spoils a record, because it only breaks ties.
    """
    return _events(_decoded(body, "body"), inside_sns=False)


def message(events: Sequence[ObjectEvent]) -> str:
    """An S3 notification from which `parse` reads equal events, to send them again.

    Takes less than 5 kB for each. Raises ValueError for events that `parse` does not return: with an
    empty key, a time without a zone or out of range, a name of another kind.
    """
    body = json.dumps({"Records": [_record(event) for event in events]}, separators=(",", ":"))
    if parse(body) != tuple(events):
        raise ValueError("the events have fields in another form than parse gives")
    return body


def newest(events: Iterable[ObjectEvent]) -> dict[tuple[str, str], ObjectEvent]:
    """The newest event of each (bucket, key), whatever the order of `events`.

    By sequencer (one that is not hexadecimal counts as none), then by event time; then a creation
    beats a removal, because acting on it has to read the object and so finds the mistake; then,
    and only then, the later in `events` wins.

    Best effort where only some events of a key have a sequencer: the newest with one and the
    newest without are compared by time; a tie goes to the one with.
    """
    ranked = sorted(events, key=_rank)  # stable: of equals the later comes last, and wins below
    timed = {(event.bucket, event.key): event for event in ranked if not _rank(event)[0]}
    latest = {(event.bucket, event.key): event for event in ranked if _rank(event)[0]}
    for place, event in timed.items():
        if place not in latest or _rank(event)[1:] > _rank(latest[place])[1:]:
            latest[place] = event
    return latest


def _rank(event: ObjectEvent) -> tuple[str, datetime, bool]:
    sequencer = event.sequencer or ""
    # S3 compares them padded with zeros on the right; without any, the order is the same.
    order = (sequencer.lower().rstrip("0") or "0") if _HEX.fullmatch(sequencer) else ""
    return order, event.event_time, not event.removed


def _record(event: ObjectEvent) -> dict[str, object]:
    item = {"key": quote_plus(event.key, safe="/"), "size": event.size, "eTag": event.etag}
    item |= {"versionId": event.version_id, "sequencer": event.sequencer}
    present = {name: value for name, value in item.items() if value is not None}
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventTime": event.event_time.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "eventName": event.event_name,
        "s3": {"s3SchemaVersion": "1.0", "bucket": {"name": event.bucket}, "object": present},
    }


@dataclass(frozen=True, slots=True)
class _Part:
    """A JSON object and its place in the message, which every error names."""

    members: dict[str, object]
    where: str

    @classmethod
    def of(cls, value: object, where: str) -> "_Part":
        if not isinstance(value, dict):
            raise MalformedMessage(f"{where} is not a JSON object: {_shown(value)}")
        return cls(value, where)

    def part(self, name: str) -> "_Part":
        return _Part.of(self.members.get(name), f"{self.where}.{name}")

    def need(self, name: str) -> str:
        if value := self.text(name):
            return value
        raise MalformedMessage(f"{self.where}.{name} is missing or empty")

    def text(self, *names: str) -> str | None:
        """The first of these members that is neither missing, null nor empty."""
        for name in names:
            value = self.members.get(name)
            if value is not None and not isinstance(value, str):
                raise MalformedMessage(f"{self.where}.{name} is not text: {_shown(value)}")
            if value:
                with _malformed_if_refused(f"{self.where}.{name} is not Unicode", value):
                    value.encode()  # JSON can spell lone surrogates, UTF-8 cannot
                return value
        return None


def _decoded(text: str, where: str) -> _Part:
    with _malformed_if_refused(f"{where} is not JSON", text):
        # Python's decoder accepts NaN and Infinity, which are not JSON; int() refuses them.
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=int)
    return _Part.of(value, where)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("an object has a member twice")
    return members


def _events(document: _Part, *, inside_sns: bool) -> tuple[ObjectEvent, ...]:
    members, where = document.members, document.where
    if "Records" in members:
        return _notification_events(members["Records"], f"{where}.Records")
    if members.get("Event") == "s3:TestEvent":
        return ()
    if "detail-type" in members:
        return _eventbridge_events(document)
    if members.get("Type") == "Notification" and not inside_sns:
        return _events(_decoded(document.need("Message"), f"{where}.Message"), inside_sns=True)
    raise MalformedMessage(f"{where} is not a known kind of message: {_shown(members)}")


def _notification_events(records: object, where: str) -> tuple[ObjectEvent, ...]:
    if not isinstance(records, list):
        raise MalformedMessage(f"{where} is not a list: {_shown(records)}")
    events = []
    for index, value in enumerate(records):
        record = _Part.of(value, f"{where}[{index}]")
        s3 = record.part("s3")  # needed of every kind: other services' Records lack it
        name = record.need("eventName").removeprefix("s3:")
        if name.startswith(_CREATIONS + _REMOVALS + _RESTORATIONS):
            key = s3.part("object").need("key")
            with _malformed_if_refused(f"{s3.where}.object.key is not UTF-8 once decoded", key):
                key = unquote_plus(key, errors="strict")
            events.append(_event(name, record.members.get("eventTime"), key, s3))
    return tuple(events)


def _eventbridge_events(document: _Part) -> tuple[ObjectEvent, ...]:
    kind, source = document.need("detail-type"), document.need("source")
    if source != "aws.s3" or kind.endswith("via CloudTrail"):
        raise MalformedMessage(f"{_shown(kind)} from {_shown(source)} is not an event of S3's own")
    if kind not in ("Object Created", "Object Deleted", "Object Restore Completed"):
        return ()
    detail = document.part("detail")
    reason = detail.text("reason") or ""
    if kind == "Object Created":
        name = _CREATED_BY.get(reason, "ObjectCreated")
    elif kind == "Object Restore Completed":
        name = "ObjectRestore:Completed"
    else:
        name = "LifecycleExpiration" if reason == "Lifecycle Expiration" else "ObjectRemoved"
        marker = detail.text("deletion-type") == "Delete Marker Created"
        name += ":DeleteMarkerCreated" if marker else ":Delete"
    key = detail.part("object").need("key")
    return (_event(name, document.members.get("time"), key, detail),)


def _event(name: str, time: object, key: str, place: _Part) -> ObjectEvent:
    """From the part with `bucket` and `object`, in S3's spelling or in EventBridge's."""
    item = place.part("object")
    version = item.text("versionId", "version-id")
    size = item.members.get("size")
    # type(), because a bool passes isinstance(…, int); 2**63, because Spark's long ends there.
    if size is not None and (type(size) is not int or not 0 <= size < 2**63):
        raise MalformedMessage(f"{item.where}.size is not a number of bytes: {_shown(size)}")
    return ObjectEvent(
        bucket=place.part("bucket").need("name"),
        key=key,
        version_id=None if version == "null" else version,
        etag=(item.text("eTag", "etag") or "").strip('"') or None,
        size=size,
        event_name=name,
        event_time=_moment(time),
        sequencer=item.text("sequencer"),
    )


def _moment(time: object) -> datetime:
    try:
        moment = datetime.fromisoformat(time if isinstance(time, str) else "")
        # All of S3's times are UTC, hence one without a zone, too.
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return UNKNOWN_TIME
    return moment if UNKNOWN_TIME < moment < _LATEST else UNKNOWN_TIME


@contextmanager
def _malformed_if_refused(problem: str, value: object) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise MalformedMessage(f"{problem}: {_shown(value)} ({_shown(str(error))})") from error
