"""``python -m processor``: run the service, refit the PCA, show the state, explain a photo, redrive."""

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
from typing import NoReturn

from common import aws_errors, logs
from common.config import Config, ConfigError, load
from common.printable import printable
from ingest.dead_letters import Cause
from ingest.holding import SETTLERS
from ingest.queue import Queue, connect
from processor import assembly
from processor.errors import ProcessorError, ServiceError, fault_in
from processor.service import cloudwatch, ending, remainder
from processor.service.preflight import check_bucket, find_queue
from processor.service.redrive import Redrive, unfinished
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
    if options.once:
        remainder.report(config.storage.layout.store, config.queue.dead_letter_name)
    else:
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
    known = why(config.storage.layout, options.key, config.queue.dead_letter_name)
    _show(json.dumps(known, default=str) if options.json else _lines(known))
    return 0


def _redrive(config: Config, options: argparse.Namespace) -> int:
    """Show the dead letters by cause, then move back to the queue those that can be processed now.

    The others stay where they are, and are named. A message is sent before it is deleted, so none is
    lost, however the command ends.
    """
    layout = config.storage.layout
    url = find_queue(config.queue.name)
    dead_url = find_queue(config.queue.dead_letter_name, "queue.dead_letter_name")
    client = connect(SETTLERS + 2)
    causes = list(Cause) if options.cause == "all" else [Cause(options.cause)]
    with Redrive(
        Queue(client, url),
        Queue(client, dead_url),
        lambda event: layout.contains(event.bucket, event.key),
        visibility_timeout_seconds=config.queue.visibility_timeout_seconds,
        say=lambda line: logs.to_screen(f"{line}\n"),
    ) as letters:
        shown = letters.read()
        # Before anything is moved; stdout gets one object with --json.
        print(_lines(shown), file=sys.stderr if options.json else sys.stdout, flush=True)
        moved = letters.move([] if options.dry_run else causes)
    _show(json.dumps({**shown, **moved}) if options.json else _lines(moved))
    if options.dry_run or not (fault := unfinished(shown, moved)):
        return 0
    logs.to_screen(f"error: {printable(fault)}\n")
    return 1


SHOWN = 20  # objects of a list


def _show(text: str) -> None:
    print(text, flush=True)  # ending.end() could not report that it failed


def _lines(value: Mapping[str, object], indent: str = "") -> str:
    lines = []
    for name, each in value.items():
        if isinstance(each, dict):
            lines += [f"{indent}{name}:", _lines(each, f"{indent}  ")]
        elif isinstance(each, list) and each and isinstance(each[0], dict):
            lines.append(f"{indent}{name}: ({len(each)})")
            for item in each[:SHOWN]:
                text = "; ".join(f"{n} {v}" for n, v in item.items() if v)
                lines.append(f"{indent}  {printable(text)}")
            lines += [f"{indent}  … (--json prints all)"] * (len(each) > SHOWN)
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

    redrive = commands.add_parser(
        "redrive",
        parents=[common],
        help="show dead letters by cause and move them back",
        description=_redrive.__doc__,
    )
    redrive.add_argument(
        "--cause",
        choices=[*(cause.value for cause in Cause), "all"],
        default=Cause.VALID.value,
        help="move those of this cause, by default the valid ones",
    )
    redrive.add_argument("--dry-run", action="store_true", help="show them, and move none")
    redrive.set_defaults(command=_redrive)
    for command in (status, why, redrive):
        command.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    logs.open_missing()
    faulthandler.enable(os.dup(2))  # stderr itself becomes log lines later
    main()
