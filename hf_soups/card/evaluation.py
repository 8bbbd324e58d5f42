"""The numbers of a card: every model on every dataset, and how they were measured."""

from __future__ import annotations

from collections.abc import Sequence

from hf_soups.card.cells import DECIMALS, ROLES, difference, measured, place, value
from hf_soups.card.examination import examination
from hf_soups.card.facts import Facts
from hf_soups.card.markdown import details, escape, listed, repo_link, table
from hf_soups.card.scatter import FIGURE
from hf_soups.evaluation.resampling import DRAWS
from hf_soups.evaluation.results import DatasetReport, Results, Row
from hf_soups.evaluation.statistics import LEVEL
from hf_soups.evaluation.verdict import best_ingredient, comparisons, leaders, published, reported

INGREDIENTS_SHOWN = 12  # rows of the main table; a longer list opens on a click


def section(facts: Facts) -> str:
    """Every model on every dataset, and how it was measured."""
    results = facts.results
    if results is None:
        return ""
    first, *others = results.metrics
    parts = ["## Evaluation"]
    if not any(row.scores for row in results.rows):
        fitted = listed([escape(name) for name in results.datasets])
        return "\n\n".join([*parts, f"Nothing to report: {fitted} only fitted the weights.", _data(results)])
    if facts.figure:
        parts.append(f"![{_alternative_text(results)}]({FIGURE})")
    shown, hidden = _rows_to_show(results)
    up = results.way(first)
    parts.append(f"**{escape(first)}** ({up}) of every model, ± its {LEVEL:.0%} interval; the best value in bold:")
    parts.append(_scores(results, shown, first))
    if hidden:
        count = sum(row.kind == "ingredient" for row in results.rows)
        parts.append(details(f"All {count} ingredients", _scores(results, results.rows, first)))
    differences = _differences(results, first)
    if differences:
        parts.append(details("Differences of the other models to the best ingredient", differences))
    parts += [details(f"{m} ({results.way(m)})", _scores(results, results.rows, m)) for m in others]
    parts += _benchmarks(results)
    parts += examination(results, facts.robustness_figure)
    parts.append(_data(results))
    parts.append(_method(facts, results))
    return "\n\n".join(parts)


def _rows_to_show(results: Results) -> tuple[list[Row], list[Row]]:
    """All rows, or all but the ingredients that are not the best where there are many."""
    best = best_ingredient(results)
    ordinary = [row for row in results.rows if row.kind == "ingredient" and row is not best]
    if len(ordinary) < INGREDIENTS_SHOWN:
        return list(results.rows), []
    return [row for row in results.rows if row not in ordinary], ordinary


def _scores(results: Results, rows: Sequence[Row], metric: str) -> str:
    """Models down; tests, shifts, the shifts' mean and selection data across."""

    def column(d: DatasetReport) -> list[str]:
        best = leaders(results, d.name, metric, DECIMALS)
        cells = [value(row.scores[d.name][metric]) if d.name in row.scores else "" for row in rows]
        bold = [f"**{cell}**" if row in best else cell for row, cell in zip(rows, cells, strict=True)]
        return [f"{escape(d.name)}<br>({ROLES[d.role]})", *bold]

    columns = [["model", *(_row_name(results, row) for row in rows)], *map(column, reported(results))]
    shifts = [d.name for d in results.datasets.values() if d.role == "shift"]
    if len(shifts) > 1 and all(name in row.scores for row in rows for name in shifts):
        columns.append(["mean of<br>shifts", *(f"{results.mean_shift(row, metric):.{DECIMALS}f}" for row in rows)])
    columns += [column(d) for d in results.datasets.values() if d.role == "select"]
    header, *lines = zip(*columns, strict=True)
    return table(header, lines)


def _benchmarks(results: Results) -> list[str]:
    """What programs make of whole models."""
    names = results.benchmarks
    if not names:
        return []
    cells = [[_row_name(results, row), *(measured(row.benchmarks.get(n)) for n in names)] for row in results.rows]
    header = ["model", *(f"{escape(name)}<br>({results.way(name)})" for name in names)]
    return [
        "Benchmarks of whole models, ± one standard error where they tell it; the mean individual and the ensemble are "
        f"no one model:\n\n{table(header, cells)}"
    ]


def _differences(results: Results, metric: str) -> str:
    best = best_ingredient(results)
    soup = published(results)
    rows = [row for row in results.rows if row.kind != "ingredient" and row.difference and row is not soup]
    datasets = reported(results)
    if best is None or not rows or not datasets:
        return ""
    cells = [
        [
            _row_name(results, row),
            *(difference(row.difference[d.name][metric]) if d.name in row.difference else "" for d in datasets),
        ]
        for row in rows
    ]
    return table([f"{escape(metric)} minus that of {escape(best.name)}", *(place(d) for d in datasets)], cells)


