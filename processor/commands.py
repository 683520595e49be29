"""The commands but ``run``: each takes the configuration and its options, and returns the exit status.

Results go to stdout, progress and what is amiss to stderr. Errors are raised, see ``__main__``.
"""

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from common import logs
from common.config import Config
from common.printable import printable
from ingest.dead_letters import Cause
from ingest.holding import SETTLERS
from ingest.queue import Queue, connect
from processor import assembly
from processor.answers.duplicates import duplicates as duplicates_among
from processor.answers.rows import StoredRows
from processor.answers.similar import similar as similar_among
from processor.errors import ServiceError, StoreError
from processor.pipeline.comparison import Scope
from processor.report.report import NO_MATRIX
from processor.service.preflight import check_bucket, find_queue
from processor.service.redrive import Redrive, unfinished
from processor.service.status import status as state_of
from processor.service.why import why as known_of
from processor.spark.session import check_java
from processor.store import delta

log = logging.getLogger(__name__)

SHOWN = 20  # objects of a list
PROGRESS_SECONDS = 10.0  # between two lines


def refit(config: Config, _options: argparse.Namespace) -> int:
    """Refit the PCA now, and rewrite the matrix, its CSV and the report."""
    check_java()
    check_bucket(config.storage.bucket)
    nothing = ServiceError("there are no features to fit yet: run the service first")
    if delta.open_table(config.storage.layout.store.features) is None:  # before Spark starts
        raise nothing
    spark = assembly.spark_session(config)
    tasks = assembly.background(config, spark.sparkContext)
    matrix = assembly.matrix(config, tasks)
    update = matrix.update(force=True)
    if update is None:
        raise nothing
    matrix.export(wait=True)
    log.info(
        "matrix rewritten", extra={"rows": update.projected, "features": update.features_version}
    )
    if config.pca.report:
        assembly.report(config, tasks).update(wait=True)
    return 0


def report(config: Config, options: argparse.Namespace) -> int:
    """Write the report of the store as it is now: a page, and its map as Parquet.

    Into the bucket, reports/latest.html and reports/map.parquet; with --out into a folder, as
    report.html and map.parquet.
    """
    check_java()
    check_bucket(config.storage.bucket)
    if delta.open_table(config.storage.layout.store.reduced) is None:  # before Spark starts
        raise ServiceError(NO_MATRIX)
    if options.out:
        _make(options.out)
    spark = assembly.spark_session(config)
    tasks = assembly.background(config, spark.sparkContext)
    assembly.report(config, tasks).write(options.out)
    return 0


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ServiceError(f"--out {folder}: {error.strerror}") from error


def status(config: Config, options: argparse.Namespace) -> int:
    """Show the state of queue, store and matrix."""
    check_bucket(config.storage.bucket)
    names = config.queue.name, config.queue.dead_letter_name
    state = state_of(config.storage.layout.store, *names)
    _show(json.dumps(state) if options.json else _lines(state))
    return 0


def why(config: Config, options: argparse.Namespace) -> int:
    """Show everything known about one photo."""
    check_bucket(config.storage.bucket)
    known = known_of(config.storage.layout, options.key, config.queue.dead_letter_name)
    _show(json.dumps(known, default=str) if options.json else _lines(known))
    return 0


def reconcile(config: Config, options: argparse.Namespace) -> int:
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
        _say(f"{queued:,} messages are in the queue; their photos may be queued a second time")
    done = assembly.reconciliation(config, queue).run(
        Scope(prefix=prefix, since=options.since, rejects=frozenset(options.retry), pending=True),
        dry_run=options.dry_run,
        note=lambda so_far: _say(
            f"{so_far.objects:,} objects compared, {so_far.found:,} differences; "
            f"at {printable(so_far.after)}"
        ),
    )
    report = {"objects": done.objects, **done.differences, "examples": done.examples}
    report["queued"] = 0 if options.dry_run else done.found
    _show(json.dumps(report) if options.json else _lines(report))
    return 0


