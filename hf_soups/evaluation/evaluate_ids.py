"""Metrics of predicted label ids as real `evaluate.Metric` objects; scikit-learn computes them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import evaluate
from datasets import Features, Value
from sklearn import exceptions
from sklearn import metrics as sk


class _OfIds(evaluate.Metric):
    """Compares predicted with true label ids. `prediction_scores` may come along, for others in a combination."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=type(self).__doc__,
            citation="",
            inputs_description="predictions: label ids; references: label ids.",
            features=Features({"predictions": Value("int32"), "references": Value("int32")}),
        )


class Accuracy(_OfIds):
    """Share of rows whose label is predicted."""

    def _compute(self, predictions: Any, references: Any, prediction_scores: Any = None) -> dict[str, float]:
        return {"accuracy": float(sk.accuracy_score(references, predictions))}


class BalancedAccuracy(_OfIds):
    """Mean recall of the labels that occur."""

    def _compute(self, predictions: Any, references: Any, prediction_scores: Any = None) -> dict[str, float]:
        with no_advice():
            return {"balanced_accuracy": float(sk.balanced_accuracy_score(references, predictions))}


class MatthewsCorrelation(_OfIds):
    """Matthews correlation coefficient, between -1 and 1; 0 where it is undefined."""

    def _compute(self, predictions: Any, references: Any, prediction_scores: Any = None) -> dict[str, float]:
        with no_advice():
            return {"matthews_correlation": float(sk.matthews_corrcoef(references, predictions))}


class Averaged(_OfIds):
    """Per label; configuration `default`: of label 1 among two, `macro`: mean over the labels that occur."""

    def _options(self, average: str | None) -> dict[str, Any]:
        return {"average": average or ("macro" if self.config_name == "macro" else "binary"), "zero_division": 0.0}


class F1(Averaged):
    """Harmonic mean of precision and recall."""

    def _compute(
        self, predictions: Any, references: Any, average: str | None = None, prediction_scores: Any = None
    ) -> dict[str, float]:
        return {"f1": float(sk.f1_score(references, predictions, **self._options(average)))}


class Precision(Averaged):
    """Share of the rows predicted as a label that have it."""

    def _compute(
        self, predictions: Any, references: Any, average: str | None = None, prediction_scores: Any = None
    ) -> dict[str, float]:
        return {"precision": float(sk.precision_score(references, predictions, **self._options(average)))}


class Recall(Averaged):
    """Share of the rows of a label that are predicted as it."""

    def _compute(
        self, predictions: Any, references: Any, average: str | None = None, prediction_scores: Any = None
    ) -> dict[str, float]:
        return {"recall": float(sk.recall_score(references, predictions, **self._options(average)))}


@contextmanager
def no_advice() -> Iterator[None]:
    """scikit-learn warns about labels that do not occur; the metrics' definitions say what happens then."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", exceptions.UndefinedMetricWarning)
        warnings.simplefilter("ignore", UserWarning)
        yield
