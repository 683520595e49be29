"""Object events: one with defaults, and a Hypothesis strategy for all that `parse` can return."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from ingest.events import UNKNOWN_TIME, ObjectEvent

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
CREATED, REMOVED = "ObjectCreated:Put", "ObjectRemoved:Delete"


def event(
    key: str = "k",
    event_name: str = CREATED,
    event_time: datetime = NOON,
    sequencer: str | None = None,
    **rest: Any,
) -> ObjectEvent:
    fields = {"bucket": "b", "version_id": None, "etag": None, "size": None, **rest}
    fields |= {"key": key, "event_name": event_name, "event_time": event_time}
    return ObjectEvent(sequencer=sequencer, **fields)


_TEXT = st.text(st.characters(codec="utf-8"), min_size=1)
_KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=1024)
OBJECT_EVENTS = st.builds(
    event,
    key=_KEYS.filter(lambda key: len(key.encode()) <= 1024),
    event_name=st.sampled_from(
        [CREATED, REMOVED, "LifecycleExpiration:Delete", "ObjectCreated", "ObjectRestore:Completed"]
    ),
    event_time=st.just(UNKNOWN_TIME)
    | st.datetimes(datetime(1971, 1, 1), datetime(8999, 1, 1), timezones=st.just(UTC)),
    sequencer=st.none() | _TEXT,
    bucket=_TEXT,
    version_id=st.none() | _TEXT.filter(lambda version: version != "null"),
    etag=st.none() | st.from_regex(r"[0-9a-f]{32}(-[0-9]+)?", fullmatch=True),
    size=st.none() | st.integers(0, 2**63 - 1),
)
