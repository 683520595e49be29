"""Notes: why photos have no up-to-date row in features/; two tables with one row for each such photo."""

from collections.abc import Collection, Mapping, Sequence, Set
from datetime import UTC, datetime
from typing import Any

from processor.errors import CommitConflict
from processor.pipeline import retries
from processor.pipeline.outcomes import SETTLED, Extracted, Kind, Outcome, of_kind
from processor.store.keyed import KeyedTable

# In a row, before a commit fails and its messages are redelivered. Of eight services that do nothing but
# commit, one in 40 commits loses 20 times in a row and one in 10^15 so often. All try again at once: to
# wait first costs commits, and who waits loses to those that do not (benchmarks/results.md, writers).
MAX_CONFLICTS = 200

Row = dict[str, Any]  # by column; see the tables' schemas


class Notes:
    """One of these tables. Used by one thread."""

    def __init__(self, table: KeyedTable) -> None:
        self.table = table

    def close(self) -> None:
        self.table.close()

    def __len__(self) -> int:
        """The number of photos with a row, as of the last refresh."""
        return len(self.table)

    def _commit(
        self, new: Mapping[str, Row], dropped: Collection[str], before: Mapping[str, Row]
    ) -> Set[str]:
        """Write rows, and drop others; the keys changed. Raises :class:`CommitConflict`."""
        changed = {*new, *dropped}
        if changed:
            added = [self.table.write(list(new.values()))] if new else []
            self.table.commit(added, changed & before.keys(), {})
        return changed


class Rejects(Notes):
    """The photos that cannot have a row: ``rejects/``."""

    def settle(self, results: Sequence[Extracted], waiting: Mapping[str, Row]) -> Set[str]:
        """Write the rejects among the outcomes, drop those of all others that are settled.

        ``waiting`` are rows of ``pending/``, for the number of attempts. Returns the keys changed. May
        be repeated. Raises :class:`CommitConflict` if others keep committing first.
        """
        rejected = {each.key: each for each in of_kind(results, Kind.REJECTED)}
        settled = {each.key for each in of_kind(results, *SETTLED)}
        for _ in range(MAX_CONFLICTS):
            self.table.refresh()
            before = self.table.rows(settled, ("key", "version", "reason"))
            new = {
                key: _row(each, waiting)
                for key, each in rejected.items()
                if not _names(each).items() <= before.get(key, {}).items()
            }
            try:
                return self._commit(new, before.keys() - rejected.keys(), before)
            except CommitConflict:
                continue
        raise CommitConflict(f"lost {MAX_CONFLICTS} commits to rejects/ in a row to other writers")


class Pending(Notes):
    """The photos that wait to be tried again: ``pending/``."""

    def rows(self, keys: Collection[str]) -> dict[str, Row]:
        """The rows of those ``keys`` that have one, as of now."""
        self.table.refresh()
        return self.table.rows(keys)

    def settle(self, results: Sequence[Extracted], waiting: Mapping[str, Row]) -> Set[str]:
        """Write a row of each photo that waits, drop those that were ``waiting`` and are settled.

        A photo that waits already, and is not due, was named by another event too; that is no attempt.
        Returns the keys changed. May be repeated. Raises :class:`CommitConflict` if others keep
        committing first.
        """
        pending = {each.key: each for each in of_kind(results, Kind.PENDING)}
        settled = {each.key for each in of_kind(results, *SETTLED)}
        for _ in range(MAX_CONFLICTS):
            now = datetime.now(UTC)
            before = self.rows({*pending, *settled})
            new = {
                key: row | {"retry_at": retries.retry_at(now, row["attempts"])}
                for key, row in ((key, _row(each, waiting)) for key, each in pending.items())
                if not _waits(before.get(key), row, now)
            }
            over = {key for key in before.keys() & settled if before[key] == waiting.get(key)}
            try:
                return self._commit(new, over, before)
            except CommitConflict:
                continue
        raise CommitConflict(f"lost {MAX_CONFLICTS} commits to pending/ in a row to other writers")


def _names(outcome: Outcome) -> Row:
    return {"version": outcome.object_version, "reason": outcome.reason}


def _row(outcome: Outcome, waiting: Mapping[str, Row]) -> Row:
    """The row of an outcome. Attempts add up while version and reason stay."""
    before = waiting.get(outcome.key, {})
    again = _names(outcome).items() <= before.items()
    return {
        "key": outcome.key,
        **_names(outcome),
        "detail": outcome.detail,
        "attempts": before["attempts"] + 1 if again else 1,
        "at": datetime.now(UTC),
    }


def _waits(before: Row | None, row: Row, now: datetime) -> bool:
    return before is not None and before["version"] == row["version"] and before["retry_at"] > now
