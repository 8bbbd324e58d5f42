"""Is the soup better than its best ingredient? Paired differences, in honest words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hf_soups.evaluation.metrics import METRICS
from hf_soups.evaluation.results import DatasetReport, Results, Row
from hf_soups.evaluation.splits import REPORT_ROLES
from hf_soups.evaluation.statistics import Interval

SOUPS = ("greedy", "chosen", "soup", "uniform")
SAME = "not distinguishable"


@dataclass(frozen=True)
class Comparison:
    """The soup against its best ingredient on one dataset that selection has not seen.

    outcome: "better", "worse" or "not distinguishable"; "higher" or "lower" where it is not known which of
    them is good.
    """

    report: DatasetReport
    soup: Interval
    best: Interval
    difference: Interval
    outcome: str


def published(results: Results) -> Row | None:
    """The row of the model that the card is about: what was chosen, else what the recipe makes of everything."""
    return next((row for kind in SOUPS for row in results.rows if row.kind == kind), None)


def best_ingredient(results: Results) -> Row | None:
    """The individual that differences are taken from: its own difference is exactly 0 everywhere."""

    def is_reference(row: Row) -> bool:
        found = [d for by_metric in row.difference.values() for d in by_metric.values()]
        return bool(found) and all(d.low == d.value == d.high == 0 for d in found)

    return next((row for row in results.rows if row.kind == "ingredient" and is_reference(row)), None)


def reported(results: Results) -> list[DatasetReport]:
    """Datasets that say how good the soup is, the test before the shifts."""
    return [d for role in REPORT_ROLES for d in results.datasets.values() if d.role == role]


def compare(results: Results, metric: str) -> list[Comparison]:
    """The soup against the best ingredient, as far as both were evaluated."""
    soup, best = published(results), best_ingredient(results)
    if soup is None or best is None:
        return []
    return [
        Comparison(
            report,
            soup.scores[report.name][metric],
            best.scores[report.name][metric],
            soup.difference[report.name][metric],
            outcome(soup.difference[report.name][metric], metric),
        )
        for report in reported(results)
        if report.name in soup.difference and report.name in best.scores
    ]


def outcome(difference: Interval, metric: str) -> str:
    """What an interval of a paired difference proves: nothing if it contains 0."""
    if difference.low <= 0 <= difference.high:
        return SAME
    upwards = difference.value > 0
    sign = direction(metric)
    if sign is None:
        return "higher" if upwards else "lower"
    return "better" if upwards == (sign > 0) else "worse"


def direction(metric: str) -> int | None:
    """1 if larger is better, -1 if smaller is, None for a metric of the user's own."""
    if metric not in METRICS:
        return None
    return 1 if METRICS[metric].greater_is_better else -1


def leaders(rows: Sequence[Row], dataset: str, metric: str, decimals: int) -> list[Row]:
    """The rows with the best value, all of them if several look equal when rounded to `decimals`."""
    sign = direction(metric)
    values = [(row, round(row.scores[dataset][metric].value, decimals)) for row in rows if dataset in row.scores]
    if sign is None or not values:
        return []
    top = max(sign * value for _, value in values)
    return [row for row, value in values if sign * value == top]
