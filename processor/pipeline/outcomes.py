"""Outcomes: what became of each photo of a micro-batch; every photo has exactly one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from processor.store.datafiles import DataFile, KeyedFile


class Kind(StrEnum):
    """The ends that an object event can come to."""

    STORED = "stored"  # a row with features lies in a data file
    UNCHANGED = "unchanged"  # S3 still has the version whose features are stored
    GONE = "gone"  # removed from S3: its row goes too
    REJECTED = "rejected"  # no features can be had from it; the reason says why
    UNAVAILABLE = "unavailable"  # S3 could not deliver it now; it is tried again later


@dataclass(frozen=True, slots=True)
class Work:
    """One photo to look at. ``stored_version`` is the object version whose row the store has, if any.

    ``event_version`` (of the object) and ``event_time`` come from the newest event; they are hints,
    and what S3 has now counts.
    """

    key: str
    event_version: str | None
    event_time: datetime
    removal: bool
    stored_version: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one :class:`Work`. ``object_version``: the one that was looked at, else empty."""

    key: str
    kind: Kind
    object_version: str = ""
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Extracted:
    """What one Spark task did: ``file`` holds exactly the rows of the STORED outcomes."""

    file: DataFile | None
    outcomes: tuple[Outcome, ...]

    def stored(self) -> dict[str, str]:
        """The object versions of the STORED outcomes, by key."""
        stored = (each for each in self.outcomes if each.kind is Kind.STORED)
        return {each.key: each.object_version for each in stored}

    def keyed_files(self) -> Iterator[KeyedFile]:
        """The file, if there is one, with what is in it."""
        if self.file:
            yield KeyedFile(self.file, self.stored())


def of_kind(results: Sequence[Extracted], *kinds: Kind) -> Iterator[Outcome]:
    """All outcomes of some kinds, over all tasks."""
    for result in results:
        yield from (outcome for outcome in result.outcomes if outcome.kind in kinds)
