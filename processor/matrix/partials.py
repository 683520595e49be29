"""Partial results: statistics and fits on their way between tasks and driver, through the store.

Spark would hold the results of all tasks in its JVM's heap at once: statistics of 4,096 columns are
128 MiB each. So a task writes its result as an object, one triangle of the scatter, and returns the
name; the driver reads and adds one after the other. They lie in a folder of their own, which is deleted
at the end.
"""

import logging
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from common.layout import StoreLayout
from processor.matrix.moments import Accumulator, Statistics
from processor.matrix.pca import PCA
from processor.store import objects

log = logging.getLogger(__name__)

KEPT = timedelta(days=1)  # longer than any fit takes


@contextmanager
def folder(layout: StoreLayout) -> Iterator[str]:
    """A new folder for the results of some tasks, which are deleted at the end of the block.

    What a process that was killed, or a task that outlived the block, has left is swept.
    """
    new = f"{layout.partial_results}/{uuid.uuid4().hex}"
    try:
        yield new
    finally:
        _delete(new, [each.uri for each in objects.listing(new)])


def write(folder: str, part: Statistics | PCA) -> str:
    """Write what one task has made, under a name never used before; the name."""
    name = f"{uuid.uuid4().hex}.npz"
    objects.put(f"{folder}/{name}", part.to_bytes())
    return name


def read(folder: str, name: str) -> bytes:
    """The bytes of what was written. Raises FileNotFoundError if it is gone."""
    body = objects.get(f"{folder}/{name}")
    if body is None:
        raise FileNotFoundError(f"{folder}/{name}")
    return body


def merged(folder: str, names: Sequence[str]) -> Statistics | None:
    """The statistics of all rows behind the objects ``names``; None if there are none.

    Memory: 24 d² bytes (400 MB for 4,096 columns), whatever the number of parts. Raises like
    :func:`read`, and ValueError if one is damaged.
    """
    total: Accumulator | None = None
    for name in names:
        part = Statistics.from_bytes(read(folder, name))
        total = (total or Accumulator(len(part.mean))).merge(part)
        del part  # before the next is read
    return total.statistics() if total else None


def sweep(layout: StoreLayout, kept: timedelta = KEPT) -> int:
    """Delete what was written longer than ``kept`` ago; the number of objects."""
    before = datetime.now(UTC) - kept
    place = layout.partial_results
    found = [each.uri for each in objects.listing(place) if each.modified < before]
    _delete(place, found)
    if found:
        log.info("deleted partial results that nobody read", extra={"objects": len(found)})
    return len(found)


def _delete(folder: str, uris: Sequence[str]) -> None:
    objects.delete_all(folder, [uri.removeprefix(f"{folder}/") for uri in uris])
