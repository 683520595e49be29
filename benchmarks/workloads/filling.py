"""A store being filled, without a store: what refits, mirroring and the CSV write on the way.

Hours of a service in a second: its clock, its micro-batches, its upkeep every hour and its refits are
played with numbers of rows alone. When a refit is due is decided by the service's own
:class:`RefitPolicy`, which files are merged by its own :func:`.compaction.due`. Keys come in random
order, the worst for both. Photos never drift: that would cost refits of its own, whatever the rule.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from processor.matrix.pca import PCA
from processor.matrix.refit_policy import RefitPolicy, SinceFit
from processor.service.maintenance import COMPACTIONS
from processor.store import compaction, datafiles
from processor.store.datafiles import DataFile

MOST_BATCH, BATCH_SECONDS = 2048, 20.0  # batch.max_photos and batch.max_seconds
UPKEEP_SECONDS = 3600.0
REFIT_SECONDS, ROW_SECONDS = 1.0, 2.4e-6  # of a refit, as ./run bench refit measures it
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Load:
    """Photos come at ``per_s``, a batch in ``files`` files; features/ has ``row_bytes`` a row."""

    photos: int
    per_s: float
    files: int
    row_bytes: int


@dataclass(frozen=True, slots=True)
class Written:
    """Since the first photo, in rows: by refits, for new photos, for merged files; and how often."""

    photos: int = 0
    refitted: int = 0  # rows of the matrix, and as many lines of the CSV
    added: int = 0
    merged: int = 0
    refits: int = 0
    checks: int = 0  # of the components, each of which writes the statistics

    @property
    def rows(self) -> int:
        """All rows written to the matrix."""
        return self.refitted + self.added + self.merged


@dataclass(frozen=True, slots=True)
class Fit:
    """The last one: of how many photos, when, and how long the refit took."""

    photos: int
    at: datetime
    seconds: float


Rule = Callable[[Fit, int, datetime], bool]  # whether a refit of so many photos is due now
Check = Callable[[Fit, int, int, datetime], bool]  # and a check, so many photos after the last


def by_need(policy: RefitPolicy) -> tuple[Rule, Check]:
    """The service's rule."""

    def due(fit: Fit, photos: int, now: datetime) -> bool:
        since = SinceFit(photos - fit.photos, 0.0, fit.seconds)
        return policy.due(_model(policy, fit), photos, since, lambda _: True, now) is not None

    def check(fit: Fit, photos: int, changed: int, now: datetime) -> bool:
        model, since = _model(policy, fit), SinceFit(refit_seconds=fit.seconds)
        return not policy.pauses(model, since, now) and policy.worth_checking(model, changed)

    return due, check


def in_equal_steps(photos: int, share: float, seconds: float) -> tuple[Rule, Check]:
    """What most would write, and we did: after so many photos, or their share, or so long."""

    def due(fit: Fit, now_photos: int, now: datetime) -> bool:
        changed = now_photos - fit.photos
        old = changed > 0 and (now - fit.at).total_seconds() >= seconds
        return changed >= photos or changed >= share * fit.photos or old

    return due, lambda fit, _, changed, __: changed >= 0.01 * fit.photos


Keys = npt.NDArray[np.int64]


class Files:
    """The data files of features/: which keys each has, in their order."""

    def __init__(self, row_bytes: int) -> None:
        self._row_bytes = row_bytes
        self._names = map(str, itertools.count())
        self._live: dict[DataFile, Keys] = {}

    def add(self, keys: Keys) -> None:
        first, last = (f"{key:016x}" for key in keys[[0, -1]].tolist())
        size = len(keys) * self._row_bytes
        self._live[DataFile(next(self._names), size, len(keys), first, last)] = keys

    def merge(self) -> int:
        """Merge those that are due, as upkeep does; the number of rows in them."""
        merged = 0
        for _ in range(COMPACTIONS):
            for merge in compaction.due(list(self._live)):
                keys = np.sort(np.concatenate([self._live.pop(each) for each in merge.files]))
                cuts = [int(cut, 16) for cut in merge.cuts]
                ends = datafiles.ends(
                    np.searchsorted(keys, cuts).tolist(), len(keys), self._row_bytes
                )
                for start, end in itertools.pairwise((0, *ends)):
                    self.add(keys[start:end])
                merged += len(keys)
        return merged


def filled(load: Load, rules: tuple[Rule, Check]) -> list[Written]:
    """What was written after each micro-batch, the last one when all photos are there."""
    due, check = rules
    batch = max(load.files, min(MOST_BATCH, round(load.per_s * BATCH_SECONDS)))
    features, random = Files(load.row_bytes), np.random.default_rng(0)
    now, upkeep = START, START + timedelta(seconds=UPKEEP_SECONDS)
    fit, checked = Fit(0, now, 0.0), 0
    written, course = Written(), []
    while written.photos < load.photos:
        new = min(batch, load.photos - written.photos)
        now += timedelta(seconds=new / load.per_s)
        for some in np.array_split(random.integers(1 << 62, size=new), min(load.files, new)):
            features.add(np.sort(some))
        merged = 0
        if now >= upkeep:
            upkeep = now + timedelta(seconds=UPKEEP_SECONDS)
            merged = features.merge()
        written = replace(written, photos=written.photos + new)
        if not fit.photos or due(fit, written.photos, now):
            seconds = REFIT_SECONDS + ROW_SECONDS * written.photos
            fit, checked = Fit(written.photos, now, seconds), written.photos
            written = replace(
                written, refits=written.refits + 1, refitted=written.refitted + written.photos
            )
        else:
            added, merged = written.added + new, written.merged + merged
            written = replace(written, added=added, merged=merged)
            if check(fit, written.photos, written.photos - checked, now):
                checked = written.photos
                written = replace(written, checks=written.checks + 1)
        course.append(written)
    return course


def _model(policy: RefitPolicy, fit: Fit) -> PCA:
    about = {
        "asked": policy.settings,
        "fitted_at": fit.at.isoformat(),
        "features_version": "0",
    }
    return PCA(np.zeros(1), np.ones((1, 1)), np.ones(1), 1.0, fit.photos, about=about)
