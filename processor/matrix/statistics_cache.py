"""The statistics cache: the statistics of a set of data files, kept in the store between two fits.

Data files never change. So the statistics of the current features are the cached ones, plus those of
files added since, minus those of files removed since; only these are read, and rows that a compaction
has moved to other files are not read again. One object of 1 MB (512 columns) has the sum and the files'
names. If it is lost, damaged or of other features, everything is read again.
"""

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from common.layout import StoreLayout
from processor.matrix.moments import Statistics
from processor.matrix.npz import pack, unpack
from processor.store import objects
from processor.store.datafiles import Swap

log = logging.getLogger(__name__)

_KIND = "known-statistics/2"

Reader = Callable[[Collection[str]], Statistics | None]  # of some files; None if they have no rows


@dataclass(frozen=True)
class CachedStatistics:
    """The statistics of exactly these files, from which ``subtracted`` rows were removed in all.

    Rows that a compaction has moved into these from the files ``lacking`` are yet to be added.

    A file's float32 Gram matrix is rounded differently if it is read together with other files, so each
    row subtracted leaves about 1e-7 of itself behind. Everything is read again before there are more
    rows subtracted than left.
    """

    files: frozenset[str]
    statistics: Statistics
    subtracted: int = 0
    lacking: frozenset[str] = frozenset()

    def to_bytes(self) -> bytes:
        """An npz without pickles, see :func:`.npz.pack`."""
        return pack(
            _KIND,
            files=_listed(self.files),
            statistics=np.frombuffer(self.statistics.to_bytes(), dtype=np.uint8),
            subtracted=self.subtracted,
            lacking=_listed(self.lacking),
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "CachedStatistics":
        """The inverse of :meth:`to_bytes`. Raises ValueError for any other bytes."""
        part = unpack(_KIND, data, ("files", "statistics", "subtracted", "lacking"))
        return cls(
            _names(part["files"]),
            Statistics.from_bytes(bytes(part["statistics"])),
            part["subtracted"],
            _names(part["lacking"]),
        )


def _listed(names: frozenset[str]) -> npt.NDArray[np.uint8]:
    return np.frombuffer("\n".join(sorted(names)).encode(), dtype=np.uint8)


def _names(listed: npt.NDArray[np.uint8]) -> frozenset[str]:
    return frozenset(filter(None, bytes(listed).decode().split("\n")))


def statistics(layout: StoreLayout, live: Collection[str], read: Reader) -> Statistics | None:
    """The statistics of the files ``live``, reading as few as possible; None if they have no rows.

    The result is cached in the store for the next call. If two services do this at once, one of their
    objects remains; both are correct. Raises what ``read`` raises for live files.
    """
    names = frozenset(live)
    cached = load(layout)
    if cached and cached.files == names and not cached.lacking:
        return cached.statistics
    found = _updated(cached, names, read) if cached else None
    if found is None:
        everything = read(names)
        if everything is None:
            return None
        found = CachedStatistics(names, everything)
    _save(layout, found)
    return found.statistics


def follow(layout: StoreLayout, swaps: Iterable[Swap]) -> None:
    """Keep the cache valid after a compaction, which has moved rows to other files."""
    cached = load(layout)
    if cached is None:
        return
    files, lacking = cached.files, cached.lacking
    for removed, added in (each.paths() for each in swaps):
        if files & removed:  # else the added ones are new to the cache, like those removed
            files, lacking = files - removed | added, lacking | removed - files
    if files != cached.files:
        _save(layout, replace(cached, files=files, lacking=lacking))


def load(layout: StoreLayout) -> CachedStatistics | None:
    """The cached statistics of a store; None if they are missing or damaged."""
    body = objects.get(layout.statistics)
    try:
        return CachedStatistics.from_bytes(body) if body is not None else None
    except ValueError as error:
        log.warning("the cached statistics are damaged, reading all features: %s", error)
        return None


def _updated(
    cached: CachedStatistics, live: frozenset[str], read: Reader
) -> CachedStatistics | None:
    """The cached statistics, updated to ``live``; None if everything should be read again instead."""
    added, removed = live - cached.files, cached.files - live
    if not live & cached.files:
        return None
    found, subtracted = cached.statistics, cached.subtracted
    try:
        old = read(removed) if removed else None
        moved = read(cached.lacking) if cached.lacking else None
    except Exception as error:  # of any type, as Spark wraps it; a vacuum has deleted the file
        log.info("a removed file can no longer be read, reading all features: %s", error)
        return None
    if old is not None:
        found, subtracted = found.without(old), subtracted + old.count
        if subtracted > found.count:
            return None
    new = read(added) if added else None
    for more in (moved, new):
        found = found if more is None else found.merge(more)
    return CachedStatistics(live, found, subtracted)


def _save(layout: StoreLayout, cached: CachedStatistics) -> None:
    objects.put(layout.statistics, cached.to_bytes())
