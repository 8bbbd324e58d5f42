"""Choosing and measuring: what the recipe's data says of every model and soup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hf_soups.align import config_of, label_names
from hf_soups.checkpoint import Checkpoint
from hf_soups.errors import RecipeError
from hf_soups.hub.opening import Opener
from hf_soups.pipeline.listener import Listener
from hf_soups.recipe import Recipe, Select
from hf_soups.selection import Selection, greedy, search, sweep
from hf_soups.soup import Soup

if TYPE_CHECKING:
    from hf_soups.evaluation.results import Kind, Results
    from hf_soups.selection.candidates import Candidates

FITTED_ROLES = ("fit", "calibrate")  # whose rows say nothing of how good anything is


def candidates_for(recipe: Recipe, soup: Soup, opener: Opener, token: str | None) -> tuple[Recipe, Candidates]:
    """The recipe with its datasets pinned, and what scores soups of it.

    soup: of all ingredients, from headers: its config says which task and labels these models have; its device
        computes the others too.
    """
    from hf_soups.evaluation.evaluator import Evaluator
    from hf_soups.selection.candidates import Candidates

    if recipe.evaluate is None:
        raise RecipeError("evaluate: no data; add evaluate: to the recipe, or name a dataset (--dataset)")
    config = config_of(soup)
    architecture = str((config.get("architectures") or ["an unknown architecture"])[0])
    if not architecture.endswith("ForSequenceClassification"):
        raise RecipeError(f"evaluate: {recipe.evaluate.task} needs a sequence classifier; this is {architecture}")
    labels = soup.alignment.labels or label_names(config) or ()
    settled = {name: replace(data, path=opener.settle(data.path)) for name, data in recipe.evaluate.datasets.items()}
    evaluator = Evaluator(replace(recipe.evaluate, datasets=settled), labels, token=token, seed=recipe.seed)
    datasets = {
        name: replace(data, revision=evaluator.reports[name].source.revision or data.revision)
        for name, data in settled.items()
    }
    pinned = replace(recipe, evaluate=replace(recipe.evaluate, datasets=datasets))
    return pinned, Candidates(evaluator, opener.pull, soup.device)


def select(recipe: Recipe, candidates: Candidates, listener: Listener) -> Selection | None:
    """What the recipe's strategy chooses; None where it asks for no choice."""
    if recipe.select is None or recipe.select.strategy == "uniform":
        return None
    if recipe.select.strategy == "sweep":
        return _sweep(recipe, recipe.select, candidates, listener)
    if recipe.select.strategy == "search":
        return _search(recipe, candidates, listener)
    if recipe.select.strategy == "learned":
        from hf_soups.selection.learned.learn import learned

        data = candidates.evaluator.datasets
        return learned(recipe, candidates.open, data, device=candidates.device, tell=listener.tell)
    on, metric, sign = _target(recipe, candidates)

    def score(candidate: Recipe) -> float:
        listener.tell(f"scoring {' + '.join(i.label for i in candidate.ingredients)}")
        return candidates.score(candidate, on, metric)

    return greedy(recipe, score, replace(recipe.select, on=on, metric=metric), sign)


def select_without_data(recipe: Recipe, soup: Soup) -> Selection | None:
    """A sweep's fixed or default value; None where the recipe asks for no choice. soup: of all ingredients."""
    if recipe.select is None or recipe.select.strategy != "sweep":
        return None
    return sweep(recipe, None, names=soup.specs)


def _sweep(recipe: Recipe, asked: Select, candidates: Candidates, listener: Listener) -> Selection:
    from hf_soups.evaluation.splits import REPORT_ROLES

    evaluator, names = candidates.evaluator, candidates.open(recipe.ingredients[0]).specs
    metric = asked.metric or next(iter(evaluator.metrics))
    shown = [name for role in ("select", *REPORT_ROLES) for name in evaluator.names(role)]

    def measure(candidate: Recipe) -> dict[str, float]:
        listener.tell(f"measuring {_said(candidate)}")
        logits = candidates.logits(candidates.checkpoint(candidate), shown)
        return {name: evaluator.score(logits[name], name, metric) for name in shown}

    if not evaluator.names("select"):
        return sweep(recipe, None, replace(asked, metric=metric), measure=measure, names=names)
    on, metric, sign = _target(recipe, candidates)

    def score(candidate: Recipe) -> float:
        listener.tell(f"scoring {_said(candidate)}")
        return candidates.score(candidate, on, metric)

    return sweep(recipe, score, replace(asked, on=on, metric=metric), sign, measure, names)


