"""The micro-batch: from the object events in it to outcomes that are durable.

Knows nothing of streaming: whoever calls acknowledges the events after :meth:`MicroBatches.handle`
has returned, and may hand in the same ones again at any time.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from ingest.events import ObjectEvent, message, newest
from processor.pipeline.feature_store import FeatureStore, Settled
from processor.pipeline.outcomes import Extracted, Kind, Work, of_kind
from processor.pipeline.tasks import Recipe, is_current

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 5  # at a photo that S3 cannot deliver
FIRST_RETRY_SECONDS = 60
MAX_DELAY_SECONDS = 900  # SQS delays no message longer


class MicroBatches:
    """Handles one micro-batch after the other for one store.

    ``extract`` does the work, in Spark tasks or in place. ``send`` queues a message body again after
    some seconds.
    """

    def __init__(
        self,
        store: FeatureStore,
        recipe: Recipe,
        extract: Callable[[Sequence[Work]], list[Extracted]],
        send: Callable[[str, int], Any],
    ) -> None:
        self._store = store
        self._recipe = recipe
        self._extract = extract
        self._send = send

    def handle(self, events: Iterable[ObjectEvent], batch_id: int) -> Settled:
        """Make the outcome of every event durable; idempotent.

        Raises whatever kept it from that; nothing may be acknowledged then.
        """
        began = time.monotonic()
        photos = [event for event in newest(events).values() if self._is_photo(event)]
        self._store.features.refresh()
        planned_on = self._store.features.version
        results = self._extract(self._plan(photos))
        self._try_later(results, photos)
        settled = self._store.settle(
            results,
            planned_on,
            lambda outcome: is_current(self._recipe.bucket, outcome),
            {"batch": batch_id},
        )
        self._tell(settled, results, batch_id, len(photos), time.monotonic() - began)
        return settled

    def _is_photo(self, event: ObjectEvent) -> bool:
        ours = event.bucket == self._recipe.bucket and event.key.startswith(
            self._recipe.photos_prefix
        )
        if not ours:
            log.warning("ignored an event of another place: s3://%s/%s", event.bucket, event.key)
        return ours and not event.key.endswith("/")  # the console makes folders as empty objects

    def _plan(self, photos: Sequence[ObjectEvent]) -> list[Work]:
        known = self._store.features.find(event.key for event in photos)
        return [
            Work(
                key=event.key,
                event_version=event.version_id or event.etag,
                event_time=event.event_time,
                removal=event.removed,
                stored_version=known[event.key].version if event.key in known else None,
            )
            for event in photos
        ]

    def _try_later(self, results: Sequence[Extracted], photos: Sequence[ObjectEvent]) -> None:
        """Queue the events of photos that S3 could not deliver once more, later and later."""
        failed = {outcome.key for outcome in of_kind(results, Kind.UNAVAILABLE)}
        if not failed:
            return
        tried = self._store.attempts(failed)
        for event in photos:
            attempts = tried.get(event.key, 0) + 1
            if event.key in failed and attempts < MAX_ATTEMPTS:
                delay = min(MAX_DELAY_SECONDS, FIRST_RETRY_SECONDS * 2 ** (attempts - 1))
                self._send(message([event]), delay)

    @staticmethod
    def _tell(
        settled: Settled, results: Sequence[Extracted], batch_id: int, photos: int, seconds: float
    ) -> None:
        log.info(
            "micro-batch durable",
            extra={
                "batch": batch_id,
                "photos": photos,
                **asdict(settled),
                "seconds": round(seconds, 3),
                "photos_per_s": round(photos / seconds, 2),
            },
        )
        for outcome in of_kind(results, Kind.REJECTED, Kind.UNAVAILABLE):
            log.warning(
                "photo rejected",
                extra={"key": outcome.key, "reason": outcome.reason, "detail": outcome.detail},
            )
