"""Compaction: the small data files of a table are merged into larger ones with the same rows.

Tasks of the caller write the merged files under new names, and one transaction swaps them in, except
where a source file has been replaced in between. A process that dies halfway leaves orphaned files,
which the first vacuum after the retention deletes.
"""

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

import pyarrow as pa

from processor.errors import CommitConflict
from processor.store import datafiles, delta, key_digests
from processor.store.datafiles import DataFile
from processor.store.key_digests import KEYS

log = logging.getLogger(__name__)

TARGET_BYTES = 64 << 20  # 32,000 photos of 512 features; replacing a photo rewrites its whole file
MERGED_AT_ONCE = 8  # files of similar size (within a factor of 8), so a row is rewritten few times
MAX_CONFLICTS = 5

T = TypeVar("T")
R = TypeVar("R")


class Tasks(Protocol):
    """Runs work over shares of items, in parallel or in the caller's process."""

    def run(self, items: Sequence[T], work: Callable[[Iterable[T]], Iterable[R]]) -> list[R]:
        """The results of ``work`` over all shares, in the order of ``items``."""
        ...


def compact(folder: str, schema: pa.Schema, tasks: Tasks) -> dict[str, str]:
    """Merge the small files of one table, those of similar size.

    Returns the path of each file that was merged, with the path of the file that has its rows now.
    May be interrupted and repeated, and run by several services at once.
    """
    table = delta.open_table(folder)
    groups = groups_of(table.sizes()) if table else []
    merged = tasks.run(
        groups, lambda share: (datafiles.merge(folder, group, schema) for group in share)
    )
    swaps = dict(zip(map(tuple, groups), merged, strict=True))
    swapped = _swap(folder, schema, swaps) if swaps else []
    return {old: swaps[group].path for group in swapped for old in group}


def groups_of(sizes: Mapping[str, int]) -> list[list[str]]:
    """Groups of paths to merge, given bytes by path; see MERGED_AT_ONCE and TARGET_BYTES."""
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
    """Commit the merged files whose sources are all still live; the groups of those sources."""
    for _ in range(MAX_CONFLICTS):
        table = delta.open_table(folder)
        if table is None:
            return []
        live = table.paths()
        valid = [group for group in swaps if live.issuperset(group)]
        if not valid:
            return []
        removed = [path for group in valid for path in group]
        merged = [swaps[group] for group in valid]
        try:
            # It names no keys: what a writer has planned for a photo still holds.
            named = {KEYS: key_digests.encode(())}
            table.commit(schema, merged, removed, data_change=False, metadata=named)
        except CommitConflict:
            continue
        return valid
    log.info("%s changes too fast to be compacted now; left to the next maintenance", folder)
    return []
