"""Compaction: the small files of a table become large ones, with the same rows.

Files are merged under new names by tasks of whoever calls, and one transaction swaps them, unless
somebody has replaced a row in them in between. A process that dies half-way leaves litter, which the
next vacuum after the retention deletes.
"""

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

import pyarrow as pa

from processor.errors import CommitConflict
from processor.store import datafiles, delta
from processor.store.datafiles import DataFile

log = logging.getLogger(__name__)

TARGET_BYTES = 64 << 20  # 32,000 photos of 512 features; replacing a photo rewrites its whole file
MERGED_AT_ONCE = 8  # files of like size (within a factor of 8): so a row is rewritten few times
MAX_CONFLICTS = 5

T = TypeVar("T")
R = TypeVar("R")


class Tasks(Protocol):
    """Whatever runs work over shares of items, in parallel or in place."""

    def run(self, items: Sequence[T], work: Callable[[Iterable[T]], Iterable[R]]) -> list[R]: ...


def compact(folder: str, schema: pa.Schema, tasks: Tasks) -> dict[str, str]:
    """Merge files of one table that are small and alike in size.

    Returns the old names of the files that went, each with the name of the file that has its rows
    now. May be interrupted and repeated; several services may do it at once.
    """
    table = delta.open_table(folder)
    groups = groups_of(table.sizes()) if table else []
    merged = tasks.run(
        groups, lambda share: (datafiles.merge(folder, group, schema) for group in share)
    )
    swaps = dict(zip(map(tuple, groups), merged, strict=True))
    gone = _swap(folder, schema, swaps) if swaps else []
    return {old: swaps[group].path for group in gone for old in group}


def groups_of(sizes: Mapping[str, int]) -> list[list[str]]:
    """Which files to merge, given bytes by path: MERGED_AT_ONCE of like size, together not too large."""
    tiers: dict[int, list[str]] = defaultdict(list)
    for path, size in sorted(sizes.items()):
        if size * MERGED_AT_ONCE <= TARGET_BYTES:
            tiers[int(math.log(max(size, 1), MERGED_AT_ONCE))].append(path)
    return [
        tier[start : start + MERGED_AT_ONCE]
        for tier in tiers.values()
        for start in range(0, len(tier) - MERGED_AT_ONCE + 1, MERGED_AT_ONCE)
    ]


def _swap(
    folder: str, schema: pa.Schema, swaps: Mapping[tuple[str, ...], DataFile]
) -> list[tuple[str, ...]]:
    """Commit those merged files whose sources are all still live; the sources of these."""
    for _ in range(MAX_CONFLICTS):
        table = delta.open_table(folder)
        if table is None:
            return []
        live = table.paths()
        valid = [group for group in swaps if live.issuperset(group)]
        if not valid:
            return []
        gone = [path for group in valid for path in group]
        merged = [swaps[group] for group in valid]
        try:
            table.commit(schema, merged, gone, data_change=False)
        except CommitConflict:
            continue
        return valid
    log.info("%s changes too fast to compact its files now; later", folder)
    return []
