"""The refit policy: when a refit is due, and the reason in words, from figures alone."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.matrix import pca
from processor.matrix.moments import Statistics
from processor.matrix.pca import PCA
from processor.matrix.refit_policy import (
    CHECK_SHARE,
    ENOUGH_SHARE,
    SMALL_PHOTOS,
    RefitPolicy,
    SinceFit,
)
from tests.support.spectra import geometric, sample

NOW = datetime(2026, 11, 27, tzinfo=UTC)
NONE = SinceFit()
FITTED = 200  # photos
PHOTOS = st.integers(0, 3 * FITTED)


def fitted(policy: RefitPolicy, *, seconds_ago: float = 0.0) -> PCA:
    """A model as a refit leaves it, of version 7 of the features."""
    about = {
        "asked": policy.settings,
        "fitted_at": (NOW - timedelta(seconds=seconds_ago)).isoformat(),
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
    assert policy.due(model, photos, SinceFit(outside, residual), never, NOW) is None
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
    assert other.due(fitted(before), 10 * FITTED, NONE, never, NOW) == expected


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
    assert after.due(fitted(before), FITTED, NONE, never, NOW) is None


@given(PHOTOS, st.integers(-2, 2))
def test_added_and_removed_photos_are_counted(photos: int, more: int) -> None:
    limit = max(1, abs(photos - FITTED) + more)
    policy = RefitPolicy(components=4, growth_photos=limit)
    changed = abs(photos - FITTED)
    told = f"the number of photos has changed by {changed} since the fit"
    expected = told if changed >= limit else None
    assert policy.due(fitted(policy), photos, NONE, never, NOW) == expected


@given(PHOTOS, st.integers(1, 100))
def test_their_share_of_the_fitted_photos_counts_too(photos: int, percent: int) -> None:
    policy = RefitPolicy(components=4, growth_share=percent / 100)
    reason = policy.due(fitted(policy), photos, NONE, never, NOW)
    changed = abs(photos - FITTED)
    assert (reason is not None) == (changed >= max(1, percent / 100 * min(photos, FITTED)))
    if reason:
        share = f"{abs(photos - FITTED) / FITTED:.1%}"
        assert reason == f"the number of photos has changed by {share} since the fit"


@given(PHOTOS, st.integers(1, 500), st.integers(1, 300))
def test_with_both_limits_both_must_be_met(photos: int, least: int, percent: int) -> None:
    number = RefitPolicy(components=4, growth_photos=least)
    share = RefitPolicy(components=4, growth_share=percent / 100)
    both = replace(share, growth_photos=least)
    model = fitted(both)
    due = [policy.due(model, photos, NONE, never, NOW) for policy in (number, share, both)]
    assert due[2] == (due[1] if due[0] and due[1] else None)


@given(st.lists(st.integers(1, 5000), max_size=200), st.sampled_from([0.5, 1.0, 2.0]))
def test_refits_by_share_cost_a_multiple_of_the_photos(steps: list[int], share: float) -> None:
    """However the photos come, the geometric series bounds the rows that all refits write."""
    policy = RefitPolicy(components=4, growth_share=share, growth_photos=100)
    photos = fitted_on = written = 50
    model = fitted(policy)
    for step in steps:
        photos += step
        if policy.due(replace(model, n_samples_=fitted_on), photos, NONE, never, NOW):
            fitted_on = photos
            written += photos
        assert written <= photos * (1 + 1 / share)


@pytest.mark.parametrize("changed", [True, False])
def test_an_old_fit_is_a_reason_only_if_photos_changed(changed: bool) -> None:
    policy = RefitPolicy(components=4, interval_seconds=3600)
    calls: list[int] = []
    young = fitted(policy, seconds_ago=3500)
    assert policy.due(young, FITTED, NONE, never, NOW) is None
    old = fitted(policy, seconds_ago=3605)
    reason = policy.due(old, FITTED, NONE, always(changed, calls), NOW)
    assert re.fullmatch(r"the fit is 36\d\d s old", reason or "") if changed else reason is None
    assert calls == [7]  # the version that the fit is of
    assert policy.due(old, SMALL_PHOTOS + 1, NONE, never, NOW) is None


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_the_longer_a_refit_took_the_longer_the_pause(took: float, ago: float) -> None:
    policy = RefitPolicy(
        components=4, growth_photos=1, growth_share=0.01, interval_seconds=1, most_residual=2.0
    )
    patient = replace(policy, least_pause=10.0)
    model = fitted(policy, seconds_ago=ago)
    since = replace(outside(model, 99, 9.0), refit_seconds=took)
    for photos in (FITTED, 9 * FITTED):  # by residual, by growth
        reason = patient.due(model, photos, since, always(True, []), NOW)
        assert (reason is None) == patient.pauses(model, since, NOW)
        assert patient.pauses(model, since, NOW) == (round(ago, 6) < 10 * took)
    other = replace(patient, components=5)
    assert other.due(model, FITTED, since, never, NOW)  # what was asked for is not put off


def outside(model: PCA, photos: int, times: float) -> SinceFit:
    """Photos whose mean squared residual is so many times that of the fitted."""
    return SinceFit(photos, photos * times * model.reconstruction_error)


def test_a_large_residual_is_a_reason_once_there_are_enough_photos() -> None:
    policy = RefitPolicy(components=4, most_residual=3.0)
    model = fitted(policy)
    enough = int(ENOUGH_SHARE * FITTED)
    reason = policy.due(model, FITTED, outside(model, enough, 5.0), never, NOW)
    assert reason
    assert reason.startswith("new photos have 5.0 times the mean squared residual")
    assert policy.due(model, FITTED, outside(model, enough, 2.9), never, NOW) is None
    assert policy.due(model, FITTED, outside(model, enough - 1, 5.0), never, NOW) is None


def test_similar_photos_have_no_large_residual_and_others_do() -> None:
    """By the residuals that projecting them gives."""
    policy = RefitPolicy(components=4, most_residual=3.0)
    model = fitted(policy)
    like, others = sample(50, geometric, seed=1), sample(50, geometric[::-1], seed=1)
    reasons = []
    for rows in (like, others):
        residual = model.residual(rows, model.project(rows))
        reasons.append(policy.due(model, FITTED, NONE.plus(len(rows), residual), never, NOW))
    assert reasons[0] is None
    assert "mean squared residual" in (reasons[1] or "")


def test_if_no_variance_was_dropped_noise_is_the_measure() -> None:
    policy = RefitPolicy(components=16, most_residual=3.0)
    about = fitted(policy).about
    model = pca.fit(Statistics.of(sample(FITTED, geometric)), 16, about=about)
    noise = pca.NOISE * model.total_variance_
    assert model.reconstruction_error < noise
    for times, due in ((2, False), (4, True)):
        new = SinceFit(FITTED, FITTED * times * noise)
        assert bool(policy.due(model, FITTED, new, never, NOW)) is due
    alike = Statistics.of(np.ones((5, 3), np.float32))
    flat = pca.fit(alike, 2, about=about)
    assert policy.due(flat, 5, SinceFit(5, 9.0), never, NOW) is None


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


@given(st.integers(0, 10**9), st.floats(0, allow_infinity=False), st.floats(0, 1e9))
def test_the_count_survives_the_log(photos: int, residual: float, took: float) -> None:
    counted = SinceFit(photos, residual, took)
    entry = {"model": "m", "version": 3, **counted.to_metadata()}
    assert SinceFit.from_metadata(entry) == counted
    assert SinceFit.from_metadata({}) == NONE
    assert SinceFit(refit_seconds=took).plus(photos, residual) == counted
    assert counted.plus(2, 0.0) == SinceFit(photos + 2, residual, took)
