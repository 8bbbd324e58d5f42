"""A choice between two candidates is sure, or called luck with the number of rows that would settle it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from hf_soups.evaluation.metrics import metric
from hf_soups.evaluation.separation import separation

ACCURACY = metric("accuracy")


def model(wrong: slice, n: int = 400) -> NDArray[np.float32]:
    """Logits for labels of 0: these rows wrong."""
    right = np.ones(n, dtype=np.int64)
    right[wrong] = 0
    return np.eye(2, dtype=np.float32)[1 - right]


LABELS = np.zeros(400, dtype=np.int64)


def test_a_clear_winner_is_told_apart() -> None:
    found = separation(ACCURACY, "validation", {"a": model(slice(100)), "b": model(slice(10))}, LABELS)
    assert found is not None and found.decided
    assert (found.first, found.second, found.n) == ("b", "a", 400)
    assert found.difference.value == pytest.approx(90 / 400)


def test_two_that_are_nearly_equal_need_more_rows() -> None:
    """3 rows of 400 differ: two for one, one for the other."""
    candidates = {"a": model(slice(0, 2)), "b": model(slice(2, 3)), "c": model(slice(0, 200))}
    found = separation(ACCURACY, "validation", candidates, LABELS)
    assert found is not None and not found.decided
    assert (found.first, found.second) == ("b", "a")
    assert found.detectable > found.difference.value == pytest.approx(1 / 400)
    assert found.needed == pytest.approx(2.8**2 * (3 / 400) / (1 / 400) ** 2, rel=0.1)


def test_copies_of_the_best_are_no_rivals_and_equal_scores_have_no_number_of_rows() -> None:
    candidates = {"a": model(slice(0, 2)), "copy": model(slice(0, 2)), "b": model(slice(2, 4))}
    found = separation(ACCURACY, "validation", candidates, LABELS)
    assert found is not None and (found.first, found.second, found.needed) == ("a", "b", None)
    assert separation(ACCURACY, "validation", {"a": model(slice(9)), "copy": model(slice(9))}, LABELS) is None


def test_of_a_loss_the_smaller_is_the_better() -> None:
    sure, unsure = 4 * model(slice(0, 0)), model(slice(0, 0))
    found = separation(metric("log_loss"), "validation", {"unsure": unsure, "sure": sure}, LABELS)
    assert found is not None and found.first == "sure" and found.difference.value < 0


def test_rows_in_groups_are_worth_less() -> None:
    candidates = {"a": model(slice(0, 8)), "b": model(slice(8, 12))}
    groups = np.repeat(np.arange(100), 4).astype(str)
    alone = separation(ACCURACY, "validation", candidates, LABELS)
    grouped = separation(ACCURACY, "validation", candidates, LABELS, groups)
    assert alone is not None and grouped is not None and grouped.needed and alone.needed
    assert grouped.needed == pytest.approx(4 * alone.needed, rel=0.05)
