"""A recipe's `evaluate` section at work: data read once, predictions made once, scores with intervals."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError, did_you_mean
from hf_soups.evaluation import lm_harness, tasks
from hf_soups.evaluation.benchmarks import Benchmark, Measured
from hf_soups.evaluation.cache import Predictions
from hf_soups.evaluation.data import load
from hf_soups.evaluation.examples import Examples
from hf_soups.evaluation.individuals import mean_difference, mean_interval
from hf_soups.evaluation.measures import loaded, refuse_untrusted
from hf_soups.evaluation.metrics import Metric, score
from hf_soups.evaluation.outputs import Outputs
from hf_soups.evaluation.paired import Paired, compared
from hf_soups.evaluation.results import DatasetReport, Kind, Results, Row
from hf_soups.evaluation.splits import REPORT_ROLES, SELECTION_ROLES, check_roles, keep_shared, remove_shared
from hf_soups.evaluation.statistics import Interval, difference, interval
from hf_soups.recipe import Measure

if TYPE_CHECKING:
    from hf_soups.evaluation.batches import Batches
    from hf_soups.evaluation.gradual import Answered, Enough, Question, Share
    from hf_soups.evaluation.tasks.base import Task
    from hf_soups.recipe import Evaluate

TASK = "text-classification"  # of an evaluation that names none; the main job asks the models' configs
Model = Callable[[], tuple[Any, Any]]  # builds (model, processor), only when a prediction is missing


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
        forced = evaluate.allow_overlap  # of a report with a selection; never of two selections
        check_roles({n: d for n, d in evaluate.datasets.items() if not forced or d.role in SELECTION_ROLES})
        self.cache = cache if cache is not None else Predictions()
        self.seed = seed
        usual = next(iter(self.task.metrics))
        self.asked = evaluate.metric_names or (usual,)  # the first decides
        brought = {m.label: loaded(m, token) for m in evaluate.metrics if isinstance(m, Measure)}
        self.metrics, self.benchmarks = _sorted(self.asked, {**(own or {}), **brought}, self.task)
        if not self.metrics:  # benchmarks say nothing of the datasets
            self.metrics[usual] = self.task.metric(usual)
        self._batch_size = evaluate.batch_size
        self._max_length = evaluate.max_length
        self._dtype = evaluate.dtype
        every = {name: load(data, self.task, token=token) for name, data in evaluate.datasets.items()}
        roles = {name: data.role for name, data in evaluate.datasets.items()}
        seen = [examples for name, examples in every.items() if roles[name] in SELECTION_ROLES]
        self.datasets: dict[str, Examples] = {}
        self._known: dict[tuple[str, str, str], Measured] = {}
        self._encoded: dict[tuple[str, str], Sequence[Any]] = {}
        self._least: dict[tuple[str, str], int | None] = {}
        self.reports: dict[str, DatasetReport] = {}
        for name, examples in every.items():
            kept, dropped, shared = examples, 0, 0
            if roles[name] in REPORT_ROLES and forced:
                kept, dropped, shared = keep_shared(examples, *seen)
            elif roles[name] in REPORT_ROLES:
                kept, dropped = remove_shared(examples, *seen)
            groups = None if kept.groups is None else len(np.unique(kept.groups))
            self.datasets[name] = kept
            self.reports[name] = DatasetReport(
                name,
                roles[name],
                kept.source,
                kept.n,
                groups,
                kept.fingerprint,
                dropped,
                shared,
                _only(kept, kept.choices or self.task.label_names),
            )

    def __getstate__(self) -> dict[str, Any]:
        """What travels to another process: not what was found out about the models and the machine of this one."""
        return {**self.__dict__, "_encoded": {}, "_least": {}}

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
        from hf_soups.evaluation.gradual import Question

        examples = self.examples(dataset)
        known = None if settings is None else (dataset, json.dumps(dict(settings), sort_keys=True))

        def encode(model: Any, processor: Any) -> Sequence[Any]:
            if known is None or known not in self._encoded:
                items = self.task.encode(model, processor, examples, self._max_length)
                if known is None:
                    return items
                self._encoded[known] = items
            return self._encoded[known]

        def least(batches: Batches) -> int | None:
            if known is None:
                return batches.least()
            if known not in self._least:
                self._least[known] = batches.least()
            return self._least[known]

        return Question(
            self.task,
            dataset,
            examples,
            self.key(identity, dataset, settings),
            load,
            self.way,
            encode=encode if self.task.encodes_alike else None,
            least=least,
            **({"share": share} if share else {}),
            about={"task": self.task.name, "dataset": examples.source.title, "model": name or identity},
        )

    def measure(
        self, identity: str, load: Model, benchmark: str, settings: Mapping[str, str] | None = None
    ) -> Measured:
        """What a benchmark makes of one model, asked once; kept where it says what decides it. See `outputs`."""
        asked = (identity, benchmark, json.dumps(dict(settings or {}), sort_keys=True))
        if asked not in self._known:
            self._known[asked] = self._measure(identity, load, self.benchmarks[benchmark], settings)
        return self._known[asked]

    def _measure(self, identity: str, load: Model, chosen: Benchmark, settings: Mapping[str, str] | None) -> Measured:
        from hf_soups.evaluation.predict import ready

        def compute() -> Outputs:
            model, processor = load()
            with ready(model, self._dtype):
                found = chosen.run(model, processor)
            return np.array([[found.value, np.nan if found.stderr is None else found.stderr]], np.float32)

        if chosen.identity is None:
            kept = compute()
        else:
            everything = {"benchmark": chosen.identity, "dtype": self._dtype, **(settings or {})}
            kept = self.cache.get_or_compute(self.cache.key(identity, "", everything), compute)
        value, stderr = np.asarray(kept)[0].tolist()  # in float32, whether it comes from the cache or not
        return Measured(value, None if np.isnan(stderr) else stderr)

    def sign(self, metric: str | None = None) -> int:
        """1 if more of a metric or benchmark is better, else -1; default: the one that decides."""
        name = metric or self.asked[0]
        chosen = self.benchmarks[name] if name in self.benchmarks else self._metric(name)
        return 1 if chosen.greater_is_better else -1

    def key(self, identity: str, dataset: str, settings: Mapping[str, str] | None = None) -> str:
        """Under which a model's answers to a dataset are kept."""
        way = {name: str(value) for name, value in self.way.items()}
        everything = {"task": self.task.name, **way, **self.task.settings, **(settings or {})}
        return self.cache.key(identity, self.examples(dataset).fingerprint, everything)

    @property
    def way(self) -> dict[str, Any]:
        """How models are run: what `predict` gets besides model and data."""
        return {"batch_size": self._batch_size, "max_length": self._max_length, "dtype": self._dtype}

    def score(self, outputs: Outputs, dataset: str, metric: str | None = None) -> float:
        """One number, without interval; metric: default the first of the recipe, which decides."""
        with _on(dataset):
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

        scores = self._measured(
            outputs, lambda m, dataset, rows: interval(m, outputs[dataset], rows.references, rows.groups, self.seed)
        )
        if best is None:
            return Row(name, kind, scores)
        versus = self._measured(
            outputs,
            lambda m, dataset, rows: difference(
                m, outputs[dataset], best[dataset], rows.references, rows.groups, self.seed
            ),
        )
        return Row(name, kind, scores, versus, self._paired(outputs, best))

    def mean_row(
        self, name: str, models: Sequence[Mapping[str, Outputs]], best: Mapping[str, Outputs] | None = None
    ) -> Row:
        """The line of the mean individual: models' answers by dataset, `best` as for `row`."""
        scores = self._measured(
            models[0],
            lambda m, dataset, rows: mean_interval(
                m, [one[dataset] for one in models], rows.references, rows.groups, self.seed
            ),
        )
        if best is None:
            return Row(name, "mean", scores)
        versus = self._measured(
            models[0],
            lambda m, dataset, rows: mean_difference(
                m, [one[dataset] for one in models], best[dataset], rows.references, rows.groups, self.seed
            ),
        )
        return Row(name, "mean", scores, versus)

    def results(self, rows: Iterable[Row]) -> Results:
        """The table."""
        directions = {name: self.sign(name) for name in (*self.metrics, *self.benchmarks)}
        commits = {name: metric.commit for name, metric in self.metrics.items() if metric.commit}
        return Results(
            self.task.name, tuple(self.metrics), dict(self.reports), tuple(rows), directions, commits=commits
        )

    def _measured(
        self, datasets: Iterable[str], one: Callable[[Metric, str, Examples], Interval]
    ) -> dict[str, dict[str, Interval]]:
        """Dataset → metric → what `one` finds there."""
        found = {}
        for dataset in datasets:
            with _on(dataset):
                rows = self.examples(dataset)
                found[dataset] = {id: one(metric, dataset, rows) for id, metric in self.metrics.items()}
        return found

    def _paired(self, outputs: Mapping[str, Outputs], best: Mapping[str, Outputs]) -> dict[str, dict[str, Paired]]:
        """Dataset → metric → who is right where, of metrics that are shares of right rows."""
        return {
            dataset: {
                id: found
                for id, metric in self.metrics.items()
                if (found := compared(metric, outputs[dataset], best[dataset], rows.references, rows.groups))
            }
            for dataset, rows in ((name, self.examples(name)) for name in outputs)
        }

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


@contextmanager
def _on(dataset: str) -> Iterator[None]:
    """Says on which dataset a metric failed."""
    try:
        yield
    except EvaluationError as error:
        raise EvaluationError(f"{dataset}: {error}") from error


def _only(examples: Examples, label_names: Sequence[str]) -> str | None:
    """The one label that all rows have, if there is one."""
    right = examples.references
    if not (isinstance(right, np.ndarray) and right.ndim == 1 and right.dtype.kind == "i" and label_names):
        return None
    return label_names[int(right[0])] if len(np.unique(right)) == 1 and right[0] < len(label_names) else None


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
