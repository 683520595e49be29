"""The feature store: features and rejects, one row per photo, one transaction per micro-batch.

Several services may write to one store. A service that finds another's commit since its plan checks in
S3 which of its photos are still current, so an outcome that was overtaken while it was computed is never
written.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from common.layout import StoreLayout
from processor.errors import CommitConflict, StoreError
from processor.pipeline.notes import MAX_CONFLICTS, Notes
from processor.pipeline.outcomes import Extracted, Kind, Outcome, of_kind
from processor.store.keyed import KeyedTable
from processor.store.schema import FEATURES, REJECTS

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settled:
    """A micro-batch whose outcomes are durable: the number of photos by outcome.

    ``overtaken`` photos changed in S3 while they were processed: nothing was written for them, because
    the event of that change will settle them. ``again`` photos are not settled: what another service
    committed in the meantime contradicts their outcome, so they have to be processed again.
    """

    stored: int
    replaced: int
    removed: int
    unchanged: int
    rejected: int
    overtaken: int
    again: tuple[str, ...] = ()


class FeatureStore:
    """The features and rejects of one store, from one network only. Used by one thread.

    Every live photo has one row in ``features/``; every photo that cannot have one has one row in
    ``rejects/`` that says why.
    """

    def __init__(self, features: KeyedTable, rejects: KeyedTable) -> None:
        self.features = features
        self.rejects = Notes(rejects, Kind.REJECTED, Kind.UNAVAILABLE)

    @classmethod
    def open(cls, layout: StoreLayout, model_id: str, work_dir: Path) -> "FeatureStore":
        """Open or create the tables. Raises :class:`StoreError` if they are another network's."""
        features = KeyedTable(
            layout.features, FEATURES, work_dir / "features.sqlite", description=model_id
        )
        if features.description != model_id:
            raise StoreError(
                f"{layout.features} has features of {features.description!r}, but the "
                f"configuration asks for {model_id!r}: restore [model], or give the new network its "
                "own store with storage.store_prefix"
            )
        return cls(features, KeyedTable(layout.rejects, REJECTS, work_dir / "rejects.sqlite"))

    def settle(
        self,
        results: Sequence[Extracted],
        planned_on: int,
        is_current: Callable[[Outcome], bool],
        metadata: Mapping[str, object],
    ) -> Settled:
        """Make the outcomes of a micro-batch durable, one that was planned on version ``planned_on``.

        May be repeated with the same results. ``is_current`` checks whether S3 is still as the outcome
        found it; it is called, from several threads, only if another writer has committed since
        ``planned_on``. Raises :class:`CommitConflict` if others keep committing first. Features are
        committed before rejects, so a failure may leave the former only; to repeat completes it.

        Every photo but an unavailable one commits to features/, even where nothing changes. This is a
        fence: a service that read the photo earlier and has not committed yet runs into a conflict and
        checks again. Rejects have no such fence, so what they were judged by is checked afterwards.
        """
        overtaken: set[str] = set()
        again: set[str] = set()
        replaced = removed = 0
        committed_as = planned_on
        for _ in range(MAX_CONFLICTS):
            self.features.refresh()
            if self._is_committed(results):  # the response to our own commit was lost
                break
            if self.features.table_version != planned_on:
                overtaken |= _overtaken(results, is_current)
                again |= self._contradicted(results)
                results = [self._without(result, overtaken | again) for result in results]
                planned_on = self.features.table_version
            try:
                replaced, removed = self._commit_features(results, metadata)
                committed_as = planned_on + 1
            except CommitConflict:
                log.info("another writer committed to features/ first; checking again")
                continue
            break
        else:
            raise CommitConflict(f"lost {MAX_CONFLICTS} commits in a row to other writers")
        touched = self.rejects.settle(results)
        if touched:
            self.features.refresh()
            if self.features.table_version != committed_as:
                again |= _overtaken(results, is_current) & touched
        count = {kind: sum(1 for _ in of_kind(results, kind)) for kind in Kind}
        return Settled(
            count[Kind.STORED],
            replaced,
            removed,
            count[Kind.UNCHANGED],
            count[Kind.REJECTED] + count[Kind.UNAVAILABLE],
            len(overtaken),
            tuple(sorted(again)),
        )

    def attempts(self, object_versions: Mapping[str, str]) -> dict[str, int]:
        """The attempts so far at those object versions, by key, that are rejected."""
        return self.rejects.attempts(object_versions)

    def close(self) -> None:
        self.features.close()
        self.rejects.close()

    def _is_committed(self, results: Sequence[Extracted]) -> bool:
        return any(result.file and self.features.has_file(result.file.path) for result in results)

    def _commit_features(
        self, results: Sequence[Extracted], metadata: Mapping[str, object]
    ) -> tuple[int, int]:
        """Commit files and drop rows; the number of rows replaced and of rows removed."""
        added = [each for result in results for each in result.keyed_files()]
        stored = {key for each in added for key in each.object_versions}
        ended = {outcome.key for outcome in of_kind(results, Kind.GONE, Kind.REJECTED)}
        replaced = self.features.find(stored)
        removed = self.features.find(ended)
        if added or ended or any(of_kind(results, Kind.UNCHANGED)):
            photos = sum(each.file.rows for each in added)
            self.features.commit(added, {*replaced, *removed}, {**metadata, "photos": photos})
        return len(replaced), len(removed)

    def _contradicted(self, results: Sequence[Extracted]) -> set[str]:
        """Unchanged photos whose row another service has replaced or removed."""
        rows = {each.key: each for each in of_kind(results, Kind.UNCHANGED)}
        found = self.features.find(rows)
        return {
            key
            for key, each in rows.items()
            if key not in found or found[key].object_version != each.object_version
        }

    def _without(self, result: Extracted, keys: Collection[str]) -> Extracted:
        drop = frozenset(result.stored().keys() & set(keys))
        file = result.file
        if file and drop:
            file = self.features.without(file, drop)
        return Extracted(file, tuple(each for each in result.outcomes if each.key not in keys))


def _overtaken(results: Sequence[Extracted], is_current: Callable[[Outcome], bool]) -> set[str]:
    checked = list(of_kind(results, Kind.STORED, Kind.GONE, Kind.REJECTED))
    with ThreadPoolExecutor(8) as pool:
        current = list(pool.map(is_current, checked))
    return {outcome.key for outcome, holds in zip(checked, current, strict=True) if not holds}
