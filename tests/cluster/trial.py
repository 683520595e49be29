"""The trial: a service on a cluster whose workers come and go, and what becomes of its photos."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness.child import Child, output_of
from benchmarks.harness.service import ServiceLog
from tests.cluster.machines import Cluster, Machine
from tests.systemd.photos import Photos

Facts = dict[str, object]
WAIT_SECONDS = 600
SHORT = (
    "started, with one worker",
    "a second worker joins",
    "a worker is killed in a micro-batch",
    "stopped",
)


class TrialError(RuntimeError):
    """A step found something else than was promised."""


class Trial:
    """The steps, in their order; each returns what it found, or raises TrialError."""

    def __init__(self, cluster: Cluster, folder: Path, photos: Photos, count: int) -> None:
        self._cluster, self._folder = cluster, folder
        self._photos, self._count = photos, count
        self._service: Child | None = None
        self._log = ServiceLog(folder / "service.log")
        self._settings: dict[str, str] = {}
        self._alone = self._together = 0.0  # photos a second

    def steps(self, settings: dict[str, str]) -> dict[str, Callable[[], Facts]]:
        self._settings = settings
        return {
            "without the secret it does not start": self.refused,
            "started, with one worker": self.started,
            "photos on one worker": self.alone,
            "a second worker joins": self.joined,
            "photos on two workers": self.together,
            "a worker is killed in a micro-batch": self.killed,
            "photos on the one that is left": self.again,
            "a third worker joins": self.third,
            "stopped": self.stopped,
            "a job of nothing beside background tasks": self.latency,
        }

    def close(self) -> None:
        if self._service:
            self._service.__exit__(None, None, None)

    def refused(self) -> Facts:
        """In one line that says what to do."""
        environment = self._environment()
        del environment["_SPARK_AUTH_SECRET"]
        child = Child("processor", ["run"], environment, self._folder / "refused.log")
        with child:
            status = child.wait(WAIT_SECONDS)
            line = child.last_line()
        if not status or "_SPARK_AUTH_SECRET" not in line:
            raise TrialError(f"it ended with {status}: {line}")
        return {"says": line}

    def started(self) -> Facts:
        """No process shows the secret, and the workers see nothing of the checkout."""
        self._cluster.add_worker()
        self._service = Child("processor", ["run"], self._environment(), self._log.output)
        self._until(lambda: self._log.first("service started") is not None, "it has not started")
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    shown = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if self._cluster.secret.encode() in shown:
                    raise TrialError(f"process {entry.name} shows the secret: {shown[:200]!r}")
        started = self._log.first("service started") or 0
        return {"seconds": round(started - self._service.started_at, 1)}

    def alone(self) -> Facts:
        self._drain(20)  # the executor's JVM and Python start
        self._alone, facts = self._rate()
        return facts

    def joined(self) -> Facts:
        second = self._cluster.add_worker()
        self._photos.put_heic()  # its decoder is a process that imports our code, too
        self._until_used(second)
        return {"tasks": second.finished()}

    def together(self) -> Facts:
        self._together, facts = self._rate()
        return facts

    def killed(self) -> Facts:
        """While it computes. Nothing is lost, nothing twice, no photo suspected, no restart."""
        first = self._cluster.workers[0]
        batches, stored = self._batches(), self._stored()
        self._photos.put(2 * self._count)
        self._until(lambda: self._batches() > batches, "nothing is durable")
        self._until(lambda: first.running() > 0, "the worker had nothing to do")
        running = first.running()
        first.kill()
        killed, left = time.time(), len(self._photos.differences())
        if not left:
            raise TrialError("all was stored before the worker was killed")
        self._until_stored(stored + 2 * self._count)
        took = round(time.time() - killed, 1)
        return {"tasks_lost": running, "photos_left": left, "seconds": took}

    def again(self) -> Facts:
        """What two gave, by what one gave before and after: the machine may have other work."""
        rate, facts = self._rate()
        return {**facts, "speed_up": round(2 * self._together / (self._alone + rate), 2)}

    def third(self) -> Facts:
        third = self._cluster.add_worker()
        self._until_used(third)
        return {"tasks": third.finished()}

    def stopped(self) -> Facts:
        """The matrix is whole, which background tasks refit on the cluster; then the end is orderly."""
        assert self._service
        self._until(lambda: self._photos.matrix_fault() is None, "the matrix is not whole")
        status = self._service.stop(WAIT_SECONDS)
        if status or self._found():
            raise TrialError(
                f"it ended with {status}: {self._found() or self._service.last_line()}"
            )
        return {"photos": len(self._photos.live())}

    def latency(self) -> Facts:
        """In seconds, on two workers."""
        work = str(self._folder / "latency")
        arguments = "tests.cluster.latency", self._cluster.url, work
        out = output_of(*arguments, environment=self._environment())
        facts: Facts = json.loads(out.splitlines()[-1])
        if float(str(facts["after"])) > float(str(facts["background_seconds"])) / 2:
            raise TrialError(f"a job waited for background tasks: {facts}")
        return facts

    def _environment(self) -> dict[str, str]:
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("FRUITS_", "SPARK_"))}
        return kept | self._settings | self._cluster.driver_environment

    def _drain(self, count: int) -> None:
        stored = self._stored()
        self._photos.put(count)
        self._until_stored(stored + count)

    def _rate(self) -> tuple[float, Facts]:
        """Photos a second, from the end of the first micro-batch to that of the last."""
        begun = len(self._log.durable())
        self._drain(self._count)
        first, *rest = self._log.durable()[begun:]
        if not rest:
            raise TrialError(f"{self._count} photos were one micro-batch: too few for a rate")
        rate = sum(each.stored for each in rest) / (rest[-1].at - first.at)
        return rate, {"photos_per_s": round(rate, 2), "batches": 1 + len(rest)}

    def _until_used(self, worker: Machine) -> None:
        """Until it has handled some photos, in micro-batches that others have parts of."""

        def used() -> bool:
            self._drain(self._count // 4)
            return worker.finished() > 1  # the first asked it what it takes

        self._until(used, f"{worker.folder.name} got nothing to do")

    def _until_stored(self, logged: int) -> None:
        """Until the log has so many, then the tables all: to compare these takes half a core."""
        self._until(lambda: self._stored() >= logged, "photos are not stored")
        self._until(self._photos.is_stored, "photos are not stored")
        if found := self._found():
            raise TrialError(found)

    def _until(self, true: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not true():
            if self._service and not self._service.running():
                raise TrialError(f"the service has ended: {self._service.last_line()}")
            if time.monotonic() > deadline:
                raise TrialError(
                    f"{otherwise} after {WAIT_SECONDS} s: {self._photos.differences()[:3]}"
                )
            time.sleep(0.2)

    def _found(self) -> str:
        """What is not as it should be in the log and the tables, besides photos that wait for work."""
        text = self._log.output.read_text()
        for sign in ("a worker died", "executors were lost", "photo rejected", "photo waits"):
            if sign in text:
                return next(line for line in text.splitlines() if sign in line)
        return "; ".join(self._photos.differences()[:3])

    def _stored(self) -> int:
        return sum(each.stored for each in self._log.durable())

    def _batches(self) -> int:
        return len(self._log.durable())
