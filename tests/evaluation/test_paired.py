"""McNemar's test has the values of the books, and of all coin tosses counted one by one."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.metrics import METRICS, MULTI_LABEL
from hf_soups.evaluation.paired import compared, holm, mcnemar, paired, right_rows

COUNTS = st.integers(0, 200)
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def test_the_exact_test_has_the_value_of_the_literature() -> None:
    """6 against 16 discordant pairs: Fagerland, Lydersen and Laake (2013), table 3, exact conditional test."""
    assert mcnemar(6, 16) == pytest.approx(0.0525, abs=5e-5)


def test_five_rows_in_one_direction_are_not_yet_significant_and_six_are() -> None:
    assert mcnemar(5, 0) == 2 / 32
    assert mcnemar(6, 0) == 2 / 64
    assert mcnemar(0, 0) == mcnemar(4, 4) == 1.0


@settings(deadline=None)
@given(COUNTS, COUNTS)
def test_the_p_value_is_the_share_of_coin_tosses_at_least_as_uneven(wins: int, losses: int) -> None:
    n, gap = wins + losses, abs(wins - losses)
    as_uneven = sum(comb(n, heads) for heads in range(n + 1) if abs(n - 2 * heads) >= gap)
    assert mcnemar(wins, losses) == pytest.approx(float(Fraction(as_uneven, 2**n)), rel=1e-9)
    assert mcnemar(wins, losses) == mcnemar(losses, wins)


def test_only_rows_that_exactly_one_gets_right_count() -> None:
    right = np.array([1, 1, 1, 0, 0, 1], dtype=bool)
    other = np.array([1, 0, 0, 1, 0, 0], dtype=bool)
    found, swapped = paired(right, other), paired(other, right)
    assert (found.wins, found.losses, found.n) == (3, 1, 6)
    assert (swapped.wins, swapped.losses) == (1, 3) and swapped.p_value == found.p_value
    assert found.discordance == 4 / 6 and found.design_effect == 1.0
    shuffled = np.random.default_rng(0).permutation(6)
    assert paired(right[shuffled], other[shuffled]) == found


def test_grouped_rows_have_no_p_value_of_a_test_for_independent_ones() -> None:
    """Ten copies of each row in a group of its own: as much evidence as the rows alone."""
    random = np.random.default_rng(1)
    right, other = random.random((2, 300)) < 0.8
    alone = paired(right, other)
    groups = np.array([f"g{i}" for i in range(300)])
    copied = paired(np.repeat(right, 10), np.repeat(other, 10), np.repeat(groups, 10))
    assert copied.p_value is None and alone.p_value is not None
    assert copied.design_effect == pytest.approx(10, rel=0.01)
    assert copied.detectable == pytest.approx(alone.detectable, rel=0.01)
    assert copied.needed(0.01) == pytest.approx(10 * alone.needed(0.01), rel=0.01)


def test_groups_of_one_are_independent_rows() -> None:
    right, other = np.random.default_rng(2).random((2, 300)) < 0.8
    assert paired(right, other, np.arange(300).astype(str)).design_effect == pytest.approx(1.0)


def test_hits_of_different_rows_are_an_error() -> None:
    with pytest.raises(EvaluationError, match=r"hits are \[3\] and \[2\]"):
        paired(np.ones(3, dtype=bool), np.ones(2, dtype=bool))


def test_holms_correction_has_the_textbook_values() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@settings(deadline=None)
@given(P_VALUES)
def test_holm_only_ever_raises_keeps_the_order_and_never_beats_bonferroni(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for p, raised in zip(p_values, adjusted, strict=True):
        assert p <= raised <= min(1.0, len(p_values) * p)
    assert np.all(np.diff(np.array(adjusted)[np.argsort(p_values, kind="stable")]) >= 0)
    assert holm(p_values[::-1]) == adjusted[::-1]


def test_holm_keeps_the_chance_of_any_false_alarm_at_five_percent() -> None:
    random = np.random.default_rng(3)
    alarms = [min(holm(list(random.random(4)))) < 0.05 for _ in range(4000)]
    assert 0.035 < np.mean(alarms) < 0.062


def test_a_row_is_right_or_wrong_only_by_a_share_of_right_rows() -> None:
    logits, labels = np.eye(2, dtype=np.float32)[[0, 1, 1]], np.array([0, 1, 0])
    right = right_rows(METRICS["accuracy"], logits, labels)
    assert right is not None and right.tolist() == [True, True, False]
    several = right_rows(MULTI_LABEL["accuracy"], 2 * logits - 1, np.array([[1, 0], [0, 1], [1, 1]]))
    assert several is not None and several.tolist() == [True, True, False]
    for metric in (METRICS["log_loss"], METRICS["f1"], METRICS["expected_calibration_error"]):
        assert right_rows(metric, logits, labels) is None and compared(metric, logits, logits, labels) is None
