"""Upkeep of the tables: small files become large ones, and what no version needs any more goes.

Beside ingestion and with the same care: files are merged by Spark tasks under new names, and one
transaction swaps them, unless somebody has replaced a photo in them meanwhile. A process that dies in
between leaves litter, which the next vacuum after the retention deletes. It also drops log entries
older than 30 days; delta-rs writes a checkpoint of the log every `tables.CHECKPOINT_COMMITS` commits.
"""

import logging
import math
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from processor.matrix import matrix, models, statistics_cache
from processor.spark.background import Background
from processor.store import datafiles, delta
from processor.store.datafiles import DataFile
from processor.store.delta import CommitConflict
from processor.store.schema import FEATURES, REJECTS

log = logging.getLogger(__name__)

TARGET_BYTES = 64 << 20  # 32,000 photos of 512 features; replacing a photo rewrites its whole file
MERGED_AT_ONCE = 8  # files of like size (within a factor of 8): so a row is rewritten few times
MAX_CONFLICTS = 5


@dataclass(frozen=True, slots=True)
class Upkeep:
    """The upkeep of the store under ``uri``. Used by one thread; several services may do it at once."""

    uri: str
    retention_hours: int
    background: Background

    def run(self) -> None:
        """Merge small files and vacuum, table by table. May be interrupted and repeated."""
        for name, schema in (("features", FEATURES), ("rejects", REJECTS)):
            self.compact(name, schema)
        for name in ("features", "rejects", "reduced"):
            self._vacuum(f"{self.uri}{name}")
        self._sweep_models()

    def compact(self, name: str, schema: pa.Schema) -> int:
        """Merge files of one table that are small and like in size; how many went."""
        folder = f"{self.uri}{name}"
        table = delta.open_table(folder)
        groups = groups_of(delta.sizes(table)) if table else []
        if not groups:
            return 0
        began = time.monotonic()
        merged = self.background.run(
            groups, lambda share: (datafiles.merged(folder, group, schema) for group in share)
        )
        swaps = dict(zip(map(tuple, groups), merged, strict=True))
        gone = self._swap(folder, schema, swaps)
        if name == "features":
            statistics_cache.renamed(
                self.uri, {old: swaps[group].path for group in gone for old in group}
            )
        log.info(
            "merged small files",
            extra={
                "table": name,
                "files": sum(map(len, gone)),
                "into": len(gone),
                "seconds": round(time.monotonic() - began, 3),
            },
        )
        return sum(map(len, gone))

    def _swap(
        self, folder: str, schema: pa.Schema, swaps: Mapping[tuple[str, ...], DataFile]
    ) -> list[tuple[str, ...]]:
        """Commit those merged files whose sources are all still there; the sources of these."""
        for _ in range(MAX_CONFLICTS):
            table = delta.open_table(folder)
            if table is None:
                return []
            live = delta.paths(table)
            valid = [group for group in swaps if live.issuperset(group)]
            if not valid:
                return []
            gone = [path for group in valid for path in group]
            merged = [swaps[group] for group in valid]
            try:
                delta.commit(table, schema, merged, gone, data_change=False)
            except CommitConflict:
                continue
            return valid
        log.info("%s changes too fast to merge files now; later", folder)
        return []

    def _vacuum(self, folder: str) -> None:
        table = delta.open_table(folder)
        deleted = delta.vacuum(table, self.retention_hours) if table else 0
        if deleted:
            log.info(
                "deleted files that no version needs", extra={"table": folder, "files": deleted}
            )

    def _sweep_models(self) -> None:
        reduced = delta.open_table(f"{self.uri}reduced")
        deleted = models.sweep(self.uri, matrix.model_name(reduced)) if reduced else 0
        if deleted:
            log.info("deleted models replaced long ago", extra={"models": deleted})


def groups_of(sizes: Mapping[str, int]) -> list[list[str]]:
    """Which files to merge, given bytes by path: so many of like size each, together not too large."""
    tiers: dict[int, list[str]] = defaultdict(list)
    for path, size in sorted(sizes.items()):
        if size * MERGED_AT_ONCE <= TARGET_BYTES:
            tiers[int(math.log(max(size, 1), MERGED_AT_ONCE))].append(path)
    return [
        tier[start : start + MERGED_AT_ONCE]
        for tier in tiers.values()
        for start in range(0, len(tier) - MERGED_AT_ONCE + 1, MERGED_AT_ONCE)
    ]
