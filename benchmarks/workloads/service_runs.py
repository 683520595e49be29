"""Runs of the service over photos that were put, and whose events were queued, beforehand."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from benchmarks.harness import aws as embedded
from benchmarks.harness import photo_source, service, settings
from benchmarks.harness.child import START_SECONDS, Child
from benchmarks.harness.errors import BenchError
from benchmarks.harness.measured import Measured, timeout_seconds
from benchmarks.harness.service import Durable, ServiceLog
from infra_scripts.embedded import EmbeddedAws
from processor.assembly import network_spec

FILL_ROWS_PER_S = 1000  # a store that is filled more slowly is given up
MATRIX_CONFLICT = "another writer committed to reduced/ first; trying again"
DRAWING = "benchmarks.workloads.drawn_features"


@dataclass(frozen=True, slots=True)
class ServiceMeasured(Measured):
    """The service: what else is measured of a run."""

    end_to_end_photos_per_s: float
    started_s: float  # from the start of the process to "service started"
    wind_up_s: float  # from the last durable row to the end: it finds the queue empty, and refits
    peak_pss_mb: float
    steady_photos: int
    steady_s: float
    embedded_aws_cpu_s: float
    cpu_share_of_embedded_aws: float  # of all that service and embedded AWS used


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Services that share queue, store and cores, all figures summed up over them."""

    photos_per_s: float  # in the steady state of all
    from_first_to_last: float  # photos a second after the first durable micro-batch of any
    commits: int
    conflicts: int
    conflict_seconds: float
    matrix_conflicts: int
    refits: int
    shares: list[int]  # photos that each of them stored
    cpu_s: float
    peak_rss_mb: float


@dataclass(frozen=True, slots=True)
class ServiceRuns:
    """Each run has an AWS of its own. The store then already holds ``present`` drawn rows."""

    photos: list[Path]
    environment: dict[str, str]
    scratch: Path
    present: int = 0

    def once(self) -> ServiceMeasured:
        """``run --once``: from messages in the queue to rows in the store."""
        with self._supplied() as aws:
            aws_cpu = aws.cpu_seconds
            output = self.scratch / "service.out"
            with service.start(aws, self.environment, output, "--once") as child:
                child.finish(timeout_seconds(len(self.photos)))
                ended_at = time.time()
                aws_cpu = aws.cpu_seconds - aws_cpu
                self._check_stored(aws)
                return self._measured(child, ended_at, aws_cpu)

    def beside_refits(self) -> tuple[float, int]:
        """``run``, until all photos are durable: photos a second, and how often it refitted."""
        with self._supplied() as aws:
            output = self.scratch / "service.out"
            with service.start(aws, self.environment, output) as child:
                log = ServiceLog(output)
                self._await_durable({child: log})
                photos, seconds = _steady(log.durable())
                refits = log.count("fitted a PCA")
                child.stop(START_SECONDS)
        return photos / seconds, refits

    def side_by_side(self, count: int) -> SideBySide:
        """``run`` by so many services, each with its share of the cores, until all are durable."""
        cores = sorted(os.sched_getaffinity(0))
        with self._supplied() as aws, ExitStack() as stack:
            logs: dict[Child, ServiceLog] = {}
            for number in range(count):
                work_dir = Path(self.environment["FRUITS_SERVICE__WORK_DIR"], str(number))
                environment = self.environment | {"FRUITS_SERVICE__WORK_DIR": str(work_dir)}
                output = self.scratch / f"service-{number}.out"
                mine = cores[number::count]
                child = stack.enter_context(service.start(aws, environment, output, cores=mine))
                logs[child] = ServiceLog(output)
            self._await_durable(logs)
            for child in logs:
                child.stop(START_SECONDS)
            found = service.status(aws, self.environment)
            if (found.photos, found.rejects) != (len(self.photos) + self.present, 0):
                raise BenchError(f"{len(self.photos)} photos were put, and the store has {found}")
            return _side_by_side(logs)

    def _await_durable(self, logs: Mapping[Child, ServiceLog]) -> None:
        deadline = time.time() + timeout_seconds(len(self.photos))
        while sum(each.stored for log in logs.values() for each in log.durable()) < len(
            self.photos
        ):
            for child, log in logs.items():
                if log.count("photo rejected") or time.time() > deadline or not child.running():
                    raise BenchError(f"not all photos went through: {child.last_line()}")
            time.sleep(1)

    def _measured(self, child: Child, ended_at: float, aws_cpu: float) -> ServiceMeasured:
        log = ServiceLog(child.output)
        batches = log.durable()
        steady_photos, steady_s = _steady(batches)
        started_at = log.first("service started") or child.started_at
        cpu = child.usage.cpu_seconds()
        return ServiceMeasured(
            photos_per_s=steady_photos / steady_s,
            start_up_s=batches[0].at - child.started_at,
            peak_rss_mb=child.usage.peak_rss_bytes / 1e6,
            cpu_s=cpu,
            end_to_end_photos_per_s=len(self.photos) / (ended_at - child.started_at),
            started_s=started_at - child.started_at,
            wind_up_s=ended_at - batches[-1].at,
            peak_pss_mb=child.usage.peak_pss_bytes / 1e6,
            steady_photos=steady_photos,
            steady_s=steady_s,
            embedded_aws_cpu_s=aws_cpu,
            cpu_share_of_embedded_aws=aws_cpu / (aws_cpu + cpu),
        )

    @contextmanager
    def _supplied(self) -> Iterator[EmbeddedAws]:
        """An AWS of its own, with the store filled, all photos put and all events queued."""
        with embedded.deployed(self.environment) as aws:
            if self.present:
                self._fill(aws)
            self._upload(aws)
            yield aws

    def _fill(self, aws: EmbeddedAws) -> None:
        config = settings.config_of(self.environment)
        folder = config.storage.layout.store.features
        drawing = [folder, str(self.present), network_spec(config).model_id]
        environment = aws.over(self.environment)
        for module, arguments in ((DRAWING, drawing), ("processor", ["refit"])):
            with Child(module, arguments, environment, self.scratch / "fill.out") as child:
                child.finish(START_SECONDS + self.present / FILL_ROWS_PER_S)

    def _upload(self, aws: EmbeddedAws) -> None:
        config = settings.config_of(self.environment)
        before = embedded.queued(aws, config)  # S3's test event
        put = partial(photo_source.put, embedded.s3(aws), config.storage)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(put, self.photos, count()))
        queued = embedded.queued(aws, config) - before
        if queued != len(self.photos):
            raise BenchError(f"{len(self.photos)} photos were put, but {queued} events are queued")

    def _check_stored(self, aws: EmbeddedAws) -> None:
        found = service.status(aws, self.environment)
        wanted = len(self.photos) + self.present
        if (found.photos, found.reduced.rows) != (wanted, wanted):
            raise BenchError(
                f"of {wanted} photos {found.photos} have features, {found.reduced.rows} are in the "
                f"matrix and {found.rejects} were rejected: figures would be meaningless"
            )


