"""Is the soup better than its best ingredient? Paired differences, in honest words."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hf_soups.evaluation.paired import Paired, holm
from hf_soups.evaluation.power import detectable_from
from hf_soups.evaluation.results import DatasetReport, Results, Row
from hf_soups.evaluation.splits import REPORT_ROLES
from hf_soups.evaluation.statistics import Interval

SOUPS = ("greedy", "chosen", "soup", "uniform")
SAME = "not distinguishable"


@dataclass(frozen=True)
class Comparison:
    """The soup against its best ingredient on one dataset that selection has not seen.

    outcome: "better", "worse" or "not distinguishable".
    detectable: the smallest true difference that this dataset shows in four of five cases, in the metric's units.
    paired: rows that only one of them gets right; None for a metric that is not the share of right rows.
    adjusted: its p-value after Holm's correction for all datasets that have one.
    """

    report: DatasetReport
    soup: Interval
    best: Interval
    difference: Interval
    outcome: str
    detectable: float
    paired: Paired | None = None
    adjusted: float | None = None


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
    found = [
        _compared(soup, best, report, metric, results.directions[metric])
        for report in reported(results)
        if report.name in soup.difference and report.name in best.scores
    ]
    values = {i: c.paired.p_value for i, c in enumerate(found) if c.paired and c.paired.p_value is not None}
    adjusted = dict(zip(values, holm(list(values.values())), strict=True))
    return [replace(c, adjusted=adjusted.get(i)) for i, c in enumerate(found)]


def _compared(soup: Row, best: Row, report: DatasetReport, metric: str, sign: int) -> Comparison:
    difference = soup.difference[report.name][metric]
    paired = soup.paired.get(report.name, {}).get(metric)
    return Comparison(
        report,
        soup.scores[report.name][metric],
        best.scores[report.name][metric],
        difference,
        outcome(difference, sign),
        detectable_from(difference.stderr) if paired is None else paired.detectable,
        paired,
    )


def comparisons(results: Results) -> int:
    """How many differences to the best ingredient the table holds: models times datasets of the report."""
    best = best_ingredient(results)
    names = [report.name for report in reported(results)]
    return sum(name in row.difference for row in results.rows if row is not best for name in names)


def outcome(difference: Interval, sign: int) -> str:
    """What an interval of a paired difference proves: nothing if it contains 0. sign: 1 if more is better, else -1."""
    if difference.low <= 0 <= difference.high:
        return SAME
    return "better" if sign * difference.value > 0 else "worse"


def leaders(results: Results, dataset: str, metric: str, decimals: int) -> list[Row]:
    """The rows with the best value, all of them if several look equal when rounded to `decimals`."""
    sign = results.directions[metric]
    values = [
        (row, round(row.scores[dataset][metric].value, decimals)) for row in results.rows if dataset in row.scores
    ]
    if not values:
        return []
    top = max(sign * value for _, value in values)
    return [row for row, value in values if sign * value == top]
