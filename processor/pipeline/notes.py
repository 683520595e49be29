"""Notes: the photos that have no row in features/, and why; a table with one row for each."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from processor.errors import CommitConflict
from processor.pipeline.outcomes import Extracted, Kind, Outcome, of_kind
from processor.store.keyed import KeyedTable

MAX_CONFLICTS = 20  # in a row, before a commit fails and its messages are redelivered

_COLUMNS = ("key", "version", "reason", "attempts")


class Notes:
    """The rows of one such table, for outcomes of some ``kinds``. Used by one thread."""

    def __init__(self, table: KeyedTable, *kinds: Kind) -> None:
        self.table = table
        self._kinds = kinds

    def attempts(self, object_versions: Mapping[str, str]) -> dict[str, int]:
        """The attempts so far at those object versions, by key, that have a row."""
        rows = self.table.rows(object_versions, _COLUMNS)
        return {
            key: row["attempts"]
            for key, row in rows.items()
            if row["version"] == object_versions[key]
        }

    def settle(self, results: Sequence[Extracted]) -> set[str]:
        """Write the rows of outcomes of these kinds, drop those of all others; the keys changed.

        May be repeated. Raises :class:`CommitConflict` if others keep committing first.
        """
        noted = {each.key: each for each in of_kind(results, *self._kinds)}
        others = {each.key for each in of_kind(results, *Kind)} - noted.keys()
        for _ in range(MAX_CONFLICTS):
            self.table.refresh()
            rows = self.table.rows(noted, _COLUMNS)
            new = {key: each for key, each in noted.items() if _is_news(each, rows.get(key))}
            dropped = (new.keys() & rows.keys()) | self.table.find(others).keys()
            if not new and not dropped:
                return set()
            added = [self.table.write(list(_rows(new, rows)))] if new else []
            try:
                self.table.commit(added, dropped, {})
            except CommitConflict:
                continue
            return dropped | new.keys()
        raise CommitConflict(f"lost {MAX_CONFLICTS} commits of notes in a row to other writers")

    def close(self) -> None:
        self.table.close()


def _is_news(outcome: Outcome, row: Mapping[str, Any] | None) -> bool:
    """Whether the row of an outcome has to be written; each attempt at an unavailable photo counts."""
    known = row and (row["version"], row["reason"]) == (outcome.object_version, outcome.reason)
    return outcome.kind is Kind.UNAVAILABLE or not known


def _rows(
    outcomes: Mapping[str, Outcome], before: Mapping[str, Mapping[str, Any]]
) -> Iterator[dict[str, object]]:
    now = datetime.now(UTC)
    for key, each in outcomes.items():
        row = before.get(key)
        tried = row["attempts"] if row and row["version"] == each.object_version else 0
        yield {
            "key": key,
            "version": each.object_version,
            "reason": each.reason,
            "detail": each.detail,
            "attempts": tried + 1,
            "at": now,
        }
