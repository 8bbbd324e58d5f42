"""How a sweep or a search chose: a sentence for the beginning of a card, a section with every number."""

from __future__ import annotations

from collections.abc import Mapping

from hf_soups.card.cells import DECIMALS, place
from hf_soups.card.facts import Facts
from hf_soups.card.markdown import LONGEST, details, escape, listed, table
from hf_soups.card.sweep_figure import SWEEP_FIGURE
from hf_soups.selection import Curve, Selection, Study

TRIALS_SHOWN = 100  # of a search; the lock has them all


def sentence(selection: Selection) -> str:
    """`Of 21 values of alpha, 0.35 was taken: best validation accuracy.` Nothing for other strategies."""
    if selection.curve is not None:
        curve = selection.curve
        rule = escape(curve.rule, 4 * LONGEST)
        if not curve.points:
            return f"Its {escape(curve.parameter)} is {rule}."
        return f"Of {len(curve.points)} values of {escape(curve.parameter)}, {curve.chosen:g} was taken: {rule}."
    if selection.study is not None:
        study = selection.study
        bound = f" among those with {escape(study.constraint, 3 * LONGEST)}" if study.constraint else ""
        objective = escape(study.objectives[0], 2 * LONGEST)
        return f"Its settings are those of the best by {objective}{bound} of {len(study.trials)} trials of a search."
    return ""


def choice(facts: Facts) -> str:
    """Every value or trial, and its scores."""
    selection = facts.selection
    if selection is None:
        return ""
    if selection.curve is not None and selection.curve.points:
        return _sweep(facts, selection, selection.curve)
    if selection.study is not None:
        return _search(selection.study)
    return ""


def _sweep(facts: Facts, selection: Selection, curve: Curve) -> str:
    parameter, metric = escape(curve.parameter), escape(selection.metric)
    parts = [f"## The sweep of {parameter}", sentence(selection)]
    if facts.sweep_figure:
        parts.append(f"![{metric} by {parameter}, one line per dataset; the chosen value is marked]({SWEEP_FIGURE})")
    names = list(curve.points[0].scores)
    reports = facts.results.datasets if facts.results else {}
    others = [escape(name) for name in names if name != selection.on]
    if others:
        parts.append(
            f"Scores on {listed(others)} were measured after the choice and had no part in it."
            if selection.on
            else "None of these scores had a part in the choice."
        )
    rows = []
    for point in curve.points:
        cells = [f"{point.value:g}", *(f"{point.scores[name]:.{DECIMALS}f}" for name in names)]
        rows.append([f"**{cell}**" if point.value == curve.chosen else cell for cell in cells])
    header = [parameter, *(place(reports[name]) if name in reports else escape(name) for name in names)]
    parts.append(details(f"{selection.metric} at every value", table(header, rows)))
    return "\n\n".join(parts)


def _search(study: Study) -> str:
    places = list(study.trials[0].values)
    scores = list(study.trials[0].scores)
    header = ["trial", *(escape(p) for p in places), *(escape(s, 2 * LONGEST) for s in scores)]
    header += ["keeps the bound"] if study.constraint else []
    rows = []
    for trial in study.trials[:TRIALS_SHOWN]:
        cells = [str(trial.number), *(_value(trial.values, p) for p in places)]
        cells += [f"{trial.scores[s]:.{DECIMALS}f}" for s in scores]
        cells += [("yes" if trial.feasible else "no")] if study.constraint else []
        rows.append([f"**{cell}**" if trial.number == study.chosen else cell for cell in cells])
    sampler = {"tpe": "the tree-structured Parzen estimator", "cmaes": "CMA-ES"}[study.sampler]
    lines = [f"{len(study.trials)} trials were proposed by {sampler} of Optuna (arXiv:1907.10902)."]
    if study.unusable:
        lines.append(f"{study.unusable} more made no soup.")
    if len(study.objectives) > 1:
        front = [str(t.number) for t in study.trials if t.front]
        goals = listed([escape(o, 2 * LONGEST) for o in study.objectives])
        lines.append(f"The first of {goals} decided. No trial is better in all of them than {listed(front)}.")
    shown = "Every trial" if len(rows) == len(study.trials) else f"The first {len(rows)} trials"
    return "\n\n".join(["## The search", " ".join(lines), details(shown, table(header, rows))])


def _value(values: Mapping[str, float | str], place_: str) -> str:
    value = values[place_]
    return escape(value) if isinstance(value, str) else f"{value:.4g}"
