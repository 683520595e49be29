"""Records: an event survives being a row, whichever way Spark hands the row back."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyspark.sql import Row
from pyspark.sql.types import TimestampType

from ingest import records
from ingest.events import ObjectEvent
from ingest.queue import Delivery
from tests.support.object_events import NOON, OBJECT_EVENTS, event

COLUMNS = [column.split()[0] for column in records.SCHEMA.split(", ")]
ZONES = ["UTC0", "JST-9", "EST5EDT,M3.2.0,M11.1.0"]  # POSIX's notation needs no database of zones
WINTER_BEGINS = datetime(2026, 11, 1, 5, 59, 59, 999_999, tzinfo=UTC)  # clocks there go back


def delivery(*events: ObjectEvent) -> Delivery:
    return Delivery("id", "handle", 2, NOON - timedelta(seconds=1), events)


@contextmanager
def local_zone(zone: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        yield
    time.tzset()


def collected(row: dict) -> Row:
    """The row as `DataFrame.collect` returns it: its timestamps are local and have no zone."""
    micros = TimestampType().toInternal(row["event_time"])
    return Row(**row | {"event_time": TimestampType().fromInternal(micros)})


def test_schema_is_the_contract() -> None:
    assert records.SCHEMA == (
        "bucket string not null, key string not null, version_id string, etag string, "
        "size bigint, event_name string not null, event_time timestamp not null, "
        "sequencer string, message_id string not null, sent_at timestamp not null, "
        "receive_count int not null"
    )


def test_columns_are_in_the_order_of_the_schema() -> None:
    one = event(version_id="v", etag="e", size=3, sequencer="0A")
    (row,) = records.rows(delivery(one))
    assert dict(zip(COLUMNS, row, strict=True)) == {
        **asdict(one),
        "message_id": "id",
        "sent_at": NOON - timedelta(seconds=1),
        "receive_count": 2,
    }


def test_a_message_is_a_row_for_each_event_in_its_order() -> None:
    events = [event("b"), event("a"), event("b", "ObjectRemoved:Delete")]
    assert [row[1] for row in records.rows(delivery(*events))] == ["b", "a", "b"]
    assert list(records.rows(delivery())) == []


@settings(deadline=None)
@given(OBJECT_EVENTS)
@example(event("\0" * 1024, etag="e", size=0, sequencer="0"))
def test_event_to_row_to_event_is_the_identity(one: ObjectEvent) -> None:
    (row,) = records.rows(delivery(one))
    again = records.event(dict(zip(COLUMNS, row, strict=True)))
    assert again == one
    assert again.event_time.tzinfo is UTC


@settings(deadline=None)
@given(
    OBJECT_EVENTS,
    st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
    st.sampled_from(ZONES),
)
@example(event(), WINTER_BEGINS, ZONES[-1])
@example(event(), WINTER_BEGINS + timedelta(hours=1), ZONES[-1])
def test_event_to_collected_row_to_event_is_the_identity(
    one: ObjectEvent, moment: datetime, zone: str
) -> None:
    one = replace(one, event_time=moment)
    (row,) = records.rows(delivery(one))
    with local_zone(zone):
        again = records.event(collected(dict(zip(COLUMNS, row, strict=True))))
    assert again == one
    assert again.event_time.tzinfo is UTC


@pytest.mark.parametrize("make", [dict, lambda **row: Row(**row)], ids=["mapping", "Row"])
def test_a_row_without_a_column_is_an_error(make) -> None:
    with pytest.raises((KeyError, ValueError), match="sequencer"):
        records.event(make(**{name: NOON for name in COLUMNS if name != "sequencer"}))
