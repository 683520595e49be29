"""Records: an object event as a row of the stream, and a row as the object event it was.

Both directions and the schema are here and nowhere else. A row also says which SQS message carried
the event, when that was sent and how often it was received; that is for whoever investigates, and
no part of the event.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from ingest.events import ObjectEvent

if TYPE_CHECKING:
    from ingest.queue import Delivery

# In Spark's DDL. It is a contract with every reader of the stream and with their checkpoints.
SCHEMA = (
    "bucket string not null, key string not null, version_id string, etag string, size bigint, "
    "event_name string not null, event_time timestamp not null, sequencer string, "
    "message_id string not null, sent_at timestamp not null, receive_count int not null"
)

Record = tuple[
    str, str, str | None, str | None, int | None, str, datetime, str | None, str, datetime, int
]


class Columns(Protocol):
    """What gives a column's value by its name: a Row of PySpark, a mapping."""

    def __getitem__(self, column: str, /) -> Any: ...


def rows(delivery: "Delivery") -> Iterator[Record]:
    """One row for each event of the message, in its order, with the columns of :data:`SCHEMA`."""
    for each in delivery.events:
        yield (
            each.bucket,
            each.key,
            each.version_id,
            each.etag,
            each.size,
            each.event_name,
            each.event_time,
            each.sequencer,
            delivery.message_id,
            delivery.sent_at,
            delivery.receive_count,
        )


def event(row: Columns) -> ObjectEvent:
    """The event that the row was made of; ``event(row) == each`` for every ``each`` of ``rows``.

    ``event_time`` may have any zone. Without one it is taken for this process's local time, which is
    how ``DataFrame.collect`` returns timestamps, whatever the session's time zone.

    Raises whatever ``row`` raises for a column that it does not have (KeyError, ValueError).
    """
    return ObjectEvent(
        bucket=row["bucket"],
        key=row["key"],
        version_id=row["version_id"],
        etag=row["etag"],
        size=row["size"],
        event_name=row["event_name"],
        event_time=row["event_time"].astimezone(UTC),
        sequencer=row["sequencer"],
    )
