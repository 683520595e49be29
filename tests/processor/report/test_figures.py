"""The figures: what the summary says is what the tables, their log and the models say."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from processor.matrix import models
from processor.matrix.matrix import Matrix
from processor.matrix.refit_policy import RefitPolicy
from processor.report import figures
from processor.report.draw import Drawn
from processor.report.summary import Summary
from processor.store import delta
from tests.support.drawn_photos import photo
from tests.support.in_process import InThisProcess
from tests.support.world import World

NOW = datetime(2026, 11, 27, 12, 30, tzinfo=UTC)


class Log:
    """Stands in for a table of which only the log counts; ``ages`` are the entries' hours, in order."""

    def __init__(self, ages: list[float | None]) -> None:
        self.ages = ages
        self.table_version = len(ages) - 1
        self.read = 0

    def metadata_of(self, versions: Iterable[int]) -> list[dict[str, Any] | None]:
        found: list[dict[str, Any] | None] = []
        for number in versions:
            self.read += 1
            age = self.ages[number]
            at = None if age is None else (NOW - timedelta(hours=age)).timestamp() * 1000
            found.append(at and {"timestamp": int(at), "photos": 10, "batch": 1})
        return found


def hours(ages: list[float | None]) -> dict[float, int]:
    """Photos by the age of the hour's start."""
    found = figures.stored(Log(ages), NOW)
    assert [at for at, _ in found] == sorted(at for at, _ in found)
    return {(NOW - at).total_seconds() / 3600: photos for at, photos in found}


def test_photos_by_the_hour_of_their_commit() -> None:
    assert hours([3.2, 3.1, 0.2, 0.1]) == {3.5: 20, 2.5: 0, 1.5: 0, 0.5: 20}


def test_a_week_is_shown_at_most() -> None:
    found = hours([200.0, 169.0, 100.0, 0.1])
    assert len(found) == 168
    assert (max(found), sum(found.values())) == (167.5, 20)


def test_where_the_log_begins_later_only_whole_hours_are_shown() -> None:
    assert hours([None, None, 2.3, 2.2, 1.2, 0.1]) == {1.5: 10, 0.5: 10}
    assert hours([None]) == {}


def test_no_more_than_so_many_commits_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "MOST_COMMITS", 50)
    monkeypatch.setattr(figures, "COMMITS_AT_ONCE", 20)
    log = Log([n / 10 + 0.05 for n in range(99, -1, -1)])
    found = figures.stored(log, NOW)
    assert log.read == 50
    assert [photos for _, photos in found] == [100, 100, 100, 100, 50]


def summary(world: World) -> Summary:
    layout = world.recipe.layout.store
    reduced = delta.open_table(layout.reduced)
    assert reduced
    name = next(iter(reduced.paths())).partition("/")[0]
    model = models.read(layout, name)
    assert model
    drawn = Drawn("", [], reduced.rows, [("L", reduced.rows)], 1)
    return figures.summary(layout, reduced, model, drawn, InThisProcess())


def test_summary(world: World) -> None:
    world.handle(*(world.put(f"photos/L/{n}.jpg", photo(n)) for n in range(6)))
    world.handle(
        world.put("photos/<b>.jpg", b"no photo"),
        world.event("photos/gone.jpg", "ObjectCreated:Put", "1", 1),
    )
    matrix = Matrix(world.recipe.layout.store, RefitPolicy(components=2), InThisProcess())
    matrix.update()
    matrix.update(force=True)
    found = summary(world)
    assert (found.bucket, found.photos, found.labels) == (world.bucket, 6, [("L", 6)])
    assert {each.reason: each.photos for each in found.rejects} == {"unsupported": 1, "vanished": 1}
    (bad,) = (each for each in found.rejects if each.reason == "unsupported")
    assert bad.examples[0][0] == "photos/<b>.jpg"
    assert found.pending == []
    assert sum(photos for _, photos in found.stored) == 6
    assert len(found.explained_variance) == 2
    assert found.captured == pytest.approx(1)
    second, first = found.fits
    assert (first.why, first.moved, first.photos, first.components) == ("no model", None, 6, 2)
    assert second.why == "on demand"
    assert second.moved is not None
    assert second.at >= first.at
    assert found.network == world.recipe.network.model_id
    assert found.versions.keys() >= {"features/", "reduced/", "Python", "pyspark"}
    world.handle(world.put("photos/L/new.jpg", photo(7)))
    matrix.update()
    assert summary(world).captured is None  # nobody has the new photo's statistics yet
