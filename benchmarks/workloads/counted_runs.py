"""The lives of a service on an AWS that counts, cut into phases: load, lone photos, idleness, upkeep."""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.harness import aws as embedded
from benchmarks.harness import photo_source, settings
from benchmarks.harness.child import START_SECONDS, Child, output_of
from benchmarks.harness.counted import Counts
from benchmarks.harness.errors import BenchError
from benchmarks.harness.measured import timeout_seconds
from benchmarks.harness.service import ServiceLog
from benchmarks.workloads.counted_aws import CountedAws

UPKEEP_SECONDS = 60  # of the second life, which is there for its first upkeep
SETTLED_SECONDS = 6  # without a request to S3
POLL_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of a life, or one command, and what was asked of AWS in it."""

    name: str
    about: str
    counts: Counts
    seconds: float
    photos: int = 0  # that became rows
    batches: int = 0
    files: int = 0  # data files that were written (load), or that the features then have
    cpu_s: float = 0.0
    stored_bytes: Mapping[str, int] = field(default_factory=dict)  # by table, of data files

    def summary(self) -> dict[str, Any]:
        """For the result line."""
        return {
            "seconds": round(self.seconds, 1),
            "photos": self.photos,
            "batches": self.batches,
            "files": self.files,
            "requests": {
                "/".join(filter(None, key)): each.requests
                for key, each in sorted(self.counts.by_key.items())
            },
        }


@dataclass(slots=True)
class _Mark:
    """The start of a phase."""

    counts: Counts
    at: float
    cpu_s: float
    durable: int
    batches: int


@dataclass(frozen=True, slots=True)
class CountedRun:
    """Two lives of a service on one store, and three commands; all on one AWS."""

    photos: list[Path]
    environment: dict[str, str]
    scratch: Path
    lone: int
    idle_seconds: int
    pause_seconds: int

    def phases(self) -> list[Phase]:
        """Everything in its order. Raises :class:`BenchError` if a photo does not become a row."""
        with CountedAws() as aws:
            output_of("infra_scripts", "deploy", environment=aws.over(self.environment))
            self._put_all(aws)
            done = list(self._first_life(aws))
            done.append(self._command(aws, "refit", "one refit, of small files", "refit"))
            done.append(self._upkeep(aws))
            done.append(
                self._command(aws, "refit_of_merged", "one refit, of merged files", "refit")
            )
            about = "one comparison of bucket and store"
            done.append(self._command(aws, "reconcile", about, "reconcile", "--dry-run"))
            return done

    def _put_all(self, aws: CountedAws) -> None:
        storage = settings.config_of(self.environment).storage
        put = partial(photo_source.put, embedded.s3(aws), storage)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(put, self.photos, count()))

    def _first_life(self, aws: CountedAws) -> Iterator[Phase]:
        storage = settings.config_of(self.environment).storage
        with self._service(aws, {}) as (child, log):
            began = self._mark(aws, child, log)
            self._await_rows(child, log, 1)
            yield self._phase(aws, child, log, began, "start", "until the first rows are durable")
            began = self._mark(aws, child, log)
            self._await_rows(child, log, len(self.photos))
            self._settle(aws)
            about = "photos that were queued before, matrix included"
            yield self._phase(aws, child, log, began, "load", about, stored=True)
            began = self._mark(aws, child, log)
            for number in range(self.lone):
                time.sleep(self.pause_seconds)
                photo_source.put(embedded.s3(aws), storage, self.photos[0], 10**5 + number)
            self._await_rows(child, log, len(self.photos) + self.lone)
            self._settle(aws)
            yield self._phase(aws, child, log, began, "lone", "photos that come one at a time")
            began = self._mark(aws, child, log)
            time.sleep(self.idle_seconds)
            yield self._phase(aws, child, log, began, "idle", "no photo comes")
            began = self._mark(aws, child, log)
            child.stop(START_SECONDS)
            yield self._phase(aws, child, log, began, "stop", "SIGTERM to the end")

    def _upkeep(self, aws: CountedAws) -> Phase:
        interval = {"FRUITS_UPKEEP__INTERVAL_SECONDS": str(UPKEEP_SECONDS)}
        with self._service(aws, interval) as (child, log):
            _wait(lambda: log.first("service started"), child, START_SECONDS)
            self._settle(aws)
            began = self._mark(aws, child, log)
            _wait(lambda: log.count("compacted files"), child, START_SECONDS)
            self._settle(aws)
            about = "small files merged, unneeded ones looked for, matrix brought up to date"
            phase = self._phase(aws, child, log, began, "upkeep", about)
            child.stop(START_SECONDS)
            return phase

    def _command(self, aws: CountedAws, name: str, about: str, *arguments: str) -> Phase:
        before, began = aws.counts(), time.time()
        output_of("processor", *arguments, environment=aws.of_service(self.environment))
        counts = aws.counts().since(before)
        files = len(self._sizes(aws)["features"])
        return Phase(name, about, counts, time.time() - began, files=files)

    @contextmanager
    def _service(
        self, aws: CountedAws, more: Mapping[str, str]
    ) -> Iterator[tuple[Child, ServiceLog]]:
        output = self.scratch / "service.out"
        environment = aws.of_service({**self.environment, **more})
        with Child("processor", ["run"], environment, output) as child:
            yield child, ServiceLog(output)

    def _await_rows(self, child: Child, log: ServiceLog, rows: int) -> None:
        def stored() -> bool:
            if log.count("photo rejected"):
                raise BenchError(f"a photo was rejected: {child.last_line()}")
            return sum(each.stored for each in log.durable()) >= rows

        _wait(stored, child, timeout_seconds(len(self.photos)))

    def _settle(self, aws: CountedAws) -> None:
        """Wait until S3 is left in peace: the matrix has followed the features."""
        last, since = -1, time.time()
        while time.time() - since < SETTLED_SECONDS:
            time.sleep(POLL_SECONDS)
            if (now := aws.counts().of("s3").requests) != last:
                last, since = now, time.time()

    def _mark(self, aws: CountedAws, child: Child, log: ServiceLog) -> _Mark:
        durable = log.durable()
        stored = sum(each.stored for each in durable)
        return _Mark(aws.counts(), time.time(), child.usage.cpu_seconds(), stored, len(durable))

    def _phase(
        self,
        aws: CountedAws,
        child: Child,
        log: ServiceLog,
        began: _Mark,
        name: str,
        about: str,
        *,
        stored: bool = False,
    ) -> Phase:
        now = self._mark(aws, child, log)
        counts = now.counts.since(began.counts)
        sizes = self._sizes(aws)
        files = counts.of("s3", "PUT", places=["features"]).requests
        return Phase(
            name,
            about,
            counts,
            seconds=now.at - began.at,
            photos=now.durable - began.durable,
            batches=now.batches - began.batches,
            files=files if stored else len(sizes["features"]),
            cpu_s=now.cpu_s - began.cpu_s,
            stored_bytes={table: sum(files) for table, files in sizes.items()},
        )

    def _sizes(self, aws: CountedAws) -> dict[str, list[int]]:
        """Of the data files that lie in the bucket, by table; also those that no table names."""
        storage = settings.config_of(self.environment).storage
        pages = embedded.s3(aws).get_paginator("list_objects_v2")
        sizes: dict[str, list[int]] = {"features": [], "reduced": []}
        for table, found in sizes.items():
            prefix = f"{storage.store_prefix}{table}/"
            for page in pages.paginate(Bucket=storage.bucket, Prefix=prefix):
                found += [
                    each["Size"]
                    for each in page.get("Contents", ())
                    if each["Key"].endswith(".parquet") and "_delta_log" not in each["Key"]
                ]
        return sizes


def _wait(condition: Callable[[], object], child: Child, seconds: float) -> None:
    deadline = time.time() + seconds
    while not condition():
        if time.time() > deadline or not child.running():
            raise BenchError(f"the service did not come that far: {child.last_line()}")
        time.sleep(0.5)
