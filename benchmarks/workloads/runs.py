"""The runs that `pipeline` compares, each in processes of its own: bare Keras, UDF, service, engine."""

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness import aws as _aws
from benchmarks.harness import photo_source as _photos
from benchmarks.harness import service as _service
from benchmarks.harness.child import START_SECONDS, BenchError, Child, run_together
from infra_scripts.embedded import EmbeddedAws
from processor.__main__ import network_spec  # as the service makes it
from processor.spark.resources import cores, share_cores
from processor.spark.session import worker_environment

KERAS_BATCH = 32
PREPARED = 16  # photos that the engine sees once before anything is timed
SLOWEST_PHOTOS_PER_S = 0.5  # a child slower than this is given up


@dataclass(frozen=True, slots=True)
class Measured:
    """One child at one input size."""

    photos_per_s: float  # steady state
    start_up_s: float  # until it is warm: first batch durable, or through the network
    peak_rss_mb: float
    cpu_s: float  # all its processes, all its life


@dataclass(frozen=True, slots=True)
class ServiceMeasured(Measured):
    """The service: what else there is to know of a run."""

    end_to_end_photos_per_s: float
    started_s: float  # from the start of the process to "service started"
    wind_up_s: float  # from the last row durable to the end: finds the queue empty, refits the PCA
    peak_pss_mb: float
    steady_photos: int
    steady_s: float
    embedded_aws_cpu_s: float
    cpu_share_of_embedded_aws: float  # of all that service and embedded AWS used


