"""Invariants of refits: old coordinates hardly move, figures stay correct, real changes show."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.matrix.moments import Statistics
from processor.matrix.pca import GAP, align, drift, fit
from tests.support.spectra import basis, geometric, sample

spectra = {
    "pairs": np.repeat(0.5 ** np.arange(24), 2) * np.tile([1, 0.999], 24),
    "triples": np.repeat(0.4 ** np.arange(16), 3),
    "all equal": np.ones(48),
    "slow decay": 0.98 ** np.arange(48),
    "power law": 1 / np.arange(1.0, 49.0),
    "well apart": 0.7 ** np.arange(48),
}


def moved(new, old, rows):
    """The RMS change of the coordinates of `rows` over their RMS norm."""
    before, after = old.project(rows), new.project(rows)
    return np.linalg.norm(after - before) / np.linalg.norm(before)


def gap(model):
    return min(0.5, GAP * math.sqrt(2 / model.n_samples_))


@pytest.mark.parametrize("name", spectra)
@pytest.mark.parametrize("seed", [1, 2])
def test_one_percent_more_rows_move_old_coordinates_under_half_a_percent(name, seed):
    spectrum = spectra[name]
    # In these the cut at 24 components falls between near-equal variances, so they need spare ones.
    cut, spare = (24, 24) if name in ("all equal", "slow decay", "power law") else (24, 0)
    rows, more = sample(20_000, spectrum, seed, 3.0), sample(200, spectrum, seed + 100, 3.0)
    statistics = Statistics.of(rows)
    old = fit(statistics, cut)
    statistics += Statistics.of(more)
    new = align(fit(statistics, cut + spare), old).leading(cut)
    assert moved(new, old, rows) < 0.005
    assert drift(new, old).movement == pytest.approx(moved(new, old, rows), rel=0.2)

    # Components stay orthonormal, variances correct, and no variance worth keeping is lost.
    np.testing.assert_allclose(new.components_ @ new.components_.T, np.eye(cut), atol=1e-11)
    along = np.diag(new.components_ @ statistics.scatter @ new.components_.T) / 20_199
    np.testing.assert_allclose(new.explained_variance_, along, rtol=1e-9)
    assert np.all(along[1:] <= along[:-1] * (1 + gap(new)))
    assert new.captured(statistics) > 0.999


@pytest.mark.parametrize("name", spectra)
def test_twenty_refits_in_a_row_stay_stable_and_principal(name):
    spectrum = spectra[name]
    statistics = Statistics.of(sample(10_000, spectrum))
    model = fit(statistics, 48)
    for i in range(20):
        statistics += Statistics.of(sample(100, spectrum, seed=i + 1))
        previous, model = model, align(fit(statistics, 48), model)
        assert drift(model, previous).movement < 0.005
    covariance = model.components_ @ statistics.scatter @ model.components_.T
    size = np.sqrt(np.diag(covariance))
    correlation = np.abs(covariance / np.outer(size, size) - np.eye(48))
    assert correlation.max() < gap(model)
    assert correlation.max() < 0.1


@settings(max_examples=20, deadline=None)
@given(k_new=st.integers(1, 16), k_old=st.integers(1, 16), seed=st.integers(0, 9))
def test_pcas_of_other_sizes_align_their_common_components(k_new, k_old, seed):
    statistics = Statistics.of(sample(5000, geometric, seed))
    old = fit(statistics, k_old)
    flipped = (-old.components_) if seed % 2 else old.components_
    old = replace(old, components_=flipped)
    new = fit(statistics, k_new)
    aligned = align(new, old)
    common = min(k_new, k_old)
    np.testing.assert_allclose(aligned.components_[:common], flipped[:common], atol=1e-9)
    assert drift(aligned, new).angle < 1e-7
    np.testing.assert_allclose(aligned.explained_variance_, new.explained_variance_, rtol=1e-9)
    assert aligned.total_variance_ == new.total_variance_


def test_signs_of_well_separated_components_follow_the_previous_pca():
    statistics = Statistics.of(sample(5000, geometric))
    new = fit(statistics, 6)
    flips = np.array([1, -1, -1, 1, -1, 1])
    old = replace(new, components_=new.components_ * flips[:, None])
    np.testing.assert_array_equal(align(new, old, gap=0).components_, old.components_)


def test_no_rotation_hides_a_real_change():
    """The data rotate by 45 degrees in the plane of two components: the new ones are principal."""
    spectrum = np.array([4.0, 3.2, 1.0, 0.5])
    old = fit(Statistics.of(sample(200_000, spectrum)), 4)
    rotation = np.eye(4)
    rotation[:2, :2] = np.array([[1, 1], [-1, 1]]) / math.sqrt(2)
    rows = sample(200_000, spectrum) @ (basis(4).T @ rotation @ basis(4)).astype(np.float32)
    new = fit(Statistics.of(rows), 4)
    aligned = align(new, old)
    np.testing.assert_allclose(
        np.abs(aligned.components_ @ new.components_.T), np.eye(4), atol=0.05
    )
    assert np.all(np.sum(aligned.components_ * old.components_, axis=1) > 0)
    wide = align(new, old, gap=0.5)
    assert moved(wide, old, rows) < 0.02 < 0.5 < moved(aligned, old, rows)


def test_components_further_apart_than_the_gap_are_never_mixed():
    model = fit(Statistics.of(sample(20_000, geometric)), 16)
    rotation = np.eye(16)
    rotation[:2, :2] = [[math.cos(0.02), math.sin(0.02)], [-math.sin(0.02), math.cos(0.02)]]
    old = replace(model, components_=rotation @ -model.components_)
    np.testing.assert_array_equal(align(model, old, gap=0.2).components_, -model.components_)
    np.testing.assert_allclose(align(model, old, gap=0.4).components_, old.components_, atol=1e-9)


def test_a_chain_of_near_equal_components_is_not_reordered():
    """Neighbours are within the gap, the ends of the chain are not: variances stay near sorted."""
    model = fit(Statistics.of(sample(20_000, 0.9 ** np.arange(20))), 20)
    old = replace(model, components_=model.components_[::-1])
    aligned = align(model, old)
    np.testing.assert_allclose(
        aligned.explained_variance_, model.explained_variance_, rtol=gap(model)
    )


def test_components_beyond_the_previous_pca_are_the_principal_ones_of_the_rest():
    statistics = Statistics.of(sample(20_000, np.ones(12)))
    old = fit(Statistics.of(sample(20_000, np.ones(12), seed=1)), 5)
    aligned = align(fit(statistics, 12), old)
    np.testing.assert_allclose(aligned.components_[:5], old.components_, atol=1e-9)
    rest = aligned.components_[5:]
    assert np.all(rest[np.arange(7), np.abs(rest).argmax(axis=1)] > 0)
    covariance = rest @ statistics.scatter @ rest.T / 19_999
    np.testing.assert_allclose(covariance, np.diag(aligned.explained_variance_[5:]), atol=1e-9)
    assert np.all(np.diff(aligned.explained_variance_[5:]) <= 0)


def test_pcas_of_other_columns_are_left_alone():
    new, old = (
        fit(Statistics.of(sample(99, geometric)), 3),
        fit(Statistics.of(sample(99, [1, 2])), 2),
    )
    assert align(new, old) is new
    with pytest.raises(ValueError, match="16 and 2 columns"):
        drift(new, old)


def test_drift_measures_known_angles():
    model = fit(Statistics.of(sample(5000, geometric)), 16)
    for radians in (0.0, 1e-9, 1e-3, 0.7, math.pi / 2):
        components = model.components_.copy()
        components[3] = math.cos(radians) * components[3] + math.sin(radians) * components[9]
        other = replace(model, components_=components).leading(6)
        assert drift(other, model.leading(6)).angle == pytest.approx(radians, rel=1e-6, abs=1e-12)
        assert drift(model.leading(6), other).angle == pytest.approx(radians, rel=1e-6, abs=1e-12)
        assert drift(other, model).angle == pytest.approx(0, abs=1e-7)
    moved_by = np.sqrt(model.total_variance_) * model.components_[0]
    away = replace(model, mean_=model.mean_ + moved_by)
    assert drift(away, model).mean_shift == pytest.approx(1)
    assert drift(away, model).movement == pytest.approx(1)


def test_expected_movement_counts_the_dropped_components():
    spectrum = np.r_[4, 3, np.ones(30)]
    rows = sample(2000, spectrum)
    old = fit(Statistics.of(sample(300, spectrum, seed=1)), 6)
    new = align(fit(Statistics.of(rows), 6), old)
    assert drift(new, old).movement == pytest.approx(moved(new, old, rows), rel=0.1)


def test_the_share_of_variance_that_old_components_capture():
    statistics = Statistics.of(sample(5000, geometric))
    model = fit(statistics, 4)
    assert model.captured(statistics) == pytest.approx(1, abs=1e-12)
    worst = replace(model, components_=fit(statistics, 16).components_[-4:])
    shares = fit(statistics, 16).explained_variance_
    assert worst.captured(statistics) == pytest.approx(shares[-4:].sum() / shares[:4].sum())
