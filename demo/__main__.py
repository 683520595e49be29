"""``python -m demo``: photos become features and a reduced matrix, on an AWS that is embedded."""

import argparse
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from tempfile import TemporaryDirectory

from common import aws_errors
from common.config import Config, ConfigError, load
from common.printable import printable
from demo import embedded, photos, picture, results, sample, summary, weights
from demo.errors import DemoError
from demo.photos import Photo
from demo.progress import Display, Tally
from demo.results import FEATURES_FILE, MAP_FILE, MATRIX_FILE, REPORT_FILE
from demo.service import Backlog, ServiceProcess
from infra_scripts.errors import InfraError
from processor.errors import PreflightError
from processor.service.status import status

CACHE_DIR = Path(__file__).resolve().parent.parent / ".cache"  # the network's files, for next time
PICTURE_FILE, LOG_FILE, TRACE_FILE = "map.png", "service.log", "demo-failure.txt"
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LOOK_SECONDS = 0.5  # between two looks at the service's log


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0 only when every photo has its row or its reject, and every file is written."""
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for number in STOPPING:
        signal.signal(number, _interrupt)
    display = Display()
    try:
        _run(options, display)
    except (DemoError, ConfigError, InfraError, PreflightError) as error:
        fault = str(error)
    except aws_errors.ERRORS as error:
        fault = aws_errors.explain(error, "the embedded AWS")
    except KeyboardInterrupt:
        fault = "interrupted; nothing is left running"
    except OSError as error:
        fault = f"{error.strerror or error}: {error.filename or 'check disk space and memory'}"
    except Exception as error:
        fault = f"{type(error).__name__}: {error}{_keep_trace(options.out)}"
    else:
        return 0
    display.clear()
    print(f"error: {printable(' '.join(fault.split()))}", file=sys.stderr)
    return 1


def _run(options: argparse.Namespace, display: Display) -> None:
    began = time.monotonic()
    seconds: dict[str, float] = {}
    out: Path = options.out
    if options.photos:
        photos.check(options.photos, out)
    _make_ready(out)
    with ExitStack() as stack:
        work = Path(stack.enter_context(TemporaryDirectory(prefix="fruits-demo-")))
        _configure(work, "random", 0)
        config = load()
        prefix = config.storage.photos_prefix
        found = photos.find(options.photos, prefix, out) if options.photos else []
        display.step("looking for the weights")
        choice = weights.choose(
            options.weights,
            include_top=config.model.layer == "fc2",
            cache_dir=Path(config.service.cache_dir, "weights"),
            say=display.say,
        )
        dropped = found or _sample(work / "photos", prefix, out, display)
        display.say(
            f"photos: {len(dropped):,} {f'from {options.photos}' if options.photos else 'drawn'}"
        )
        _configure(work, choice.setting, len(dropped))
        config = load()
        display.step("starting the embedded AWS")
        running = stack.enter_context(embedded.deployed())
        seconds["set-up"] = time.monotonic() - began

        before = time.monotonic()
        _upload(dropped, config.storage.bucket, display)
        seconds["upload"] = time.monotonic() - before

        tally = _serve(config, len(dropped), out / LOG_FILE, work / "tmp", seconds, display)

        before = time.monotonic()
        display.step("fetching and checking the results")
        keys = {photo.key: photo.path for photo in dropped}
        store, queue = config.storage.layout.store, config.queue
        state = status(store, queue.name, queue.dead_letter_name)
        got = results.fetch(store, state, keys, out)
        display.step("drawing the map")
        picture.draw(got, keys, out / PICTURE_FILE, trained=choice.trained)
        seconds["results"] = time.monotonic() - before
        cpu_seconds = running.cpu_seconds
    display.clear()
    print(f"\n{summary.table(got, choice, tally, seconds, cpu_seconds)}\n")
    print(summary.made(out, len(got.variance)))


def _make_ready(out: Path) -> None:
    """Create the results folder and remove an earlier run's results: none may pass for a new one."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        results = REPORT_FILE, MAP_FILE, FEATURES_FILE, MATRIX_FILE, PICTURE_FILE
        for name in (*results, LOG_FILE, TRACE_FILE):
            (out / name).unlink(missing_ok=True)
        (out / LOG_FILE).touch()
    except OSError as error:
        raise DemoError(
            f"cannot write to --out {out} ({error.strerror}): name a folder that can be written"
        ) from error


