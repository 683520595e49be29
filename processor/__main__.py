"""``python -m processor``: run the service, refit, and tell what is going on."""

import os

# Before NumPy is loaded. The driver computes little, and threads that wait for each other by spinning
# would take the cores from ingestion (one thread is faster here even alone: 0.13 s a refit, not 0.18).
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import logging
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError
from pyspark.sql import SparkSession

from common import logs
from common.config import Config, ConfigError, load
from ingest.queue import connect
from processor.matrix.matrix import Matrix
from processor.matrix.refit_policy import Policy
from processor.network import compiled
from processor.network.engines import default_engine
from processor.network.spec import NetworkError, NetworkSpec
from processor.network.weights import WeightsError, obtain
from processor.photos.decode import PREPROCESSING, PREPROCESSING_FULL
from processor.pipeline.feature_store import FeatureStore, StoreError
from processor.pipeline.micro_batch import MicroBatches
from processor.pipeline.tasks import Recipe, extract_all, warm_up
from processor.service import cloudwatch
from processor.service import status as report
from processor.service.preflight import PreflightError, cause_in, check_bucket, explain, find_queue
from processor.service.runner import Service, ServiceError
from processor.spark.background import Background
from processor.spark.resources import cores, share_cores
from processor.spark.session import JavaError, check_java, start
from processor.store import delta
from processor.store.compaction import Upkeep
from processor.store.delta import CommitConflict

