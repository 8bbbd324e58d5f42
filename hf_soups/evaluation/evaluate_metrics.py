"""The built-in metrics as real `evaluate.Metric` objects, defined here: nothing is downloaded, nothing is executed.

Ids, inputs and result keys are those of the `evaluate` modules on the Hub; scikit-learn computes them.
"""

from __future__ import annotations

import tempfile

import evaluate

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.evaluate_ids import (
    F1,
    Accuracy,
    Averaged,
    BalancedAccuracy,
    MatthewsCorrelation,
    Precision,
    Recall,
)
from hf_soups.evaluation.evaluate_indicators import MacroF1, MicroF1, SubsetAccuracy
from hf_soups.evaluation.evaluate_numbers import (
    MeanAbsoluteError,
    MeanSquaredError,
    Pearson,
    RootMeanSquaredError,
    RSquared,
    Spearman,
)
from hf_soups.evaluation.evaluate_probabilities import ExpectedCalibrationError, LogLoss, RocAuc
from hf_soups.evaluation.evaluate_ranking import DiscountedGain, RecallAtTen, ReciprocalRank

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
    config = "macro" if issubclass(kind, Averaged) and labels > 2 else None
    with tempfile.TemporaryDirectory() as folder:  # `evaluate` wants one even when it writes nothing
        return kind(config_name=config, keep_in_memory=True, cache_dir=folder)
