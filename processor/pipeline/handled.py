"""Handled: what a micro-batch came to, over all its rounds; the figures that operators watch."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from processor.pipeline.outcomes import Extracted, Kind, of_kind


@dataclass(slots=True)
class Handled:
    """The counts of one micro-batch.

    A photo that is processed again counts by its last outcome; twice if another service contradicted it
    after its row was written.

    ``lags``: of each stored photo whose upload time is known, the seconds from there to its row.
    """

    photos: int
    stored: int = 0
    replaced: int = 0
    removed: int = 0
    unchanged: int = 0
    rejected: int = 0
    pending: int = 0
    overtaken: int = 0
    again: int = 0  # how often a photo had to be processed another time
    conflicts: int = 0  # commits to features/ that lost to other services'
    conflict_seconds: float = 0.0  # spent on them
    seconds: float = 0.0
    rejects: Counter[str] = field(default_factory=Counter)  # by reason
    waits: Counter[str] = field(default_factory=Counter)  # likewise, of those that are pending
    lags: list[float] = field(default_factory=list)

    def add_reasons(self, results: Sequence[Extracted], left: Iterable[str]) -> None:
        """Count why photos were rejected or wait; those ``left`` are processed again, so not now."""
        skipped = set(left)
        for kind, counter in ((Kind.REJECTED, self.rejects), (Kind.PENDING, self.waits)):
            counter.update(
                each.reason for each in of_kind(results, kind) if each.key not in skipped
            )

    def fields(self) -> Mapping[str, object]:
        """As fields of a log line."""
        counts = {name: getattr(self, name) for name in _COUNTS}
        lags = sorted(self.lags)
        return {
            **counts,
            "rejects": dict(self.rejects),
            "waits": dict(self.waits),
            "conflict_seconds": round(self.conflict_seconds, 3),
            "seconds": round(self.seconds, 3),
            "photos_per_s": round(self.photos / self.seconds, 2) if self.seconds else 0.0,
            "lag_p50_seconds": round(lags[len(lags) // 2], 3) if lags else None,
            "lag_max_seconds": round(lags[-1], 3) if lags else None,
        }


_COUNTS = (
    *("photos", "stored", "replaced", "removed", "unchanged", "rejected", "pending"),
    *("overtaken", "again", "conflicts"),
)
