"""Compaction: the data files of a table are merged into files ordered by key, with the same rows.

Which of them, :mod:`.key_ranges` says. Tasks of the caller write the merged files under new names, and
one transaction swaps them in, except where a source file has been replaced in between. A process that
dies halfway leaves orphaned files, which the first vacuum after the retention deletes.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

import pyarrow as pa

from processor.errors import CommitConflict
from processor.store import datafiles, delta, key_digests, key_ranges
from processor.store.datafiles import DataFile, Swap
from processor.store.key_digests import KEYS
from processor.store.key_ranges import Merge

log = logging.getLogger(__name__)

MERGED_BYTES = 1 << 30  # in one transaction; if it fails, so much was written in vain
MAX_CONFLICTS = 5

T = TypeVar("T")
R = TypeVar("R")


class Tasks(Protocol):
    """Runs work over shares of items, in parallel or in the caller's process."""

    def run(self, items: Sequence[T], work: Callable[[Iterable[T]], Iterable[R]]) -> list[R]:
        """The results of ``work`` over all shares, in the order of ``items``."""
        ...


def compact(folder: str, schema: pa.Schema, tasks: Tasks) -> list[Swap]:
    """Merge the files of one table that are due, MERGED_BYTES of them; what was merged.

    To be repeated until nothing is. May be interrupted, and run by several services at once. Memory of
    a task: that of :func:`.datafiles.merge` for GROUP_BYTES.
    """
    table = delta.open_table(folder)
    merges = due(table.files()) if table else []
    merged = tasks.run(
        merges,
        lambda share: (
            datafiles.merge(folder, [file.path for file in each.files], schema, each.cuts)
            for each in share
        ),
    )
    swaps = [Swap(each.files, tuple(files)) for each, files in zip(merges, merged, strict=True)]
    return _commit(folder, schema, swaps) if swaps else []


def due(files: Sequence[DataFile]) -> list[Merge]:
    """The merges of one transaction: the most urgent, up to MERGED_BYTES, but at least one."""
    chosen: list[Merge] = []
    size = 0
    for each in key_ranges.plan(files):
        size += each.size
        if chosen and size > MERGED_BYTES:
            break
        chosen.append(each)
    return chosen


def _commit(folder: str, schema: pa.Schema, swaps: Sequence[Swap]) -> list[Swap]:
    """Commit the swaps whose sources are all still live, and return them."""
    for _ in range(MAX_CONFLICTS):
        table = delta.open_table(folder)
        if table is None:
            return []
        live = table.paths()
        valid = [each for each in swaps if live >= each.paths()[0]]
        if not valid:
            return []
        removed = [file.path for each in valid for file in each.removed]
        added = [file for each in valid for file in each.added]
        try:
            # It names no keys: what a writer has planned for a photo still holds.
            named = {KEYS: key_digests.encode(())}
            table.commit(schema, added, removed, data_change=False, metadata=named)
        except CommitConflict:
            continue
        return valid
    log.info("%s changes too fast to be compacted now; left to the next maintenance", folder)
    return []
