"""Metrics of predicted probabilities as real `evaluate.Metric` objects."""

from __future__ import annotations

from typing import Any

import evaluate
import numpy as np
from datasets import Features, Value
from datasets import Sequence as ListOf
from sklearn import metrics as sk

from hf_soups.evaluation.evaluate_ids import no_advice

_ROWS = Features({"prediction_scores": ListOf(Value("float64")), "references": Value("int32")})
_SCORES = Features({"prediction_scores": Value("float64"), "references": Value("int32")})


class _OfProbabilities(evaluate.Metric):
    """Compares probabilities [n, labels] with true label ids."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=type(self).__doc__,
            citation="",
            inputs_description="prediction_scores: one probability per label and row; references: label ids.",
            features=self._accepts(),
        )

    def _accepts(self) -> Any:
        return _ROWS


class RocAuc(_OfProbabilities):
    """Area under the ROC curve of label 1; for more than two labels each against the rest, unweighted mean.

    One score a row, as on the Hub, or one a label.
    """

    def _accepts(self) -> Any:
        return [_SCORES, _ROWS]

    def _compute(self, prediction_scores: Any, references: Any) -> dict[str, float]:
        scores, labels = np.asarray(prediction_scores), np.asarray(references)
        with no_advice():
            if scores.ndim == 1 or scores.shape[1] == 2:
                return {"roc_auc": float(sk.roc_auc_score(labels, scores if scores.ndim == 1 else scores[:, 1]))}
            areas = [sk.roc_auc_score(labels == k, scores[:, k]) for k in range(scores.shape[1])]
            return {"roc_auc": float(np.nanmean(areas))}


class LogLoss(_OfProbabilities):
    """Mean of minus the log probability of the true label, in nats."""

    def _compute(self, prediction_scores: Any, references: Any) -> dict[str, float]:
        scores = np.asarray(prediction_scores)
        return {"log_loss": float(sk.log_loss(references, scores, labels=list(range(scores.shape[1]))))}


class ExpectedCalibrationError(_OfProbabilities):
    """Mean difference between confidence and accuracy in 15 bins of equal width (Guo et al. 2017)."""

    def _compute(self, prediction_scores: Any, references: Any) -> dict[str, float]:
        from hf_soups.evaluation.scores import BINS

        scores, labels = np.asarray(prediction_scores), np.asarray(references)
        confidence, right = scores.max(axis=1), scores.argmax(axis=1) == labels
        edges = np.arange(1, BINS) / BINS
        bins = np.digitize(confidence, edges, right=True)
        error = sum(
            abs(confidence[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean()
            for b in range(BINS)
            if (bins == b).any()
        )
        return {"expected_calibration_error": float(error)}