def _search(recipe: Recipe, candidates: Candidates, listener: Listener) -> Selection:
    evaluator = candidates.evaluator

    def score(candidate: Recipe, on: str, metric: str) -> float:
        listener.tell(f"scoring {_said(candidate)} on {on}")
        return candidates.score(candidate, on, metric)

    def greater_is_better(metric: str) -> bool:
        return evaluator.metrics[metric].greater_is_better

    parts = [*recipe.ingredients, *([recipe.base] if recipe.base else [])]
    inputs = [candidates.open(part).fingerprint() for part in parts]
    inputs += [evaluator.reports[name].fingerprint for name in evaluator.names("select")]
    return search(recipe, score, greater_is_better, evaluator.cache.folder, inputs=inputs)


def _said(recipe: Recipe) -> str:
    """`ties (density 0.2)`"""
    values = ", ".join(f"{name} {value:g}" for name, value in recipe.parameters.items())
    return f"{recipe.method} ({values})" if values else recipe.method


def taste(recipe: Recipe, candidates: Candidates, selection: Selection | None) -> Results:
    """Every row of the table: base, ingredients, the soup of all, the chosen one, ensemble.

    The base is left out where it has no head, or one of other labels. Differences are to the ingredient that is
    best on the selection data; there are none without such data. Data that weights were fitted on are left out.
    """
    evaluator = candidates.evaluator
    shown = [name for name, report in evaluator.reports.items() if report.role not in FITTED_ROLES]

    def predict(checkpoint: Checkpoint) -> Mapping[str, np.ndarray]:
        return candidates.logits(checkpoint, shown)

    logits = [predict(candidates.open(i)) for i in recipe.ingredients]
    best = None
    if evaluator.names("select"):
        on, metric, sign = _target(recipe, candidates)
        scores = [sign * evaluator.score(one[on], on, metric) for one in logits]
        best = logits[scores.index(max(scores))]
    rows = []
    if recipe.base is not None:
        base = candidates.open(recipe.base)
        if _same_head(base, candidates.open(recipe.ingredients[0]), evaluator.label_names):
            rows.append(evaluator.row(recipe.base.label, "base", predict(base), best))
    for ingredient, one in zip(recipe.ingredients, logits, strict=True):
        rows.append(evaluator.row(ingredient.label, "ingredient", one, best))
    if len(logits) > 1 or recipe.method != "average":
        everything = predict(candidates.checkpoint(replace(recipe, select=None)))
        rows.append(evaluator.row(*_name_of_all(recipe, selection), everything, best))
    if selection is not None:
        chosen = predict(candidates.checkpoint(selection.recipe))
        kind: Kind = "greedy" if selection.strategy == "greedy" else "chosen"
        rows.append(evaluator.row(f"{selection.strategy} soup", kind, chosen, best))
    if len(logits) > 1:
        together = {name: evaluator.ensemble([one[name] for one in logits]) for name in logits[0]}
        rows.append(evaluator.row("ensemble", "ensemble", together, best))
    return evaluator.results(rows)


def _same_head(base: Checkpoint, ingredient: Checkpoint, labels: Sequence[str]) -> bool:
    """Whether a base gives the same outputs, by shape and by name, so that its scores mean the same."""
    shapes = {name: spec.shape for name, spec in base.specs.items()}
    said = label_names(config_of(base), base.origin.name)
    same_names = said is None or [n.lower() for n in said] == [n.lower() for n in labels]
    return same_names and shapes == {name: spec.shape for name, spec in ingredient.specs.items()}


def _name_of_all(recipe: Recipe, selection: Selection | None) -> tuple[str, Kind]:
    weighted = any(i.parameters for i in recipe.ingredients) or recipe.parameters
    if recipe.method == "average" and not weighted:
        return "uniform soup", "soup" if selection is None else "uniform"
    return f"{recipe.method} of all", "soup" if selection is None else "uniform"


def _target(recipe: Recipe, candidates: Candidates) -> tuple[str, str, int]:
    """The dataset and metric that decide, said or the only ones, and 1 if more is better, else -1."""
    chosen = recipe.select or Select()
    on = chosen.on or candidates.evaluator.names("select")[0]
    metric = chosen.metric or next(iter(candidates.evaluator.metrics))
    return on, metric, 1 if candidates.evaluator.metrics[metric].greater_is_better else -1
