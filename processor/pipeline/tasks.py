"""The Spark step: photos that events named, through the network, into one data file a task.

Order of events does not matter here. An event only says that a photo may have changed; what counts is
what S3 has under its key when the task asks. Whatever sequence, repetition or delay the events of a
photo arrive with, its last one finds the final state.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
from py4j.protocol import Py4JJavaError
from pyspark import SparkContext

from processor.network import engines
from processor.network.spec import NetworkSpec
from processor.photos import objects
from processor.photos.containers import RejectedImage
from processor.photos.decode import decode
from processor.pipeline.outcomes import Extracted, Kind, Outcome, Work
from processor.store import datafiles
from processor.store.schema import FEATURES

log = logging.getLogger(__name__)

_decoding = threading.Semaphore(2)  # a hostile photo may take 16 bytes a pixel; not all at once
WORKER_DIED = "Python worker exited unexpectedly"
TOGETHER_SECONDS = 0.1  # long enough that no worker gets two of the tasks that warm up
MAX_KILLERS = 3  # photos that kill a worker before the machine, not they, is blamed


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a task needs to know; travels to the workers with each task."""

    bucket: str
    photos_prefix: str
    features_folder: str
    network: NetworkSpec
    downloads: int
    max_bytes: int
    max_pixels: int
    reduced_decode: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Looked:
    """A photo ready for the network, or the end it came to before."""

    work: Work
    outcome: Outcome
    pixels: np.ndarray | None = None
    width: int = 0
    height: int = 0
    event_time: datetime | None = None


def extract_all(
    context: SparkContext, works: Sequence[Work], recipe: Recipe, workers: int
) -> list[Extracted]:
    """Run :func:`extract` over ``works`` in at most ``workers`` tasks at a time.

    A photo whose decoding kills its worker process is found by halving, and rejected alone.
    """

    def job(shares: Sequence[Sequence[Work]]) -> list[Extracted]:
        rdd = context.parallelize(shares, len(shares))
        return rdd.map(lambda share: extract(share, recipe)).collect()

    return isolate(works, job, workers)


def warm_up(context: SparkContext, recipe: Recipe, workers: int) -> None:
    """Have ``workers`` workers load the network, if they have not, and stay for another minute.

    Spark ends workers that had nothing to do for a minute; then a photo would wait for new ones.
    """

    def load(_: int) -> None:
        engines.load(recipe.network)
        time.sleep(TOGETHER_SECONDS)

    context.parallelize(range(workers), workers).foreach(load)


