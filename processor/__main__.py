"""``python -m processor``: run the service, refit the PCA, show the state, explain one photo."""

import os
import signal
import site
import sys
from importlib.machinery import PathFinder
from pathlib import Path

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
if __name__ == "__main__":  # they wait for a handler: the imports take a second
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)

# Set before NumPy is loaded. The driver computes little, and OpenBLAS threads, which spin while they
# wait, would take cores from ingestion (one is faster even on an idle machine: a refit in 0.13 s, not
# 0.18).
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _ignore_other_sparks() -> None:
    """Import nothing of another Spark, which a login shell's PYTHONPATH may name before ours."""
    given = {Path(each).resolve() for each in os.environ.get("PYTHONPATH", "").split(os.pathsep)}
    for entry in set(sys.path) - set(site.getsitepackages()):
        found = any(PathFinder.find_spec(name, [entry]) for name in ("pyspark", "py4j"))
        if found and Path(entry).resolve() in given:
            sys.path.remove(entry)


_ignore_other_sparks()

import argparse
import faulthandler
import json
import logging
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NoReturn

from common import aws_errors, logs
from common.config import Config, ConfigError, load
from common.printable import printable
from ingest.queue import Queue, connect
from processor import assembly
from processor.errors import ProcessorError, ServiceError, fault_in
from processor.pipeline.comparison import Scope
from processor.pipeline.outcomes import REASONS
from processor.service import cloudwatch, ending
from processor.service.preflight import check_bucket, find_queue
from processor.service.status import status
from processor.service.why import why
from processor.service.work_dir import claimed
from processor.spark import processes
from processor.spark.session import check_java, jvm_end, jvm_id
from processor.store import delta

log = logging.getLogger("processor")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and end the process; with status 0 only if everything requested was done."""
    options = _parser().parse_args(arguments)
    for number in STOP_SIGNALS:
        signal.signal(number, _interrupt)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        config = load(options.config)
        logs.to_stdout(config.logs.level)
        done: int = options.command(config, options)
    except (ConfigError, ProcessorError, aws_errors.EndpointError) as error:
        fault = str(error)
    except aws_errors.ERRORS as error:
        fault = aws_errors.explain(error)
    except KeyboardInterrupt:
        if options.command is _run and not options.once:  # it had not started, so that is all
            log.info("stopped")
            ending.end_children()
            ending.end(0)
        fault = "interrupted"
    except Exception as error:
        log.exception("unexpected failure")  # the traceback is for the log, the line for the screen
        fault = jvm_end() or fault_in(f"{type(error).__name__}: {error}")
    else:
        ending.end(done)
    ending.fail(fault)


_interrupted = threading.Event()


def _interrupt(_number: int, _frame: object) -> None:
    """End what the main thread does; also without a service, when there is nothing to finish."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    _interrupted.set()
    raise KeyboardInterrupt


def _run(config: Config, options: argparse.Namespace) -> int:
    """Run the service until SIGTERM or SIGINT; with --once until the queue is drained."""
    check_java()
    check_bucket(config.storage.bucket)
    queue_url = find_queue(config.queue.name)
    if config.logs.cloudwatch:
        cloudwatch.attach(config.logs.group)
    processes.keep_orphans()
    with claimed(Path(config.service.work_dir)) as work_dir:
        service = assembly.service(config, queue_url)
        for number in STOP_SIGNALS:
            signal.signal(number, lambda *_: service.stop())
        if _interrupted.is_set():  # where the exception was not passed on, as in a callback
            service.stop()

        def check() -> None:
            work_dir.check()
            processes.reap_orphan(keep=jvm_id())

        service.run(once=options.once, check=check)
    if not options.once:
        ending.end_children()
    return 0


def _refit(config: Config, _options: argparse.Namespace) -> int:
    """Refit the PCA now and rewrite the matrix."""
    check_java()
    check_bucket(config.storage.bucket)
    nothing = ServiceError("there are no features to fit yet: run the service first")
    if delta.open_table(config.storage.layout.store.features) is None:  # before Spark starts
        raise nothing
    spark = assembly.spark_session(config)
    tasks = assembly.background(spark.sparkContext)
    update = assembly.matrix(config, tasks).update(force=True)
    if update is None:
        raise nothing
    log.info(
        "matrix rewritten", extra={"rows": update.projected, "features": update.features_version}
    )
    return 0


def _status(config: Config, options: argparse.Namespace) -> int:
    """Show the state of queue, store and matrix."""
    check_bucket(config.storage.bucket)
    names = config.queue.name, config.queue.dead_letter_name
    state = status(config.storage.layout.store, *names)
    _show(json.dumps(state) if options.json else _lines(state))
    return 0


