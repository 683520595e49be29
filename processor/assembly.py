"""The assembly: from the configuration to the objects that do the work.

The only module besides the commands that reads the configuration. Benchmarks and the demo also build
what they need here.
"""

import logging
import os
import tempfile
from dataclasses import replace
from pathlib import Path

from pyspark import SparkContext
from pyspark.sql import SparkSession

from common import logs
from common.config import Config
from ingest.queue import Queue, connect
from processor.answers.asked import Reader
from processor.errors import NetworkError, ServiceError
from processor.matrix.matrix import Matrix
from processor.matrix.refit_policy import RefitPolicy
from processor.network import compiled, engines
from processor.network.spec import NetworkSpec
from processor.network.weights import obtain
from processor.photos.decode import PREPROCESSING, PREPROCESSING_FULL
from processor.photos.memory import MemoryBudget
from processor.pipeline.feature_store import FeatureStore
from processor.pipeline.jobs import Jobs
from processor.pipeline.micro_batch import MicroBatches
from processor.pipeline.reconciliation import Reconciliation
from processor.pipeline.retries import Retries
from processor.pipeline.tasks import Recipe
from processor.service import ending, systemd
from processor.service.batch_lines import BatchLines
from processor.service.maintenance import Maintenance
from processor.service.metrics import Metrics
from processor.service.reconciler import Reconciler
from processor.service.runner import Service, Stream
from processor.service.watchdog import Watchdog
from processor.service.work_dir import CHECKPOINT
from processor.spark import session
from processor.spark.background import Background
from processor.spark.resources import cores, memory_bytes

log = logging.getLogger(__name__)

RESERVED_BYTES = 3 << 30  # the JVM, the driver, the source's process, the system
# For weights to be downloaded, the network to be compiled and compared, once: so long systemd waits.
NETWORK_SECONDS = 1200.0
STORE_SECONDS = 3600.0  # likewise for the index of a large store to be made
LEAST_PHOTO_BYTES = 256 << 20  # of large photos: a progressive JPEG of 40 megapixels, a WebP of 15


