"""The assembly: from the configuration to the objects that do the work.

The only module besides the commands that reads the configuration. Benchmarks and the demo also build
what they need here.
"""

import logging
from collections.abc import Callable
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
from processor.pipeline.feature_store import FeatureStore
from processor.pipeline.jobs import Jobs
from processor.pipeline.micro_batch import MicroBatches
from processor.pipeline.reconciliation import Reconciliation
from processor.pipeline.retries import Retries
from processor.pipeline.sizing import memory_budget, share_cores
from processor.pipeline.tasks import Recipe
from processor.report.page import page
from processor.report.report import Report
from processor.report.thumbnails import Source
from processor.service import ending, systemd
from processor.service.batch_lines import BatchLines
from processor.service.maintenance import Maintenance
from processor.service.metrics import Metrics
from processor.service.reconciler import Reconciler
from processor.service.reporter import Reporter
from processor.service.runner import Service, Stream
from processor.service.watchdog import Watchdog
from processor.service.work_dir import CHECKPOINT
from processor.spark import cluster, session
from processor.spark.background import Background
from processor.spark.cluster import Executors
from processor.spark.resources import Slots, cores

log = logging.getLogger(__name__)

# For weights to be downloaded, the network to be compiled and compared, once: so long systemd waits.
NETWORK_SECONDS = 1200.0
STORE_SECONDS = 3600.0  # likewise for the index of a large store to be made


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
    """The spec with its number of threads and its compiled file, if its engine needs one.

    On a cluster each worker chooses the threads, unless they are configured.
    """
    threads = config.compute.threads
    if not cluster.is_cluster(config.spark.master):
        _, threads = share_cores(spec, config.compute.workers, threads)
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

    Raises :class:`JavaError` and :class:`SetupError`.
    """
    logs.adopt_stderr()
    work_dir = Path(config.service.work_dir)
    return session.start(config.spark.master, config.spark.driver_memory, work_dir)


def slots(config: Config, spec: NetworkSpec, context: SparkContext) -> Callable[[], Slots]:
    """The tasks of ingestion at a time: of this machine, or of those of the cluster."""
    workers = config.compute.workers

    def takes() -> int:
        return share_cores(spec, workers)[0]

    if cluster.is_cluster(config.spark.master):
        return Executors(context, takes).ingestion
    own = Slots(takes(), takes())
    return lambda: own


def background(config: Config, context: SparkContext) -> Background:
    """Background tasks: on this machine as many at a time as it has cores."""
    if cluster.is_cluster(config.spark.master):
        return Background(context, Executors(context).background)
    return Background(context, cores)


def matrix(config: Config, tasks: Background) -> Matrix:
    """The reduced matrix of the configured store."""
    layout = config.storage.layout.store
    return Matrix(layout, refit_policy(config), tasks, csv=config.pca.csv)


def report(config: Config, tasks: Background) -> Report:
    """The report of the configured store."""
    layout, images = config.storage.layout, config.images
    source = Source(
        bucket=layout.bucket,
        max_bytes=images.max_bytes,
        max_pixels=images.max_pixels,
        unsandboxed_heic=images.unsandboxed_heic,
        memory=memory_budget,
    )
    return Report(layout.store, tasks, source, page)


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

    Raises like :func:`network_spec` and :func:`spark_session`, :class:`BudgetError` and
    :class:`StoreError`.
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
    metrics = Metrics(config.queue.name, work_dir)
    context = spark.sparkContext
    jobs = Jobs(context, recipe(config, spec), slots(config, spec, context), metrics.worker_died)
    if cluster.is_cluster(config.spark.master):
        jobs.ship()
    queue = Queue(connect(1), queue_url)
    tasks = background(config, context)
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
            reporter=Reporter(report(config, tasks)) if config.pca.report else None,
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
