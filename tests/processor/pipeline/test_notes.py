"""Notes: a row for each photo of their kinds, none for any other, whoever else writes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from processor.errors import CommitConflict
from processor.pipeline.notes import MAX_CONFLICTS, Notes
from processor.pipeline.outcomes import Extracted, Kind, Outcome
from processor.store.keyed import KeyedTable
from processor.store.schema import REJECTS


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[list[KeyedTable]]:
    opened = [KeyedTable(str(tmp_path / "rejects"), REJECTS, tmp_path / name) for name in "ab"]
    yield opened
    for table in opened:
        table.close()


def results(**kinds: Kind) -> list[Extracted]:
    outcomes = (Outcome(key, kind, "1", f"{kind}", "why") for key, kind in kinds.items())
    return [Extracted(None, tuple(outcomes))]


def test_only_photos_of_its_kinds_have_a_note(tables: list[KeyedTable]) -> None:
    notes = Notes(tables[0], Kind.REJECTED)
    both = results(a=Kind.REJECTED, b=Kind.REJECTED)
    assert notes.settle(both) == {"a", "b"}
    assert notes.settle(both) == set()
    assert notes.settle(results(a=Kind.STORED, b=Kind.REJECTED, c=Kind.GONE)) == {"a"}
    assert tables[0].find("abc").keys() == {"b"}


def test_a_commit_that_another_writer_overtook_is_repeated(
    tables: list[KeyedTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh = tables[0].refresh

    def overtaken() -> None:
        refresh()
        if "b" not in tables[0].find("b"):
            Notes(tables[1], Kind.REJECTED).settle(results(a=Kind.REJECTED, b=Kind.REJECTED))

    monkeypatch.setattr(tables[0], "refresh", overtaken)
    notes = Notes(tables[0], Kind.REJECTED)
    assert notes.settle(results(a=Kind.REJECTED, c=Kind.REJECTED)) == {"c"}
    tables[1].refresh()
    assert tables[1].find("abc").keys() == {"a", "b", "c"}


def test_others_may_not_come_first_for_ever(
    tables: list[KeyedTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []

    def lost(*_: object) -> None:
        attempts.append(1)
        raise CommitConflict("another writer was first")

    monkeypatch.setattr(tables[0], "commit", lost)
    with pytest.raises(CommitConflict, match=f"lost {MAX_CONFLICTS} commits"):
        Notes(tables[0], Kind.REJECTED).settle(results(a=Kind.REJECTED))
    assert len(attempts) == MAX_CONFLICTS
