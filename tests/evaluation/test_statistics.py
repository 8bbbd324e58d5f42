"""Intervals cover, pairs are paired, groups count as one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError
from hf_soups.evaluation import resampling
from hf_soups.evaluation.metrics import METRICS, Metric, metric, own_metric, score
from hf_soups.evaluation.statistics import difference, interval

ACCURACY = metric("accuracy")


def rows(n: int, labels: int = 2, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    y = random.integers(0, labels, n)
    return (random.normal(size=(n, labels)) + np.eye(labels)[y]).astype(np.float32), y


def right_or_wrong(right: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits and labels of two classes with the given hits."""
    y = np.arange(len(right)) % 2
    return np.eye(2, dtype=np.float32)[np.where(right, y, 1 - y)], y


@pytest.mark.parametrize("labels", [2, 4])
@pytest.mark.parametrize("id", METRICS)
def test_resampling_equals_scoring_the_resampled_rows(id: str, labels: int) -> None:
    """The fast weighted sums against the definition: repeat the drawn rows and score them."""
    one = metric(id)
    logits, y = rows(400, labels)
    units, _ = resampling.units_of(len(y), None, seed=3)
    (fast,) = resampling.replicates(one, (logits,), y, units, seed=3)
    drawn = resampling._drawn(len(y), 3)
    slow = []
    for weights in drawn[:40]:
        again = np.repeat(np.arange(len(y)), weights)
        slow.append(score(one, logits[again], y[again]))
    # The area under the curve is resampled to first order; all others exactly.
    assert fast[:40] == pytest.approx(slow, abs=5e-3 if id == "roc_auc" else 1e-6)


def test_the_first_order_area_has_the_spread_of_the_exact_one() -> None:
    one = metric("roc_auc")
    logits, y = rows(150)
    drawn = resampling._drawn(len(y), 0)[:600]
    exact = []
    for weights in drawn:
        again = np.repeat(np.arange(len(y)), weights)
        exact.append(score(one, logits[again], y[again]))
    units, _ = resampling.units_of(len(y), None, 0)
    (fast,) = resampling.replicates(one, (logits,), y, units, 0)
    assert np.std(fast[:600]) == pytest.approx(np.std(exact), rel=0.02)


def test_resampling_groups_equals_repeating_whole_groups() -> None:
    logits, y = rows(120)
    groups = np.array([f"g{i % 17}" for i in range(120)])
    units, count = resampling.units_of(120, groups, seed=0)
    assert count == 17
    drawn = resampling._drawn(17, 0)
    for id in ("f1", "log_loss", "accuracy"):
        (fast,) = resampling.replicates(metric(id), (logits,), y, units, seed=0)
        for weights, value in zip(drawn[:20], fast, strict=False):
            again = np.concatenate([np.flatnonzero(units == u) for u in np.repeat(np.arange(17), weights)])
            assert value == pytest.approx(score(metric(id), logits[again], y[again]), abs=1e-6)


def test_the_standard_error_of_accuracy_is_the_textbook_one() -> None:
    logits, y = right_or_wrong(np.arange(4000) % 5 > 0)
    found = interval(ACCURACY, logits, y)
    expected = math.sqrt(0.8 * 0.2 / 4000)
    assert found.value == 0.8 and found.level == 0.95
    assert found.stderr == pytest.approx(expected, rel=0.05)
    assert (found.low, found.high) == pytest.approx((0.8 - 1.96 * expected, 0.8 + 1.96 * expected), abs=0.1 * expected)


