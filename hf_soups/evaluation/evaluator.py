"""A recipe's `evaluate` section at work: data read once, predictions made once, scores with intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError, did_you_mean
from hf_soups.evaluation.cache import Predictions
from hf_soups.evaluation.data import load
from hf_soups.evaluation.examples import Examples
from hf_soups.evaluation.metrics import Metric, metric, score
from hf_soups.evaluation.results import DatasetReport, Kind, Results, Row
from hf_soups.evaluation.splits import REPORT_ROLES, SELECTION_ROLES, check_roles, remove_shared
from hf_soups.evaluation.statistics import Interval, difference, interval

if TYPE_CHECKING:
    from hf_soups.recipe import Evaluate

TASK = "text-classification"
Model = Callable[[], tuple[Any, Any]]  # builds (model, tokenizer), only when a prediction is missing


class Evaluator:
    """Data and metrics of one evaluation.

    evaluate: the recipe's section.
    label_names: the models' labels, in the order of their outputs.
    cache: where predictions are kept; default: the user's cache.
    token: for private datasets.
    seed: of the bootstrap.
    own: the user's metrics (`own_metric`), by the names that `evaluate.metrics` gives them.
    All data is read here, and rows that selection has seen are taken out of the reports.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        label_names: Sequence[str],
        cache: Predictions | None = None,
        *,
        token: str | None = None,
        seed: int = 0,
        own: Mapping[str, Metric] | None = None,
    ) -> None:
        if evaluate.task != TASK:
            raise EvaluationError(f"task {evaluate.task!r} cannot be evaluated yet; only {TASK}")
        if len(label_names) < 2:
            raise EvaluationError(f"a classifier has at least two labels; this model has {len(label_names)}")
        check_roles(evaluate.datasets)
        self.task = evaluate.task
        self.label_names = tuple(label_names)
        self.cache = cache if cache is not None else Predictions()
        self.seed = seed
        self.metrics: dict[str, Metric] = {name: (own or {}).get(name) or metric(name) for name in evaluate.metrics}
        self._batch_size = evaluate.batch_size
        self._max_length = evaluate.max_length
        self._dtype = evaluate.dtype
        loaded = {name: load(data, label_names, token=token) for name, data in evaluate.datasets.items()}
        roles = {name: data.role for name, data in evaluate.datasets.items()}
        seen = [examples for name, examples in loaded.items() if roles[name] in SELECTION_ROLES]
        self.datasets: dict[str, Examples] = {}
        self.reports: dict[str, DatasetReport] = {}
        for name, examples in loaded.items():
            kept, dropped = remove_shared(examples, *seen) if roles[name] in REPORT_ROLES else (examples, 0)
            groups = None if kept.groups is None else len(np.unique(kept.groups))
            self.datasets[name] = kept
            self.reports[name] = DatasetReport(
                name, roles[name], kept.source, kept.n, groups, kept.fingerprint, dropped
            )

    def names(self, role: str) -> tuple[str, ...]:
        """The datasets of a role, in the recipe's order."""
        return tuple(name for name, report in self.reports.items() if report.role == role)

    def logits(
        self, identity: str, load: Model, dataset: str, settings: Mapping[str, str] | None = None
    ) -> NDArray[np.float32]:
        """[n, labels] of one model on one dataset; the model is built only when they were never computed.

        identity: exactly which weights: repo@sha, content hash, or hash of a soup's recipe.
        settings: what else decides the logits and is known without the model: {"tokenizer": its hash}.
        """
        return self.all_logits(identity, load, settings, datasets=(dataset,))[dataset]

    def all_logits(
        self,
        identity: str,
        load: Model,
        settings: Mapping[str, str] | None = None,
        *,
        datasets: Iterable[str] | None = None,
    ) -> dict[str, NDArray[np.float32]]:
        """Dataset → logits of one model, which is built at most once, and not kept."""
        built: list[tuple[Any, Any]] = []

        def compute(examples: Examples) -> NDArray[np.float32]:
            from hf_soups.evaluation.predict import predict

            if not built:
                built.append(load())
            model, tokenizer = built[0]
            return predict(
                model, tokenizer, examples, batch_size=self._batch_size, max_length=self._max_length, dtype=self._dtype
            )

        found = {}
        for name in self.datasets if datasets is None else datasets:
            examples = self._examples(name)
            everything = {
                "batch_size": str(self._batch_size),
                "max_length": str(self._max_length),
                "dtype": self._dtype,
                **(settings or {}),
            }
            key = self.cache.key(identity, examples.fingerprint, everything)
            logits = self.cache.get_or_compute(key, lambda examples=examples: compute(examples))  # type: ignore[misc]
            if logits.shape != (examples.n, len(self.label_names)):
                raise EvaluationError(
                    f"{identity} on {name}: logits are {list(logits.shape)}, expected "
                    f"[{examples.n}, {len(self.label_names)}] for the labels {', '.join(self.label_names)}"
                )
            found[name] = logits
        return found

    def score(self, logits: NDArray[np.float32], dataset: str, metric: str | None = None) -> float:
        """One number, without interval; metric: default the first of the recipe, which decides."""
        return score(self._metric(metric), logits, self._examples(dataset).labels)

    def ensemble(self, logits: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Mean of the models' unnormalised logits on one dataset (Wortsman et al. 2022, Model soups)."""
        if not logits:
            raise EvaluationError("an ensemble needs at least one model")
        return np.asarray(np.mean(np.stack(logits), axis=0, dtype=np.float64), dtype=np.float32)

    def row(
        self,
        name: str,
        kind: Kind,
        logits: Mapping[str, NDArray[np.float32]],
        best: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> Row:
        """One model's line of the table.

        logits: by dataset. best: those of the individual that is best on selection data, to compare with.
        """

        def measured(one: Callable[[Metric, str, Examples], Interval]) -> dict[str, dict[str, Interval]]:
            return {
                dataset: {id: one(metric, dataset, self._examples(dataset)) for id, metric in self.metrics.items()}
                for dataset in logits
            }

        scores = measured(lambda m, dataset, rows: interval(m, logits[dataset], rows.labels, rows.groups, self.seed))
        if best is None:
            return Row(name, kind, scores)
        versus = measured(
            lambda m, dataset, rows: difference(m, logits[dataset], best[dataset], rows.labels, rows.groups, self.seed)
        )
        return Row(name, kind, scores, versus)

    def results(self, rows: Iterable[Row]) -> Results:
        """The table."""
        return Results(self.task, tuple(self.metrics), dict(self.reports), tuple(rows))

    def _examples(self, dataset: str) -> Examples:
        if dataset not in self.datasets:
            raise EvaluationError(f"no dataset {dataset!r}{did_you_mean(dataset, self.datasets)}")
        return self.datasets[dataset]

    def _metric(self, name: str | None) -> Metric:
        name = name or next(iter(self.metrics))
        if name not in self.metrics:
            raise EvaluationError(f"metric {name!r} is not in `evaluate.metrics`{did_you_mean(name, self.metrics)}")
        return self.metrics[name]
