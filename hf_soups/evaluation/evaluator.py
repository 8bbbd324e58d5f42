"""A recipe's `evaluate` section at work: data read once, predictions made once, scores with intervals."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError, did_you_mean
from hf_soups.evaluation import lm_harness, roles, tasks
from hf_soups.evaluation.asking import Asking
from hf_soups.evaluation.benchmarks import Benchmark, Measured, measured
from hf_soups.evaluation.cache import Predictions
from hf_soups.evaluation.examples import Examples
from hf_soups.evaluation.measures import loaded, refuse_untrusted
from hf_soups.evaluation.metrics import Metric, score
from hf_soups.evaluation.outputs import Outputs
from hf_soups.evaluation.predict import kind_of_device
from hf_soups.evaluation.results import Kind, Results, Row
from hf_soups.evaluation.rows import Rows, failing_on
from hf_soups.recipe import Measure

if TYPE_CHECKING:
    from hf_soups.evaluation.gradual import Answered, Enough, Model, Question, Share
    from hf_soups.evaluation.tasks.base import Task
    from hf_soups.recipe import Evaluate

TASK = "text-classification"  # of an evaluation that names none; the main job asks the models' configs


class Evaluator:
    """Data and metrics of one evaluation.

    evaluate: the recipe's section.
    label_names: the models' labels, in the order of their outputs.
    cache: where predictions are kept; default: the user's cache.
    token: for private datasets.
    seed: of the bootstrap.
    own: the user's metrics (`own_metric`, `own_function`), by the names that `evaluate.metrics` gives them.
    trust_remote_code: whether metrics that bring their own code may run it.
    All data is read here, and rows that selection has seen are taken out of the reports, unless the section allows
    their overlap: then they are counted.

    device: the kind of what runs models, here or on a cluster: cpu, cuda, mps.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        label_names: Sequence[str] = (),
        cache: Predictions | None = None,
        *,
        token: str | None = None,
        seed: int = 0,
        own: Mapping[str, Metric | Benchmark] | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        refuse_untrusted(evaluate, trust_remote_code)
        self.task: Task = tasks.named(evaluate.task or TASK).of(evaluate, label_names)
        roles.check(evaluate)
        self.cache = cache if cache is not None else Predictions()
        self.seed = seed
        usual = next(iter(self.task.metrics))
        self.asked = evaluate.metric_names or (usual,)  # the first decides
        brought = {m.label: loaded(m, token) for m in evaluate.metrics if isinstance(m, Measure)}
        self.metrics, self.benchmarks = _sorted(self.asked, {**(own or {}), **brought}, self.task)
        if not self.metrics:  # benchmarks say nothing of the datasets
            self.metrics[usual] = self.task.metric(usual)
        # how models are run: what `predict` gets besides model and data
        self.way: dict[str, Any] = {
            "batch_size": evaluate.batch_size,
            "max_length": evaluate.max_length,
            "dtype": evaluate.dtype,
        }
        self.device = kind_of_device()
        self.datasets, self.reports = roles.read(evaluate, self.task, token)
        self._known: dict[tuple[str, str, str], Measured] = {}
        self._asking = Asking(self.task, self.way)

    def names(self, role: str) -> tuple[str, ...]:
        """The datasets of a role, in the recipe's order."""
        return tuple(name for name, report in self.reports.items() if report.role == role)

    def outputs(
        self,
        identity: str,
        load: Model,
        settings: Mapping[str, str] | None = None,
        *,
        datasets: Iterable[str] | None = None,
        name: str | None = None,
        share: Share | None = None,
    ) -> dict[str, Outputs]:
        """Dataset → answers of one model, which is built at most once, only for what was never computed, and not kept.

        identity: exactly which weights: repo@sha, content hash, or hash of a soup's recipe.
        settings: what else decides the answers and is known without the model: {"tokenizer": its hash}.
        name: what people who look into the cache read; default: the identity.
        share: as of `gradual.Question`.
        """
        built: list[tuple[Any, Any]] = []

        def once() -> tuple[Any, Any]:
            if not built:
                built.append(load())
            return built[0]

        names = self.datasets if datasets is None else datasets
        questions = {one: self.question(identity, once, settings, one, name=name, share=share) for one in names}
        return {dataset: self.answered(question).whole() for dataset, question in questions.items()}

    def answered(
        self, question: Question, *, hardness: NDArray[np.float64] | None = None, enough: Enough | None = None
    ) -> Answered:
        """Answers to a question of `question`, to all rows or until there are enough; see `gradual.answer`."""
        from hf_soups.evaluation.gradual import answer

        name = question.about["model"]
        try:
            found = answer(question, self.cache, hardness=hardness, enough=enough)
        except EvaluationError as error:  # which of several models it is about, only the caller knows
            raise EvaluationError(f"{name}: {error}") from error
        if found.complete:
            self.task.check(found.whole(), question.examples, f"{name} on {question.dataset}")
        return found

    def question(
        self,
        identity: str,
        load: Model,
        settings: Mapping[str, str] | None,
        dataset: str,
        *,
        name: str | None = None,
        share: Share | None = None,
    ) -> Question:
        """What one model is asked about a dataset; arguments as of `outputs`, `share` as of `gradual.Question`."""
        key, examples = self.key(identity, dataset, settings), self.examples(dataset)
        return self._asking.question(key, load, settings, dataset, examples, name=name or identity, share=share)

    def measure(
        self, identity: str, load: Model, benchmark: str, settings: Mapping[str, str] | None = None
    ) -> Measured:
        """What a benchmark makes of one model, asked once; kept where it says what decides it. See `outputs`."""
        asked = (identity, benchmark, json.dumps(dict(settings or {}), sort_keys=True))
        if asked not in self._known:
            chosen, dtype = self.benchmarks[benchmark], self.way["dtype"]
            self._known[asked] = measured(chosen, identity, load, settings or {}, self.cache, dtype)
        return self._known[asked]

    def sign(self, metric: str | None = None) -> int:
        """1 if more of a metric or benchmark is better, else -1; default: the one that decides."""
        name = metric or self.asked[0]
        chosen = self.benchmarks[name] if name in self.benchmarks else self._metric(name)
        return 1 if chosen.greater_is_better else -1

    def key(self, identity: str, dataset: str, settings: Mapping[str, str] | None = None) -> str:
        """Under which a model's answers to a dataset are kept."""
        way = {name: str(value) for name, value in self.way.items()}
        everything = {"task": self.task.name, **way, **self.task.settings, **(settings or {})}
        if self.device != "cpu":  # kinds of devices differ in last bits
            everything["device"] = self.device
        return self.cache.key(identity, self.examples(dataset).fingerprint, everything)

    def score(self, outputs: Outputs, dataset: str, metric: str | None = None) -> float:
        """One number, without interval; metric: default the first of the recipe, which decides."""
        with failing_on(dataset):
            return score(self._metric(metric), outputs, self.examples(dataset).references)

    def ensemble(self, outputs: Sequence[Outputs]) -> Outputs | None:
        """Mean of the models' unnormalised logits on one dataset (Wortsman et al. 2022, Model soups).

        None where answers have no mean, such as texts.
        """
        if not outputs:
            raise EvaluationError("an ensemble needs at least one model")
        return self.task.ensemble(outputs)

    def row(
        self,
        name: str,
        kind: Kind,
        outputs: Mapping[str, Outputs],
        best: Mapping[str, Outputs] | None = None,
    ) -> Row:
        """One model's line of the table.

        outputs: by dataset. best: those of the individual that is best on selection data, to compare with.
        """
        return Rows(self.metrics, self.examples, self.seed).model(name, kind, outputs, best)

    def mean_row(
        self, name: str, models: Sequence[Mapping[str, Outputs]], best: Mapping[str, Outputs] | None = None
    ) -> Row:
        """The line of the mean individual: models' answers by dataset, `best` as for `row`."""
        return Rows(self.metrics, self.examples, self.seed).mean(name, models, best)

    def results(self, rows: Iterable[Row]) -> Results:
        """The table."""
        directions = {name: self.sign(name) for name in (*self.metrics, *self.benchmarks)}
        commits = {name: metric.commit for name, metric in self.metrics.items() if metric.commit}
        return Results(
            self.task.name, tuple(self.metrics), dict(self.reports), tuple(rows), directions, commits=commits
        )

    def examples(self, dataset: str) -> Examples:
        """The rows of a dataset."""
        if dataset not in self.datasets:
            raise EvaluationError(f"no dataset {dataset!r}{did_you_mean(dataset, self.datasets)}")
        return self.datasets[dataset]

    def _metric(self, name: str | None) -> Metric:
        name = name or next(iter(self.metrics))
        if name not in self.metrics:
            raise EvaluationError(f"metric {name!r} is not in `evaluate.metrics`{did_you_mean(name, self.metrics)}")
        return self.metrics[name]


def _sorted(
    names: Iterable[str], own: Mapping[str, Metric | Benchmark], task: Task
) -> tuple[dict[str, Metric], dict[str, Benchmark]]:
    """What the names mean: metrics of answers to rows, and benchmarks of whole models."""
    metrics: dict[str, Metric] = {}
    benchmarks: dict[str, Benchmark] = {}
    for name in names:
        found = own.get(name) or (lm_harness.named(name) if name.startswith(lm_harness.PREFIX) else task.metric(name))
        if isinstance(found, Benchmark):
            benchmarks[name] = found
        else:
            metrics[name] = found
    return metrics, benchmarks