log = logging.getLogger("processor")
EXPECTED = (
    ConfigError,
    PreflightError,
    ServiceError,
    StoreError,
    WeightsError,
    NetworkError,
    JavaError,
    CommitConflict,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0 only when everything asked was done."""
    asked = _parser().parse_args(arguments)
    if "AWS_REGION" in os.environ:  # boto3 reads only the other name
        os.environ.setdefault("AWS_DEFAULT_REGION", os.environ["AWS_REGION"])
    screen = os.fdopen(os.dup(2), "w", buffering=1)  # stderr itself becomes log lines later
    try:
        config = load(asked.config)
        logs.to_stdout(config.logs.level)
        return asked.command(config, asked)
    except EXPECTED as error:
        fault = str(error)
    except (ClientError, BotoCoreError) as error:
        fault = explain(error)
    except KeyboardInterrupt:
        fault = "interrupted"
    except Exception as error:
        log.exception("unexpected failure")  # the trace is for the log, the line for the screen
        fault = cause_in(f"{type(error).__name__}: {error}")
    if logging.getLogger().handlers:
        log.error("ended: %s", fault)
    print(f"error: {' '.join(fault.split())}", file=screen)
    return 1


def _run(config: Config, asked: argparse.Namespace) -> int:
    """The service, until SIGTERM or SIGINT; with --once until the queue is drained."""
    check_java()
    check_bucket(config.storage.bucket)
    queue_url = find_queue(config.queue.name)
    if config.logs.cloudwatch:
        cloudwatch.to_cloudwatch(config.logs.group)
    work_dir = Path(config.service.work_dir)
    spec = network_spec(config)
    uri = report.store_uri(config)
    store = FeatureStore(uri, spec.model_id, work_dir)
    session = _spark(config, work_dir)
    if spec.compiled and config.spark.master:
        session.sparkContext.addFile(
            spec.compiled.path
        )  # the workers of a cluster get it once each
    recipe = Recipe(
        bucket=config.storage.bucket,
        photos_prefix=config.storage.photos_prefix,
        features_folder=store.features_folder,
        network=spec,
        downloads=config.compute.downloads,
        max_bytes=config.images.max_bytes,
        max_pixels=config.images.max_pixels,
        reduced_decode=config.images.reduced_decode,
    )
    workers, _ = share_cores(spec, config.compute.workers, config.compute.threads)
    sqs = connect(4)
    background = Background(session.sparkContext, cores())
    batches = MicroBatches(
        store,
        recipe,
        lambda works: extract_all(session.sparkContext, works, recipe, workers),
        lambda body, delay: sqs.send_message(
            QueueUrl=queue_url, MessageBody=body, DelaySeconds=delay
        ),
    )
    service = Service(
        config,
        session,
        batches,
        _matrix(config, background),
        queue_url,
        Upkeep(uri, config.upkeep.retention_hours, background),
        lambda: warm_up(session.sparkContext, recipe, workers),
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())
    service.run(once=asked.once)
    return 0


def _refit(config: Config, _asked: argparse.Namespace) -> int:
    """Refit the PCA now and rewrite the matrix."""
    check_java()
    check_bucket(config.storage.bucket)
    nothing = ServiceError("there are no features to fit yet: run the service first")
    if delta.open_table(f"{report.store_uri(config)}features") is None:  # known before Spark runs
        raise nothing
    session = _spark(config, Path(config.service.work_dir))
    update = _matrix(config, Background(session.sparkContext, cores())).update(force=True)
    if update is None:
        raise nothing
    log.info(
        "matrix rewritten", extra={"rows": update.projected, "features": update.features_version}
    )
    return 0


def _status(config: Config, asked: argparse.Namespace) -> int:
    """The state of queue, store and matrix."""
    check_bucket(config.storage.bucket)
    state = report.status(config)
    print(json.dumps(state) if asked.json else _lines(state))
    return 0


def _why(config: Config, asked: argparse.Namespace) -> int:
    """Everything known of one photo."""
    check_bucket(config.storage.bucket)
    known = report.why(config, asked.key)
    print(json.dumps(known, default=str) if asked.json else _lines(known))
    return 0


def network_spec(config: Config) -> NetworkSpec:
    """The network that the configuration asks for; its files are obtained if need be."""
    layer = config.model.layer
    cache_dir = Path(config.service.cache_dir)
    weights = obtain(
        config.model.weights, include_top=layer == "fc2", cache_dir=cache_dir / "weights"
    )
    asked = config.model.engine
    spec = NetworkSpec(
        weights_path=str(weights.path.resolve()),
        weights_digest=weights.digest,
        layer=layer,
        input_size=config.model.input_size,
        engine=default_engine() if asked == "auto" else asked,
        batch_size=config.model.batch_size,
        preprocessing=PREPROCESSING if config.images.reduced_decode else PREPROCESSING_FULL,
    )
    _, threads = share_cores(spec, config.compute.workers, config.compute.threads)
    spec = replace(spec, threads=threads)
    return spec if spec.engine == "tensorflow" else compiled.obtain(spec, cache_dir / "compiled")


def _spark(config: Config, work_dir: Path) -> SparkSession:
    logs.adopt_stderr()
    return start(config.spark.master, config.spark.driver_memory, work_dir)


def _matrix(config: Config, background: Background) -> Matrix:
    wanted = config.pca
    policy = Policy(
        wanted.components,
        wanted.whiten,
        wanted.interval_seconds,
        wanted.growth_photos,
        wanted.growth_share,
        wanted.least_captured,
        wanted.most_residual,
    )
    return Matrix(report.store_uri(config), policy, background)


def _lines(value: dict[str, object], indent: str = "") -> str:
    lines = []
    for name, each in value.items():
        if isinstance(each, dict):
            lines += [f"{indent}{name}:", _lines(each, f"{indent}  ")]
        elif isinstance(each, list):
            shown = ", ".join(f"{number:.4g}" for number in each[:4])
            lines.append(f"{indent}{name}: {shown}{', …' if len(each) > 4 else ''} ({len(each)})")
        else:
            lines.append(f"{indent}{name}: {'-' if each is None else each}")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config", type=Path, metavar="FILE", help="instead of the config.toml of this folder"
    )
    parser = argparse.ArgumentParser(prog="python -m processor", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", parents=[common], help="the service", description=_run.__doc__)
    run.add_argument(
        "--once", action="store_true", help="drain what is queued, refit the PCA and end"
    )
    run.set_defaults(command=_run)

    refit = commands.add_parser(
        "refit", parents=[common], help="refit the PCA now", description=_refit.__doc__
    )
    refit.set_defaults(command=_refit)

    status = commands.add_parser(
        "status", parents=[common], help="how everything stands", description=_status.__doc__
    )
    status.set_defaults(command=_status)

    why = commands.add_parser(
        "why", parents=[common], help="what is known of one photo", description=_why.__doc__
    )
    why.add_argument("key", metavar="KEY", help="the photo's key in the bucket")
    why.set_defaults(command=_why)
    for command in (status, why):
        command.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
