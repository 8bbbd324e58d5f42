"""The table of an evaluation: every model on every dataset, as command line, card and lock tell it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.examples import Source
from hf_soups.evaluation.statistics import Interval

Kind = Literal["base", "ingredient", "uniform", "greedy", "chosen", "soup", "ensemble"]
Scores = Mapping[str, Mapping[str, Interval]]  # dataset → metric → value


@dataclass(frozen=True)
class DatasetReport:
    """A dataset as it was used.

    n: rows in the scores; dropped: rows left out because selection has seen them.
    groups: how many; None when rows are independent.
    fingerprint: SHA-256 of the rows in the scores.
    """

    name: str
    role: str
    source: Source
    n: int
    groups: int | None
    fingerprint: str
    dropped: int = 0


@dataclass(frozen=True)
class Row:
    """One model.

    scores: dataset → metric → interval.
    difference: the same for this model minus the individual that is best on selection data; may be empty.
    """

    name: str
    kind: Kind
    scores: Scores
    difference: Scores = field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """All that an evaluation found; `metrics[0]` is the one that decides."""

    task: str
    metrics: tuple[str, ...]
    datasets: Mapping[str, DatasetReport]
    rows: tuple[Row, ...]

    def mean_shift(self, row: Row, metric: str | None = None) -> float | None:
        """Unweighted mean of a metric (default: the deciding one) over the datasets of role shift; None without any."""
        shifted = [name for name, report in self.datasets.items() if report.role == "shift"]
        if not shifted:
            return None
        return sum(row.scores[name][metric or self.metrics[0]].value for name in shifted) / len(shifted)

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and numbers; no path of this machine."""
        return {
            "task": self.task,
            "metrics": list(self.metrics),
            "datasets": {name: _report_to_json(report) for name, report in self.datasets.items()},
            "rows": [
                {
                    "name": row.name,
                    "kind": row.kind,
                    "scores": _scores_to_json(row.scores),
                    "difference": _scores_to_json(row.difference),
                }
                for row in self.rows
            ],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Results:
        """What `to_json` gave, again."""
        try:
            return cls(
                task=content["task"],
                metrics=tuple(content["metrics"]),
                datasets={name: _report_from_json(report) for name, report in content["datasets"].items()},
                rows=tuple(
                    Row(
                        row["name"],
                        row["kind"],
                        _scores_from_json(row["scores"]),
                        _scores_from_json(row["difference"]),
                    )
                    for row in content["rows"]
                ),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise EvaluationError(f"not the results of an evaluation: {type(error).__name__} {error}") from error


def _report_to_json(report: DatasetReport) -> dict[str, Any]:
    content = dataclasses.asdict(report)
    del content["source"]["origin"]
    content["source"]["text"] = list(report.source.text)
    return content


def _report_from_json(content: Mapping[str, Any]) -> DatasetReport:
    source = {**content["source"], "text": tuple(content["source"]["text"])}
    return DatasetReport(**{**content, "source": Source(**source)})


def _scores_to_json(scores: Scores) -> dict[str, Any]:
    return {name: {metric: dataclasses.asdict(found) for metric, found in by.items()} for name, by in scores.items()}


def _scores_from_json(content: Mapping[str, Any]) -> Scores:
    return {name: {metric: Interval(**found) for metric, found in by.items()} for name, by in content.items()}
