"""What an evaluation must admit, in sentences that the command line and the card share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hf_soups.align import Finding
from hf_soups.evaluation.power import ASSUMED, POWER, detectable
from hf_soups.evaluation.results import DatasetReport, Results
from hf_soups.evaluation.separation import Separation
from hf_soups.evaluation.verdict import Comparison


def findings(results: Results) -> tuple[Finding, ...]:
    """What a reader of the table has to know besides; names in it are as the recipe has them."""
    notes = [
        Finding("note", f"{d.name}: {d.dropped:,} rows left out of the report because selection had seen them")
        for d in results.datasets.values()
        if d.dropped
    ]
    if results.no_ensemble:
        notes.append(Finding("note", f"ensemble: not computed: {results.no_ensemble}"))
    warnings = [
        Finding(
            "warning",
            f"{d.name}: reported on data that selection saw, by force (allow_overlap): {d.shared:,} of {d.n:,} rows; "
            "the scores and differences there are too good for whatever was chosen",
        )
        for d in results.datasets.values()
        if d.shared
    ]
    warnings += [
        Finding("warning", f"{d.name}: every row is {d.only}: whoever always says so is perfect there; add other rows")
        for d in results.datasets.values()
        if d.only is not None
    ]
    if results.separation is not None and not results.separation.decided:
        warnings.append(Finding("warning", _undecided(results.separation)))
    return (*warnings, *notes)


def judge(results: Results) -> str:
    """On what candidates were ranked: `selection data`, or the benchmark that decided."""
    return str(results.ranked_by) if results.ranked_by in results.benchmarks else "selection data"


def expected(report: DatasetReport) -> str:
    """What a dataset can show by accuracy, before anything was predicted: a group counts as one row, at worst."""
    size = amount("accuracy", detectable(report.groups or report.n))
    groups = "" if report.groups is None else f" in {report.groups:,} groups"
    return (
        f"{report.name} ({report.role}): {report.n:,} rows{groups}; differences under {size} could hardly be seen, "
        f"if two models differ on {ASSUMED:.0%} of the rows"
    )


def visible(found: Sequence[Comparison], metric: str, named: Callable[[str], str] = str) -> str:
    """`Differences under 1.9 points on test and 2.4 points on amazon cannot be told apart on these rows: …`

    named: how to write the name of a dataset.
    """
    sizes = [f"{amount(metric, c.detectable)} on {named(c.report.name)}" for c in found]
    listed = sizes[0] if len(sizes) == 1 else f"{', '.join(sizes[:-1])} and {sizes[-1]}"
    return (
        f"Differences under {listed} cannot be told apart on these rows: each would be missed more than "
        f"{1 - POWER:.0%} of the time."
    )


def amount(metric: str, size: float) -> str:
    """`1.9 points` of accuracy; other metrics as they are."""
    return f"{_digits(100 * size)} points" if metric == "accuracy" else _digits(size)


def _digits(size: float) -> str:
    """Two digits, without an exponent for those before the point."""
    return f"{size:.0f}" if 99.5 <= size < 1e6 else f"{size:.2g}"


def _undecided(found: Separation) -> str:
    gap = abs(found.difference.value)
    need = f"a difference of {amount(found.metric, found.detectable)} is the least that they show"
    if found.needed is None:
        few = f"{found.dataset}: {found.n:,} rows are too few to decide between {found.first} and {found.second}"
        equal = f"{few}, the two best by {found.metric}, whose scores are equal"
        return f"{equal}; {need}" if found.detectable else f"{equal} however the rows are drawn; use other rows"
    return (
        f"{found.dataset}: {found.n:,} rows are too few to decide between {found.first} and {found.second}, the two "
        f"best by {found.metric}: they differ by {amount(found.metric, gap)}, and {need}; about "
        f"{_rounded(found.needed):,} rows would be needed"
    )


def _rounded(rows: int) -> int:
    """Two digits are all that such an estimate is worth."""
    return int(float(f"{rows:.2g}"))
