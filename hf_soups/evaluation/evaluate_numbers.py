"""Metrics of predicted numbers as real `evaluate.Metric` objects."""

from __future__ import annotations

from typing import Any

import evaluate
from datasets import Features, Value
from sklearn import metrics as sk


class _OfNumbers(evaluate.Metric):
    """Compares numbers with numbers."""

    def _info(self) -> evaluate.MetricInfo:
        features = Features({"predictions": Value("float64"), "references": Value("float64")})
        return evaluate.MetricInfo(
            description=type(self).__doc__,
            citation="",
            inputs_description="predictions: numbers; references: numbers.",
            features=features,
        )


class MeanSquaredError(_OfNumbers):
    """Mean of squared errors."""

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"mse": float(sk.mean_squared_error(references, predictions))}


class RootMeanSquaredError(_OfNumbers):
    """Square root of the mean of squared errors."""

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"rmse": float(sk.root_mean_squared_error(references, predictions))}


class MeanAbsoluteError(_OfNumbers):
    """Mean of absolute errors."""

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"mae": float(sk.mean_absolute_error(references, predictions))}


class RSquared(_OfNumbers):
    """Share of the variance that is explained, 1 at most."""

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"r_squared": float(sk.r2_score(references, predictions))}


class Pearson(_OfNumbers):
    """Pearson correlation, between -1 and 1."""

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        from scipy.stats import pearsonr  # type: ignore[import-untyped]

        return {"pearsonr": float(pearsonr(references, predictions)[0])}


class Spearman(_OfNumbers):
    """Spearman rank correlation, between -1 and 1."""

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        from scipy.stats import spearmanr

        return {"spearmanr": float(spearmanr(references, predictions)[0])}
