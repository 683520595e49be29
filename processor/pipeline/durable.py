"""What a round of a micro-batch has made durable, as the metrics see it, and how old its photos are."""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime

from ingest.events import UNKNOWN_TIME, ObjectEvent
from processor.pipeline.feature_store import Settled
from processor.pipeline.outcomes import RECONCILIATION, RETRY


@dataclass(frozen=True, slots=True, eq=False)
class Durable:
    """What a round of a micro-batch has made durable; most have one, see :meth:`MicroBatches.handle`.

    ``photos`` were settled or wait now. ``features_version``: the table's afterwards, ``pending`` all
    photos that wait then. ``commit_seconds`` is the part of ``seconds`` in which the store was written.
    ``upload_to_row``: the seconds since each photo stored was uploaded. An event of S3 tells when that
    was; one that the service sent itself does not, nor does a restoration, so those photos are missing.
    """

    settled: Settled
    photos: int
    features_version: int
    pending: int
    seconds: float
    commit_seconds: float
    upload_to_row: Sequence[float]


def uploads(photos: Sequence[ObjectEvent], stored: Set[str]) -> list[datetime]:
    """When those of the stored photos were uploaded whose event tells."""
    return [each.event_time for each in photos if each.key in stored and _is_upload(each)]


def upload_to_row(uploads: Iterable[datetime]) -> list[float]:
    """The seconds since then; 0 where our clock is behind S3's."""
    now = datetime.now(UTC)
    return [max(0.0, (now - each).total_seconds()) for each in uploads]


def _is_upload(event: ObjectEvent) -> bool:
    kind, _, how = event.event_name.partition(":")
    own = how in (RETRY, RECONCILIATION)
    return kind == "ObjectCreated" and not own and event.event_time > UNKNOWN_TIME
