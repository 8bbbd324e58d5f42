"""The metrics by name: what each reads, which way is up, and its value on logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from hf_soups.errors import EvaluationError, did_you_mean
from hf_soups.evaluation import scores
from hf_soups.evaluation import scores_numbers as numbers
from hf_soups.evaluation import scores_ranking as ranking
from hf_soups.evaluation.outputs import Outputs, Ragged
from hf_soups.evaluation.scores import Array

Consumes = Literal["labels", "probabilities", "indicators", "values", "texts", "tags", "spans", "losses", "rankings"]


@dataclass(frozen=True)
class Metric:
    """A number that says how good answers are.

    id, key: name of the metric in `evaluate`, and where its result holds the value.
    consumes: what its module reads: predicted label ids, probabilities [n, labels], 0 or 1 for each label, numbers,
        texts, a name for each word, answers taken from a context, losses of tokens, or numbers to rank a row's
        candidates by.
    features, formula: what is summed over rows of answers and references, and what is made of the sums (`scores`).
    bounds: the least and the most that any rows can give it; None for no bound.
    module: a user's own `evaluate.Metric`; arguments: what its `compute` gets besides; commit: of
        the Space that brought it.
    """

    id: str
    greater_is_better: bool
    consumes: Consumes
    key: str
    features: Callable[[Any, Any], Array] | None = None
    formula: Callable[[Array], Array] | None = None
    bounds: tuple[float | None, float | None] = (None, None)
    module: Any = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    commit: str | None = None

    def as_evaluate(self, labels: int = 2) -> Any:
        """The same metric as an `evaluate.Metric`, to compute or to combine; scikit-learn does the sums.

        labels: of the model; f1, precision and recall are those of label 1 for two, the macro average for more.
        """
        if self.module is not None:
            return self.module
        if self.consumes in ("tags", "spans"):
            from hf_soups.evaluation.evaluate_spans import build as of_spans

            return of_spans(self.consumes)
        if self.consumes == "texts":
            from hf_soups.evaluation.evaluate_texts import build as of_texts

            return of_texts(self)
        from hf_soups.evaluation.evaluate_metrics import build

        return build(self.id, labels, several=self.consumes == "indicators")


def built_in(
    id: str,
    features: Callable[[Any, Any], Array],
    formula: Callable[[Array], Array],
    greater_is_better: bool = True,
    consumes: Consumes = "labels",
    bounds: tuple[float | None, float | None] = (0.0, 1.0),
) -> Metric:
    """A metric that is a formula of sums over rows."""
    return Metric(id, greater_is_better, consumes, id, features=features, formula=formula, bounds=bounds)


def table(*metrics: Metric) -> Mapping[str, Metric]:
    """The metrics of a task by name, the one that decides first."""
    return {metric.id: metric for metric in metrics}


METRICS = table(
    built_in("accuracy", scores.hits, scores.mean),
    built_in("balanced_accuracy", scores.counts, scores.balanced_accuracy),
    built_in("f1", scores.counts, scores.f1),
    built_in("precision", scores.counts, scores.precision),
    built_in("recall", scores.counts, scores.recall),
    built_in("matthews_correlation", scores.counts, scores.matthews, bounds=(-1.0, 1.0)),
    built_in("roc_auc", scores.placements, scores.area_under_roc, consumes="probabilities"),
    built_in("log_loss", scores.losses, scores.mean, False, "probabilities", (0.0, None)),
    built_in("expected_calibration_error", scores.calibration, scores.calibration_error, False, "probabilities"),
)

MULTI_LABEL = table(
    built_in("f1", numbers.label_counts, numbers.macro_f1, consumes="indicators"),
    built_in("f1_micro", numbers.label_counts, numbers.micro_f1, consumes="indicators"),
    built_in("accuracy", numbers.exact_rows, scores.mean, consumes="indicators"),
    built_in("log_loss", numbers.binary_losses, scores.mean, False, "indicators", (0.0, None)),
)

REGRESSION = table(
    built_in("pearsonr", numbers.moments, numbers.correlation, consumes="values", bounds=(-1.0, 1.0)),
    built_in("spearmanr", numbers.rank_moments, numbers.correlation, consumes="values", bounds=(-1.0, 1.0)),
    built_in("mse", numbers.errors, numbers.mean_squared, False, "values", (0.0, None)),
    built_in("rmse", numbers.errors, numbers.root_mean_squared, False, "values", (0.0, None)),
    built_in("mae", numbers.errors, numbers.mean_absolute, False, "values", (0.0, None)),
    built_in("r_squared", numbers.moments, numbers.explained, consumes="values", bounds=(None, 1.0)),
)

SIMILARITY = table(REGRESSION["spearmanr"], REGRESSION["pearsonr"])

RETRIEVAL = table(
    built_in("ndcg@10", ranking.gains, scores.mean, consumes="rankings"),
    built_in("recall@10", ranking.found, scores.mean, consumes="rankings"),
    built_in("mrr@10", ranking.reciprocal_ranks, scores.mean, consumes="rankings"),
)


def metric(id: str) -> Metric:
    """The metric of this name."""
    if id not in METRICS:
        raise EvaluationError(f"no metric {id!r}{did_you_mean(id, METRICS)}")
    return METRICS[id]


def own_metric(
    module: Any,
    *,
    greater_is_better: bool,
    consumes: Consumes = "labels",
    key: str | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Metric:
    """A user's own `evaluate.Metric`, wherever a built-in one can stand.

    greater_is_better: which way is up; `evaluate` does not say.
    consumes: of answers with several lines a row, such as a label for each word, the module gets a list for each row.
    key: the value among its results; default: the name of the metric.
    arguments: passed to `compute`, such as {"average": "macro"}.
    """
    name = str(module.name)
    return Metric(name, greater_is_better, consumes, key or name, module=module, arguments=dict(arguments or {}))


def score(metric: Metric, outputs: Outputs, references: Any) -> float:
    """The metric on these rows.

    outputs: a model's answers, such as logits [n, labels]; references: what is right, such as [n] label ids. Equal to
    what `metric.as_evaluate(...)` computes.
    """
    if len(outputs) != len(references):
        raise EvaluationError(f"{metric.id}: answers to {len(outputs)} rows, references for {len(references)}")
    if len(references) == 0:
        raise EvaluationError(f"{metric.id}: no rows to score")
    if metric.features is not None and metric.formula is not None:
        value = float(metric.formula(metric.features(outputs, references).sum(axis=0)))
    else:
        value = _computed(metric, outputs, references)
    if not np.isfinite(value):
        raise EvaluationError(
            f"{metric.id}: undefined on these {len(references)} rows{_only(references)}; use more varied rows or "
            "another metric"
        )
    return value


def _only(references: Any) -> str:
    if isinstance(references, np.ndarray) and references.ndim == 1 and len(np.unique(references)) < 10:
        return f", whose references are only {np.unique(references).tolist()}"
    return ""


def _computed(metric: Metric, outputs: Any, references: Any) -> float:
    try:
        found = _asked(metric, outputs, references)
    except EvaluationError:
        raise
    except Exception as error:  # the metric's own code, or answers of a kind that it was not made for
        raise EvaluationError(
            f"{metric.id}: fails on these answers, of which it reads {metric.consumes}: "
            f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no reason given'}"
        ) from error
    return found


def _asked(metric: Metric, outputs: Any, references: Any) -> float:
    from datasets import Value

    accepted = metric.module.features if isinstance(metric.module.features, list) else [metric.module.features]
    column = next((name for name in accepted[0] if name != "references"), "predictions")
    given = _decoded(metric.consumes, outputs)
    one_number = all(isinstance(features[column], Value) for features in accepted)
    if metric.consumes == "probabilities" and one_number and isinstance(outputs, np.ndarray) and outputs.shape[1] == 2:
        given = given[:, 1]  # the probability of label 1
    if isinstance(outputs, Ragged):
        references = [np.asarray(one).tolist() for one in references]
    result = metric.module.compute(**{column: given, "references": references}, **metric.arguments)
    if metric.key not in result:
        raise EvaluationError(f"{metric.id}: no {metric.key!r} in its result; it has {', '.join(result)}; say `key`")
    return float(result[metric.key])


def _decoded(consumes: Consumes, outputs: Any) -> Any:
    if isinstance(outputs, Ragged):
        if consumes not in ("labels", "probabilities", "values", "losses", "rankings"):
            raise EvaluationError(
                f"own metrics cannot read {consumes}; of answers with several lines a row they can read labels, "
                "probabilities, values, losses or rankings, a list for each row: say `consumes`"
            )
        return [_of_lines(consumes, outputs[row]) for row in range(len(outputs))]
    if consumes == "texts":
        return list(outputs)
    if consumes == "values":
        return outputs.reshape(len(outputs))
    if consumes == "indicators":
        return numbers.indicated(outputs).astype(np.int64)
    return scores.predictions(outputs) if consumes == "labels" else scores.probabilities(outputs)


def _of_lines(consumes: Consumes, lines: Any) -> list[Any]:
    """One row's lines, [length, width]: its label ids, its probabilities, or its numbers."""
    if consumes == "labels":
        return list(scores.predictions(lines).tolist())
    return list((scores.probabilities(lines) if consumes == "probabilities" else lines.reshape(-1)).tolist())