@dataclass(frozen=True, slots=True)
class Runs:
    """One input size; ``photos`` go to the service, ``subset`` to its peers.

    The service finds ``present`` drawn rows in its store, and a matrix of them.
    """

    photos: list[Path]
    subset: list[Path]
    input_size: int
    environment: dict[str, str]
    scratch: Path
    present: int = 0

    def prepare(self) -> None:
        """Have the network's files made and in the page cache; nobody's start-up should pay for it."""
        replace(self, subset=self.subset[:PREPARED]).engine()

    def keras(self) -> Measured:
        """The plain loop, one process."""
        arguments = [self._list(), str(self.input_size), *self._weights()]
        with self._child("bare_keras", arguments, "keras.out") as child:
            self._end(child, len(self.subset) + KERAS_BATCH)
            told = child.told()
            rss = told["peak_rss_bytes"] / 1e6
            start_up = told["warm_at"] - child.started_at
            return Measured(told["photos_per_s"], start_up, rss, child.cpu_seconds())

    def udf(self) -> Measured:
        """Keras in Spark by ``predict_batch_udf``, from a local folder to local Parquet."""
        few = self.subset[: KERAS_BATCH * cores()]  # whole batches: TensorFlow traces each shape
        with TemporaryDirectory(prefix="udf-", dir=self.scratch) as folder:
            here = Path(folder)
            _link(self.subset, here / "photos")
            _link(few, here / "few")
            arguments = [folder, str(self.input_size), *self._weights()]
            with self._child("keras_udf", arguments, "udf.out") as child:
                self._end(child, len(few) + len(self.subset))
                told = child.told()
                if told["photos"] != len(self.subset):
                    raise BenchError(f"the UDF wrote {told['photos']} of {len(self.subset)} photos")
                rss = child.peak_rss_bytes / 1e6
                start_up = told["warm_at"] - child.started_at
                return Measured(told["photos_per_s"], start_up, rss, child.cpu_seconds())

    def engine(self) -> Measured:
        """The service's network in as many processes as the service has, pixels in memory."""
        config = _service.config_of(self.environment)
        spec = network_spec(config)
        shared, _ = share_cores(spec, config.compute.workers, config.compute.threads)
        workers = min(shared, len(self.subset))
        go = self.scratch / "go"
        children = (
            Child(
                "benchmarks.peers.engine_alone",
                [self._list(), str(n), str(workers), str(go)],
                self.environment | worker_environment(),
                self.scratch / f"engine{n}",
            )
            for n in range(workers)
        )
        ended, began = run_together(children, go, _patience(len(self.subset)))
        told = [child.told() for child in ended]
        seconds = max(each["ended_at"] for each in told) - began
        return Measured(
            sum(each["photos"] for each in told) / seconds,
            began - ended[0].started_at,
            sum(child.peak_rss_bytes for child in ended) / 1e6,
            sum(child.cpu_seconds() for child in ended),
        )

    def service(self) -> ServiceMeasured:
        """The whole service, from messages in the queue to rows in the store."""
        with self._supplied() as aws:
            aws_cpu = aws.cpu_seconds
            output = self.scratch / "service.out"
            with _service.start(aws, self.environment, output, "--once") as child:
                self._end(child, len(self.photos))
                ended = time.time()
                aws_cpu = aws.cpu_seconds - aws_cpu
                self._check_stored(aws)
                return self._told(child, ended, aws_cpu)

    def unattended(self) -> tuple[float, int]:
        """A service without end that tends its matrix beside: photos a second, and refits meanwhile."""
        with self._supplied() as aws:
            output = self.scratch / "service.out"
            with _service.start(aws, self.environment, output) as child:
                deadline = time.time() + _patience(len(self.photos))
                while sum(each.stored for each in _service.durable(output)) < len(self.photos):
                    lines = [line["message"] for line in _service.log_lines(output)]
                    if "photo rejected" in lines or time.time() > deadline or not child.running():
                        raise BenchError(f"not all photos went through: {child.said()}")
                    time.sleep(1)
                batches = _service.durable(output)
                lines = list(_service.log_lines(output))
                child.stop(START_SECONDS)
        photos, seconds = _steady(batches)
        refits = sum(line["message"] == "fitted a PCA" for line in lines)
        return photos / seconds, refits

    def _told(self, child: Child, ended: float, aws_cpu: float) -> ServiceMeasured:
        batches = _service.durable(child.output)
        steady_photos, steady_s = _steady(batches)
        started = _service.when(child.output, "service started") or child.started_at
        cpu = child.cpu_seconds()
        return ServiceMeasured(
            photos_per_s=steady_photos / steady_s,
            start_up_s=batches[0].at - child.started_at,
            peak_rss_mb=child.peak_rss_bytes / 1e6,
            cpu_s=cpu,
            end_to_end_photos_per_s=len(self.photos) / (ended - child.started_at),
            started_s=started - child.started_at,
            wind_up_s=ended - batches[-1].at,
            peak_pss_mb=child.peak_pss_bytes / 1e6,
            steady_photos=steady_photos,
            steady_s=steady_s,
            embedded_aws_cpu_s=aws_cpu,
            cpu_share_of_embedded_aws=aws_cpu / (aws_cpu + cpu),
        )

    @contextmanager
    def _supplied(self) -> Iterator[EmbeddedAws]:
        """An AWS of its own, with the store filled, all photos put and all events queued."""
        with _aws.deployed(self.environment) as aws:
            if self.present:
                self._fill(aws)
            self._upload(aws)
            yield aws

    def _fill(self, aws: EmbeddedAws) -> None:
        config = _service.config_of(self.environment)
        folder = f"s3://{config.storage.bucket}/{config.storage.store_prefix}features"
        drawing = [folder, str(self.present), network_spec(config).model_id]
        environment = aws.over(self.environment)
        for module, arguments in (
            ("benchmarks.workloads.drawn_features", drawing),
            ("processor", ["refit"]),
        ):
            with Child(module, arguments, environment, self.scratch / "fill.out") as child:
                child.finish(START_SECONDS + self.present / 1000)

    def _upload(self, aws: EmbeddedAws) -> None:
        config = _service.config_of(self.environment)
        s3, storage = _aws.client(aws, "s3"), config.storage

        before = _aws.queued(aws, config)  # S3's test event
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(partial(_photos.put, s3, storage), self.photos, count()))
        queued = _aws.queued(aws, config) - before
        if queued != len(self.photos):
            raise BenchError(f"{len(self.photos)} photos were put, but {queued} events are queued")

    def _check_stored(self, aws: EmbeddedAws) -> None:
        stored = _service.status(aws, self.environment)
        counts = stored["photos"], stored["reduced"]["rows"]
        wanted = len(self.photos) + self.present
        if counts != (wanted, wanted):
            raise BenchError(
                f"of {wanted} photos {counts[0]} have features, {counts[1]} are in the "
                f"matrix and {stored['rejects']} were rejected: this measures nothing"
            )

    def _weights(self) -> list[str]:
        """For ``processor.network.weights.obtain``: which, and the folder that keeps them."""
        cache = Path(self.environment["FRUITS_SERVICE__CACHE_DIR"], "weights")
        return [self.environment["FRUITS_MODEL__WEIGHTS"], str(cache)]

    def _list(self) -> str:
        file = self.scratch / "subset.json"
        file.write_text(json.dumps([str(path.resolve()) for path in self.subset]))
        return str(file)

    def _child(self, module: str, arguments: list[str], output: str) -> Child:
        return Child(
            f"benchmarks.peers.{module}", arguments, self.environment, self.scratch / output
        )

    @staticmethod
    def _end(child: Child, photos: int) -> None:
        child.finish(_patience(photos))


def _patience(photos: int) -> float:
    """Seconds that a child may take for so many photos."""
    return START_SECONDS + photos / SLOWEST_PHOTOS_PER_S


def _steady(batches: Sequence[_service.Durable]) -> tuple[int, float]:
    """Photos and seconds of all micro-batches after the first."""
    photos = sum(batch.stored for batch in batches[1:])
    if not photos:
        raise BenchError(
            "all photos went through in one micro-batch, which tells nothing of the steady state: "
            "take more (--limit) or set FRUITS_BATCH__MAX_PHOTOS"
        )
    return photos, batches[-1].at - batches[0].at


def _link(photos: list[Path], folder: Path) -> None:
    """Make ``folder`` with a link to each of ``photos``, which may lie in several folders."""
    folder.mkdir()
    for number, path in enumerate(photos):
        (folder / f"{number:06}{path.suffix}").symlink_to(path.resolve())
