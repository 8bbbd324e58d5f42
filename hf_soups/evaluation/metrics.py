"""The metrics by name: what each reads, which way is up, and its value on logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from hf_soups.errors import EvaluationError, did_you_mean
from hf_soups.evaluation import scores
from hf_soups.evaluation.scores import Array, Labels, Logits


@dataclass(frozen=True)
class Metric:
    """A number that says how good predictions are.

    id, key: name of the metric in `evaluate`, and where its result holds the value.
    consumes: predicted label ids, or probabilities [n, labels].
    features, formula: what is summed over rows and what is made of the sums (`scores`).
    module: a user's own `evaluate.Metric`; arguments: what its `compute` gets besides.
    """

    id: str
    greater_is_better: bool
    consumes: Literal["labels", "probabilities"]
    key: str
    features: Callable[[Logits, Labels], Array] | None = None
    formula: Callable[[Array], Array] | None = None
    module: Any = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def as_evaluate(self, labels: int = 2) -> Any:
        """The same metric as an `evaluate.Metric`, to compute or to combine; scikit-learn does the sums.

        labels: of the model; f1, precision and recall are those of label 1 for two, the macro average for more.
        """
        if self.module is not None:
            return self.module
        from hf_soups.evaluation.evaluate_metrics import build

        return build(self.id, labels)


def _built_in(
    id: str,
    features: Callable[[Logits, Labels], Array],
    formula: Callable[[Array], Array],
    greater_is_better: bool = True,
    consumes: Literal["labels", "probabilities"] = "labels",
) -> Metric:
    return Metric(id, greater_is_better, consumes, id, features=features, formula=formula)


METRICS: Mapping[str, Metric] = {
    metric.id: metric
    for metric in (
        _built_in("accuracy", scores.hits, scores.mean),
        _built_in("balanced_accuracy", scores.counts, scores.balanced_accuracy),
        _built_in("f1", scores.counts, scores.f1),
        _built_in("precision", scores.counts, scores.precision),
        _built_in("recall", scores.counts, scores.recall),
        _built_in("matthews_correlation", scores.counts, scores.matthews),
        _built_in("roc_auc", scores.placements, scores.area_under_roc, consumes="probabilities"),
        _built_in("log_loss", scores.losses, scores.mean, False, "probabilities"),
        _built_in("expected_calibration_error", scores.calibration, scores.calibration_error, False, "probabilities"),
    )
}


def metric(id: str) -> Metric:
    """The metric of this name."""
    if id not in METRICS:
        raise EvaluationError(f"no metric {id!r}{did_you_mean(id, METRICS)}")
    return METRICS[id]


def own_metric(
    module: Any,
    *,
    greater_is_better: bool,
    consumes: Literal["labels", "probabilities"] = "labels",
    key: str | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Metric:
    """A user's own `evaluate.Metric`, wherever a built-in one can stand.

    greater_is_better: which way is up; `evaluate` does not say.
    key: the value among its results; default: the name of the metric.
    arguments: passed to `compute`, such as {"average": "macro"}.
    """
    name = str(module.name)
    return Metric(name, greater_is_better, consumes, key or name, module=module, arguments=dict(arguments or {}))


def score(metric: Metric, logits: Logits, labels: Labels) -> float:
    """The metric on these rows.

    logits: [n, labels]; labels: [n] ids. Equal to what `metric.as_evaluate(...)` computes.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise EvaluationError(
            f"{metric.id}: logits are {list(logits.shape)}, labels {list(labels.shape)}; need [n, labels] and [n]"
        )
    if len(labels) == 0:
        raise EvaluationError(f"{metric.id}: no rows to score")
    if metric.features is not None and metric.formula is not None:
        value = float(metric.formula(metric.features(logits, labels).sum(axis=0)))
    else:
        value = _computed(metric, logits, labels)
    if not np.isfinite(value):
        raise EvaluationError(
            f"{metric.id}: undefined on these {len(labels)} rows, whose labels are only {np.unique(labels).tolist()}; "
            "use rows of every label or another metric"
        )
    return value


def _computed(metric: Metric, logits: Logits, labels: Labels) -> float:
    from datasets import Value

    accepted = metric.module.features if isinstance(metric.module.features, list) else [metric.module.features]
    column = next((name for name in accepted[0] if name != "references"), "predictions")
    if metric.consumes == "labels":
        result = metric.module.compute(**{column: scores.predictions(logits), "references": labels}, **metric.arguments)
    else:
        chances = scores.probabilities(logits)
        if logits.shape[1] == 2 and all(isinstance(features[column], Value) for features in accepted):
            chances = chances[:, 1]  # it takes one number a row: the probability of label 1
        result = metric.module.compute(**{column: chances, "references": labels}, **metric.arguments)
    if metric.key not in result:
        raise EvaluationError(f"{metric.id}: no {metric.key!r} in its result; it has {', '.join(result)}; say `key`")
    return float(result[metric.key])
