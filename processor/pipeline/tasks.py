"""The Spark task: from the photos that events name, through the network, to one data file.

This is what runs in a worker: it uses S3, the decoder and the network, but no Spark session, no index
and no queue. The order of events does not matter here: an event only says that a photo may have changed,
and what counts is what S3 has under its key when the task reads it. However the events of a photo are
reordered, repeated or delayed, the last one to be handled finds the final state.
"""

import functools
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, islice, repeat
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyspark import SparkFiles

from common import aws_errors, logs
from common.layout import BucketLayout
from common.log_context import bound, carried
from ingest.events import UNKNOWN_TIME
from processor.errors import Missing, Refused, RejectedImage, TooLarge, Unavailable
from processor.network import engines
from processor.network.spec import Features, Network, NetworkSpec
from processor.photos import objects
from processor.photos.decode import Pixels, decode
from processor.photos.memory import MemoryBudget
from processor.pipeline.outcomes import UNWRITABLE, VANISHED, Extracted, Kind, Outcome, Work
from processor.pipeline.sizing import memory_budget, share_cores
from processor.store import datafiles
from processor.store.patience import patiently
from processor.store.schema import FEATURES


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a task needs to know; sent to the workers with each task."""

    layout: BucketLayout
    network: NetworkSpec
    downloads: int  # objects read from S3 at once
    max_bytes: int
    max_pixels: int
    reduced_decode: bool
    memory: MemoryBudget | None = None  # None: that of the machine that runs the task
    tasks: int = 1  # at a time on one machine, see `load_network`
    unsandboxed_heic: bool = False  # see processor.photos.sandbox


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """A photo with its pixels, ready for the network; without pixels if it has another outcome."""

    work: Work
    outcome: Outcome
    pixels: Pixels | None = None
    width: int = 0
    height: int = 0
    event_time: datetime | None = None


def load_network(spec: NetworkSpec, tasks: int = 1) -> Network:
    """The network of this worker process, loaded once. Raises as :func:`.engines.load` does.

    Where the driver cannot know the cores of this machine, so many tasks share them.
    """
    logs.to_stderr()
    logs.show_stacks_on_signal()
    _, threads = share_cores(spec, tasks, spec.threads)
    return engines.load(_located(replace(spec, threads=threads)))


@functools.cache  # decided once: a loaded network outlives its file
def _located(spec: NetworkSpec) -> NetworkSpec:
    """The spec with the path, on this machine, of the file that its engine loads.

    On a cluster Spark brings the file, under its own name in a folder of Spark's.
    """
    if os.access(spec.file, os.R_OK) or not SparkFiles._is_running_on_worker:
        return spec
    brought = Path(SparkFiles.get(Path(spec.file).name))
    return spec.with_file(str(brought)) if brought.exists() else spec


def extract(works: Iterable[Work], recipe: Recipe) -> Extracted:
    """Read each photo, compute the features of those that are new, write them as one data file.

    May be repeated: the file of a run that is not committed is orphaned. Raises botocore's errors about
    the bucket and the credentials, and like :func:`load_network`; a fault of one photo is its outcome,
    and so is a store that cannot be written now.
    Memory: ``downloads`` objects, twice a network batch of pixels, the features of all works, and for
    decoding what the memory budget gives. Raises :class:`BudgetError` if it cannot be used.
    """
    outcomes: list[Outcome] = []
    rows: list[_Prepared] = []
    features: list[Features] = []
    network = load_network(recipe.network, recipe.tasks)
    memory = recipe.memory or memory_budget()
    prepared = _prepare_ahead(works, recipe, memory, network.batch_size)
    for batch in _batched(prepared, network.batch_size, outcomes):
        pixels = np.stack([each.pixels for each in batch if each.pixels is not None])
        features.append(network.features(pixels))
        rows += [replace(each, pixels=None) for each in batch]
    if not rows:
        return Extracted(None, tuple(outcomes))
    table = _table(rows, np.concatenate(features), recipe)
    try:
        file = patiently(lambda: datafiles.write(recipe.layout.store.features, table))
    except aws_errors.ERRORS as error:
        if objects.concerns_all(error):
            raise
        detail = aws_errors.explain(error, hint="")
        stored = (
            _pending(row.work, row.outcome.object_version, UNWRITABLE, detail) for row in rows
        )
        return Extracted(None, (*outcomes, *(each.outcome for each in stored)))
    return Extracted(file, (*outcomes, *(row.outcome for row in rows)))


def _prepare_ahead(
    works: Iterable[Work], recipe: Recipe, memory: MemoryBudget, batch_size: int
) -> Iterator[_Prepared]:
    """Prepare photos in threads, a bounded number ahead of the network, in order."""
    ahead = recipe.downloads + batch_size
    waiting: deque[Future[_Prepared]] = deque()
    with ThreadPoolExecutor(recipe.downloads, thread_name_prefix="prepare") as pool:
        prepare = carried(_prepare)
        for work in works:
            waiting.append(pool.submit(prepare, work, recipe, memory))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _prepare(work: Work, recipe: Recipe, memory: MemoryBudget) -> _Prepared:
    with bound(key=work.key):
        return _read(work, recipe, memory)


def _read(work: Work, recipe: Recipe, memory: MemoryBudget) -> _Prepared:
    bucket = recipe.layout.bucket
    try:
        if _is_unchanged(work, bucket):
            return _Prepared(work, Outcome(work.key, Kind.UNCHANGED, work.stored_version or ""))
        stored = objects.get(bucket, work.key, recipe.max_bytes)
    except Missing:
        return _Prepared(work, _absent(work))
    except TooLarge as error:
        return _rejected(work, error.version, "too-large", str(error))
    except Refused as error:
        return _pending(work, work.event_version or "", error.reason, str(error))
    except Unavailable as error:
        return _pending(work, work.event_version or "", "unavailable", str(error))
    try:
        photo = decode(
            stored.data,
            recipe.network.input_size,
            max_pixels=recipe.max_pixels,
            reduced_decode=recipe.reduced_decode,
            unsandboxed_heic=recipe.unsandboxed_heic,
            reserve=memory.reserve,
        )
    except RejectedImage as error:
        return _rejected(work, stored.version, error.reason, error.detail)
    except Unavailable as error:
        return _pending(work, stored.version, "unavailable", str(error))
    announced = work.event_version in (None, stored.version) and not work.removal
    timed = announced and work.event_time != UNKNOWN_TIME
    event_time = work.event_time if timed else stored.modified
    outcome = Outcome(work.key, Kind.STORED, stored.version)
    return _Prepared(work, outcome, photo.pixels, photo.width, photo.height, event_time)


def _is_unchanged(work: Work, bucket: str) -> bool:
    if work.stored_version is None:
        return False
    try:
        return objects.current_version(bucket, work.key) == work.stored_version
    except Refused:  # reading it will tell why
        return False


def _absent(work: Work) -> Outcome:
    if work.removal or work.stored_version:
        return Outcome(work.key, Kind.GONE)
    detail = "an event announced it, but S3 has no such object (removed before it was read?)"
    return Outcome(work.key, Kind.REJECTED, work.event_version or "", VANISHED, detail)


def _rejected(work: Work, version: str, reason: str, detail: str) -> _Prepared:
    return _Prepared(work, Outcome(work.key, Kind.REJECTED, version, reason, detail))


def _pending(work: Work, version: str, reason: str, detail: str) -> _Prepared:
    return _Prepared(work, Outcome(work.key, Kind.PENDING, version, reason, detail))


def _batched(
    prepared: Iterable[_Prepared], size: int, outcomes: list[Outcome]
) -> Iterator[list[_Prepared]]:
    """Batches of photos for the network; the outcomes of all others are added to ``outcomes``.

    The first is small, so that the network starts while the other photos are still being read.
    """

    def with_pixels() -> Iterator[_Prepared]:
        for each in prepared:
            if each.pixels is None:
                outcomes.append(each.outcome)
            else:
                yield each

    queue = with_pixels()
    for count in chain([max(1, size // 4)], repeat(size)):
        if not (batch := list(islice(queue, count))):
            return
        yield batch


def _table(rows: Sequence[_Prepared], features: Features, recipe: Recipe) -> pa.Table:
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