def share_cores(spec: NetworkSpec, workers: int = 0, threads: int = 0) -> tuple[int, int]:
    """The number of workers that run the network, and of threads in each: as given, or chosen if 0.

    Together they use each core once. ncnn is fastest with a worker for each core (at 224 px one worker
    with two threads reaches 0.87 of two with one), winograd as fast either way, TensorFlow fastest with
    few workers that have many threads. No more workers are chosen than fit into memory, but always at
    least one.
    """
    if not workers:
        wanted = max(1, cores() // 4) if spec.engine == "tensorflow" else cores()
        free = memory_bytes() - RESERVED_BYTES - photo_bytes() - engines.shared_bytes(spec)
        workers = max(1, min(wanted, free // engines.worker_bytes(spec)))
    return workers, threads or max(1, cores() // workers)


def photo_bytes() -> int:
    """The memory set aside for decoding large photos, in bytes: an eighth of the machine's.

    With 16 GB any photo of 100 megapixels passes, also the costliest (WebP, 16 bytes a pixel).
    """
    return max(LEAST_PHOTO_BYTES, memory_bytes() // 8)


def memory_budget() -> MemoryBudget:
    """The budget of :func:`photo_bytes`, which all services of this user on this machine share.

    Workers count in the folder for temporary files as the driver names it, each on its own machine.
    """
    file = Path(tempfile.gettempdir(), f"fruits-memory-{os.getuid()}").resolve()
    return MemoryBudget(photo_bytes(), file)


def network_spec(config: Config) -> NetworkSpec:
    """The configured network; its weights and its compiled file are obtained if they are not cached.

    With the engine ``auto`` it is the fastest that this machine can run; a warning says why a faster one
    was passed over. May take minutes. Raises :class:`WeightsError` and :class:`NetworkError`.
    """
    layer = config.model.layer
    weights = obtain(
        config.model.weights,
        include_top=layer == "fc2",
        cache_dir=Path(config.service.cache_dir) / "weights",
    )
    spec = NetworkSpec(
        weights_path=str(weights.path.resolve()),
        weights_digest=weights.digest,
        layer=layer,
        input_size=config.model.input_size,
        batch_size=config.model.batch_size,
        preprocessing=PREPROCESSING if config.images.reduced_decode else PREPROCESSING_FULL,
    )
    if config.model.engine != "auto":
        return _ready(replace(spec, engine=config.model.engine), config)
    *faster, last = engines.ENGINES
    for engine in faster:
        try:
            return _ready(replace(spec, engine=engine), config)
        except NetworkError as error:
            log.warning("engine %s is passed over: %s", engine, error)
    return _ready(replace(spec, engine=last), config)


def _ready(spec: NetworkSpec, config: Config) -> NetworkSpec:
    """The spec with its number of threads and its compiled file, if its engine needs one."""
    _, threads = share_cores(spec, config.compute.workers, config.compute.threads)
    spec = replace(spec, threads=threads)
    cache_dir = Path(config.service.cache_dir) / "compiled"
    return compiled.obtain(spec, cache_dir) if spec.engine in compiled.COMPILERS else spec


def recipe(config: Config, spec: NetworkSpec) -> Recipe:
    """What an ingestion task needs to know."""
    return Recipe(
        layout=config.storage.layout,
        network=spec,
        downloads=config.compute.downloads,
        max_bytes=config.images.max_bytes,
        max_pixels=config.images.max_pixels,
        reduced_decode=config.images.reduced_decode,
        unsandboxed_heic=config.images.unsandboxed_heic,
        memory=memory_budget(),
    )


def reader(config: Config, spec: NetworkSpec) -> Reader:
    """What reads a photo that somebody asks about, with all cores."""
    return Reader(
        layout=config.storage.layout,
        network=replace(spec, threads=0),
        max_bytes=config.images.max_bytes,
        max_pixels=config.images.max_pixels,
        reduced_decode=config.images.reduced_decode,
        memory=memory_budget(),
        unsandboxed_heic=config.images.unsandboxed_heic,
    )


def refit_policy(config: Config) -> RefitPolicy:
    """When to refit, and with which settings."""
    return RefitPolicy(
        components=config.pca.components,
        whiten=config.pca.whiten,
        interval_seconds=config.pca.interval_seconds,
        growth_photos=config.pca.growth_photos,
        growth_share=config.pca.growth_share,
        least_captured=config.pca.least_captured,
        most_residual=config.pca.most_residual,
        least_pause=config.pca.least_pause,
    )


def spark_session(config: Config) -> SparkSession:
    """Start Spark. From now on, stderr of this process and its children becomes log lines.

    Raises :class:`JavaError`.
    """
    logs.adopt_stderr()
    work_dir = Path(config.service.work_dir)
    return session.start(config.spark.master, config.spark.driver_memory, work_dir)


def background(context: SparkContext) -> Background:
    """Background tasks, as many at a time as there are cores."""
    return Background(context, cores())


def matrix(config: Config, tasks: Background) -> Matrix:
    """The reduced matrix of the configured store."""
    layout = config.storage.layout.store
    return Matrix(layout, refit_policy(config), tasks, csv=config.pca.csv)


def reconciliation(config: Config, queue: Queue) -> Reconciliation:
    """The reconciliation of the configured store, which sorts in :func:`scratch`."""
    return Reconciliation(config.storage.layout, scratch(config), queue.send_all)


def scratch(config: Config) -> Path:
    """``service.work_dir``, where commands keep what does not fit into memory.

    Raises :class:`ServiceError` if that cannot be created.
    """
    folder = Path(config.service.work_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ServiceError(f"service.work_dir {folder}: {error.strerror}") from error
    return folder


def service(config: Config, queue_url: str) -> Service:
    """The whole service, ready to run, with Spark started.

    Raises like :func:`network_spec`, :class:`BudgetError`, :class:`StoreError` and :class:`JavaError`.
    """
    layout = config.storage.layout
    memory_budget().check()
    systemd.tell(systemd.more_time(NETWORK_SECONDS), "STATUS=preparing the network")
    spec = network_spec(config)
    systemd.tell(systemd.more_time(STORE_SECONDS), "STATUS=opening the store")
    work_dir = Path(config.service.work_dir)
    store = FeatureStore.open(layout.store, spec.model_id, work_dir)
    systemd.tell("STATUS=starting")
    spark = spark_session(config)
    workers, _ = share_cores(spec, config.compute.workers, config.compute.threads)
    metrics = Metrics(config.queue.name, work_dir)
    jobs = Jobs(spark.sparkContext, recipe(config, spec), workers, metrics.worker_died)
    if config.spark.master:
        jobs.ship()
    queue = Queue(connect(1), queue_url)
    tasks = background(spark.sparkContext)
    stall_seconds = max(config.service.stall_seconds, 3 * config.batch.max_seconds)
    watchdog = Watchdog(stall_seconds, ending.fail)

    def waiting() -> None:
        watchdog.progress()
        metrics.alive()

    return Service(
        spark,
        Stream(
            queue_url=queue_url,
            bucket=layout.bucket,
            prefix=layout.photos_prefix,
            max_events=config.batch.max_photos,
            max_bytes=config.batch.max_bytes,
            max_seconds=config.batch.max_seconds,
            max_delay_seconds=config.batch.max_delay_seconds,
            visibility_timeout_seconds=config.queue.visibility_timeout_seconds,
            receivers=config.queue.receivers,
            checkpoint=work_dir / CHECKPOINT,
            stop_grace_seconds=config.service.stop_grace_seconds,
        ),
        MicroBatches(
            store,
            layout,
            jobs.extract,
            still_waiting=waiting,
            durable=metrics.batch,
        ),
        Maintenance(
            layout.store,
            matrix(config, tasks),
            tasks,
            Retries(layout, queue.send_all),
            interval_seconds=config.upkeep.interval_seconds,
            retention_hours=config.upkeep.retention_hours,
            updated=metrics.matrix,
        ),
        Reconciler(
            Reconciliation(layout, work_dir, queue.send_all, lambda: queue.depth().total),
            layout.photos_prefix,
            config.upkeep.reconcile_interval_seconds,
            found=metrics.reconciled,
            ended=metrics.last_reconciled,
        ),
        jobs.warm_up,
        watchdog,
        BatchLines(lambda: queue.depth().total),
        metrics,
    )
