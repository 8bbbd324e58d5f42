"""The built-in metrics as real `evaluate.Metric` objects, defined here: nothing is downloaded, nothing is executed.

Ids, inputs and result keys are those of the `evaluate` modules on the Hub; scikit-learn computes them.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import evaluate
import numpy as np
from datasets import Features, Value
from datasets import Sequence as ListOf
from sklearn import exceptions
from sklearn import metrics as sk

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.evaluate_ranking import DiscountedGain, RecallAtTen, ReciprocalRank

_IDS = Features({"predictions": Value("int32"), "references": Value("int32")})
_ROWS = Features({"prediction_scores": ListOf(Value("float64")), "references": Value("int32")})
_SCORES = Features({"prediction_scores": Value("float64"), "references": Value("int32")})


class _OfIds(evaluate.Metric):
    """Compares predicted with true label ids. `prediction_scores` may come along, for others in a combination."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=type(self).__doc__,
            citation="",
            inputs_description="predictions: label ids; references: label ids.",
            features=_IDS,
        )


class Accuracy(_OfIds):
    """Share of rows whose label is predicted."""

    def _compute(self, predictions: Any, references: Any, prediction_scores: Any = None) -> dict[str, float]:
        return {"accuracy": float(sk.accuracy_score(references, predictions))}


class BalancedAccuracy(_OfIds):
    """Mean recall of the labels that occur."""

    def _compute(self, predictions: Any, references: Any, prediction_scores: Any = None) -> dict[str, float]:
        with _no_advice():
            return {"balanced_accuracy": float(sk.balanced_accuracy_score(references, predictions))}


class MatthewsCorrelation(_OfIds):
    """Matthews correlation coefficient, between -1 and 1; 0 where it is undefined."""

    def _compute(self, predictions: Any, references: Any, prediction_scores: Any = None) -> dict[str, float]:
        with _no_advice():
            return {"matthews_correlation": float(sk.matthews_corrcoef(references, predictions))}


class _Averaged(_OfIds):
    """Per label; configuration `default`: of label 1 among two, `macro`: mean over the labels that occur."""

    def _options(self, average: str | None) -> dict[str, Any]:
        return {"average": average or ("macro" if self.config_name == "macro" else "binary"), "zero_division": 0.0}


class F1(_Averaged):
    """Harmonic mean of precision and recall."""

    def _compute(
        self, predictions: Any, references: Any, average: str | None = None, prediction_scores: Any = None
    ) -> dict[str, float]:
        return {"f1": float(sk.f1_score(references, predictions, **self._options(average)))}


class Precision(_Averaged):
    """Share of the rows predicted as a label that have it."""

    def _compute(
        self, predictions: Any, references: Any, average: str | None = None, prediction_scores: Any = None
    ) -> dict[str, float]:
        return {"precision": float(sk.precision_score(references, predictions, **self._options(average)))}


class Recall(_Averaged):
    """Share of the rows of a label that are predicted as it."""

    def _compute(
        self, predictions: Any, references: Any, average: str | None = None, prediction_scores: Any = None
    ) -> dict[str, float]:
        return {"recall": float(sk.recall_score(references, predictions, **self._options(average)))}


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
        with _no_advice():
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


_SEVERAL: dict[str, type[evaluate.Metric]] = {"f1": MacroF1, "f1_micro": MicroF1, "accuracy": SubsetAccuracy}
_MODULES: dict[str, type[evaluate.Metric]] = {
    "accuracy": Accuracy,
    "balanced_accuracy": BalancedAccuracy,
    "f1": F1,
    "precision": Precision,
    "recall": Recall,
    "matthews_correlation": MatthewsCorrelation,
    "roc_auc": RocAuc,
    "log_loss": LogLoss,
    "expected_calibration_error": ExpectedCalibrationError,
    "mse": MeanSquaredError,
    "rmse": RootMeanSquaredError,
    "mae": MeanAbsoluteError,
    "r_squared": RSquared,
    "pearsonr": Pearson,
    "spearmanr": Spearman,
    "ndcg@10": DiscountedGain,
    "recall@10": RecallAtTen,
    "mrr@10": ReciprocalRank,
}


def build(id: str, labels: int, several: bool = False) -> evaluate.Metric:
    """The metric for a model of so many labels; it keeps its rows in memory, so that any number may run at once.

    several: whether a row may have several labels.
    """
    modules = _SEVERAL if several else _MODULES
    if id not in modules:
        raise EvaluationError(f"{id} is not offered as an evaluate.Metric; use {', '.join(modules)}")
    kind = modules[id]
    config = "macro" if issubclass(kind, _Averaged) and labels > 2 else None
    with tempfile.TemporaryDirectory() as folder:  # `evaluate` wants one even when it writes nothing
        return kind(config_name=config, keep_in_memory=True, cache_dir=folder)


@contextmanager
def _no_advice() -> Iterator[None]:
    """scikit-learn warns about labels that do not occur; the metrics' definitions say what happens then."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", exceptions.UndefinedMetricWarning)
        warnings.simplefilter("ignore", UserWarning)
        yield
