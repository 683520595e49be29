"""Streams without Spark: a session whose query hands the given events to foreachBatch in a thread."""

import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from pyspark.errors import StreamingQueryException
from pyspark.sql.streaming import StreamingQueryListener

from ingest import records
from ingest.events import ObjectEvent
from ingest.queue import Delivery

LATE = "[STREAM_FAILED] Query [id = 1] terminated with exception: Python worker failed to connect back."
COLUMNS = [column.split()[0] for column in records.SCHEMA.split(", ")]


class Rows:
    """A micro-batch's data frame."""

    def __init__(self, events: Sequence[ObjectEvent]) -> None:
        delivery = Delivery.of({"MessageId": "m", "ReceiptHandle": "r"}, tuple(events))
        self._rows = [dict(zip(COLUMNS, row, strict=True)) for row in records.rows(delivery)]

    def collect(self) -> list[dict[str, Any]]:
        return self._rows


class Query:
    """A streaming query; ``fault`` makes it fail after its batches, as Spark could.

    It waits for ``until`` after them, as if another consumer held messages.
    """

    def __init__(
        self,
        handle: Callable[[Any, int], None],
        batches: Sequence[Sequence[ObjectEvent]],
        fault: str,
        *,
        once: bool,
        until: threading.Event | None = None,
    ) -> None:
        self.once = once
        self._until = until
        self.stopped = threading.Event()
        self._handle, self._batches, self._fault = handle, batches, fault
        self.ended = threading.Event()
        self._error: StreamingQueryException | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            for number, events in enumerate(self._batches):
                self._handle(Rows(events), number)
            if self._until:
                self._until.wait()
            if self._fault:
                raise RuntimeError(self._fault)  # noqa: TRY301
            if not self.once:
                self.stopped.wait()
        except Exception as error:
            self._error = StreamingQueryException(str(error))
        self.ended.set()

    def awaitTermination(self, timeout: float) -> bool:
        ended = self.ended.wait(min(timeout, 0.2))
        if ended and self._error:
            raise self._error
        return ended

    def stop(self) -> None:
        self.stopped.set()


class Streaming:
    """Stands in for a Spark session, its reader, its data frame and its writer."""

    def __init__(
        self,
        *batches: Sequence[ObjectEvent],
        fault: str = "",
        until: threading.Event | None = None,
        late: int = 0,
    ) -> None:
        """Of the first ``late`` queries the process does not start in time."""
        self.late = late
        self.options: dict[str, str] = {}
        self.sources: list[type] = []
        self.pools: list[tuple[str, str]] = []
        self.query: Query | None = None
        self.listeners: list[StreamingQueryListener] = []
        self._batches, self._fault, self._once, self._until = batches, fault, False, until
        self.dataSource = SimpleNamespace(register=self.sources.append)
        self.streams = SimpleNamespace(addListener=self.listeners.append)
        self.sparkContext = SimpleNamespace(setLocalProperty=lambda *pair: self.pools.append(pair))

    @property
    def readStream(self) -> "Streaming":
        return self

    writeStream = readStream

    def format(self, name: str) -> "Streaming":
        assert name in [source.name() for source in self.sources]
        return self

    def option(self, name: str, value: str) -> "Streaming":
        self.options[name] = value
        return self

    def load(self) -> "Streaming":
        return self

    def queryName(self, _: str) -> "Streaming":
        return self

    def foreachBatch(self, handle: Callable[[Any, int], None]) -> "Streaming":
        self._handle = handle
        return self

    def trigger(self, *, availableNow: bool) -> "Streaming":
        self._once = availableNow
        return self

    def start(self) -> Query:
        self.late -= 1
        if self.late >= 0:
            return Query(self._handle, (), LATE, once=self._once)
        self.query = Query(
            self._handle, self._batches, self._fault, once=self._once, until=self._until
        )
        return self.query
