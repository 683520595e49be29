"""The benchmark of growth: refits by need write a multiple of the matrix, in equal steps its square."""

import pytest

from benchmarks.growth import BEFORE
from benchmarks.workloads import filling
from benchmarks.workloads.filling import Load, Written
from common.config import Pca
from processor.matrix.refit_policy import RefitPolicy

POLICY = RefitPolicy(**Pca().model_dump(exclude={"csv", "report"}))


def last(photos: int, per_s: float, rules: tuple[filling.Rule, filling.Check]) -> Written:
    return filling.filled(Load(photos, per_s, files=2, row_bytes=2143), rules)[-1]


@pytest.mark.parametrize("per_s", [3, 100, 10_000])
def test_all_refits_write_at_most_twice_the_matrix(per_s: float) -> None:
    found = last(200_000, per_s, filling.by_need(POLICY))
    assert found.photos == 200_000
    assert found.added < found.photos
    slow = 10_000 * 3600 / per_s  # rows by time, while the store is small
    assert found.refitted <= 2 * found.photos + slow
    before = last(200_000, per_s, filling.in_equal_steps(*BEFORE))
    assert before.refitted > 4 * found.refitted


def test_rows_of_merged_files_are_counted() -> None:
    found = last(100_000, 5, filling.by_need(POLICY))  # in files of 50 rows, merged each hour
    assert found.photos < found.merged < 4 * found.photos
