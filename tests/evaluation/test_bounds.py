"""The best value still possible: as if every answer to the rows that are left had been tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.bounds import best_possible, difficulty
from hf_soups.evaluation.metrics import METRICS, MULTI_LABEL, REGRESSION, Metric, score

COUNTED = ("accuracy", "balanced_accuracy", "f1", "precision", "recall", "matthews_correlation")


def completions(width: int, rows: int) -> Iterator[np.ndarray]:
    """Logits [rows, width] for every way to predict a label for each row."""
    for labels in product(range(width), repeat=rows):
        yield np.eye(width, dtype=np.float32)[list(labels)].reshape(rows, width)


def indicated(width: int, rows: int) -> Iterator[np.ndarray]:
    """The same for any set of labels a row."""
    for signs in product((-1.0, 1.0), repeat=width * rows):
        yield np.array(signs, dtype=np.float32).reshape(rows, width)


def best_of_all(
    metric: Metric, done: np.ndarray, known: Any, rest: Any, ways: Callable[[int, int], Iterator[np.ndarray]]
) -> float:
    """The best value over all completions, whole predictions scored as they always are."""
    references = np.concatenate([known, rest])
    found = []
    for way in ways(done.shape[1], len(rest)):
        try:
            found.append(score(metric, np.concatenate([done, way]), references))
        except EvaluationError:  # undefined on these rows
            continue
    return max(found)


@pytest.mark.parametrize("name", COUNTED)
@pytest.mark.parametrize(("width", "rest"), [(2, 0), (2, 1), (2, 5), (2, 8), (3, 1), (3, 4), (4, 3)])
def test_the_bound_is_the_best_of_all_completions(name: str, width: int, rest: int) -> None:
    random = np.random.default_rng([width, rest, COUNTED.index(name)])
    for _ in range(8):
        known, left = random.integers(0, width, random.integers(1, 8)), random.integers(0, width, rest)
        done = random.normal(size=(len(known), width)).astype(np.float32)
        bound = best_possible(METRICS[name], done, known, left)
        if name == "matthews_correlation" and width > 2:
            assert bound is None
            continue
        expected = best_of_all(METRICS[name], done, known, left, completions)
        assert bound is not None and bound >= expected
        if name == "matthews_correlation":
            assert bound == pytest.approx(expected, abs=1e-12)
        else:
            assert bound == expected, "counts are exact, so that ties are seen under >"


@pytest.mark.parametrize("name", ["f1", "f1_micro", "accuracy"])
def test_the_bound_holds_for_several_labels_a_row(name: str) -> None:
    random = np.random.default_rng(0)
    for rest in (0, 1, 3):
        for _ in range(8):
            known, left = (random.integers(0, 2, (rows, 3)).astype(np.float64) for rows in (4, rest))
            done = random.normal(size=(4, 3)).astype(np.float32)
            bound = best_possible(MULTI_LABEL[name], done, known, left)
            assert bound == best_of_all(MULTI_LABEL[name], done, known, left, indicated)


@pytest.mark.parametrize("name", ["log_loss", "mse", "rmse", "mae"])
def test_a_loss_is_never_below_its_bound_whatever_the_order_of_its_sum(name: str) -> None:
    metric = METRICS[name] if name == "log_loss" else REGRESSION[name]
    random = np.random.default_rng(1)
    for n in (2, 30, 3000):
        labels = random.integers(0, 2, n)
        answers = random.normal(size=(n, 2 if name == "log_loss" else 1)).astype(np.float32)
        references = labels if name == "log_loss" else labels.astype(np.float64)
        for done in {1, n // 2, n - 1, n}:
            rows = random.permutation(n)[:done]
            rest = np.setdiff1d(np.arange(n), rows)
            perfect = answers.copy()
            perfect[rest] = 100 * np.eye(2)[labels[rest]] if name == "log_loss" else references[rest][:, None]
            bound = best_possible(metric, answers[rows], references[rows], references[rest])
            assert bound is not None
            assert bound <= score(metric, perfect, references)
            assert bound == pytest.approx(score(metric, perfect, references), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", ["roc_auc", "expected_calibration_error"])
def test_where_nothing_is_known_there_is_no_bound(name: str) -> None:
    logits, labels = np.zeros((3, 2), np.float32), np.array([0, 1, 1])
    assert best_possible(METRICS[name], logits, labels, labels) is None
    assert difficulty(METRICS[name], logits, labels) is None


def test_a_row_is_difficult_by_its_chance_of_error_or_by_its_loss() -> None:
    logits = np.array([[2.0, 0.0], [0.0, 2.0], [0.0, 1.0]], np.float32)
    labels = np.array([0, 0, 1])
    chances = 1 / (1 + np.exp([2.0, -2.0, 1.0]))
    for name in ("accuracy", "f1"):
        found = difficulty(METRICS[name], logits, labels)
        assert found is not None and np.argsort(found).tolist() == np.argsort(chances).tolist()
        assert ((found > 0.5) == (chances > 0.5)).all()
    loss = difficulty(METRICS["log_loss"], logits, labels)
    assert loss is not None and loss == pytest.approx(-np.log(1 - chances))
