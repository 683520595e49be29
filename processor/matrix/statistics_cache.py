"""Known statistics: those of a set of data files, kept beside the store from one fit to the next.

Data files never change. So the statistics of today's features are the known ones, plus those of the
files that came, minus those of the files that went; only these are read. One object of 1 MB (512
columns) holds the sum and the names. It is a cache: lost, damaged or of other features, everything is
read once more.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from processor.matrix.moments import Statistics, pack, unpack
from processor.store import datafiles as files

log = logging.getLogger(__name__)

_KIND = "known-statistics/1"
_NAME = "models/statistics.npz"

Reader = Callable[[Collection[str]], Statistics | None]  # of some files; None without a row


@dataclass(frozen=True)
class Known:
    """The statistics of exactly these files, after ``subtracted`` rows were taken away again.

    A file's float32 Gram is rounded otherwise each time it is read in other company, so each row taken
    away leaves some 1e-7 of itself behind. No more are than there are left.
    """

    files: frozenset[str]
    statistics: Statistics
    subtracted: int = 0

    def to_bytes(self) -> bytes:
        """As :func:`processor.matrix.moments.pack` writes."""
        names = "\n".join(sorted(self.files)).encode()
        body = np.frombuffer(self.statistics.to_bytes(), dtype=np.uint8)
        listed = np.frombuffer(names, dtype=np.uint8)
        return pack(_KIND, files=listed, statistics=body, subtracted=self.subtracted)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Known":
        """The inverse of :meth:`to_bytes`. ValueError for any other bytes."""
        part = unpack(_KIND, data, ("files", "statistics", "subtracted"))
        names = frozenset(filter(None, bytes(part["files"]).decode().split("\n")))
        return cls(names, Statistics.from_bytes(bytes(part["statistics"])), part["subtracted"])


def statistics(uri: str, live: Collection[str], read: Reader) -> Statistics | None:
    """The statistics of the files ``live``, by ``read`` of as few as possible; None without a row.

    What was found is kept for the next call, under the store's ``uri``. Of two services that do this
    at once either's object stays; both are right.
    """
    names = frozenset(live)
    known = load(uri)
    if known and known.files == names:
        return known.statistics
    found = _changed(known, names, read) if known else None
    if found is None:
        everything = read(names)
        if everything is None:
            return None
        found = Known(names, everything)
    _save(uri, found)
    return found.statistics


def renamed(uri: str, names: Mapping[str, str]) -> None:
    """Files were merged, old names to new ones: the same rows, so what is known of them stays true."""
    known = load(uri)
    if known and known.files.issuperset(names):
        now = known.files.difference(names).union(names.values())
        _save(uri, replace(known, files=now))


def load(uri: str) -> Known | None:
    """What is kept under the store's ``uri``; None if there is nothing of use."""
    body = files.get(f"{uri}{_NAME}")
    try:
        return Known.from_bytes(body) if body is not None else None
    except ValueError as error:
        log.warning("the known statistics are of no use, reading all features: %s", error)
        return None


def _changed(known: Known, live: frozenset[str], read: Reader) -> Known | None:
    """The known statistics brought to ``live``; None if all should rather be read anew."""
    came, went = live - known.files, known.files - live
    if not live & known.files:
        return None
    found, subtracted = known.statistics, known.subtracted
    try:
        gone = read(went) if went else None
    except Exception as error:  # of whatever type Spark makes of it: a vacuum has deleted the file
        log.info("a removed file cannot be read any more, reading all features: %s", error)
        return None
    if gone is not None:
        found, subtracted = found.without(gone), subtracted + gone.count
        if subtracted > found.count:
            return None
    new = read(came) if came else None
    return Known(live, found if new is None else found.merge(new), subtracted)


def _save(uri: str, known: Known) -> None:
    files.put(f"{uri}{_NAME}", known.to_bytes())
