"""How good a model can still become: the best value that a metric can have once some rows are answered.

A metric here is a formula of sums over rows, so it is enough to know which answers to the other rows would be best, and
what those add to the sums:

* means of what lies between 0 and 1, or is never below 0: every other row right, or without any loss;
* F1, precision, recall and balanced accuracy: every other row right. A right row adds one to a label's true positives,
  and one to its predictions, which makes no ratio of that label smaller; a wrong one adds a prediction to another
  label, which makes none larger, and may bring in a label that the macro average then counts with 0;
* Matthews correlation of two labels: every other row right. With P positive and N negative rows, true and false
  positive rates t and f, and p = P t + N f predictions of n, it is m(t, f) = (t - f) sqrt(P N / (p (n - p))). Where
  t > f the derivative of its logarithm by t is 1 / (t - f) - P (n - 2 p) / (2 p (n - p)), which is positive, since
  P / p <= 1 / (t - f) and (n - 2 p) / (n - p) < 1. Opposite predictions give m(t, f) = -m(1 - t, 1 - f), so it grows
  in t where t < f too; opposite labels give m(t, f) = m(1 - f, 1 - t), so it falls in f.

For every other metric, and for more than two labels under Matthews, nothing is known before all rows are answered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hf_soups.evaluation import scores
from hf_soups.evaluation import scores_numbers as numbers
from hf_soups.evaluation.metrics import Metric
from hf_soups.evaluation.outputs import Outputs
from hf_soups.evaluation.scores import Array

SHARPER = 3  # times the logits: took fewer rows than 1 in batches of 2 and 4 of fourteen soups of MiniLM

Ideal = Callable[[Any, int], Array]  # references of some rows, and the width of answers → the best sums of features


def best_possible(metric: Metric, outputs: Outputs, references: Any, rest: Any) -> float | None:
    """The best value that the metric can have on all rows, whatever the rows that are left get for answers.

    outputs, references: of at least one row that is answered; rest: references of the others.
    Never worse than what the metric will be, in floating point too. None where nothing is known.
    """
    ideal = _IDEAL.get(metric.features) if metric.features is not None else None
    if ideal is None or metric.formula not in _FORMULAS or metric.features is None:
        return None
    width = int(outputs.shape[1]) if isinstance(outputs, np.ndarray) else 1
    if metric.formula is scores.matthews and width != 2:
        return None
    done = metric.features(outputs, references)
    value = float(metric.formula(done.sum(axis=0) + ideal(rest, width)))
    if not np.isfinite(value):
        return None
    n = len(references) + len(rest)
    return value + (1 if metric.greater_is_better else -1) * _slack(metric, value, n)


def difficulty(metric: Metric, outputs: Outputs, references: Any) -> Array | None:
    """[n] what each row costs a model: its loss, or the probability that it gives to what is wrong. None: no bound.

    Probabilities tell more than whether a row is wrong: which of the right ones a similar model will get wrong. They
    are sharpened, so that a batch of many unlikely errors does not come before one with few certain ones.
    """
    cost = _COST.get(metric.features) if metric.features is not None else None
    return None if cost is None or metric.formula not in _FORMULAS else cost(outputs, references)


def _slack(metric: Metric, value: float, n: int) -> float:
    """How far rounding can put a bound beyond the value: counts are exact, and so are quotients compared to quotients.

    Sums of n terms that are not negative err by less than n units in the last place in any order; logarithms of rows
    may err by some units when they are computed in other company.
    """
    if metric.features in _EXACT and metric.formula is not scores.matthews:
        return 0.0
    unit = float(np.finfo(np.float64).eps)
    return 4 * n * unit * abs(value) + 16 * unit


def _all_right(references: Any, width: int) -> Array:
    return np.array([len(references), len(references)], np.float64)


def _no_loss(references: Any, width: int) -> Array:
    return np.array([0.0, len(references)])


def _no_errors(references: Any, width: int) -> Array:
    return np.array([0.0, 0.0, len(references)])


def _labels_right(references: Any, width: int) -> Array:
    found = np.bincount(np.asarray(references, np.int64), minlength=width)
    return np.tile(found.astype(np.float64), 3)


def _indicators_right(references: Any, width: int) -> Array:
    return np.tile(np.asarray(references, np.float64).reshape(-1, width).sum(axis=0), 3)


_IDEAL: Mapping[Any, Ideal] = {
    scores.hits: _all_right,
    scores.counts: _labels_right,
    scores.losses: _no_loss,
    numbers.exact_rows: _all_right,
    numbers.label_counts: _indicators_right,
    numbers.binary_losses: _no_loss,
    numbers.errors: _no_errors,
}
_FORMULAS = (
    scores.mean,
    scores.f1,
    scores.precision,
    scores.recall,
    scores.balanced_accuracy,
    scores.matthews,
    numbers.macro_f1,
    numbers.micro_f1,
    numbers.mean_squared,
    numbers.root_mean_squared,
    numbers.mean_absolute,
)
_EXACT = (scores.hits, scores.counts, numbers.exact_rows, numbers.label_counts)


def _chance_of_error(logits: Any, labels: Any) -> Array:
    return np.asarray(1 - scores.probabilities(SHARPER * logits)[np.arange(len(labels)), labels])


def _loss(logits: Any, labels: Any) -> Array:
    return scores.losses(logits, labels)[:, 0]


def _binary_loss(logits: Any, references: Any) -> Array:
    return numbers.binary_losses(logits, references)[:, 0]


def _squared_error(values: Any, references: Any) -> Array:
    return numbers.errors(values, references)[:, 0]


_COST: Mapping[Any, Callable[[Any, Any], Array]] = {
    scores.hits: _chance_of_error,
    scores.counts: _chance_of_error,
    scores.losses: _loss,
    numbers.exact_rows: _binary_loss,
    numbers.label_counts: _binary_loss,
    numbers.binary_losses: _binary_loss,
    numbers.errors: _squared_error,
}
