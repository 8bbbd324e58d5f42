"""Rows of the table: every metric of a model's answers to every dataset, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.examples import Examples
from hf_soups.evaluation.individuals import mean_difference, mean_interval
from hf_soups.evaluation.metrics import Metric
from hf_soups.evaluation.outputs import Outputs
from hf_soups.evaluation.paired import Paired, compared
from hf_soups.evaluation.results import Kind, Row
from hf_soups.evaluation.statistics import Interval, difference, interval


@dataclass(frozen=True)
class Rows:
    """Makes them; answers are given by dataset.

    metrics: by the names that the table gives them. examples: gives the rows of a dataset. seed: of the bootstrap.
    """

    metrics: Mapping[str, Metric]
    examples: Callable[[str], Examples]
    seed: int

    def model(self, name: str, kind: Kind, outputs: Mapping[str, Outputs], best: Mapping[str, Outputs] | None) -> Row:
        """One model's. best: the answers of another, to compare with."""
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

    def mean(self, name: str, models: Sequence[Mapping[str, Outputs]], best: Mapping[str, Outputs] | None) -> Row:
        """That of the mean of several models' scores."""
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

    def _measured(
        self, datasets: Iterable[str], one: Callable[[Metric, str, Examples], Interval]
    ) -> dict[str, dict[str, Interval]]:
        """Dataset → metric → what `one` finds there."""
        found = {}
        for dataset in datasets:
            with failing_on(dataset):
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


@contextmanager
def failing_on(dataset: str) -> Iterator[None]:
    """Says on which dataset a metric failed."""
    try:
        yield
    except EvaluationError as error:
        raise EvaluationError(f"{dataset}: {error}") from error
