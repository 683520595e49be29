"""The micro-batch's log line: one for each, in the shape of Spark's StreamingQueryProgress.

Two sides know about a micro-batch: we, what became of its photos, as soon as they are durable; Spark, a
moment later, how long each step took. The line waits for Spark's part, but not for long, and is never
lost with it.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from common.log_context import bound
from processor.pipeline.handled import Handled

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0  # with Spark's part, which takes a tenth of a second
CLOSE_SECONDS = 3.0  # for the last lines; the queue's depth is a request
IDLE_SECONDS = 300.0  # between lines that say that there is nothing to do
_SPARKS = (
    *("id", "runId", "batchId", "timestamp", "batchDuration", "numInputRows"),
    *("inputRowsPerSecond", "processedRowsPerSecond", "durationMs", "sources", "sink"),
)


@dataclass(slots=True)
class _Line:
    fields: Mapping[str, object]
    since: float = field(default_factory=time.monotonic)
    progress: Mapping[str, object] | None = None

    def is_ready(self) -> bool:
        return self.progress is not None or self.since + PATIENCE_SECONDS <= time.monotonic()


class BatchLines:
    """Writes the lines in a thread of its own, because it asks the queue for its depth. Thread-safe."""

    def __init__(self, backlog: Callable[[], int]) -> None:
        """``backlog`` returns how many messages are in the queue; whatever it raises, the line comes."""
        self._backlog = backlog
        self._changed = threading.Condition()
        self._waiting: dict[int, _Line] = {}  # by micro-batch
        self._busy_at = self._said_at = time.monotonic()
        self._is_idle = self._closing = False
        self._thread = threading.Thread(target=self._write, name="batch-lines", daemon=True)

    def durable(self, batch_id: int, handled: Handled) -> None:
        """A micro-batch is durable; its line follows."""
        with self._changed:
            self._waiting[batch_id] = _Line(handled.fields())
            self._busy_at = self._said_at = time.monotonic()
            self._begin()

    def progressed(self, progress: str) -> None:
        """Spark's JSON about a trigger, which may have had no micro-batch."""
        told: dict[str, Any] = json.loads(progress)
        with self._changed:
            line = self._waiting.get(told.get("batchId", -1))
            if line and told.get("numInputRows"):
                line.progress = {name: told[name] for name in _SPARKS if name in told}
                self._changed.notify_all()

    def idle(self) -> None:
        """There is nothing to do; says so every IDLE_SECONDS."""
        with self._changed:
            if time.monotonic() - self._said_at >= IDLE_SECONDS:
                self._said_at = time.monotonic()
                self._is_idle = True
                self._begin()

    def close(self) -> None:
        """Write what is left, without Spark's part if it has not come; returns within CLOSE_SECONDS."""
        with self._changed:
            self._changed.wait_for(
                lambda: all(each.progress for each in self._waiting.values()), CLOSE_SECONDS / 3
            )
            self._closing = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS * 2 / 3)

    def _begin(self) -> None:
        if not self._thread.is_alive() and not self._closing:
            self._thread.start()
        self._changed.notify_all()

    def _write(self) -> None:
        while True:
            with self._changed:
                ready = self._ready()
                if not ready and not self._is_idle:
                    if self._closing:
                        return
                    self._changed.wait(PATIENCE_SECONDS if self._waiting else None)
                    continue
                is_idle, self._is_idle = self._is_idle, False
            backlog = self._depth()
            for batch_id, line in ready:
                about = {**(line.progress or {}), **line.fields, "backlog": backlog}
                with bound(batch=batch_id):
                    log.info("micro-batch durable", extra=about)
            if is_idle:
                seconds = round(time.monotonic() - self._busy_at)
                about = {"idle_seconds": seconds, "backlog": backlog}
                log.info("idle: no events for %d s", seconds, extra=about)

    def _ready(self) -> list[tuple[int, _Line]]:
        """The lines to write now, in order; they wait no longer."""
        ready = []
        for batch_id, line in list(self._waiting.items()):
            newer = batch_id != next(reversed(self._waiting))
            if not (line.is_ready() or newer or self._closing):
                break
            ready.append((batch_id, self._waiting.pop(batch_id)))
        return ready

    def _depth(self) -> int | None:
        try:
            return self._backlog()
        except Exception as error:
            log.debug("the queue does not tell its depth: %s", error)
            return None
