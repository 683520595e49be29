"""The feature store: features, rejects and pending photos, one row per photo in each.

Several services may write to one store. A service that finds another's commit since its plan checks in
S3 which of its photos are still current, so an outcome that was overtaken while it was computed is never
written.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from common.layout import StoreLayout
from processor.errors import CommitConflict, StoreError
from processor.pipeline import retries
from processor.pipeline.outcomes import Extracted, Kind, Outcome, of_kind
from processor.store import datafiles
from processor.store.datafiles import KeyedFile
from processor.store.keyed import KeyedTable
from processor.store.schema import FEATURES, PENDING, REJECTS

log = logging.getLogger(__name__)

Row = dict[str, Any]  # by column; see the tables' schemas

MAX_CONFLICTS = 20  # in a row, before a commit fails and its messages are redelivered


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
    pending: int
    overtaken: int
    again: tuple[str, ...] = ()


class FeatureStore:
    """The tables of one store, with features of one network only. Used by one thread.

    Every live photo has one row in ``features/``; every photo that cannot have one has one row in
    ``rejects/`` that says why. A photo that could not be processed, by no fault of its own that is
    proven, has a row in ``pending/`` that says when it is tried again; its other rows stay as they are.
    """

    def __init__(self, layout: StoreLayout, model_id: str, work_dir: Path) -> None:
        """Open or create the tables. Raises :class:`StoreError` if they are another network's."""
        self.features = KeyedTable(
            layout.features, FEATURES, work_dir / "features.sqlite", network=model_id
        )
        if self.features.network != model_id:
            raise StoreError(
                f"{layout.features} has features of {self.features.network!r}, but the "
                f"configuration asks for {model_id!r}: restore [model], or give the new network its "
                "own store with storage.store_prefix"
            )
        self.rejects = KeyedTable(layout.rejects, REJECTS, work_dir / "rejects.sqlite")
        self.pending = KeyedTable(layout.pending, PENDING, work_dir / "pending.sqlite")

    def settle(
        self,
        results: Sequence[Extracted],
        planned_on: int,
        is_current: Callable[[Outcome], bool],
        metadata: Mapping[str, object],
        waiting: Mapping[str, Row],
    ) -> Settled:
        """Make the outcomes of a micro-batch durable, one that was planned on version ``planned_on``.

        ``waiting`` are the rows in pending/ from before S3 was read: those alone are ended by what was
        read. May be repeated with the same results. ``is_current`` checks whether S3 is still as the
        outcome found it; it is called, from several threads, only if another writer has committed since
        ``planned_on``. Raises :class:`CommitConflict` if others keep committing first. Features are
        committed before rejects and pending photos, so a failure may leave the former only; to repeat
        completes it.

        Every photo but a pending one commits to features/, even where nothing changes. This is a
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
        touched = self._commit_rejects(results, waiting)
        self._commit_pending(results, waiting)
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
            count[Kind.REJECTED],
            count[Kind.PENDING],
            len(overtaken),
            tuple(sorted(again)),
        )

    def waiting(self, keys: Iterable[str]) -> dict[str, Row]:
        """The rows in pending/ of those ``keys`` that have one, as of now."""
        self.pending.refresh()
        return _rows(self.pending, keys)

    def close(self) -> None:
        self.features.close()
        self.rejects.close()
        self.pending.close()

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
            file = datafiles.without(self.features.folder, file.path, drop)
        return Extracted(file, tuple(each for each in result.outcomes if each.key not in keys))

    def _commit_rejects(self, results: Sequence[Extracted], waiting: Mapping[str, Row]) -> Set[str]:
        """Write and drop rejects; the keys of those."""
        bad = {each.key: each for each in of_kind(results, Kind.REJECTED)}
        good = {each.key for each in of_kind(results, Kind.STORED, Kind.UNCHANGED, Kind.GONE)}

        def changes(before: Mapping[str, Row]) -> tuple[list[Row], Set[str]]:
            new = [
                _note(each, waiting)
                for key, each in bad.items()
                if key not in before
                or (before[key]["version"], before[key]["reason"])
                != (each.object_version, each.reason)
            ]
            return new, before.keys() & good

        return _commit_notes(self.rejects, REJECTS, {*bad, *good}, changes)

    def _commit_pending(self, results: Sequence[Extracted], waiting: Mapping[str, Row]) -> None:
        """Write rows of photos that wait, and drop those that do so no longer.

        A photo that waits already, and is not due, was named by another event too; that is no attempt.
        """
        pending = {each.key: each for each in of_kind(results, Kind.PENDING)}
        ended = {each.key for result in results for each in result.outcomes} - pending.keys()
        now = datetime.now(UTC)

        def changes(before: Mapping[str, Row]) -> tuple[list[Row], Set[str]]:
            new = [_note(each, waiting) for each in pending.values()]
            new = [
                {**row, "retry_at": retries.retry_at(now, row["attempts"])}
                for row in new
                if not _is_waiting(before.get(row["key"]), row, now)
            ]
            over = {key for key in before.keys() & ended if before[key] == waiting.get(key)}
            return new, over

        _commit_notes(self.pending, PENDING, {*pending, *ended}, changes)


def _rows(table: KeyedTable, keys: Iterable[str]) -> dict[str, Row]:
    """The rows of those ``keys`` that have one; reads every file with one of them."""
    found = table.find(keys)
    return {
        row["key"]: row
        for path in {location.path for location in found.values()}
        for row in datafiles.read(table.folder, path).to_pylist()
        if row["key"] in found
    }


def _commit_notes(
    table: KeyedTable,
    schema: pa.Schema,
    keys: Collection[str],
    changes: Callable[[Mapping[str, Row]], tuple[list[Row], Set[str]]],
) -> Set[str]:
    """Add and drop rows of ``keys``, given those that there are; the keys of what has changed.

    Added rows replace those with the same key.
    """
    for _ in range(MAX_CONFLICTS):
        table.refresh()
        before = _rows(table, keys)
        new, dropped = changes(before)
        added = {row["key"]: row["version"] for row in new}
        if not added and not dropped:
            return set()
        files = []
        if added:
            file = datafiles.write(table.folder, pa.Table.from_pylist(new, schema=schema))
            files.append(KeyedFile(file, added))
        try:
            table.commit(files, dropped | (before.keys() & added.keys()), {})
        except CommitConflict:
            continue
        return dropped | added.keys()
    raise CommitConflict(
        f"lost {MAX_CONFLICTS} commits to {table.folder} in a row to other writers"
    )


def _note(outcome: Outcome, waiting: Mapping[str, Row]) -> Row:
    """The row that says why a photo is rejected or waits. Attempts count if version and reason stay."""
    row = {"key": outcome.key, "version": outcome.object_version, "reason": outcome.reason}
    before = waiting.get(outcome.key, {})
    again = row.items() <= before.items()
    attempts = before["attempts"] + 1 if again else 1
    return {**row, "detail": outcome.detail, "attempts": attempts, "at": datetime.now(UTC)}


def _is_waiting(before: Row | None, row: Row, now: datetime) -> bool:
    return before is not None and before["version"] == row["version"] and before["retry_at"] > now


def _overtaken(results: Sequence[Extracted], is_current: Callable[[Outcome], bool]) -> set[str]:
    checked = list(of_kind(results, Kind.STORED, Kind.GONE, Kind.REJECTED))
    with ThreadPoolExecutor(8) as pool:
        current = list(pool.map(is_current, checked))
    return {outcome.key for outcome, holds in zip(checked, current, strict=True) if not holds}