def _side_by_side(logs: Mapping[Child, ServiceLog]) -> SideBySide:
    by_service = [log.durable() for log in logs.values()]
    if not all(by_service):
        raise BenchError("a service stored nothing: take more photos (--limit, --copies)")
    # Each from its first micro-batch to its last, of those while all were at work.
    begin, end = max(each[0].at for each in by_service), min(each[-1].at for each in by_service)
    steady = [_steady([b for b in each if begin <= b.at <= end]) for each in by_service]
    batches = sorted((batch for each in by_service for batch in each), key=lambda batch: batch.at)
    photos, seconds = _steady(batches)
    usages = [child.usage for child in logs]
    return SideBySide(
        photos_per_s=sum(photos / seconds for photos, seconds in steady),
        from_first_to_last=photos / seconds,
        commits=len(batches),
        conflicts=sum(batch.conflicts for batch in batches),
        conflict_seconds=sum(batch.conflict_seconds for batch in batches),
        matrix_conflicts=sum(log.count(MATRIX_CONFLICT) for log in logs.values()),
        refits=sum(log.count("fitted a PCA") for log in logs.values()),
        shares=[sum(batch.stored for batch in each) for each in by_service],
        cpu_s=sum(usage.cpu_seconds() for usage in usages),
        peak_rss_mb=sum(usage.peak_rss_bytes for usage in usages) / 1e6,
    )


def _steady(batches: Sequence[Durable]) -> tuple[int, float]:
    """Photos and seconds of all micro-batches after the first."""
    photos = sum(batch.stored for batch in batches[1:])
    if not photos:
        raise BenchError(
            "all photos of a service went through in one micro-batch, so there is no steady state to "
            "measure: take more (--limit) or set FRUITS_BATCH__MAX_PHOTOS"
        )
    return photos, batches[-1].at - batches[0].at
