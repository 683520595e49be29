"""The filled store: photos in an embedded AWS, and what the real service has made of them.

Shared by the demo and the notebook.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from common.config import Config, load
from demo import embedded, photos, sample, weights
from demo.errors import DemoError
from demo.photos import Photo
from demo.progress import Display, Tally
from demo.service import Backlog, ServiceProcess
from demo.weights import Choice
from infra_scripts.embedded import EmbeddedAws

CACHE_DIR = Path(__file__).resolve().parent.parent / ".cache"  # the network's files, for next time
LOG_FILE = "service.log"
LOOK_SECONDS = 0.5  # between two looks at the service's log


@dataclass(frozen=True, slots=True)
class Filled:
    """``keys`` has the file of each photo. ``work`` is a folder that is deleted in the end.

    ``seconds`` has the time that each step took, in their order.
    """

    config: Config
    choice: Choice
    keys: dict[str, Path]
    tally: Tally
    seconds: dict[str, float]
    work: Path
    aws: EmbeddedAws


@contextmanager
def filled(
    folder: Path | None,
    requested: str | None,
    out: Path,
    display: Display,
    draw: Callable[[Path], None] = sample.write,
) -> Iterator[Filled]:
    """Photos of ``folder``, or those that ``draw`` writes, processed with the ``requested`` weights.

    Until the context is left, this process's environment configures whoever wants to read the store.
    ``out`` gets the service's log; photos in it are passed over. Raises :class:`DemoError` and what
    :func:`.embedded.deployed` raises.
    """
    began = time.monotonic()
    seconds: dict[str, float] = {}
    with ExitStack() as stack:
        work = Path(stack.enter_context(TemporaryDirectory(prefix="fruits-")))
        _configure(work, "random", 0)
        config = load()
        prefix = config.storage.photos_prefix
        found = photos.find(folder, prefix, out) if folder else []
        display.step("looking for the weights")
        choice = weights.choose(
            requested,
            include_top=config.model.layer == "fc2",
            cache_dir=Path(config.service.cache_dir, "weights"),
            say=display.say,
        )
        if not found:
            display.step("drawing photos of fruit; --photos DIR takes your own")
            draw(work / "photos")
            found = photos.find(work / "photos", prefix, out)
        display.say(f"photos: {len(found):,} {f'from {folder}' if folder else 'drawn'}")
        _configure(work, choice.setting, len(found))
        config = load()
        display.step("starting the embedded AWS")
        running = stack.enter_context(embedded.deployed())
        seconds["set-up"] = time.monotonic() - began

        before = time.monotonic()
        _upload(found, config.storage.bucket, display)
        seconds["upload"] = time.monotonic() - before
        tally = _serve(config, len(found), out / LOG_FILE, work / "tmp", seconds, display)
        keys = {photo.key: photo.path for photo in found}
        yield Filled(config, choice, keys, tally, seconds, work, running)


def make_ready(folder: Path | None, out: Path, names: Iterable[str]) -> None:
    """Check ``folder``, create ``out`` with an empty log, and remove the files of an earlier run.

    None of them may pass for a new one. Raises :class:`DemoError`.
    """
    if folder:
        photos.check(folder, out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name in (*names, LOG_FILE):
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
