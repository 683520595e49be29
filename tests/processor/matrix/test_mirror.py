"""The mirror: the matrix follows the features file by file, whatever was added, removed or fitted."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from common.layout import StoreLayout
from processor.errors import CommitConflict
from processor.matrix import pca, tasks
from processor.matrix.mirror import Mirror, mirrored_version, model_name, since_fit
from processor.matrix.models import NamedModel
from processor.matrix.moments import Statistics
from processor.matrix.refit_policy import SinceFit
from processor.matrix.snapshot import FeaturesSnapshot
from processor.store import datafiles, delta, schema
from processor.store.datafiles import DataFile, Swap
from processor.store.delta import Table
from tests.support.drawn_photos import photo
from tests.support.feature_files import commit_features, features_table
from tests.support.in_process import InThisProcess
from tests.support.matrices import assert_whole, matrix, put
from tests.support.spectra import geometric, sample
from tests.support.world import World

# Files of features, and the models


def file_of(number: int):
    """Rows that no other number has."""
    return features_table(sample(2 + number % 3, geometric, seed=number), first=100 * number)


def model(name: str, components: int = 3) -> NamedModel:
    seed = sum(map(ord, name))
    return NamedModel(name, pca.fit(Statistics.of(sample(50, geometric, seed)), components))


ONE, TWO, WIDER = model("one"), model("two"), model("wider", components=5)


@dataclass
class Mirrored:
    """A store on the local disk, whose features :meth:`update` mirrors."""

    layout: StoreLayout
    live: dict[int, DataFile] = field(default_factory=dict)

    def change(self, added: set[int], removed: set[int]) -> None:
        gone = tuple(self.live.pop(number) for number in removed & self.live.keys())
        numbers = sorted(added - self.live.keys())
        files = commit_features(self.layout, *map(file_of, numbers), removed=gone)
        self.live |= dict(zip(numbers, files, strict=True))

    def update(
        self, of: NamedModel, reduced: Table | None = None, swaps: Sequence[Swap] = ()
    ) -> int | None:
        features = FeaturesSnapshot.newest(self.layout)
        assert features
        reduced = reduced or self.reduced()
        return Mirror(self.layout, InThisProcess()).update(
            features, reduced, of, since_fit(reduced), swaps=swaps
        )

    def reduced(self) -> Table | None:
        return delta.open_table(self.layout.reduced)

    def counted(self) -> SinceFit:
        return since_fit(self.reduced())

    def assert_mirrors(self, of: NamedModel) -> Table:
        reduced = self.reduced()
        assert reduced
        assert reduced.paths() == {f"{of.name}/{each.path}" for each in self.live.values()}
        assert model_name(reduced) == (of.name if self.live else None)
        features = delta.open_table(self.layout.features)
        assert features
        assert mirrored_version(reduced) == features.table_version
        wanted = {
            row["key"]: of.pca.project(np.array([row["features"]], np.float32))[0]
            for row in features.dataset().to_table().to_pylist()
        }
        rows = {row["key"]: row for row in reduced.dataset().to_table().to_pylist()}
        assert rows.keys() == wanted.keys()
        for key, row in rows.items():
            found = [value for name, value in row.items() if name.startswith("pc")]
            np.testing.assert_allclose(found, wanted[key], rtol=1e-4, atol=1e-4)
        return reduced


@pytest.fixture
def mirrored(tmp_path: Path) -> Mirrored:
    return Mirrored(StoreLayout(f"{tmp_path}/"))


NUMBERS = st.sets(st.integers(0, 5), max_size=3)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(NUMBERS, NUMBERS, st.sampled_from([ONE, TWO, WIDER])), min_size=1, max_size=5
    )
)
def test_any_history_ends_in_the_projection_of_what_is_there(
    tmp_path_factory: pytest.TempPathFactory, steps: list
) -> None:
    mirrored = Mirrored(StoreLayout(f"{tmp_path_factory.mktemp('any')}/"))
    for added, removed, of in steps:
        mirrored.change(added, removed)
        mirrored.update(of)
    mirrored.assert_mirrors(of)


def test_only_what_is_missing_is_projected(mirrored: Mirrored) -> None:
    mirrored.change({0, 1}, set())
    assert mirrored.update(ONE) == 5
    mirrored.change({2}, {0})
    assert mirrored.update(ONE) == 4
    mirrored.assert_mirrors(ONE)
    mirrored.change(set(), {2})
    assert mirrored.update(ONE) == 0
    mirrored.assert_mirrors(ONE)


def test_a_matrix_that_is_up_to_date_gets_no_new_version(mirrored: Mirrored) -> None:
    mirrored.change({0}, set())
    mirrored.update(ONE)
    before = mirrored.assert_mirrors(ONE).table_version
    assert mirrored.update(ONE) is None
    assert mirrored.assert_mirrors(ONE).table_version == before
    mirrored.change(set(), set())  # a version of the features, with the same rows
    assert mirrored.update(ONE) == 0
    assert mirrored.assert_mirrors(ONE).table_version == before + 1


def test_another_model_replaces_all_files_and_may_have_other_columns(mirrored: Mirrored) -> None:
    mirrored.change({0, 1}, set())
    mirrored.update(ONE)
    assert mirrored.update(WIDER) == 5
    assert mirrored.assert_mirrors(WIDER).columns.names[2:] == ["pc1", "pc2", "pc3", "pc4", "pc5"]
    assert mirrored.update(TWO) == 5
    assert mirrored.assert_mirrors(TWO).columns.names[2:] == ["pc1", "pc2", "pc3"]


@pytest.mark.parametrize("late", [ONE, TWO])
def test_an_update_planned_on_an_older_matrix_changes_nothing(
    mirrored: Mirrored, late: NamedModel
) -> None:
    mirrored.change({0}, set())
    mirrored.update(ONE)
    older = mirrored.reduced()
    mirrored.change({1}, set())
    mirrored.update(ONE)
    mirrored.change({2}, set())
    before = mirrored.reduced()
    assert before
    with pytest.raises(CommitConflict):
        mirrored.update(late, older)
    after = mirrored.reduced()
    assert after
    assert (after.table_version, after.paths()) == (before.table_version, before.paths())


def test_photos_added_after_the_fit_are_counted(mirrored: Mirrored) -> None:
    assert mirrored.counted() == SinceFit()
    mirrored.change({0}, set())
    mirrored.update(ONE)
    assert mirrored.counted() == SinceFit()  # the model was fitted to them
    residual = 0.0
    for number in (1, 2):
        rows = np.stack(file_of(number)["features"].to_numpy(zero_copy_only=False))
        residual += ONE.pca.residual(rows, ONE.pca.project(rows))
        mirrored.change({number}, set())
        mirrored.update(ONE)
    counted = mirrored.counted()
    assert counted.photos == 3 + 4
    assert counted.residual == pytest.approx(residual, rel=1e-5)
    mirrored.change(set(), {0})
    mirrored.update(ONE)
    assert mirrored.counted() == counted


def compacted(mirrored: Mirrored) -> list[Swap]:
    """Merge all files, two and two."""
    files, mirrored.live = sorted(mirrored.live.items()), {}
    swaps = []
    for (number, one), (_, other) in zip(files[::2], files[1::2], strict=True):
        paths = [other.path, one.path]
        (merged,) = datafiles.merge(mirrored.layout.features, paths, schema.FEATURES)
        swaps.append(Swap((one, other), (merged,)))
        mirrored.live[number] = merged
    table = delta.open_table(mirrored.layout.features)
    assert table
    added = list(mirrored.live.values())
    table.commit(schema.FEATURES, added, [file.path for _, file in files], data_change=False)
    return swaps


def test_rows_that_a_compaction_has_moved_are_not_projected_again(
    mirrored: Mirrored, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirrored.change({0, 1, 2}, set())
    mirrored.update(ONE)
    mirrored.change({3}, set())
    mirrored.update(ONE)
    counted = mirrored.counted()
    assert counted.photos == 2
    swaps = compacted(mirrored)
    read: list[str] = []
    project = tasks.project

    def noted(paths, *arguments, **named):
        paths = list(paths)
        read.extend(paths)
        return project(paths, *arguments, **named)

    monkeypatch.setattr(tasks, "project", noted)
    assert mirrored.update(ONE, swaps=swaps) == 0
    assert read == []
    mirrored.assert_mirrors(ONE)
    assert mirrored.counted() == counted


def test_moved_rows_are_projected_where_their_counterparts_are_not_there(
    mirrored: Mirrored,
) -> None:
    """A new file, a file that was replaced in between, another model."""
    mirrored.change({0, 1, 2}, set())
    mirrored.update(ONE)
    mirrored.change({3}, set())
    swaps = compacted(mirrored)  # the second has a file that is not mirrored yet
    assert mirrored.update(ONE, swaps=swaps) == 4 + 2
    mirrored.assert_mirrors(ONE)
    mirrored.change({4, 5}, set())
    mirrored.update(ONE)
    swaps = compacted(mirrored)
    mirrored.change({1}, {0})  # the first is gone again
    assert mirrored.update(ONE, swaps=swaps) == 3
    mirrored.assert_mirrors(ONE)
    swaps = compacted(mirrored)
    assert mirrored.update(TWO, swaps=swaps) == 3 + 7
    mirrored.assert_mirrors(TWO)


def test_files_that_are_not_what_a_swap_says_are_refused(mirrored: Mirrored) -> None:
    mirrored.change({0, 1}, set())
    mirrored.update(ONE)
    (swap,) = compacted(mirrored)
    wrong = replace(swap, removed=swap.removed[:1])
    with pytest.raises(ValueError, match="other keys"):
        mirrored.update(ONE, swaps=[wrong])
    mirrored.update(ONE)
    mirrored.assert_mirrors(ONE)


# Photos, in Spark tasks


def test_new_photos_are_projected_between_refits(world: World, spark: SparkSession) -> None:
    put(world, *range(8))
    reduced = matrix(world, spark)
    reduced.update()
    before = assert_whole(world)
    put(world, 8, 9)
    update = reduced.update()
    assert update
    assert (update.projected, update.refit) == (2, None)
    after = assert_whole(world)
    assert before.items() <= after.items()
    assert reduced.update() is None


def test_replaced_and_removed_photos_follow(world: World, spark: SparkSession) -> None:
    put(world, *range(8))
    reduced = matrix(world, spark)
    reduced.update()
    world.handle(
        world.put("photos/L1/1.jpg", photo(50)),
        world.remove("photos/L2/2.jpg"),
        world.put("photos/L0/3.jpg", b"bad"),
    )
    reduced.update()
    assert set(assert_whole(world)) == set(world.features())
    world.handle(*(world.remove(key) for key in world.features()))
    reduced.update()
    table = delta.open_table(f"s3://{world.bucket}/reduced")
    assert table
    assert table.rows == 0


def test_new_photos_stay_counted_over_a_vacuum(world: World, spark: SparkSession) -> None:
    def add(n: int) -> dict[str, str]:
        world.handle(world.put(f"photos/L0/{n}.jpg", photo(n)))
        matrix(world, spark).update()
        return newest_entry()

    def newest_entry() -> dict[str, str]:
        table = delta.open_table(f"s3://{world.bucket}/reduced")
        assert table
        return next(table.history(1))

    for n in range(4):
        put(world, n)
    matrix(world, spark).update()
    assert add(4)["photos_since_fit"] == "1"
    datafiles.write(f"s3://{world.bucket}/reduced", file_of(0))  # orphaned
    table = delta.open_table(f"s3://{world.bucket}/reduced")
    assert table
    # Somebody else's, which writes entries of its own.
    table._table.vacuum(0, dry_run=False, enforce_retention_duration=False, full=True)
    assert "VACUUM" in newest_entry()["operation"]
    assert add(5)["photos_since_fit"] == "2"
