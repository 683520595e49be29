"""The feature store: features, rejects and pending photos, one row per photo in each.

Several services may write to one store. A service that finds another's commit about the same photos
since its plan checks in S3 which of them are still current, so an outcome that was overtaken while it
was computed is never written.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from common.layout import StoreLayout
from common.log_context import carried
from processor.errors import CommitConflict, StoreError
from processor.pipeline.notes import MAX_CONFLICTS, Pending, Rejects, Row
from processor.pipeline.outcomes import SETTLED, Extracted, Kind, Outcome, of_kind
from processor.store.datafiles import DataFile
from processor.store.keyed import KeyedTable, Rewrites
from processor.store.schema import FEATURES, PENDING, REJECTS

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settled:
    """A micro-batch whose outcomes are durable: the number of photos by outcome.

    ``overtaken`` photos changed in S3 while they were processed: nothing was written for them, because
    the event of that change will settle them. ``again`` photos are not settled: what another service
    committed in the meantime contradicts their outcome, or S3 does not tell whether it still holds, so
    they have to be processed again.

    ``stored_keys`` are the photos stored, ``new_rejects`` counts by reason those rejects that were not
    noted before: none where a micro-batch is repeated. ``conflicts`` counts the commits to features/
    that lost to other writers', ``conflict_seconds`` what was spent on them.
    """

    stored: int
    replaced: int
    removed: int
    unchanged: int
    rejected: int
    pending: int
    overtaken: int
    again: tuple[str, ...] = ()
    stored_keys: frozenset[str] = field(default=frozenset(), compare=False)
    new_rejects: Mapping[str, int] = field(default_factory=dict, compare=False)
    conflicts: int = field(default=0, compare=False)
    conflict_seconds: float = field(default=0.0, compare=False)


class FeatureStore:
    """The tables of one store, with features of one network only. Used by one thread.

    Every live photo has one row in ``features/``; every photo that cannot have one has one row in
    ``rejects/`` that says why. A photo that could not be processed, by no fault of its own that is
    proven, has a row in ``pending/`` that says when it is tried again; its other rows stay as they are.
    """

    def __init__(self, features: KeyedTable, rejects: KeyedTable, pending: KeyedTable) -> None:
        self.features = features
        self.rejects = Rejects(rejects)
        self.pending = Pending(pending)
        self._notes = (self.rejects, self.pending)

    @classmethod
    def open(cls, layout: StoreLayout, model_id: str, work_dir: Path) -> "FeatureStore":
        """Open or create the tables. Raises :class:`StoreError` if they are another network's."""
        features = KeyedTable(
            layout.features, FEATURES, work_dir / "features.sqlite", network=model_id
        )
        if features.network != model_id:
            raise StoreError(
                f"{layout.features} has features of {features.network!r}, but the "
                f"configuration asks for {model_id!r}: restore [model], or give the new network its "
                "own store with storage.store_prefix"
            )
        return cls(
            features,
            KeyedTable(layout.rejects, REJECTS, work_dir / "rejects.sqlite"),
            KeyedTable(layout.pending, PENDING, work_dir / "pending.sqlite"),
        )

    def settle(
        self,
        results: Sequence[Extracted],
        planned_on: int,
        is_current: Callable[[Outcome], bool | None],
        metadata: Mapping[str, object],
        waiting: Mapping[str, Row],
    ) -> Settled:
        """Make the outcomes of a micro-batch durable, one that was planned on version ``planned_on``.

        ``waiting`` are the rows of pending/ from before S3 was read: only those are ended by what was
        read. May be repeated with the same results. ``is_current`` checks whether S3 is still as the
        outcome found it, None if S3 does not tell; it is called, from several threads, for the photos
        that another writer's commits since ``planned_on`` were about. Raises :class:`CommitConflict` if
        others keep committing first.

        Each photo's outcome but a pending one is a commit to features/ that names it, even if no row
        changes. So of two services with one photo, the later to commit learns of the other, and checks
        again. (A pending one needs none: another service leaves its row, and its retry finds out.) Notes
        come after: whoever changed a note, and finds that another service has meanwhile settled the same
        photo, checks S3 again and has it processed again if that has changed. To stop in between leaves
        old notes; to repeat completes it.
        """
        overtaken: set[str] = set()
        again: set[str] = set()
        rewrites: Rewrites = {}
        replaced = removed = 0
        committed_as = planned_on
        conflicts, conflict_seconds, began = 0, 0.0, time.monotonic()
        for _ in range(MAX_CONFLICTS):
            self.features.refresh()
            if self._is_committed(results):  # the response to our own commit was lost
                break
            touched = self.features.touched(
                {each.key for each in of_kind(results, *SETTLED)}, planned_on
            )
            rows = self.features.find(touched)
            stored = {key: row.object_version for key, row in rows.items()}
            results = [self._without_twins(each, stored) for each in results]
            again |= _contradicted(results, touched, stored)
            final = of_kind(results, Kind.STORED, Kind.GONE, Kind.REJECTED)
            outdated, unknown = _checked(
                [each for each in final if each.key in touched], is_current
            )
            overtaken |= outdated
            again |= unknown
            results = [self._without(each, overtaken | again) for each in results]
            planned_on = self.features.table_version
            try:
                replaced, removed = self._commit_features(results, metadata, rewrites)
                committed_as = planned_on + 1
            except CommitConflict:
                conflicts, conflict_seconds = conflicts + 1, time.monotonic() - began
                log.info("another writer committed to features/ first; checking again")
                continue
            break
        else:
            raise CommitConflict(f"lost {MAX_CONFLICTS} commits in a row to other writers")
        rejected = self.rejects.settle(results, waiting)
        noted = rejected | self.pending.settle(results, waiting)
        again |= self._unsettled(results, noted, committed_as, is_current)
        count = {kind: sum(1 for _ in of_kind(results, kind)) for kind in Kind}
        return Settled(
            count[Kind.STORED],
            replaced,
            removed,
            count[Kind.UNCHANGED],
            count[Kind.REJECTED],
            count[Kind.PENDING],
            len(overtaken),
            tuple(sorted(again)),
            frozenset().union(*(each.stored() for each in results)),
            dict(Counter(o.reason for o in of_kind(results, Kind.REJECTED) if o.key in rejected)),
            conflicts,
            conflict_seconds,
        )

    def close(self) -> None:
        for each in (self.features, *self._notes):
            each.close()

    def _is_committed(self, results: Sequence[Extracted]) -> bool:
        return any(result.file and self.features.has_file(result.file.path) for result in results)

    def _commit_features(
        self, results: Sequence[Extracted], metadata: Mapping[str, object], rewrites: Rewrites
    ) -> tuple[int, int]:
        """Commit files and drop rows; the number of rows replaced and of rows removed."""
        added = [each for result in results for each in result.keyed_files()]
        stored = {key for each in added for key in each.object_versions}
        ended = {outcome.key for outcome in of_kind(results, Kind.GONE, Kind.REJECTED)}
        replaced = self.features.find(stored)
        removed = self.features.find(ended)
        keys = {outcome.key for outcome in of_kind(results, *SETTLED)}
        if keys:
            photos = sum(each.file.rows for each in added)
            about = {**metadata, "photos": photos}
            dropped = {*replaced, *removed}
            self.features.commit(added, dropped, about, about=keys, rewrites=rewrites)
        return len(replaced), len(removed)

    def _unsettled(
        self,
        results: Sequence[Extracted],
        noted: Collection[str],
        committed_as: int,
        is_current: Callable[[Outcome], bool | None],
    ) -> set[str]:
        """The photos with changed notes that S3 has changed and another service settled meanwhile."""
        if not noted:
            return set()
        self.features.refresh()
        touched = self.features.touched(noted, committed_as)
        settled = of_kind(results, *SETTLED)
        outdated, unknown = _checked([each for each in settled if each.key in touched], is_current)
        return outdated | unknown

    def _without_twins(self, result: Extracted, stored: Mapping[str, str]) -> Extracted:
        """Without the rows that another service has stored in the meantime."""
        twins = {key for key, version in result.stored().items() if stored.get(key) == version}
        outcomes = tuple(
            replace(each, kind=Kind.UNCHANGED) if each.key in twins else each
            for each in result.outcomes
        )
        return Extracted(self._file_without(result, twins), outcomes)

    def _without(self, result: Extracted, keys: Collection[str]) -> Extracted:
        outcomes = tuple(each for each in result.outcomes if each.key not in keys)
        return Extracted(self._file_without(result, keys), outcomes)

    def _file_without(self, result: Extracted, keys: Collection[str]) -> DataFile | None:
        drop = result.stored().keys() & set(keys)
        return self.features.without(result.file, drop) if result.file and drop else result.file


def _contradicted(
    results: Sequence[Extracted], touched: Collection[str], stored: Mapping[str, str]
) -> set[str]:
    """Unchanged photos whose row another service has replaced or removed."""
    unchanged = of_kind(results, Kind.UNCHANGED)
    return {
        each.key
        for each in unchanged
        if each.key in touched and stored.get(each.key) != each.object_version
    }


def _checked(
    outcomes: Sequence[Outcome], is_current: Callable[[Outcome], bool | None]
) -> tuple[set[str], set[str]]:
    """The photos that S3 no longer has as their outcomes say, and those about which it does not tell."""
    with ThreadPoolExecutor(8) as pool:
        current = list(pool.map(carried(is_current), outcomes))
    outdated, unknown = (
        {each.key for each, holds in zip(outcomes, current, strict=True) if holds is answer}
        for answer in (False, None)
    )
    return outdated, unknown