def test_pooling_many_units_keeps_the_standard_error() -> None:
    n = 4 * resampling.UNITS_AT_MOST
    logits, y = right_or_wrong(np.random.default_rng(0).random(n) < 0.9)
    assert interval(ACCURACY, logits, y).stderr == pytest.approx(math.sqrt(0.9 * 0.1 / n), rel=0.05)
    groups = np.array([str(i // 2) for i in range(n)])  # pairs of independent rows: the same again
    assert interval(ACCURACY, logits, y, groups).stderr == pytest.approx(math.sqrt(0.9 * 0.1 / n), rel=0.05)


def test_groups_of_one_row_are_rows() -> None:
    logits, y = rows(200)
    alone = np.array([f"{i:03d}" for i in range(200)])
    assert interval(ACCURACY, logits, y, alone) == interval(ACCURACY, logits, y)


def test_intervals_of_clustered_rows_cover_only_when_groups_are_resampled() -> None:
    """200 worlds of 40 reviews with 10 sentences; how often a review is right varies between reviews."""
    random = np.random.default_rng(1)
    groups = np.repeat([f"review {i}" for i in range(40)], 10)
    worlds, truth, covered, naive = 200, 0.75, 0, 0
    widths = []
    for _ in range(worlds):
        chances = random.beta(3, 1, size=40)  # mean 0.75, correlation inside a review 0.2
        logits, y = right_or_wrong(random.random(400) < np.repeat(chances, 10))
        clustered, independent = interval(ACCURACY, logits, y, groups), interval(ACCURACY, logits, y)
        covered += clustered.low <= truth <= clustered.high
        naive += independent.low <= truth <= independent.high
        widths.append((clustered.high - clustered.low) / (independent.high - independent.low))
    assert 0.91 <= covered / worlds <= 0.99
    assert naive / worlds < 0.85
    assert np.mean(widths) == pytest.approx(math.sqrt(1 + 9 * 0.2), rel=0.1)  # the design effect


def test_few_groups_widen_the_interval_as_student_does() -> None:
    """Eight groups of equal size: the mean of eight numbers, whose t interval is in every textbook."""
    right = [30, 34, 36, 38, 41, 43, 45, 49]  # of 50
    logits, y = right_or_wrong(np.concatenate([np.arange(50) < r for r in right]))
    found = interval(ACCURACY, logits, y, np.repeat([f"g{i}" for i in range(8)], 50))
    stderr = np.std(np.array(right) / 50, ddof=1) / math.sqrt(8)
    assert found.stderr == pytest.approx(stderr, rel=0.04)
    assert (found.high - found.low) / 2 == pytest.approx(2.365 * stderr, rel=0.12)  # t with 7 degrees of freedom


def test_a_small_calibration_error_is_inside_its_interval() -> None:
    """Resamples of a calibrated model look worse calibrated than it; the interval must not."""
    random = np.random.default_rng(0)
    odds = 2 * random.normal(size=3000)
    y = (random.random(3000) < 1 / (1 + np.exp(-odds))).astype(np.int64)
    found = interval(metric("expected_calibration_error"), np.stack([0 * odds, odds], axis=1), y)
    assert found.low < found.value < found.high
    assert abs((found.low + found.high) / 2 - found.value) < 0.3 * found.stderr


@pytest.mark.parametrize("id", METRICS)
def test_the_difference_of_identical_predictions_is_exactly_zero(id: str) -> None:
    for labels in (2, 3):
        logits, y = rows(300, labels)
        groups = np.array([str(i % 20) for i in range(300)])
        for g in (None, groups):
            found = difference(metric(id), logits, logits.copy(), y, g)
            assert (found.value, found.stderr, found.low, found.high) == (0.0, 0.0, 0.0, 0.0)


def test_a_difference_is_paired() -> None:
    """Its standard error is that of the discordant rows alone: sqrt(discordance / n) for equal models."""
    n = 4000
    a = np.arange(n) % 10 > 0
    b = a.copy()
    b[:40], b[40:80] = ~b[:40], ~b[40:80]
    logits_a, y = right_or_wrong(a)
    logits_b, _ = right_or_wrong(b)
    found = difference(ACCURACY, logits_a, logits_b, y)
    value = a.mean() - b.mean()
    assert found.value == pytest.approx(value)
    assert found.stderr == pytest.approx(math.sqrt((80 / n - value**2) / n), rel=0.06)
    assert found.stderr < interval(ACCURACY, logits_a, y).stderr / 1.5
    back = difference(ACCURACY, logits_b, logits_a, y)
    assert (back.value, back.stderr) == pytest.approx((-found.value, found.stderr))
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))


def test_the_same_seed_gives_the_same_interval_and_another_one_nearly() -> None:
    logits, y = rows(500)
    first = interval(ACCURACY, logits, y, seed=7)
    resampling._drawn.cache_clear()
    assert interval(ACCURACY, logits, y, seed=7) == first
    other = interval(ACCURACY, logits, y, seed=8)
    assert other != first and other.stderr == pytest.approx(first.stderr, rel=0.1)


def test_all_right_is_not_certainty() -> None:
    logits, y = right_or_wrong(np.ones(50, dtype=bool))
    found = interval(ACCURACY, logits, y)
    assert (found.value, found.high) == (1.0, 1.0) and found.low == pytest.approx(0.025 ** (1 / 50))
    logits, y = right_or_wrong(np.zeros(50, dtype=bool))
    assert interval(ACCURACY, logits, y).high == pytest.approx(1 - 0.025 ** (1 / 50))


@settings(deadline=None, max_examples=10)
@given(st.integers(30, 200), st.integers(0, 50))
@pytest.mark.parametrize("id", METRICS)
def test_an_interval_holds_its_value_and_stays_in_range(id: str, n: int, seed: int) -> None:
    logits, y = rows(n, seed=seed)
    found = interval(metric(id), logits, y)
    assert found.low <= found.value <= found.high
    assert found.low >= (-1 if id == "matthews_correlation" else 0)
    if metric(id).greater_is_better:
        assert found.high <= 1


def test_a_users_own_metric_gets_an_interval() -> None:
    logits, y = rows(50)
    own: Metric = own_metric(ACCURACY.as_evaluate(2), greater_is_better=True)
    reference = interval(ACCURACY, logits, y)
    assert interval(own, logits, y).stderr == pytest.approx(reference.stderr, rel=0.2)


def test_one_unit_has_no_interval() -> None:
    logits, y = rows(30)
    with pytest.raises(EvaluationError, match="no interval from 1 group"):
        interval(ACCURACY, logits, y, np.array(["all"] * 30))
    with pytest.raises(EvaluationError, match="no interval from 1 row"):
        interval(ACCURACY, logits[:1], y[:1])
