"""The statistics cache: those of a set of data files, kept beside the store from one fit to the next.

Data files never change. So the statistics of today's features are the cached ones, plus those of the
files that came, minus those of the files that went; only these are read. One object of 1 MB (512
columns) holds the sum and the names. Lost, damaged or of other features, everything is read once more.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from common.layout import StoreLayout
from processor.matrix.moments import Statistics
from processor.matrix.npz import pack, unpack
from processor.store import objects

log = logging.getLogger(__name__)

_KIND = "known-statistics/1"

Reader = Callable[[Collection[str]], Statistics | None]  # of some files; None without a row


@dataclass(frozen=True)
class CachedStatistics:
    """The statistics of exactly these files, after ``subtracted`` rows were taken away again.

    A file's float32 Gram matrix is rounded differently each time it is read in other company, so each
    row taken away leaves some 1e-7 of itself behind. No more rows are subtracted than there are left.
    """

    files: frozenset[str]
    statistics: Statistics
    subtracted: int = 0

    def to_bytes(self) -> bytes:
        """As :func:`.npz.pack` writes."""
        names = "\n".join(sorted(self.files)).encode()
        body = np.frombuffer(self.statistics.to_bytes(), dtype=np.uint8)
        listed = np.frombuffer(names, dtype=np.uint8)
        return pack(_KIND, files=listed, statistics=body, subtracted=self.subtracted)

    @classmethod
    def from_bytes(cls, data: bytes) -> "CachedStatistics":
        """The inverse of :meth:`to_bytes`. ValueError for any other bytes."""
        part = unpack(_KIND, data, ("files", "statistics", "subtracted"))
        names = frozenset(filter(None, bytes(part["files"]).decode().split("\n")))
        return cls(names, Statistics.from_bytes(bytes(part["statistics"])), part["subtracted"])


def statistics(layout: StoreLayout, live: Collection[str], read: Reader) -> Statistics | None:
    """The statistics of the files ``live``, by ``read`` of as few as possible; None without a row.

    What was found is kept in the store for the next call. Of two services that do this at once either
    one's object stays; both are right.
    """
    names = frozenset(live)
    cached = load(layout)
    if cached and cached.files == names:
        return cached.statistics
    found = _brought_to(names, cached, read) if cached else None
    if found is None:
        everything = read(names)
        if everything is None:
            return None
        found = CachedStatistics(names, everything)
    _save(layout, found)
    return found.statistics


def rename(layout: StoreLayout, names: Mapping[str, str]) -> None:
    """Files were compacted, old names to new ones: the same rows, so the cached sums stay true."""
    cached = load(layout)
    if cached and cached.files.issuperset(names):
        now = cached.files.difference(names).union(names.values())
        _save(layout, replace(cached, files=now))


def load(layout: StoreLayout) -> CachedStatistics | None:
    """What is cached in a store; None if there is nothing of use."""
    body = objects.get(layout.statistics)
    try:
        return CachedStatistics.from_bytes(body) if body is not None else None
    except ValueError as error:
        log.warning("the cached statistics are of no use, reading all features: %s", error)
        return None


def _brought_to(
    live: frozenset[str], cached: CachedStatistics, read: Reader
) -> CachedStatistics | None:
    """The cached statistics brought to ``live``; None if everything should rather be read again."""
    came, went = live - cached.files, cached.files - live
    if not live & cached.files:
        return None
    found, subtracted = cached.statistics, cached.subtracted
    try:
        gone = read(went) if went else None
    except Exception as error:  # of whatever type Spark makes of it: a vacuum has deleted the file
        log.info("a removed file can no longer be read, reading all features: %s", error)
        return None
    if gone is not None:
        found, subtracted = found.without(gone), subtracted + gone.count
        if subtracted > found.count:
            return None
    new = read(came) if came else None
    return CachedStatistics(live, found if new is None else found.merge(new), subtracted)


def _save(layout: StoreLayout, cached: CachedStatistics) -> None:
    objects.put(layout.statistics, cached.to_bytes())
