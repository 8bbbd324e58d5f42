"""Models on a known line are on it; one lifted above it by a known amount is found above it by that much."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit, logit  # type: ignore[import-untyped]

from hf_soups.evaluation.calibration import Labelled
from hf_soups.evaluation.robustness import Accuracy, Model, accuracy, clopper_pearson, line, robustness

SHARES = (0.70, 0.76, 0.82, 0.88, 0.92)


def guesses(share: float, n: int = 4000) -> NDArray[np.float32]:
    """Two-class logits with exactly this share of hits when every label is 0; the wrong rows are the last."""
    right = np.arange(n) < round(share * n)
    return np.eye(2, dtype=np.float32)[np.where(right, 0, 1)]


def zeros(n: int = 4000) -> Labelled:
    return Labelled(np.zeros(n, dtype=np.int64))


def on_the_line(share: float, slope: float = 0.8, intercept: float = -0.5) -> float:
    return float(expit(slope * logit(share) + intercept))


def pool(lift: float = 0.1) -> list[Model]:
    baselines = [Model(f"run-{i}", True, guesses(x), guesses(on_the_line(x))) for i, x in enumerate(SHARES)]
    return [*baselines, Model("soup", False, guesses(0.9), guesses(on_the_line(0.9) + lift))]


def test_a_model_lifted_above_the_line_is_above_it_by_that_much() -> None:
    found = robustness("test", "shift", pool(lift=0.1), zeros(), zeros())
    assert found.slope == pytest.approx(0.8, abs=0.01) and found.intercept == pytest.approx(-0.5, abs=0.01)
    *baselines, soup = found.positions
    assert soup.effective is not None and soup.effective.value == pytest.approx(0.1, abs=1e-3)
    assert 0 < soup.effective.low < 0.1 < soup.effective.high
    assert soup.reference.value == 0.9 and soup.reference.low < 0.9 < soup.reference.high
    for one in baselines:
        assert one.effective is not None and one.effective.value == pytest.approx(0, abs=1e-3)
        assert one.effective.low < 0 < one.effective.high


def test_what_is_no_baseline_does_not_move_the_line() -> None:
    with_soup = robustness("test", "shift", pool(lift=0.1), zeros(), zeros())
    other = robustness("test", "shift", pool(lift=-0.2), zeros(), zeros())
    assert (with_soup.slope, with_soup.intercept) == (other.slope, other.intercept)


def test_the_order_of_models_and_rows_changes_nothing() -> None:
    found = robustness("test", "shift", pool(), zeros(), zeros())
    turned = robustness("test", "shift", pool()[::-1], zeros(), zeros())
    assert turned.slope == pytest.approx(found.slope)
    soup, again = found.positions[-1].effective, turned.positions[0].effective
    assert soup is not None and again is not None and again.value == pytest.approx(soup.value)
    assert (again.low, again.high) == pytest.approx((soup.low, soup.high))


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    inside = 0
    for _ in range(60):
        models = [
            Model(m.name, m.baseline, _sampled(random, share), _sampled(random, up))
            for m, share, up in zip(
                pool(), [*SHARES, 0.9], [*map(on_the_line, SHARES), on_the_line(0.9) + 0.05], strict=True
            )
        ]
        soup = robustness("test", "shift", models, zeros(1500), zeros(1500)).positions[-1].effective
        assert soup is not None
        inside += soup.low <= 0.05 <= soup.high
    assert inside >= 52  # of 60; 57 expected


def _sampled(random: np.random.Generator, share: float) -> NDArray[np.float32]:
    return np.eye(2, dtype=np.float32)[(random.random(1500) >= share).astype(int)]


@pytest.mark.parametrize(
    ("shares", "says"),
    [
        (SHARES[:3], "3 baselines .*; a line needs 4"),
        ((0.90, 0.901, 0.902, 0.903), "0.900 to 0.903, are too much alike"),
        ((0.50, 0.901, 0.902, 0.903), "0.500 to 0.903, are too much alike"),  # one alone would decide the slope
    ],
)
def test_too_few_baselines_or_too_similar_ones_give_a_reason_and_no_line(shares: tuple[float, ...], says: str) -> None:
    models = [Model(f"run-{i}", True, guesses(x), guesses(on_the_line(x))) for i, x in enumerate(shares)]
    found = robustness("test", "shift", [*models, pool()[-1]], zeros(), zeros())
    assert found.slope is None and found.positions[-1].effective is None
    assert found.why_not is not None and re.search(says, found.why_not)
    assert found.positions[-1].shifted.low < found.positions[-1].shifted.value


def test_a_model_that_is_always_right_is_finite() -> None:
    models = [*pool()[:-1], Model("perfect", False, guesses(1.0), guesses(1.0))]
    perfect = robustness("test", "shift", models, zeros(), zeros()).positions[-1]
    assert perfect.reference.high == perfect.reference.value == 1.0
    assert perfect.effective is not None and np.isfinite(perfect.effective.low)


def test_clopper_and_pearsons_interval_has_the_textbook_values() -> None:
    """10 of 20: 27.20 % to 72.80 %; 0 of 10: up to 30.85 %; as in the tables."""
    assert clopper_pearson(0.5, 20) == pytest.approx((0.2720, 0.7280), abs=5e-5)
    assert clopper_pearson(0.0, 10) == pytest.approx((0.0, 0.3085), abs=5e-5)
    assert clopper_pearson(1.0, 10) == pytest.approx((1 - 0.3085, 1.0), abs=5e-5)


@settings(deadline=None)
@given(st.integers(1, 400), st.data())
def test_clopper_and_pearsons_interval_is_scipys(n: int, data: st.DataObject) -> None:
    from scipy.stats import binomtest  # type: ignore[import-untyped]

    right = data.draw(st.integers(0, n))
    expected = binomtest(right, n).proportion_ci(0.95, "exact")
    assert clopper_pearson(right / n, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_groups_widen_an_accuracys_interval() -> None:
    """50 groups of 20 equal rows are 50 rows."""
    alone = (np.arange(50) < 40).astype(float)
    grouped = accuracy(np.repeat(alone, 20), np.repeat(np.arange(50), 20).astype(str))
    single = accuracy(alone)
    assert (grouped.low, grouped.high) == pytest.approx((single.low, single.high), abs=0.005)
    assert accuracy(np.repeat(alone, 20)).low > grouped.low
    assert isinstance(grouped, Accuracy) and grouped.value == 0.8


def test_the_line_is_that_of_least_squares() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(2, 6, 3))
    slope, intercept = line(x, y)
    for i in range(3):
        assert (slope[i], intercept[i]) == pytest.approx(tuple(np.polyfit(x[:, i], y[:, i], 1)))
