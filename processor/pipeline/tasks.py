"""The Spark task: photos that events named, through the network, into one data file.

This is what runs in a worker: it knows S3, the decoder and the network, but no Spark session, no index
and no queue. The order of events does not matter here. An event only says that a photo may have changed;
what counts is what S3 has under its key when the task asks. Whatever sequence, repetition or delay the
events of a photo arrive with, its last one finds the final state.
"""

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyspark import SparkFiles

from common.layout import BucketLayout
from processor.errors import Missing, Refused, RejectedImage, TooLarge, Unavailable
from processor.network import engines
from processor.network.spec import Features, Network, NetworkSpec
from processor.photos import objects
from processor.photos.decode import Pixels, decode
from processor.pipeline.outcomes import Extracted, Kind, Outcome, Work
from processor.store import datafiles
from processor.store.schema import FEATURES

_decoding = threading.Semaphore(2)  # a hostile photo may take 16 bytes a pixel; not all at once


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a task needs to know; travels to the workers with each task."""

    layout: BucketLayout
    network: NetworkSpec
    downloads: int  # objects read from S3 at once
    max_bytes: int
    max_pixels: int
    reduced_decode: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Looked:
    """A photo ready for the network, or the end it came to before."""

    work: Work
    outcome: Outcome
    pixels: Pixels | None = None
    width: int = 0
    height: int = 0
    event_time: datetime | None = None


def load_network(spec: NetworkSpec) -> Network:
    """The network of this worker process, loaded once. Raises as :func:`.engines.load` does.

    On a cluster Spark brings the compiled file, under its own name in a folder of Spark's.
    """
    compiled = spec.compiled
    if compiled and not Path(compiled.path).exists():
        brought = replace(compiled, path=SparkFiles.get(Path(compiled.path).name))
        spec = replace(spec, compiled=brought)
    return engines.load(spec)


def extract(works: Iterable[Work], recipe: Recipe) -> Extracted:
    """Look at each photo, compute features of those that are new, write them as one data file.

    Memory: ``downloads`` objects, twice a network batch of pixels, and the features of the share.
    """
    outcomes: list[Outcome] = []
    rows: list[_Looked] = []
    features: list[Features] = []
    network = load_network(recipe.network)
    looked_at = _look_ahead(works, recipe, network.batch_size)
    for batch in _batched(looked_at, network.batch_size, outcomes):
        pixels = np.stack([looked.pixels for looked in batch if looked.pixels is not None])
        features.append(network.features(pixels))
        rows += [replace(looked, pixels=None) for looked in batch]
    if not rows:
        return Extracted(None, tuple(outcomes))
    table = _table(rows, np.concatenate(features), recipe)
    file = datafiles.write(recipe.layout.store.features, table)
    return Extracted(file, (*outcomes, *(looked.outcome for looked in rows)))


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
    bucket = recipe.layout.bucket
    try:
        if _is_unchanged(work, bucket):
            return _Looked(work, Outcome(work.key, Kind.UNCHANGED, work.stored_version or ""))
        stored = objects.get(bucket, work.key, recipe.max_bytes)
    except Missing:
        return _Looked(work, _absent(work))
    except TooLarge as error:
        return _rejected(work, error.version, "too-large", str(error))
    except Refused as error:
        return _rejected(work, work.event_version or "", error.reason, str(error))
    except Unavailable as error:
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
        return _rejected(work, stored.version, error.reason, error.detail)
    announced = work.event_version in (None, stored.version) and not work.removal
    event_time = work.event_time if announced else stored.modified
    outcome = Outcome(work.key, Kind.STORED, stored.version)
    return _Looked(work, outcome, photo.pixels, photo.width, photo.height, event_time)


def _is_unchanged(work: Work, bucket: str) -> bool:
    if work.stored_version is None:
        return False
    try:
        return objects.current_version(bucket, work.key) == work.stored_version
    except Refused:  # reading it tells why
        return False


def _absent(work: Work) -> Outcome:
    if work.removal or work.stored_version:
        return Outcome(work.key, Kind.GONE)
    detail = "an event announced it, but S3 has no such object (removed before it was read?)"
    return Outcome(work.key, Kind.REJECTED, work.event_version or "", "vanished", detail)


def _rejected(work: Work, version: str, reason: str, detail: str) -> _Looked:
    return _Looked(work, Outcome(work.key, Kind.REJECTED, version, reason, detail))


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


def _table(rows: Sequence[_Looked], features: Features, recipe: Recipe) -> pa.Table:
    count, width = features.shape
    offsets = pa.array(np.arange(0, (count + 1) * width, width, dtype=np.int32))
    values = pa.array(np.ascontiguousarray(features, np.float32).reshape(-1))
    columns = {
        "key": [row.work.key for row in rows],
        "version": [row.outcome.object_version for row in rows],
        "label": [recipe.layout.label_of(row.work.key) for row in rows],
        "width": [row.width for row in rows],
        "height": [row.height for row in rows],
        "event_time": [row.event_time for row in rows],
        "model": [recipe.network.model_id] * count,
        "features": pa.ListArray.from_arrays(offsets, values, type=FEATURES.field("features").type),
    }
    return pa.table(columns, schema=FEATURES)
