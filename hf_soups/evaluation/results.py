"""The table of an evaluation: every model on every dataset, as command line, card and lock tell it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.benchmarks import Measured
from hf_soups.evaluation.calibration import Calibration
from hf_soups.evaluation.diversity import Diversity
from hf_soups.evaluation.examples import Source
from hf_soups.evaluation.paired import Paired
from hf_soups.evaluation.robustness import Accuracy, Position, Robustness
from hf_soups.evaluation.separation import Separation
from hf_soups.evaluation.statistics import Interval

Kind = Literal["base", "baseline", "ingredient", "mean", "uniform", "greedy", "chosen", "soup", "ensemble"]
Scores = Mapping[str, Mapping[str, Interval]]  # dataset → metric → value


@dataclass(frozen=True)
class DatasetReport:
    """A dataset as it was used.

    n: rows in the scores; dropped: rows left out because selection has seen them.
    shared: rows in the scores although selection has seen them, by force (`evaluate: allow_overlap`).
    groups: how many; None when rows are independent.
    fingerprint: SHA-256 of the rows in the scores.
    only: the label that every row has, where there are no others.
    """

    name: str
    role: str
    source: Source
    n: int
    groups: int | None
    fingerprint: str
    dropped: int = 0
    shared: int = 0
    only: str | None = None


@dataclass(frozen=True)
class Row:
    """One model, or (kind "mean") what its ingredients score on average.

    scores: dataset → metric → interval.
    difference: the same for this model minus the individual that is best on selection data; may be empty.
    paired: dataset → metric → where exactly one of these two is right, for metrics that are shares of right rows.
    benchmarks: what programs make of the whole model, by name; of no model (mean, ensemble) they make nothing.
    """

    name: str
    kind: Kind
    scores: Scores
    difference: Scores = field(default_factory=dict)
    paired: Mapping[str, Mapping[str, Paired]] = field(default_factory=dict)
    benchmarks: Mapping[str, Measured] = field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """All that an evaluation found; `metrics[0]` is the one that decides.

    directions: of every metric and benchmark, 1 if more of it is better, -1 if less is.
    ranked_by: the metric or benchmark that ranked the individuals and candidates, on the dataset `ranked_on`; a
        benchmark asks no dataset. None: nothing was ranked.
    scored: how many candidates were scored on `scored_on` before one was chosen; 0: there were no such data.
    separation: of the two best on selection data.
    diversity: dataset → how differently the ingredients err there; empty for one ingredient.
    calibration: of the best ingredient, the soup and the ensemble.
    robustness: one for each shifted dataset, if there is a test.
    no_ensemble: why there is no row of it, where there are several ingredients.
    commits: of the metrics whose code came from the Hub, which one ran.
    """

    task: str
    metrics: tuple[str, ...]
    datasets: Mapping[str, DatasetReport]
    rows: tuple[Row, ...]
    directions: Mapping[str, int]
    ranked_by: str | None = None
    ranked_on: str | None = None
    scored: int = 0
    scored_on: str = "selection data"
    separation: Separation | None = None
    diversity: Mapping[str, Diversity] = field(default_factory=dict)
    calibration: tuple[Calibration, ...] = ()
    robustness: tuple[Robustness, ...] = ()
    no_ensemble: str = ""
    commits: Mapping[str, str] = field(default_factory=dict)

    def mean_shift(self, row: Row, metric: str | None = None) -> float | None:
        """Unweighted mean of a metric (default: the deciding one) over the datasets of role shift; None without any."""
        shifted = [name for name, report in self.datasets.items() if report.role == "shift"]
        if not shifted:
            return None
        return sum(row.scores[name][metric or self.metrics[0]].value for name in shifted) / len(shifted)

    @property
    def benchmarks(self) -> tuple[str, ...]:
        """Names of those that whole models were put through."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.benchmarks))

    def way(self, metric: str) -> str:
        """Which way is up, in words."""
        return "more is better" if self.directions[metric] > 0 else "less is better"

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
                    "paired": {
                        name: {metric: dataclasses.asdict(found) for metric, found in by.items()}
                        for name, by in row.paired.items()
                    },
                    "benchmarks": {name: dataclasses.asdict(found) for name, found in row.benchmarks.items()},
                }
                for row in self.rows
            ],
            "directions": dict(self.directions),
            "ranked_by": self.ranked_by,
            "ranked_on": self.ranked_on,
            "scored": self.scored,
            "scored_on": self.scored_on,
            "commits": dict(self.commits),
            "separation": None if self.separation is None else dataclasses.asdict(self.separation),
            "diversity": {name: dataclasses.asdict(found) for name, found in self.diversity.items()},
            "calibration": [dataclasses.asdict(found) for found in self.calibration],
            "robustness": [dataclasses.asdict(found) for found in self.robustness],
            "no_ensemble": self.no_ensemble,
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
                        {
                            name: {metric: Paired(**found) for metric, found in by.items()}
                            for name, by in row["paired"].items()
                        },
                        {name: Measured(**found) for name, found in row["benchmarks"].items()},
                    )
                    for row in content["rows"]
                ),
                directions=dict(content["directions"]),
                ranked_by=content["ranked_by"],
                ranked_on=content["ranked_on"],
                scored=content["scored"],
                scored_on=content["scored_on"],
                commits=dict(content["commits"]),
                separation=_separation_from_json(content["separation"]),
                diversity={name: Diversity(**found) for name, found in content["diversity"].items()},
                calibration=tuple(_calibration_from_json(found) for found in content["calibration"]),
                robustness=tuple(_robustness_from_json(found) for found in content["robustness"]),
                no_ensemble=content.get("no_ensemble", ""),
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


def _separation_from_json(content: Mapping[str, Any] | None) -> Separation | None:
    return None if content is None else Separation(**{**content, "difference": Interval(**content["difference"])})


def _calibration_from_json(content: Mapping[str, Any]) -> Calibration:
    before, after = ({name: Interval(**found) for name, found in content[when].items()} for when in ("before", "after"))
    return Calibration(content["name"], before, content["temperature"], after)


def _robustness_from_json(content: Mapping[str, Any]) -> Robustness:
    positions = tuple(
        Position(
            p["name"],
            p["baseline"],
            Accuracy(**p["reference"]),
            Accuracy(**p["shifted"]),
            None if p["effective"] is None else Interval(**p["effective"]),
        )
        for p in content["positions"]
    )
    return Robustness(**{**content, "positions": positions})