def isolate(
    works: Sequence[Work],
    job: Callable[[Sequence[Sequence[Work]]], list[Extracted]],
    workers: int,
) -> list[Extracted]:
    """Run ``job`` over shares of ``works``; halve what kills a worker until the culprits are alone."""
    results: list[Extracted] = []
    suspects = [list(works)]
    killers: list[Outcome] = []
    while suspects:
        share = suspects.pop()
        shares = [share[n::workers] for n in range(min(workers, len(share)))]
        try:
            results += job(shares) if share else []
        except Py4JJavaError as error:
            if WORKER_DIED not in str(error.java_exception):
                raise
            if len(share) > 1:
                log.warning("a worker died over %d photos; looking for the one", len(share))
                suspects += [share[: len(share) // 2], share[len(share) // 2 :]]
                continue
            killers.append(_killer(share[0]))
            if len(killers) > MAX_KILLERS:
                raise
    return [*results, Extracted(None, tuple(killers))] if killers else results


def extract(works: Iterable[Work], recipe: Recipe) -> Extracted:
    """Look at each photo, compute features of those that are new, write them as one data file.

    Runs in a Spark task. Memory: ``downloads`` objects, twice a network batch of pixels, and the
    features of the share.
    """
    outcomes: list[Outcome] = []
    rows: list[_Looked] = []
    features: list[np.ndarray] = []
    network = engines.load(recipe.network)
    looked_at = _look_ahead(works, recipe, network.batch_size)
    for batch in _batched(looked_at, network.batch_size, outcomes):
        pixels = np.stack([looked.pixels for looked in batch if looked.pixels is not None])
        features.append(network.features(pixels))
        rows += [replace(looked, pixels=None) for looked in batch]
    if not rows:
        return Extracted(None, tuple(outcomes))
    file = datafiles.write(recipe.features_folder, _table(rows, np.concatenate(features), recipe))
    return Extracted(file, (*outcomes, *(looked.outcome for looked in rows)))


def is_current(bucket: str, outcome: Outcome) -> bool:
    """Whether S3 still is as ``outcome`` found it. Raises :class:`photos.Unavailable`."""
    try:
        version = objects.current_version(bucket, outcome.key)
    except objects.Refused:
        return outcome.kind is Kind.REJECTED
    return version == (None if outcome.kind is Kind.GONE else outcome.version or None)


def label_of(key: str, photos_prefix: str) -> str | None:
    """The name of the folder that the photo lies in; None right under the prefix."""
    folders = key.removeprefix(photos_prefix).split("/")[:-1]
    return folders[-1] if folders else None


def _look_ahead(works: Iterable[Work], recipe: Recipe, batch_size: int) -> Iterator[_Looked]:
    """Look at photos in threads, a bounded number ahead, in order."""
    ahead = recipe.downloads + batch_size
    waiting: deque[Future[_Looked]] = deque()
    with ThreadPoolExecutor(recipe.downloads, thread_name_prefix="look") as pool:
        queue = iter(works)
        for work in queue:
            waiting.append(pool.submit(_look, work, recipe))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _look(work: Work, recipe: Recipe) -> _Looked:
    try:
        if _is_unchanged(work, recipe.bucket):
            return _Looked(work, Outcome(work.key, Kind.UNCHANGED, work.stored_version or ""))
        stored = objects.get(recipe.bucket, work.key, recipe.max_bytes)
    except objects.Missing:
        return _Looked(work, _absent(work))
    except objects.Refused as error:
        version = error.version or work.event_version or ""
        return _Looked(work, Outcome(work.key, Kind.REJECTED, version, error.reason, str(error)))
    except objects.Unavailable as error:
        version = work.event_version or ""
        return _Looked(
            work, Outcome(work.key, Kind.UNAVAILABLE, version, "unavailable", str(error))
        )
    try:
        with _decoding:
            photo = decode(
                stored.data,
                recipe.network.input_size,
                max_pixels=recipe.max_pixels,
                reduced_decode=recipe.reduced_decode,
            )
    except RejectedImage as error:
        outcome = Outcome(work.key, Kind.REJECTED, stored.version, error.reason, error.detail)
        return _Looked(work, outcome)
    announced = work.event_version in (None, stored.version) and not work.removal
    event_time = work.event_time if announced else stored.modified
    outcome = Outcome(work.key, Kind.STORED, stored.version)
    return _Looked(work, outcome, photo.pixels, photo.width, photo.height, event_time)


def _is_unchanged(work: Work, bucket: str) -> bool:
    if work.stored_version is None:
        return False
    try:
        return objects.current_version(bucket, work.key) == work.stored_version
    except objects.Refused:  # reading it tells why
        return False


def _absent(work: Work) -> Outcome:
    if work.removal or work.stored_version:
        return Outcome(work.key, Kind.GONE)
    detail = "an event announced it, but S3 has no such object (removed before it was read?)"
    return Outcome(work.key, Kind.REJECTED, work.event_version or "", "vanished", detail)


def _killer(work: Work) -> Outcome:
    detail = "a worker process died over it, twice; the file may attack or exhaust the decoder"
    return Outcome(work.key, Kind.REJECTED, work.event_version or "", "crash", detail)


def _batched(
    looked: Iterable[_Looked], size: int, outcomes: list[Outcome]
) -> Iterator[list[_Looked]]:
    """Batches of photos for the network; photos that came to another end go to ``outcomes``."""

    def with_photo() -> Iterator[_Looked]:
        for each in looked:
            if each.pixels is None:
                outcomes.append(each.outcome)
            else:
                yield each

    queue = with_photo()
    while batch := list(islice(queue, size)):
        yield batch


def _table(rows: Sequence[_Looked], features: np.ndarray, recipe: Recipe) -> pa.Table:
    count, width = features.shape
    offsets = pa.array(np.arange(0, (count + 1) * width, width, dtype=np.int32))
    values = pa.array(np.ascontiguousarray(features, np.float32).reshape(-1))
    columns: dict[str, Any] = {
        "key": [row.work.key for row in rows],
        "version": [row.outcome.version for row in rows],
        "label": [label_of(row.work.key, recipe.photos_prefix) for row in rows],
        "width": [row.width for row in rows],
        "height": [row.height for row in rows],
        "event_time": [row.event_time for row in rows],
        "model": [recipe.network.model_id] * count,
        "features": pa.ListArray.from_arrays(offsets, values, type=FEATURES.field("features").type),
    }
    return pa.table(columns, schema=FEATURES)
