"""What a round has made durable: which events tell when a photo was uploaded, and how long ago."""

from datetime import UTC, datetime, timedelta

import pytest

from ingest.events import UNKNOWN_TIME
from processor.pipeline.durable import upload_to_row, uploads
from tests.support.object_events import event

AT = datetime(2026, 11, 27, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "name", ["ObjectCreated:Put", "ObjectCreated:CompleteMultipartUpload", "ObjectCreated"]
)
def test_an_event_of_s3_tells(name: str) -> None:
    assert uploads([event("a", event_name=name, event_time=AT)], {"a"}) == [AT]


@pytest.mark.parametrize(
    "name",
    [
        *("ObjectCreated:Retry", "ObjectCreated:Reconciliation"),
        *("ObjectRestore:Completed", "ObjectRemoved:Delete"),
    ],
)
def test_our_own_events_restorations_and_removals_do_not(name: str) -> None:
    assert uploads([event("a", event_name=name, event_time=AT)], {"a"}) == []


def test_photos_that_were_not_stored_and_unknown_times_do_not_count() -> None:
    events = [event("a", event_time=AT), event("b", event_time=UNKNOWN_TIME)]
    assert uploads(events, {"b"}) == []


def test_a_clock_behind_s3s_makes_no_time_negative() -> None:
    now = datetime.now(UTC)
    ago, early = upload_to_row([now - timedelta(seconds=30), now + timedelta(hours=1)])
    assert ago == pytest.approx(30, abs=5)
    assert early == 0
