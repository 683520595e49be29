"""Invariants of the moments: any grouping, order and block size give the same statistics."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.matrix.moments import Accumulator, Statistics
from processor.matrix.npz import pack

light = settings(max_examples=40, deadline=None)


def sample(n, d, seed=0, mean=0.0):
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((n, d)) @ rng.standard_normal((d, d))
    return (mixed + mean * rng.standard_normal(d)).astype(np.float32)


def assert_describes(statistics, rows, tolerance):
    wide = rows.astype(np.float64)
    centred = wide - wide.mean(axis=0)
    scatter = centred.T @ centred
    assert statistics.count == len(rows)
    np.testing.assert_allclose(statistics.mean, wide.mean(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        statistics.scatter, scatter, rtol=0, atol=tolerance * np.abs(scatter).max()
    )
    np.testing.assert_array_equal(statistics.scatter, statistics.scatter.T)


@light
@given(
    cuts=st.lists(st.integers(0, 400), max_size=6),
    block_rows=st.integers(1, 500),
    mean=st.sampled_from([0.0, 1.0, 1000.0]),
    shuffle=st.randoms(use_true_random=False),
)
def test_any_grouping_order_and_block_size_agree_with_float64(cuts, block_rows, mean, shuffle):
    rows = sample(400, 8, mean=mean)
    parts = np.split(rows, sorted(cuts))
    shuffle.shuffle(parts)
    running = Accumulator(8)
    for part in parts:
        running.merge(Statistics.of(part, block_rows))
    assert_describes(running.statistics(), rows, 1e-6)


@light
@given(order=st.permutations(range(5)), left=st.booleans())
def test_merging_is_exact_to_float64_rounding(order, left):
    parts = [Statistics.of(sample(60 + i, 6, seed=i, mean=100.0)) for i in range(5)]
    straight = sum(parts, Statistics.empty(6))
    mixed = Statistics.empty(6)
    for i in order:
        mixed = mixed + parts[i] if left else parts[i].merge(mixed)
    assert mixed.count == straight.count
    np.testing.assert_allclose(mixed.mean, straight.mean, rtol=1e-13)
    scale = np.abs(straight.scatter).max()
    np.testing.assert_allclose(mixed.scatter, straight.scatter, rtol=0, atol=1e-13 * scale)


@light
@given(cut=st.integers(0, 300), mean=st.sampled_from([0.0, 1000.0]))
def test_subtracting_rows_is_the_inverse_of_merging(cut, mean):
    rows = sample(300, 6, mean=mean)
    part, rest = Statistics.of(rows[:cut]), Statistics.of(rows[cut:])
    left = (part + rest).without(part)
    assert left.count == rest.count
    np.testing.assert_allclose(left.mean, rest.mean, rtol=1e-10, atol=1e-10)
    scale = np.abs((part + rest).scatter).max()
    np.testing.assert_allclose(left.scatter, rest.scatter, rtol=0, atol=1e-12 * scale)
    np.testing.assert_array_equal(left.scatter, left.scatter.T)


def test_only_a_part_can_be_subtracted():
    few, many = Statistics.of(sample(5, 3)), Statistics.of(sample(6, 3))
    with pytest.raises(ValueError, match="cannot take 6 rows from 5"):
        few.without(many)
    with pytest.raises(ValueError, match="cannot take 4 columns from 3"):
        few.without(Statistics.empty(4))


def test_no_rows_change_nothing():
    some = Statistics.of(sample(50, 4))
    for same in (some + Statistics.empty(4), Statistics.of(sample(0, 4)) + some):
        assert same.count == some.count
        np.testing.assert_array_equal(same.mean, some.mean)
        np.testing.assert_array_equal(same.scatter, some.scatter)


@light
@given(
    value=st.floats(-1e6, 1e6, width=32),
    n=st.integers(1, 300),
    block_rows=st.integers(1, 400),
)
def test_a_constant_column_scatters_exactly_zero(value, n, block_rows):
    rows = sample(n, 3)
    rows[:, 1] = value
    statistics = Statistics.of(rows, block_rows)
    assert statistics.mean[1] == np.float32(value)
    assert not statistics.scatter[1].any()


def test_rows_may_be_a_read_only_view_in_column_order():
    rows = np.asfortranarray(sample(300, 10))[::2]
    rows.flags.writeable = False
    assert_describes(Statistics.of(rows, 64), rows, 1e-6)


def test_after_its_statistics_an_accumulator_takes_no_more():
    """They are not copied."""
    running = Accumulator(5).add(sample(100, 5))
    found = running.statistics()
    kept = found.to_bytes()
    for more in (running.add, lambda rows: running.merge(Statistics.of(rows))):
        with pytest.raises(ValueError, match="read-only"):
            more(sample(100, 5, seed=1))
    assert running.statistics().to_bytes() == found.to_bytes() == kept


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_a_bad_value_is_named_by_its_row_and_earlier_blocks_stay(bad):
    rows = sample(100, 4)
    rows[77, 2] = bad
    running = Accumulator(4)
    with pytest.raises(ValueError, match="row 77 of 100"):
        running.add(rows, block_rows=30)
    assert_describes(running.statistics(), rows[:60], 1e-6)


def test_wrong_input_is_refused():
    with pytest.raises(TypeError, match="must be float32, got float64"):
        Statistics.of(np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"shape \(n, 3\), got \(5, 2\)"):
        Accumulator(3).add(np.zeros((5, 2), np.float32))
    with pytest.raises(ValueError, match=r"shape \(n, 3\), got \(3,\)"):
        Statistics.of(np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="block_rows"):
        Statistics.of(sample(3, 2), block_rows=0)
    with pytest.raises(ValueError, match="at least one column"):
        Statistics.empty(0)
    with pytest.raises(ValueError, match="cannot merge 3 columns into 2"):
        Statistics.empty(2) + Statistics.of(sample(5, 3))


def test_bytes_hold_everything_in_half_the_size():
    statistics = Statistics.of(sample(500, 64, mean=10.0))
    data = statistics.to_bytes()
    back = Statistics.from_bytes(data)
    assert back.count == statistics.count
    assert back.mean.tobytes() == statistics.mean.tobytes()
    assert back.scatter.tobytes() == statistics.scatter.tobytes()
    assert data == back.to_bytes()
    assert len(data) < 0.6 * statistics.scatter.nbytes


def test_damaged_bytes_are_refused_or_harmless():
    statistics = Statistics.of(sample(20, 3))
    data = statistics.to_bytes()
    flips = [(at, 1 << at % 8) for at in range(len(data))]
    damaged = [data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :] for at, bit in flips]
    for other in damaged + [data[:at] for at in range(0, len(data), 7)]:
        try:
            back = Statistics.from_bytes(other)
        except ValueError:
            continue
        assert back.to_bytes() == data
    with pytest.raises(ValueError, match="not statistics/1: they are pca/1"):
        Statistics.from_bytes(pack("pca/1", mean=np.zeros(3)))


def test_the_rounding_of_the_shift_is_corrected_for():
    """Two adjacent values in float32: their mean is half a step from either."""
    rows = np.tile(np.array([[16777216.0], [16777218.0]], np.float32), (500, 1))
    assert Statistics.of(rows).scatter == pytest.approx(1000)
    rows = np.tile(np.array([[1.0], [1.0], [np.nextafter(np.float32(1), 2)]], np.float32), (99, 1))
    assert Statistics.of(rows).scatter == pytest.approx(297 * 2 / 9 * 2.0**-46, rel=1e-6)
