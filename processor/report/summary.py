"""The summary: what the report says in figures, as values."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Group:
    """Photos that share a reason, of rejects or of those that wait."""

    reason: str
    photos: int
    examples: list[tuple[str, str]]  # key and detail, a few


@dataclass(frozen=True)
class Fit:
    """One PCA model of the store."""

    name: str
    at: datetime
    photos: int  # it was fitted on
    why: str  # the need for it
    components: int
    moved: float | None  # how far its components moved from those before; None: the first


@dataclass(frozen=True)
class Summary:
    """Of one store at one time. Texts from the bucket (keys, labels, details) are hostile."""

    at: datetime
    bucket: str
    photos: int
    labels: list[tuple[str, int]]  # label ("" for none) and its photos, the most first; some
    kinds: int  # how many labels there are
    rejects: list[Group]  # the most first
    pending: list[Group]
    stored: list[tuple[datetime, int]]  # hours and photos stored in them, oldest first
    explained_variance: list[float]  # share of the variance by component, in their order
    captured: float | None  # as a share of what the best components would capture; None: unknown
    fits: list[Fit]  # newest first
    network: str  # the name in the column ``model``
    versions: dict[str, str]  # of tables and programs, by what a reader calls them
