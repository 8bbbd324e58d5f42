"""What is called detectable is detected in four of five simulated sets; what is called needed is enough."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.metrics import metric
from hf_soups.evaluation.paired import mcnemar
from hf_soups.evaluation.power import design_effect, detectable, detectable_from, needed
from hf_soups.evaluation.statistics import difference

SHARE = st.floats(0.001, 1.0)


def test_a_known_case_in_round_numbers() -> None:
    """0.65 points at 10 % discordance: (1.96 + 0.84)² · 0.1 / 0.0065² rows."""
    assert needed(0.0065, 0.1) == pytest.approx(18_600, rel=0.005)
    assert detectable(18_600, 0.1) == pytest.approx(0.0065, rel=0.005)


@settings(deadline=None)
@given(SHARE, SHARE)
def test_needed_is_the_inverse_of_detectable(size: float, discordance: float) -> None:
    rows = needed(size, discordance)
    assume(rows > 5)
    assert detectable(rows, discordance) <= size * (1 + 1e-9)
    assert detectable(rows - 1, discordance) > size * (1 - 1e-6)


@settings(deadline=None)
@given(st.integers(1, 100_000), SHARE)
def test_more_rows_and_less_disagreement_show_smaller_differences(n: int, discordance: float) -> None:
    found = detectable(n, discordance)
    assert 0 < found <= 1
    assert detectable(4 * n, discordance) <= found
    assert detectable(n, discordance / 2) <= found + 1e-12
    assert detectable(n, discordance, design_effect=3.0) == detectable(n / 3, discordance) >= found


def test_with_four_rows_or_fewer_nothing_can_be_shown() -> None:
    assert detectable(3) == 1.0
    with pytest.raises(EvaluationError, match="above 0 and at most 1, got 0"):
        needed(0.0)
    with pytest.raises(EvaluationError, match=r"a share of the rows, from 0 to 1, got 1\.5"):
        detectable(100, 1.5)


def test_models_that_never_differed_still_have_a_limit() -> None:
    """No row of 1,000 differs; a true difference of 0.8 points could still have been missed."""
    assert detectable(1000, 0.0) == pytest.approx(0.0078, abs=2e-4)


@pytest.mark.parametrize(("n", "discordance"), [(1000, 0.1), (4000, 0.04), (3000, 0.3)])
def test_mcnemars_test_finds_a_detectable_difference_four_times_in_five(n: int, discordance: float) -> None:
    """Exact tests are cautious, so a little less; a difference half as large is missed mostly."""
    random = np.random.default_rng(0)
    assert 0.74 < _found(random, n, discordance, detectable(n, discordance)) < 0.83
    assert _found(random, n, discordance, detectable(n, discordance) / 2) < 0.35
    assert _found(random, n, discordance, 0.0) < 0.05


def _found(random: np.random.Generator, n: int, discordance: float, size: float) -> float:
    """Share of 4,000 simulated sets whose p-value is below 0.05."""
    shares = [(discordance + size) / 2, (discordance - size) / 2, 1 - discordance]
    draws = random.multinomial(n, shares, size=4000)
    return float(np.mean([mcnemar(int(wins), int(losses)) < 0.05 for wins, losses, _ in draws]))


def test_the_interval_of_the_paired_difference_finds_it_too() -> None:
    n, discordance = 400, 0.2
    size = detectable(n, discordance)
    random = np.random.default_rng(1)
    labels = np.zeros(n, dtype=np.int64)
    sure = 0
    for _ in range(150):
        kind = random.choice(3, n, p=[(discordance + size) / 2, (discordance - size) / 2, 1 - discordance])
        right, other = np.where(kind == 2, 1, kind == 0), np.where(kind == 2, 1, kind == 1)
        sure += difference(metric("accuracy"), _logits(right), _logits(other), labels).low > 0
    assert 0.70 < sure / 150 < 0.89


def _logits(right: NDArray[np.int_]) -> NDArray[np.float32]:
    """Two classes; class 0 is true."""
    return np.eye(2, dtype=np.float32)[1 - right]


def test_for_any_metric_the_standard_error_says_the_same() -> None:
    """A difference of mean losses with a true size of 2.8 standard errors."""
    n, stderr = 100, 0.1
    size = detectable_from(stderr)
    draws = np.random.default_rng(2).normal(size, stderr * np.sqrt(n), size=(4000, n)).mean(axis=1)
    assert np.mean(np.abs(draws) > 1.96 * stderr) == pytest.approx(0.8, abs=0.02)


def test_the_design_effect_is_the_textbook_one() -> None:
    """Kish: 1 + (m - 1) times the correlation inside groups of m rows."""
    random = np.random.default_rng(3)
    groups, m, correlation = 4000, 5, 0.3
    shared = random.normal(scale=np.sqrt(correlation), size=(groups, 1))
    values = shared + random.normal(scale=np.sqrt(1 - correlation), size=(groups, m))
    names = np.repeat(np.arange(groups), m).astype(str)
    assert design_effect(values.reshape(-1), names) == pytest.approx(1 + (m - 1) * correlation, rel=0.05)
    shuffled = random.permutation(groups * m)
    assert design_effect(values.reshape(-1)[shuffled], names[shuffled]) == pytest.approx(
        design_effect(values.reshape(-1), names)
    )


def test_groups_never_help_and_unknown_ones_count_as_one_row_each() -> None:
    names = np.repeat(np.arange(10), 4).astype(str)
    assert design_effect(np.tile([1.0, -1.0], 20), names) == 1.0  # each group adds up to 0
    assert design_effect(np.zeros(40), names) == 4.0
    assert design_effect(np.arange(40.0), np.full(40, "all")) == 40.0
    assert design_effect(np.arange(40.0), None) == 1.0


def test_grouped_rows_find_a_detectable_difference_four_times_in_five() -> None:
    """Groups of 8 equal rows: the normal test on group sums at the size that the design effect gives."""
    groups, m, discordance = 500, 8, 0.1
    size = detectable(groups * m, discordance, design_effect=m)
    random = np.random.default_rng(4)
    shares = [(discordance + size) / 2, (discordance - size) / 2, 1 - discordance]
    draws = random.multinomial(groups, shares, size=4000)
    mean = (draws[:, 0] - draws[:, 1]) / groups
    stderr = np.sqrt(((draws[:, 0] + draws[:, 1]) / groups - mean**2) / groups)
    assert np.mean(np.abs(mean) > 1.96 * stderr) == pytest.approx(0.8, abs=0.03)
