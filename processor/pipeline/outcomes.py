"""Outcomes: what became of each photo of a micro-batch; every photo has exactly one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from processor.store.datafiles import DataFile


class Kind(StrEnum):
    """The ends that an object event can come to."""

    STORED = "stored"  # a row with features lies in a data file
    UNCHANGED = "unchanged"  # S3 still has the version whose features are stored
    GONE = "gone"  # removed from S3: its row goes too
    REJECTED = "rejected"  # no features can be had from it; the reason says why
    UNAVAILABLE = "unavailable"  # S3 could not deliver it now; it is tried again later


@dataclass(frozen=True, slots=True)
class Work:
    """One photo to look at. ``stored_version`` is the version whose row the store has, if any.

    ``event_version`` and ``event_time`` are what the newest event said; S3's present state counts.
    """

    key: str
    event_version: str | None
    event_time: datetime
    removal: bool
    stored_version: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one :class:`Work`. ``version``: the one that was looked at (version id, else ETag)."""

    key: str
    kind: Kind
    version: str = ""
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Extracted:
    """What one Spark task did: ``file`` holds exactly the rows of the STORED outcomes."""

    file: DataFile | None
    outcomes: tuple[Outcome, ...]

    def stored(self) -> dict[str, str]:
        return {each.key: each.version for each in self.outcomes if each.kind is Kind.STORED}


def of_kind(results: Sequence[Extracted], *kinds: Kind) -> Iterator[Outcome]:
    """All outcomes of some kinds, over all tasks."""
    for result in results:
        yield from (outcome for outcome in result.outcomes if outcome.kind in kinds)