def _row_name(results: Results, row: Row) -> str:
    if row is published(results):
        return f"**{escape(row.name)}: this model**"
    if row.kind in ("base", "baseline"):
        return f"{row.kind}: {escape(row.name)}"
    if row is best_ingredient(results):
        return f"{escape(row.name)} (best ingredient)"
    return escape(row.name)


def _data(results: Results) -> str:
    header = ["dataset", "used as", "from", "split", "rows", "sha256 of rows"]
    rows = []
    for d in results.datasets.values():
        split = "/".join(filter(None, [d.source.config, d.source.split]))
        groups = "" if d.groups is None else f" in {d.groups:,} groups"
        source = repo_link(d.source.path, d.source.revision, kind="datasets/")
        rows.append(
            [escape(d.name), ROLES[d.role], source, escape(split), f"{d.n:,}{groups}", f"`{d.fingerprint[:12]}`"]
        )
    return table(header, rows, numbers=False)


def _method(facts: Facts, results: Results) -> str:
    metrics = listed([escape(m) for m in results.metrics])
    lines = [f"Metrics, by their names in `evaluate`: {metrics}."]
    deciding = _deciding(facts, results)
    ranking = [d.name for d in results.datasets.values() if d.role == "select" and d.name not in deciding]
    if deciding:
        apart = " Tests and shifts are other rows, used for this report alone."
        overlap = any(d.shared for d in results.datasets.values())
        lines.append(
            f"Only {listed([*map(escape, deciding)])} had a say in what the soup is; scores there are too good for "
            f"whatever was chosen there.{'' if overlap else apart}"
        )
    elif facts.selection is not None and facts.selection.metric in results.benchmarks:
        lines.append(
            f"The soup was chosen on {escape(facts.selection.metric)}, whose numbers are too good for whatever was "
            "chosen by them. No rows of the data above had a say."
        )
    elif ranking:
        lines.append("No data had a say in what the soup is.")
    if results.ranked_on in ranking:
        lines.append(f"{escape(results.ranked_on)} only tells which ingredient is best.")
    dropped = [f"{d.dropped:,} of {escape(d.name)}" for d in results.datasets.values() if d.dropped]
    if dropped:
        lines.append(f"Rows left out of the report because selection had seen them: {listed(dropped)}.")
    units = "rows"
    if any(d.groups is not None for d in results.datasets.values()):
        units = "rows, and of whole groups where rows belong together"
    lines.append(
        f"Intervals: {LEVEL:.0%}, bootstrap (expanded percentiles, {DRAWS:,} resamples) of {units}; differences are of "
        "the two models on the same resamples. None is corrected for how many models and datasets are compared, and "
        "none covers the luck of training: other runs would have made another soup."
    )
    lines += _counted(results)
    if any(row.kind == "ensemble" for row in results.rows):
        lines.append("The ensemble averages the logits of all candidates, so using it costs as much as all of them.")
    elif results.no_ensemble:
        lines.append(f"The ensemble of all candidates was not computed: {results.no_ensemble}.")
    return "\n".join(f"- {line}" for line in lines)


def _deciding(facts: Facts, results: Results) -> list[str]:
    """The datasets whose rows the strategy asked."""
    selection = facts.selection
    if selection is None:
        return []
    if selection.learned is not None:
        return [selection.learned.fit, selection.learned.calibrate]
    if selection.study is not None:  # its objectives and its constraint may be of any of them
        return [d.name for d in results.datasets.values() if d.role == "select"]
    return [selection.on] if selection.on else []


def _counted(results: Results) -> list[str]:
    """How often luck had a chance."""
    scored = f"{results.scored} candidates were scored on {escape(results.scored_on)}" if results.scored else ""
    made = comparisons(results)
    reported_ = f"the report compares models with the best ingredient {made} times for each metric" if made else ""
    both = " before one was chosen; ".join(filter(None, [scored, reported_]))
    return [f"Comparisons made: {both}."] if both else []


def _alternative_text(results: Results) -> str:
    metric = escape(results.metrics[0])
    test = next(d for d in results.datasets.values() if d.role == "test")
    count = sum(d.role == "shift" for d in results.datasets.values())
    shifts = "the shifted dataset" if count == 1 else f"the {count} shifted datasets"
    return f"{metric} on {escape(test.name)} (across) and its mean over {shifts} (up), one point per model"
