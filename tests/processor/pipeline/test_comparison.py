"""The comparison of bucket and store: every difference is found, and nothing else."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from processor.photos import listing
from processor.photos.listing import ListedObject
from processor.pipeline import comparison
from processor.pipeline.comparison import Difference, Known, Note, Scope, compare
from processor.pipeline.outcomes import CRASH, VANISHED
from tests.support.drawn_photos import photo
from tests.support.s3_answers import s3_answers
from tests.support.world import World

NOW = datetime(2026, 11, 26, tzinfo=UTC)
A, B = Note("a", "corrupt"), Note("b", "corrupt")
WAITS, WAITED = Note("a", "forbidden"), Note("b", "forbidden")
MISSING, STALE, REMOVED, RETRIED = Difference


def listed(version: str = "a", modified: datetime = NOW) -> ListedObject:
    return ListedObject("photos/k", version, 1, modified)


def differing(world: World, scope: Scope, after: str = "") -> dict[str, Difference]:
    found = list(compare(world.recipe.layout, scope, world.folder, after))
    assert [each.key for each in found] == sorted(each.key for each in found)
    return {each.key: each.difference for each in found if each.difference}


@pytest.mark.parametrize(
    ("known", "difference"),
    [
        (Known(), MISSING),
        (Known("a"), None),
        (Known("b"), STALE),
        (Known(reject=A), None),
        (Known(reject=B), STALE),
        (Known("a", reject=A), STALE),
        (Known("b", reject=A), STALE),
        (Known(reject=Note("a", VANISHED)), RETRIED),
        (Known(pending=WAITS), None),
        (Known(pending=WAITED), STALE),
        (Known("b", pending=WAITS), None),
        (Known("a", pending=WAITS), None),
        (Known("a", pending=WAITED), None),
        (Known(reject=B, pending=WAITS), None),
    ],
)
def test_what_the_store_has_is_compared_with_what_s3_has_now(
    known: Known, difference: Difference | None
) -> None:
    assert Scope(prefix="").difference(listed(), known) == difference
    removed = None if known == Known() else REMOVED
    assert known == Known() or Scope(prefix="").difference(None, known) == removed


def test_what_waits_is_tried_again_on_request_but_for_suspects() -> None:
    scope = Scope(prefix="", pending=True)
    assert scope.difference(listed(), Known(pending=WAITS)) is RETRIED
    assert scope.difference(listed(), Known("a", pending=WAITS)) is RETRIED
    assert scope.difference(listed(), Known(pending=Note("a", CRASH))) is None
    assert scope.difference(listed(), Known("a")) is None


def test_rejects_are_tried_again_for_the_reasons_requested() -> None:
    scope = Scope(prefix="", rejects=frozenset({"too-large"}))
    assert scope.difference(listed(), Known(reject=Note("a", "too-large"))) is RETRIED
    assert scope.difference(listed(), Known(reject=A)) is None


def test_only_photos_modified_in_time_count_but_all_that_were_removed() -> None:
    hour = timedelta(hours=1)
    scope = Scope(prefix="", since=NOW, before=NOW + hour)
    for modified, counts in ((-hour, False), (0 * hour, True), (hour, True), (2 * hour, False)):
        found = scope.difference(listed(modified=NOW + modified), Known())
        assert found is (MISSING if counts else None)
    assert scope.difference(None, Known("a")) is REMOVED


def test_a_bucket_and_its_store(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind of difference among photos that have none, in pages and from any key."""
    monkeypatch.setattr(listing, "PAGE_KEYS", 2)
    keys = [f"photos/{name}.jpg" for name in "aäbcd🍎"]
    world.handle(*(world.put(key, photo(n)) for n, key in enumerate(keys)))
    bad, gone = "photos/bad", "photos/gone"
    denied = world.put("photos/denied.jpg", photo(30))
    with s3_answers(403, "AccessDenied", "denied.jpg"):
        world.handle(world.put(bad, b"bad"), world.put(gone, b"bad"), denied)
    world.put("photos/folder/", b"")
    scope = Scope(prefix="photos/")
    assert differing(world, scope) == {}
    world.put(keys[1], photo(20))
    world.put("photos/new.jpg", photo(21))
    world.put(bad, photo(22))
    for key in (keys[0], keys[-1], gone):
        world.remove(key)
    expected = {
        **{keys[0]: REMOVED, keys[-1]: REMOVED, gone: REMOVED},
        **{keys[1]: STALE, bad: STALE, "photos/new.jpg": MISSING},
    }
    assert differing(world, scope) == expected
    for after in expected:
        rest = {key: each for key, each in expected.items() if key > after}
        assert differing(world, scope, after) == rest
    with_pending = Scope(prefix="photos/", pending=True)
    assert differing(world, with_pending) == expected | {"photos/denied.jpg": RETRIED}
    assert differing(world, Scope(prefix="photos/n")) == {"photos/new.jpg": MISSING}


def test_of_a_store_without_tables_every_photo_is_missing(world: World, tmp_path: Path) -> None:
    """It is moved, or new; nothing is created by looking."""
    layout = comparison.BucketLayout(world.bucket, store_prefix="v2/")
    world.put("photos/a.jpg", photo(1))
    (found,) = compare(layout, Scope(prefix="photos/"), tmp_path)
    assert (found.key, found.difference) == ("photos/a.jpg", MISSING)
    assert world.s3.list_objects_v2(Bucket=world.bucket, Prefix="v2/")["KeyCount"] == 0