def redrive(config: Config, options: argparse.Namespace) -> int:
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
        say=_say,
    ) as letters:
        shown = letters.read()
        # Before anything is moved; stdout gets one object with --json.
        print(_lines(shown), file=sys.stderr if options.json else sys.stdout, flush=True)
        moved = letters.move([] if options.dry_run else causes)
    _show(json.dumps({**shown, **moved}) if options.json else _lines(moved))
    if options.dry_run or not (fault := unfinished(shown, moved)):
        return 0
    _say(f"error: {printable(fault)}")
    return 1


def similar(config: Config, options: argparse.Namespace) -> int:
    """Show the stored photos that are most like one, and the fruit that it probably is.

    PHOTO is a local file or, where there is none of that name, a key in the bucket; s3://bucket/key is
    always an object. The confidence is learnt from the labels of the stored photos: without enough of
    them there is none.
    """
    rows = _stored(config)
    spec = assembly.network_spec(config)
    if rows.network != spec.model_id:
        raise StoreError(
            f"{rows.folder} has features of {rows.network!r}, with which those of {spec.model_id!r} "
            "cannot be compared: set [model] to that network"
        )
    asked = assembly.reader(config, spec).read(options.photo)
    found = similar_among(rows, options.photo, asked, options.top)
    _show(json.dumps(found) if options.json else _lines(found, most=options.top))
    return 0


def duplicates(config: Config, options: argparse.Namespace) -> int:
    """Show the groups of stored photos that are nearly the same picture.

    That is, whose features have at least the cosine --cosine; who is in a group is so with one of the
    others at least. 0.999: copies, also scaled or compressed again; 1: the same pixels.
    """
    rows = _stored(config)
    groups = duplicates_among(rows, options.cosine, assembly.scratch(config), _compared())
    found = {
        "photos": rows.photos,
        "features_version": rows.table_version,
        "cosine": options.cosine,
        "in_groups": sum(map(len, groups)),
        "groups": groups,
    }
    if options.json:
        _show(json.dumps(found))
        return 0
    found["groups"] = len(groups)
    listed = ("\n".join(f"  {printable(key)}" for key in group) for group in groups)
    _show("\n\n".join([_lines(found), *listed]))
    return 0


def _compared() -> Callable[[float], None]:
    """Says how far the comparison of all pairs has come, and how long the rest may take."""
    began = said = time.monotonic()

    def note(share: float) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said < PROGRESS_SECONDS:
            return
        said = now
        left = (now - began) * (1 - share) / share
        _say(f"{share:.0%} of all pairs compared or excluded, {left:,.0f} s left")

    return note


def _stored(config: Config) -> StoredRows:
    check_bucket(config.storage.bucket)
    rows = StoredRows.newest(config.storage.layout.store)
    if rows is None or not rows.photos:
        raise ServiceError("there are no features to compare with yet: run the service first")
    return rows


def _say(line: str) -> None:
    logs.to_screen(f"{line}\n")


def _show(text: str) -> None:
    print(text, flush=True)  # ending.end() could not report that it failed


def _lines(value: Mapping[str, object], indent: str = "", most: int = SHOWN) -> str:
    lines = []
    for name, each in value.items():
        if isinstance(each, dict):
            lines += [f"{indent}{name}:", _lines(each, f"{indent}  ")]
        elif isinstance(each, list) and each and isinstance(each[0], dict):
            lines.append(f"{indent}{name}: ({len(each)})")
            for item in each[:most]:
                text = "; ".join(f"{n} {v}" for n, v in item.items() if v)
                lines.append(f"{indent}  {printable(text)}")
            lines += [f"{indent}  … (--json prints all)"] * (len(each) > most)
        elif isinstance(each, list):
            shown = ", ".join(f"{n:.4g}" if isinstance(n, float) else str(n) for n in each[:4])
            more = ", …" if len(each) > 4 else ""
            lines.append(f"{indent}{name}: {printable(shown)}{more} ({len(each)})")
        else:
            lines.append(f"{indent}{name}: {'-' if each is None else printable(str(each))}")
    return "\n".join(lines)
