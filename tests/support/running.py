"""A service under test, with stand-ins for all that it runs, which record what it asks of them."""

import math
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from ingest.events import ObjectEvent
from processor.pipeline.handled import Handled
from processor.service.runner import Service, Stream
from tests.support.object_events import event
from tests.support.streams import Streaming

FIRST = [event("a", etag="1", size=3), event("b", event_name="ObjectRemoved:Delete")]
SECOND = [event("c", version_id="v", sequencer="0A")]


class Batches:
    """Stands in for MicroBatches: ``during`` happens in each micro-batch."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.done: list[tuple[list[ObjectEvent], int]] = []
        self.during: Callable[[], object] = lambda: None
        self.stopped = threading.Event()
        self.patience = math.inf
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def handle(self, events: list[ObjectEvent], batch_id: int) -> Handled:
        self.begun.append(batch_id)
        self.during()
        self.done.append((events, batch_id))
        return Handled(len(events))

    def stop(self) -> None:
        self.stopped.set()

    def limit_patience(self, seconds: float) -> None:
        self.patience = seconds


class Maintenance:
    """Stands in for Maintenance, and records its calls."""

    def __init__(self) -> None:
        self.calls: list[object] = []
        self.fault: Exception | None = None

    def retry(self) -> None:
        self.calls.append("retry")

    def check(self) -> None:
        if self.fault:
            raise self.fault

    def start(self) -> None:
        self.calls.append("start")

    def wake(self) -> None:
        self.calls.append("wake")

    def refit(self) -> None:
        self.calls.append("refit")

    def stop(self) -> None:
        if "stop" not in self.calls:  # it may be told again
            self.calls.append("stop")

    def join(self, timeout_seconds: float) -> None:
        self.calls.append(("join", timeout_seconds))


class Reconciler:
    """Stands in for Reconciler, and records its calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def start(self) -> None:
        self.calls.append("start")

    def stop(self) -> None:
        self.calls.append("stop")


class Watchdog:
    """Stands in for Watchdog, and records its calls."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def start(self) -> None:
        self.calls.append("start")

    def progress(self) -> None:
        self.calls.append("progress")

    def stopping(self, within_seconds: float) -> None:
        self.calls.append(("stopping", within_seconds))

    def stop(self) -> None:
        self.calls.append("stop")


class Metrics:
    """Stands in for Metrics, and records its calls, of progress but whether there was any."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.is_alive = False

    def start(self) -> None:
        self.calls.append("start")

    def alive(self) -> None:
        self.is_alive = True

    def stop(self) -> None:
        self.calls.append("stop")


class Lines:
    """Stands in for BatchLines, and records its calls."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def durable(self, batch_id: int, handled: Handled) -> None:
        self.calls.append((batch_id, handled.photos))

    def progressed(self, progress: str) -> None:
        self.calls.append(progress)

    def idle(self) -> None:
        self.calls.append("idle")

    def close(self) -> None:
        self.calls.append("close")


class Running:
    """A service under test, and everything around it."""

    def __init__(self, folder: Path, pool: ThreadPoolExecutor) -> None:
        self.batches, self.maintenance = Batches(), Maintenance()
        self.watchdog = Watchdog()
        self.metrics = Metrics()
        self.reconciler = Reconciler()
        self.lines = Lines()
        self.warmed: list[bool] = []  # whether a micro-batch ran then
        self.warming: Callable[[], object] = lambda: None
        self.grace = 60
        self._folder, self._pool = folder, pool
        self.services: list[Service] = []

    def service(self, spark: Streaming) -> Service:
        stream = Stream(
            queue_url="http://queue",
            bucket="b",
            prefix="photos/",
            max_events=7,
            max_bytes=8,
            max_seconds=9,
            max_delay_seconds=12,
            visibility_timeout_seconds=10,
            receivers=11,
            checkpoint=self._folder / "a checkpoint",
            stop_grace_seconds=self.grace,
        )
        parts = self.batches, self.maintenance, self.reconciler, self.warm_up, self.watchdog
        self.services.append(Service(spark, stream, *parts, self.lines, self.metrics))
        return self.services[-1]

    def start(self, spark: Streaming, *, once: bool = False) -> tuple[Service, Future[None]]:
        service = self.service(spark)
        return service, self._pool.submit(service.run, once=once)

    def warm_up(self) -> None:
        self.warmed.append(len(self.batches.begun) > len(self.batches.done))
        self.warming()