def _configure(work: Path, setting: str, count: int) -> None:
    """Configure the service through the environment; anything else that is set there stays."""
    os.environ.update(
        FRUITS_SERVICE__WORK_DIR=str(work),
        FRUITS_MODEL__WEIGHTS=setting,
        FRUITS_SPARK__MASTER="",  # only this machine reaches the embedded AWS
        FRUITS_PCA__REPORT="true",
        FRUITS_LOGS__LEVEL="INFO",
        FRUITS_LOGS__CLOUDWATCH="false",
    )
    os.environ.setdefault("FRUITS_SERVICE__CACHE_DIR", str(CACHE_DIR))
    if count:
        os.environ.setdefault("FRUITS_BATCH__MAX_PHOTOS", str(batch_size(count)))


def batch_size(count: int) -> int:
    """Photos in a micro-batch: few enough that progress moves; each costs a second whatever its size."""
    return min(256, max(48, count // 128 * 16))


def _sample(folder: Path, prefix: str, out: Path, display: Display) -> list[Photo]:
    display.step("drawing photos of fruit; --photos DIR takes your own")
    sample.write(folder)
    return photos.find(folder, prefix, out)


def _upload(dropped: Sequence[Photo], bucket: str, display: Display) -> None:
    total = len(dropped)

    def report(done: int) -> None:
        display.progress(f"{done:,}/{total:,} photos uploaded", done / total)

    photos.upload(dropped, bucket, report)
    display.say(f"uploaded {total:,} photos to s3://{bucket}")


def _serve(
    config: Config,
    count: int,
    log_file: Path,
    scratch: Path,
    seconds: dict[str, float],
    display: Display,
) -> Tally:
    """Run the service until the queue is drained; add its steps to ``seconds``."""
    tally = Tally(count)
    backlog = Backlog(config.queue.name)
    began = datetime.now(UTC)
    with ServiceProcess(log_file, scratch) as service:
        ended = False
        while not ended:
            ended = service.ended(LOOK_SECONDS)
            for line in service.lines():
                tally.read(line)
            if tally.started_at is None:
                since = (datetime.now(UTC) - began).total_seconds()
                display.step("starting the service", elapsed_seconds=since)
            elif tally.settled < count:
                queued = min(count, backlog.messages())  # S3's test message is not a photo
                display.progress(f"{queued:,} queued · {tally}", tally.share)
            else:
                display.step(f"{tally} · fitting the PCA", share=1.0)
    marks = tally.marks(began, datetime.now(UTC))
    seconds |= dict(zip(("service start", "features", "matrix"), marks, strict=True))
    return tally


def _interrupt(_number: int, _frame: object) -> None:
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)  # tidying up takes seconds, and is not interrupted
    raise KeyboardInterrupt


def _keep_trace(out: Path) -> str:
    try:
        (out / TRACE_FILE).write_text(traceback.format_exc(), encoding="utf-8")
    except OSError:
        return ""
    return f" (a bug; the trace is in {out / TRACE_FILE})"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./run demo",
        description="Photos become VGG-16 features and a reduced matrix: this starts S3 and "
        "SQS on this machine, deploys bucket, queue and notifications into them, drops photos in, "
        "runs the real service until the queue is empty, and writes report.html, map.png, reduced.csv, "
        "features.parquet, map.parquet and service.log. Nothing leaves the machine.",
        epilog="Settings of the service can be overridden in the environment, for example "
        "FRUITS_MODEL__INPUT_SIZE=100 for speed; config.toml lists them. Stop it with Ctrl-C.",
    )
    parser.add_argument(
        "--photos",
        type=Path,
        metavar="DIR",
        help="a folder of photos, searched recursively; a photo's parent folder is its label "
        "(default: 120 drawn photos of fruit)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        default=Path("demo_output"),
        help="where the results go; an earlier demo's are replaced (default: %(default)s)",
    )
    parser.add_argument(
        "--weights",
        metavar="imagenet|random|PATH",
        help="Keras' ImageNet weights (59 MB, downloaded once), random ones, or a file that Keras "
        "saved (default: imagenet, or random with a prominent notice if it cannot be downloaded)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
