"""Metrics of rows that may have several labels, as real `evaluate.Metric` objects."""

from __future__ import annotations

from typing import Any

import evaluate
from datasets import Features, Value
from datasets import Sequence as ListOf
from sklearn import metrics as sk


class _OfIndicators(evaluate.Metric):
    """Compares, for each row and label, 0 or 1 with 0 or 1."""

    def _info(self) -> evaluate.MetricInfo:
        lists = ListOf(Value("int32"))
        return evaluate.MetricInfo(
            description=type(self).__doc__,
            citation="",
            inputs_description="predictions: 0 or 1 per label; references: 0 or 1 per label.",
            features=Features({"predictions": lists, "references": lists}),
        )


class MacroF1(_OfIndicators):
    """Mean of the labels' F1."""

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"f1": float(sk.f1_score(references, predictions, average="macro", zero_division=0.0))}


class MicroF1(_OfIndicators):
    """F1 of all labels' decisions together."""

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"f1_micro": float(sk.f1_score(references, predictions, average="micro", zero_division=0.0))}


class SubsetAccuracy(_OfIndicators):
    """Share of rows whose labels are all right."""

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"accuracy": float(sk.accuracy_score(references, predictions))}
