"""Invariants of the PCA: agreement with references, precision, stable signs, degenerate input."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA as Reference

from processor.matrix.moments import Statistics
from processor.matrix.pca import PCA, align, drift, fit
from tests.support.spectra import geometric, sample

light = settings(max_examples=20, deadline=None)


def leading_svd(rows, k):
    wide = rows.astype(np.float64)
    return np.linalg.svd(wide - wide.mean(axis=0), full_matrices=False)[2][:k]


@light
@given(
    n=st.integers(200, 2000),
    block_rows=st.integers(50, 3000),
    mean=st.sampled_from([0.0, 1.0, 30.0]),
    whiten=st.booleans(),
    solver=st.sampled_from(["covariance_eigh", "full"]),
    seed=st.integers(0, 9),
)
def test_agrees_with_scikit_learn(n, block_rows, mean, whiten, solver, seed):
    rows = sample(n, geometric, seed, mean)
    model = fit(Statistics.of(rows, block_rows), 6, whiten=whiten)
    wide = rows.astype(np.float64)
    reference = Reference(6, svd_solver=solver, whiten=whiten).fit(wide)
    signs = np.sign(np.sum(model.components_ * reference.components_, axis=1))
    theirs = reference.transform(wide) * signs
    assert np.linalg.norm(model.project(rows) - theirs) <= 1e-4 * np.linalg.norm(theirs)
    np.testing.assert_allclose(model.mean_, reference.mean_, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(model.explained_variance_, reference.explained_variance_, rtol=1e-6)
    np.testing.assert_allclose(
        model.explained_variance_ratio_, reference.explained_variance_ratio_, rtol=1e-6
    )
    # Their noise_variance_ is the same residual as an average over the dropped components.
    assert model.reconstruction_error == pytest.approx(10 * reference.noise_variance_, rel=1e-5)


@pytest.mark.parametrize(
    ("mean", "drift", "bound"), [(0, 0, 1e-5), (1000, 0, 2e-5), (0, 1000, 5e-4), (1000, 1000, 5e-4)]
)
def test_span_is_that_of_a_float64_svd(mean, drift, bound):
    rows = sample(20_000, 0.8 ** np.arange(64))
    offset = mean + drift * np.linspace(0, 1, len(rows))[:, None]
    rows += (rows.std() * offset).astype(np.float32)
    exact = leading_svd(rows, 10)
    for block_rows in (512, 1024, 2048):
        components = fit(Statistics.of(rows, block_rows), 10).components_
        sine = np.linalg.norm(components - components @ exact.T @ exact, 2)
        assert math.asin(min(1.0, sine)) <= bound


def test_full_width():
    rows = sample(20_000, np.r_[0.9 ** np.arange(64), np.full(448, 1e-4)], mean=5.0)
    model = fit(Statistics.of(rows), 64)
    wide = np.cov(rows.T, dtype=np.float64)
    values, vectors = np.linalg.eigh(wide)
    np.testing.assert_allclose(model.explained_variance_, values[:-65:-1], rtol=1e-5)
    outside = model.components_ - model.components_ @ vectors[:, -64:] @ vectors[:, -64:].T
    assert np.linalg.norm(outside, 2) <= 2e-5


@light
@given(cut=st.integers(1, 999), block_rows=st.integers(20, 1500), seed=st.integers(0, 99))
def test_signs_follow_the_rule_whatever_the_grouping(cut, block_rows, seed):
    rows = sample(1000, geometric, seed)
    components = fit(Statistics.of(rows), 8).components_
    assert np.all(components[np.arange(8), np.abs(components).argmax(axis=1)] > 0)
    np.testing.assert_allclose(components @ components.T, np.eye(8), atol=1e-12)
    parts = Statistics.of(rows[cut:], block_rows) + Statistics.of(rows[:cut], block_rows)
    np.testing.assert_allclose(fit(parts, 8).components_, components, atol=2e-5)


def test_a_share_of_variance_takes_the_fewest_components():
    statistics = Statistics.of(sample(2000, geometric))
    cumulative = np.cumsum(fit(statistics, 16).explained_variance_ratio_)
    for share in (0.01, 0.5, 0.9, 0.99, 1 - 1e-15):
        model = fit(statistics, share)
        k = len(model.components_)
        assert model.explained_variance_ratio_.sum() >= share - 1e-12
        assert k == 1 or cumulative[k - 2] < share
        np.testing.assert_allclose(
            np.abs(model.components_ @ fit(statistics, k).components_.T), np.eye(k), atol=1e-9
        )


@pytest.mark.parametrize("wrong", [0, -1, 0.0, 1.0, 64.0, math.nan, True])
def test_an_impossible_number_of_components_is_refused(wrong):
    with pytest.raises(ValueError, match="components must be"):
        fit(Statistics.of(sample(9, geometric)), wrong)


def test_no_rows_cannot_be_fitted():
    with pytest.raises(ValueError, match="no rows"):
        fit(Statistics.empty(4), 2)


@pytest.mark.parametrize("components", [5, 0.9])
@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("n", [1, 2, 50])
def test_identical_rows_have_no_variance(n, components, whiten):
    rows = np.full((n, 7), 123.456, np.float32) * np.arange(1, 8, dtype=np.float32)
    model = fit(Statistics.of(rows, 3), components, whiten=whiten)
    assert len(model.components_) == (1 if components == 0.9 else min(5, max(1, n - 1)))
    np.testing.assert_allclose(
        model.components_ @ model.components_.T, np.eye(len(model.components_))
    )
    assert not model.explained_variance_.any()
    assert not model.explained_variance_ratio_.any()
    assert model.reconstruction_error == 0
    assert model.captured(Statistics.of(rows)) == 1
    assert np.abs(model.project(rows)).max() <= 1e-4
    assert drift(align(model, model), model) == drift(model, model)


@light
@given(n=st.integers(2, 12), whiten=st.booleans(), seed=st.integers(0, 99))
def test_fewer_rows_than_components_give_fewer(n, whiten, seed):
    rows = sample(n, geometric, seed, mean=3.0)
    model = fit(Statistics.of(rows), 14, whiten=whiten)
    assert model.components_.shape == (n - 1, 16)
    assert np.all(model.explained_variance_ >= 0)
    assert np.all(np.isfinite(model.project(rows)))
    assert model.reconstruction_error <= 1e-6 * model.total_variance_


def test_rank_deficient_rows_stay_finite_when_whitened():
    rows = sample(500, np.r_[geometric[:3], np.zeros(5)], mean=2.0)
    coordinates = fit(Statistics.of(rows), 8, whiten=True).project(rows)
    np.testing.assert_allclose(coordinates[:, :3].var(axis=0, ddof=1), 1, rtol=1e-5)
    model = fit(Statistics.of(rows), 8, whiten=True)
    assert np.all(model.explained_variance_ >= 0)
    noisy = replace(model, explained_variance_=np.r_[1, 0.5, 1e-9, 1e-12, 0, 0, 0, 0])
    assert not noisy.project(rows)[:, 2:].any()


@light
@given(block_rows=st.integers(1, 600), mean=st.sampled_from([0.0, 1.0, 1000.0]))
def test_projection_is_exact_for_any_mean_and_block(block_rows, mean):
    rows = sample(500, geometric, mean=mean)
    model = fit(Statistics.of(rows), 6)
    exact = (rows.astype(np.float64) - model.mean_) @ model.components_.T
    coordinates = model.project(rows, block_rows)
    assert coordinates.dtype == np.float32
    assert np.linalg.norm(coordinates - exact) <= 1e-6 * np.linalg.norm(exact)


def test_projection_checks_its_rows_and_keeps_a_nan_in_its_row():
    rows = sample(300, geometric)
    model = fit(Statistics.of(rows), 4)
    clean = model.project(rows)
    rows[7, 3] = np.nan
    coordinates = model.project(rows)
    assert np.isnan(coordinates[7]).all()
    np.testing.assert_array_equal(np.delete(coordinates, 7, 0), np.delete(clean, 7, 0))
    assert model.project(rows[:0]).shape == (0, 4)
    with pytest.raises(TypeError, match="float32"):
        model.project(rows.astype(np.float64))
    with pytest.raises(ValueError, match="shape"):
        model.project(rows[:, :5])


def test_the_residual_and_the_whitened_variance_are_as_documented():
    rows = sample(3000, geometric, mean=4.0)
    statistics = Statistics.of(rows)
    model = fit(statistics, 5)
    centred = rows.astype(np.float64) - model.mean_
    residual = centred - model.project(rows) @ model.components_
    assert model.reconstruction_error == pytest.approx((residual**2).sum() / 2999, rel=1e-5)
    whitened = np.cov(fit(statistics, 5, whiten=True).project(rows).T)
    np.testing.assert_allclose(whitened, np.eye(5), atol=1e-4)


def test_bytes_hold_everything():
    about = {"features": "v17", "network": "vgg16 é"}
    model = fit(Statistics.of(sample(100, geometric)), 5, whiten=True, about=about)
    back = PCA.from_bytes(model.to_bytes())
    assert back.to_bytes() == model.to_bytes()
    assert (back.about, back.whiten, back.n_samples_) == (about, True, 100)
    for name in ("mean_", "components_", "explained_variance_", "total_variance_"):
        np.testing.assert_array_equal(getattr(back, name), getattr(model, name))
    for other in (b"", b"{}", model.to_bytes()[:-9], Statistics.empty(2).to_bytes()):
        with pytest.raises(ValueError, match="not pca/1"):
            PCA.from_bytes(other)
