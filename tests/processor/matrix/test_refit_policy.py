"""The refit policy: when a refit is due, and the reason in words, from figures alone."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.matrix import pca
from processor.matrix.moments import Statistics
from processor.matrix.pca import PCA
from processor.matrix.refit_policy import CHECK_SHARE, OutOfSample, RefitPolicy
from tests.support.spectra import geometric, sample

NONE = OutOfSample()
FITTED = 200  # photos
PHOTOS = st.integers(0, 3 * FITTED)


def fitted(policy: RefitPolicy, *, seconds_ago: float = 0.0) -> PCA:
    """A model as a refit leaves it, of version 7 of the features."""
    about = {
        "asked": policy.settings,
        "fitted_at": (datetime.now(UTC) - timedelta(seconds=seconds_ago)).isoformat(),
        "features_version": "7",
    }
    return pca.fit(Statistics.of(sample(FITTED, geometric)), 4, about=about)


def never(_: int) -> bool:
    raise AssertionError("the log was read")


def always(answer: bool, calls: list[int]) -> Callable[[int], bool]:
    return lambda version: calls.append(version) or answer


@given(PHOTOS, st.integers(0, 10**6), st.floats(0, 1e9), st.floats(0, 1e9))
def test_without_limits_no_refit_is_due(
    photos: int, outside: int, residual: float, age: float
) -> None:
    policy = RefitPolicy(components=4)
    model = fitted(policy, seconds_ago=age)
    assert policy.due(model, photos, OutOfSample(outside, residual), never) is None
    assert not policy.worth_checking(model, photos)
    assert policy.outgrown(0.0) is None


@pytest.mark.parametrize(
    "other",
    [
        RefitPolicy(components=5),
        RefitPolicy(components=0.9),
        RefitPolicy(components=4, whiten=True),
    ],
)
def test_a_changed_configuration_is_the_first_reason(other: RefitPolicy) -> None:
    before = RefitPolicy(components=4, growth_photos=1)
    expected = f"configuration changed from {before.settings} to {other.settings}"
    assert other.due(fitted(before), 10 * FITTED, NONE, never) == expected


@pytest.mark.parametrize("components", [5, 0.9, 1e-9, 1.0])
@pytest.mark.parametrize("whiten", [True, False])
def test_settings_of_another_policy_are_adopted_with_our_limits(
    components: float, whiten: bool
) -> None:
    other = RefitPolicy(components=components, whiten=whiten, growth_photos=9)
    adopted = RefitPolicy(components=4, growth_photos=1).with_settings(other.settings)
    assert adopted == RefitPolicy(components=components, whiten=whiten, growth_photos=1)
    assert adopted.settings == other.settings


def test_changed_limits_are_not_a_reason() -> None:
    before = RefitPolicy(components=4)
    after = RefitPolicy(components=4, growth_photos=9, growth_share=0.9, most_residual=9.0)
    assert after.due(fitted(before), FITTED, NONE, never) is None


@given(PHOTOS, st.integers(-2, 2))
def test_added_and_removed_photos_are_counted(photos: int, more: int) -> None:
    limit = max(1, abs(photos - FITTED) + more)
    policy = RefitPolicy(components=4, growth_photos=limit)
    changed = abs(photos - FITTED)
    told = f"the number of photos has changed by {changed} since the fit"
    expected = told if changed >= limit else None
    assert policy.due(fitted(policy), photos, NONE, never) == expected


@given(PHOTOS, st.integers(1, 100))
def test_their_share_of_the_fitted_photos_counts_too(photos: int, percent: int) -> None:
    policy = RefitPolicy(components=4, growth_share=percent / 100)
    reason = policy.due(fitted(policy), photos, NONE, never)
    assert (reason is not None) == (abs(photos - FITTED) >= percent / 100 * FITTED)
    if reason:
        share = f"{abs(photos - FITTED) / FITTED:.1%}"
        assert reason == f"the number of photos has changed by {share} since the fit"


@pytest.mark.parametrize("changed", [True, False])
def test_an_old_fit_is_a_reason_only_if_photos_changed(changed: bool) -> None:
    policy = RefitPolicy(components=4, interval_seconds=3600)
    calls: list[int] = []
    young = fitted(policy, seconds_ago=3500)
    assert policy.due(young, FITTED, NONE, never) is None
    old = fitted(policy, seconds_ago=3605)
    reason = policy.due(old, FITTED, NONE, always(changed, calls))
    assert re.fullmatch(r"the fit is 36\d\d s old", reason or "") if changed else reason is None
    assert calls == [7]  # the version that the fit is of


def outside(model: PCA, photos: int, times: float) -> OutOfSample:
    """Photos whose mean squared residual is so many times that of the fitted."""
    return OutOfSample(photos, photos * times * model.reconstruction_error)


def test_a_large_residual_is_a_reason_once_there_are_enough_photos() -> None:
    policy = RefitPolicy(components=4, most_residual=3.0)
    model = fitted(policy)
    enough = int(CHECK_SHARE * FITTED)
    reason = policy.due(model, FITTED, outside(model, enough, 5.0), never)
    assert reason
    assert reason.startswith("new photos have 5.0 times the mean squared residual")
    assert policy.due(model, FITTED, outside(model, enough, 2.9), never) is None
    assert policy.due(model, FITTED, outside(model, enough - 1, 5.0), never) is None


def test_similar_photos_have_no_large_residual_and_others_do() -> None:
    """By the residuals that projecting them gives."""
    policy = RefitPolicy(components=4, most_residual=3.0)
    model = fitted(policy)
    like, others = sample(50, geometric, seed=1), sample(50, geometric[::-1], seed=1)
    reasons = []
    for rows in (like, others):
        residual = model.residual(rows, model.project(rows))
        reasons.append(policy.due(model, FITTED, NONE.plus(len(rows), residual), never))
    assert reasons[0] is None
    assert "mean squared residual" in (reasons[1] or "")


def test_if_no_variance_was_dropped_noise_is_the_measure() -> None:
    policy = RefitPolicy(components=16, most_residual=3.0)
    about = fitted(policy).about
    model = pca.fit(Statistics.of(sample(FITTED, geometric)), 16, about=about)
    noise = pca.NOISE * model.total_variance_
    assert model.reconstruction_error < noise
    for times, due in ((2, False), (4, True)):
        new = OutOfSample(FITTED, FITTED * times * noise)
        assert bool(policy.due(model, FITTED, new, never)) is due
    alike = Statistics.of(np.ones((5, 3), np.float32))
    flat = pca.fit(alike, 2, about=about)
    assert policy.due(flat, 5, OutOfSample(5, 9.0), never) is None


def test_when_components_are_checked_and_found_outgrown() -> None:
    policy = RefitPolicy(components=4, least_captured=0.98)
    model = fitted(policy)
    enough = int(CHECK_SHARE * FITTED)
    assert [policy.worth_checking(model, changed) for changed in (0, enough - 1, enough)] == [
        False,
        False,
        True,
    ]
    assert policy.outgrown(0.98) is None
    assert policy.outgrown(0.97) == (
        "the components capture 97.00% of the variance that as many could capture"
    )


@given(st.integers(0, 10**9), st.floats(0, allow_infinity=False))
def test_the_count_survives_the_log(photos: int, residual: float) -> None:
    counted = OutOfSample(photos, residual)
    entry = {"model": "m", "version": 3, **counted.to_metadata()}
    assert OutOfSample.from_metadata(entry) == counted
    assert OutOfSample.from_metadata({}) == NONE
    assert NONE.plus(photos, residual) == counted
    assert counted.plus(2, 0.0) == OutOfSample(photos + 2, residual)
