"""Outcomes: what became of each photo of a micro-batch; every photo has exactly one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from processor.store.datafiles import DataFile, KeyedFile


class Kind(StrEnum):
    """What can become of a photo that an event names."""

    STORED = "stored"  # its row, with features, is in a data file
    UNCHANGED = "unchanged"  # S3 still has the version whose features are stored
    GONE = "gone"  # removed from S3, so its row is removed too
    REJECTED = "rejected"  # it cannot have features: its bytes are the reason
    PENDING = "pending"  # not its fault, or not proven to be: it is tried again later


CRASH = "crash"  # the reason where a worker died over a photo
UNWRITABLE = "unwritable"  # where the store could not be written
VANISHED = "vanished"  # where an event announced a photo that S3 does not have

# Events that the service sends itself end in these; their time is not that of an upload.
RETRY = "Retry"
RECONCILIATION = "Reconciliation"

# Why a photo is rejected for good; see :class:`processor.errors.RejectedImage`.
REASONS = ("empty", "unsupported", "corrupt", "truncated", "too-large", CRASH)

SETTLED = (Kind.STORED, Kind.UNCHANGED, Kind.GONE, Kind.REJECTED)  # by what S3 has


@dataclass(frozen=True, slots=True)
class Work:
    """One photo to process. ``stored_version`` is the object version whose row the store has, if any.

    ``event_version`` (of the object) and ``event_time`` come from the newest event; they are hints
    only, because what S3 has now counts.
    """

    key: str
    event_version: str | None
    event_time: datetime
    removal: bool
    stored_version: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one :class:`Work`.

    ``object_version`` is the one that S3 has, else the event's, else empty.
    """

    key: str
    kind: Kind
    object_version: str = ""
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Extracted:
    """The result of one Spark task: ``file`` has exactly the rows of the STORED outcomes."""

    file: DataFile | None
    outcomes: tuple[Outcome, ...]

    def stored(self) -> dict[str, str]:
        """The object versions of the STORED outcomes, by key."""
        stored = (each for each in self.outcomes if each.kind is Kind.STORED)
        return {each.key: each.object_version for each in stored}

    def keyed_files(self) -> Iterator[KeyedFile]:
        """The file with the object versions of its rows; nothing if there is no file."""
        if self.file:
            yield KeyedFile(self.file, self.stored())


def of_kind(results: Sequence[Extracted], *kinds: Kind) -> Iterator[Outcome]:
    """All outcomes of some kinds, over all tasks."""
    for result in results:
        yield from (outcome for outcome in result.outcomes if outcome.kind in kinds)