def _why(config: Config, options: argparse.Namespace) -> int:
    """Show everything known about one photo."""
    check_bucket(config.storage.bucket)
    known = why(config.storage.layout, options.key)
    _show(json.dumps(known, default=str) if options.json else _lines(known))
    return 0


def _reconcile(config: Config, options: argparse.Namespace) -> int:
    """Compare the bucket with the store, and queue every photo in which they differ.

    That is a photo without a row or with one of an older version, a row without its photo, a photo that
    waits to be tried again. The service does the same by itself once a day. What is interrupted is
    continued by the next one, unless it had a --prefix or --since.
    """
    layout = config.storage.layout
    prefix = options.prefix or layout.photos_prefix
    if not prefix.startswith(layout.photos_prefix):
        raise ServiceError(f"--prefix {prefix!r} should begin with {layout.photos_prefix!r}")
    check_bucket(layout.bucket)
    queue = Queue(connect(1), find_queue(config.queue.name))
    queued = queue.depth().total
    if queued and not options.dry_run:
        _note(f"{queued:,} messages are in the queue; their photos may be queued a second time")
    done = assembly.reconciliation(config, queue).run(
        Scope(prefix=prefix, since=options.since, rejects=frozenset(options.retry), pending=True),
        dry_run=options.dry_run,
        note=lambda so_far: _note(
            f"{so_far.objects:,} objects compared, {so_far.found:,} differences; "
            f"at {printable(so_far.after)}"
        ),
    )
    report = {"objects": done.objects, **done.differences, "examples": done.examples}
    report["queued"] = 0 if options.dry_run else done.found
    _show(json.dumps(report) if options.json else _lines(report))
    return 0


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _time(text: str) -> datetime:
    """A date, or a time, in ISO 8601; in UTC unless it names another zone."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time such as 2026-11-26 or 2026-11-26T08:30+01:00"
        ) from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _show(text: str) -> None:
    print(text, flush=True)  # ending.end() could not report that it failed


def _lines(value: Mapping[str, object], indent: str = "") -> str:
    lines = []
    for name, each in value.items():
        if isinstance(each, dict):
            lines += [f"{indent}{name}:", _lines(each, f"{indent}  ")]
        elif isinstance(each, list):
            shown = ", ".join(f"{n:.4g}" if isinstance(n, float) else str(n) for n in each[:4])
            more = ", …" if len(each) > 4 else ""
            lines.append(f"{indent}{name}: {printable(shown)}{more} ({len(each)})")
        else:
            lines.append(f"{indent}{name}: {'-' if each is None else printable(str(each))}")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config", type=Path, metavar="FILE", help="use FILE instead of this folder's config.toml"
    )
    parser = argparse.ArgumentParser(prog="python -m processor", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run", parents=[common], help="run the service", description=_run.__doc__
    )
    run.add_argument("--once", action="store_true", help="drain the queue, refit the PCA and exit")
    run.set_defaults(command=_run)

    refit = commands.add_parser(
        "refit", parents=[common], help="refit the PCA now", description=_refit.__doc__
    )
    refit.set_defaults(command=_refit)

    status = commands.add_parser(
        "status", parents=[common], help="show the current state", description=_status.__doc__
    )
    status.set_defaults(command=_status)

    why = commands.add_parser(
        "why", parents=[common], help="show what is known about a photo", description=_why.__doc__
    )
    why.add_argument("key", metavar="KEY", help="the photo's key in the bucket")
    why.set_defaults(command=_why)

    reconcile = commands.add_parser(
        "reconcile",
        parents=[common],
        help="compare bucket and store, queue what differs",
        description=_reconcile.__doc__,
    )
    reconcile.add_argument(
        "--prefix",
        metavar="P",
        help="only photos whose keys begin with P (with storage.photos_prefix)",
    )
    reconcile.add_argument(
        "--since",
        metavar="T",
        type=_time,
        help="of the photos in S3 only those modified since T, a date or a time (ISO 8601; UTC)",
    )
    reconcile.add_argument(
        "--retry",
        metavar="REASON",
        action="append",
        default=[],
        choices=REASONS,
        help="also queue photos rejected for that reason: too-large, say, after a limit was raised "
        f"(may be repeated; one of {', '.join(REASONS)})",
    )
    reconcile.add_argument("--dry-run", action="store_true", help="compare and count only")
    reconcile.set_defaults(command=_reconcile)
    for command in (status, why, reconcile):
        command.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    logs.open_missing()
    faulthandler.enable(os.dup(2))  # stderr itself becomes log lines later
    main()
