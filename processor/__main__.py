"""``python -m processor``: the service, and what an operator asks of it."""

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
import logging
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NoReturn

from common import aws_errors, logs
from common.config import Config, ConfigError, load
from ingest.dead_letters import Cause
from processor import assembly, commands
from processor.errors import ProcessorError, fault_in
from processor.pipeline.outcomes import REASONS
from processor.service import cloudwatch, ending, interruption, remainder
from processor.service.preflight import check_bucket, find_queue
from processor.service.work_dir import claimed
from processor.spark import processes
from processor.spark.session import check_java, jvm_end, jvm_id

log = logging.getLogger("processor")

Command = Callable[[Config, argparse.Namespace], int]


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
    """Run the service until SIGTERM or SIGINT; with --once until the queue is drained.

    AWS's notice that it takes back a spot instance counts as a SIGTERM.
    """
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
        interruption.watch(service.stop)

        def check() -> None:
            work_dir.check()
            processes.reap_orphan(keep=jvm_id())

        service.run(once=options.once, check=check)
    if options.once:
        remainder.report(config.storage.layout.store, config.queue.dead_letter_name)
    else:
        ending.end_children()
    return 0


def _time(text: str) -> datetime:
    """A date, or a time, in ISO 8601; in UTC unless it names another zone."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time such as 2026-11-26 or 2026-11-26T08:30+01:00"
        ) from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _count(text: str) -> int:
    """A whole number from 1 to 1,000."""
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:5]) <= 1000):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 1000")
    return int(text)


def _cosine(text: str) -> float:
    """A number above 0 and up to 1."""
    try:
        cosine = float(text)
    except ValueError:
        cosine = 0.0
    if not 0 < cosine <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and up to 1")
    return cosine


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config", type=Path, metavar="FILE", help="use FILE instead of this folder's config.toml"
    )
    parser = argparse.ArgumentParser(prog="python -m processor", description=__doc__)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, does: Command, summary: str) -> argparse.ArgumentParser:
        added = subparsers.add_parser(
            name, parents=[common], help=summary, description=does.__doc__
        )
        added.set_defaults(command=does)
        return added

    run = command("run", _run, "run the service")
    run.add_argument("--once", action="store_true", help="drain the queue, refit the PCA and exit")

    command("refit", commands.refit, "refit the PCA now")

    report = command("report", commands.report, "write the report now")
    report.add_argument(
        "--out", type=Path, metavar="DIR", help="into this folder instead of the bucket"
    )

    status = command("status", commands.status, "show the current state")

    why = command("why", commands.why, "show what is known about a photo")
    why.add_argument("key", metavar="KEY", help="the photo's key in the bucket")

    reconcile = command(
        "reconcile", commands.reconcile, "compare bucket and store, queue what differs"
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

    redrive = command("redrive", commands.redrive, "show dead letters by cause and move them back")
    redrive.add_argument(
        "--cause",
        choices=[*(cause.value for cause in Cause), "all"],
        default=Cause.VALID.value,
        help="move those of this cause, by default the valid ones",
    )
    redrive.add_argument("--dry-run", action="store_true", help="show them, and move none")

    similar = command("similar", commands.similar, "show the stored photos most like one")
    similar.add_argument("photo", metavar="PHOTO", help="a file, a key or s3://bucket/key")
    similar.add_argument(
        "--top", metavar="N", type=_count, default=10, help="how many (default: %(default)s)"
    )

    duplicates = command("duplicates", commands.duplicates, "show photos that are nearly the same")
    duplicates.add_argument(
        "--cosine",
        metavar="C",
        type=_cosine,
        default=0.999,
        help="the least between the features of two (default: %(default)s)",
    )

    for each in (status, why, reconcile, redrive, similar, duplicates):
        each.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    logs.open_missing()
    faulthandler.enable(os.dup(2))  # stderr itself becomes log lines later
    main()
