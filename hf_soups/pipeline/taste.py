"""Measuring: what the recipe's data says of every model and soup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hf_soups.align import config_of, label_names
from hf_soups.checkpoint import Checkpoint
from hf_soups.errors import EvaluationError, RecipeError
from hf_soups.hub.opening import Opener
from hf_soups.pipeline.choose import target
from hf_soups.pipeline.peers import invite_to_evaluate
from hf_soups.pipeline.share import kind
from hf_soups.recipe import Ingredient, Recipe
from hf_soups.recipe.check_select import named_metrics
from hf_soups.selection import Selection
from hf_soups.soup import Soup

if TYPE_CHECKING:
    from hf_soups.evaluation.cache import Predictions
    from hf_soups.evaluation.examination import Line
    from hf_soups.evaluation.outputs import Outputs
    from hf_soups.evaluation.results import Kind, Results
    from hf_soups.pipeline.run import Options
    from hf_soups.selection.candidates import Candidates

FITTED_ROLES = ("fit", "calibrate")  # whose rows say nothing of how good anything is


def candidates_for(
    recipe: Recipe,
    soup: Soup,
    opener: Opener,
    options: Options,
    cache: Predictions | None = None,
) -> tuple[Recipe, Candidates]:
    """The recipe with its datasets pinned, and what scores soups of it.

    soup: of all ingredients, from headers: its config says which task and labels these models have; its device
        computes the others too.
    options: how it is carried out. cache: where predictions are kept; default: the user's own.
    """
    from hf_soups.evaluation import tasks
    from hf_soups.evaluation.evaluator import Evaluator
    from hf_soups.selection.candidates import Candidates

    if recipe.evaluate is None:
        raise RecipeError("evaluate: no data; add evaluate: to the recipe, or name a dataset (--dataset)")
    config = config_of(soup)
    task = recipe.evaluate.task or tasks.infer(config)
    tasks.check(task, config)
    labels = soup.alignment.labels or label_names(config) or ()
    settled = {name: replace(data, path=opener.settle(data.path)) for name, data in recipe.evaluate.datasets.items()}
    asked = replace(recipe.evaluate, task=task, datasets=settled)
    if not asked.metrics and recipe.select is not None:
        usual = next(iter(tasks.named(task).metrics))
        asked = replace(asked, metrics=tuple(dict.fromkeys(m or usual for m in named_metrics(recipe, recipe.select))))
    evaluator = Evaluator(
        asked,
        labels,
        cache,
        token=options.token,
        seed=recipe.seed,
        own=options.own,
        trust_remote_code=options.trust_remote_code,
    )
    datasets = {
        name: replace(data, revision=evaluator.reports[name].source.revision or data.revision)
        for name, data in settled.items()
    }
    pinned = replace(recipe, evaluate=replace(asked, metrics=asked.metrics or evaluator.asked, datasets=datasets))
    peers = invite_to_evaluate(pinned, labels, kind(soup.device), options.ranks)
    return pinned, Candidates(evaluator, opener.pull, soup.device, peers=peers, max_memory=options.max_memory)


def taste(recipe: Recipe, candidates: Candidates, selection: Selection | None) -> Results:
    """Every row of the table: base, ingredients and their mean, the soup of all, the chosen one, ensemble.

    The base is left out where it has no head, or one of other labels. Differences are to the ingredient that is
    best on the selection data; there are none without such data. Data that weights were fitted on are left out.
    """
    from hf_soups.evaluation.examination import examine
    from hf_soups.evaluation.separation import separation

    evaluator = candidates.evaluator
    wanted = [name for name, report in evaluator.reports.items() if report.role != "fit"]

    def answers(checkpoint: Checkpoint) -> Mapping[str, Outputs]:
        return candidates.outputs(checkpoint, wanted)

    def shown(outputs: Mapping[str, Outputs]) -> dict[str, Outputs]:
        return {n: one for n, one in outputs.items() if evaluator.reports[n].role not in FITTED_ROLES}

    def row(name: str, kind: Kind, outputs: Mapping[str, Outputs], checkpoint: Checkpoint | None) -> Line:
        """checkpoint: None for what is no one model."""
        made = evaluator.row(name, kind, shown(outputs), best)
        measured = {b: candidates.measure(checkpoint, b) for b in evaluator.benchmarks} if checkpoint else {}
        return replace(made, benchmarks=measured), outputs

    base = None if recipe.base is None else candidates.open(recipe.base)
    if base is not None and not _same_head(base, candidates.open(recipe.ingredients[0]), evaluator.task.label_names):
        base = None
    singles = [*recipe.ingredients, *([recipe.base] if base is not None and recipe.base else [])]
    soups = [replace(recipe, select=None), *([selection.recipe] if selection else [])]
    candidates.soon([*map(_alone, singles), *soups], wanted)
    opened = [candidates.open(i) for i in recipe.ingredients]
    outputs = [answers(one) for one in opened]
    models = {i.label: one for i, one in zip(recipe.ingredients, outputs, strict=True)}  # what selection could choose
    best = None
    if evaluator.names("select"):
        on, metric, sign = target(recipe, candidates)
        scores = [sign * candidates.value(one, on, metric) for one in opened]
        best = outputs[scores.index(max(scores))]
    lines: list[Line] = []
    if base is not None and recipe.base:
        lines.append(row(recipe.base.label, "base", answers(base), base))
    for reference in recipe.evaluate.baselines if recipe.evaluate else ():
        other = Ingredient(reference)
        said = answers(_baseline(other, candidates))
        lines.append((evaluator.row(other.label, "baseline", shown(said)), said))
    for i, one, checkpoint in zip(recipe.ingredients, outputs, opened, strict=True):
        lines.append(row(i.label, "ingredient", one, checkpoint))
    individuals = len(lines)
    if len(outputs) > 1 or recipe.method != "average":
        name, kind = _name_of_all(recipe, selection)
        everything = candidates.checkpoint(replace(recipe, select=None))
        models[name] = answers(everything)
        lines.append(row(name, kind, models[name], everything))
    if selection is not None:
        name = f"{selection.strategy} soup"
        chosen = candidates.checkpoint(selection.recipe)
        models[name] = answers(chosen)
        lines.append(row(name, "greedy" if selection.strategy == "greedy" else "chosen", models[name], chosen))
    if len(outputs) > 1:
        together = {name: candidates.ensemble(opened, name) for name in outputs[0]}
        if computed := {name: one for name, one in together.items() if one is not None}:
            lines.append(row("ensemble", "ensemble", computed, None))
    rows = [one for one, _ in lines]
    if len(outputs) > 1:
        rows.insert(individuals, evaluator.mean_row("mean individual", [shown(one) for one in outputs], best))
    results = examine(evaluator.results(rows), evaluator, lines)
    if len(outputs) > 1 and not any(found.kind == "ensemble" for found in results.rows):
        results = replace(results, no_ensemble="the models' answers have no mean")
    if selection is not None:
        results = replace(results, scored=selection.scored)
        if selection.learned is not None:
            results = replace(results, scored_on=f"{selection.learned.calibrate} by their loss")
    if best is None:
        return results
    results = replace(results, scored=len(outputs) if selection is None else selection.scored, ranked_by=metric)
    if metric in evaluator.benchmarks:  # no rows that could tell how sure the choice is
        return results if selection is not None and selection.learned else replace(results, scored_on=metric)
    results = replace(results, ranked_on=on)
    data = evaluator.examples(on)
    decided = {name: one[on] for name, one in models.items()}
    found = separation(evaluator.metrics[metric], on, decided, data.references, data.groups, evaluator.seed)
    return replace(results, separation=found)


def with_curves(recipe: Recipe, selection: Selection, candidates: Candidates) -> Selection:
    """The selection with its scores against the number of ingredients, now that everything else is predicted."""
    from hf_soups.selection.growth import grown

    return grown(recipe, selection, candidates)


def _alone(ingredient: Ingredient) -> Recipe:
    """The recipe of one model as it is."""
    return Recipe((replace(ingredient, parameters={}),))


def _same_head(base: Checkpoint, ingredient: Checkpoint, labels: Sequence[str]) -> bool:
    """Whether a base gives the same outputs, by shape and by name, so that its scores mean the same."""
    shapes = {name: spec.shape for name, spec in base.specs.items()}
    said = label_names(config_of(base), base.origin.name)
    same_names = said is None or [n.lower() for n in said] == [n.lower() for n in labels]
    return same_names and shapes == {name: spec.shape for name, spec in ingredient.specs.items()}


def _baseline(ingredient: Ingredient, candidates: Candidates) -> Checkpoint:
    """The model; EvaluationError unless its answers mean what those of the others do."""
    from hf_soups.evaluation.calibration import ERROR

    task, where = candidates.evaluator.task, f"evaluate: baselines: {ingredient.label}"
    if ERROR not in task.metrics.values():
        raise EvaluationError(f"{where}: robustness is measured by accuracy, which {task.name} has not; leave it out")
    checkpoint = candidates.open(ingredient)
    said = label_names(config_of(checkpoint), checkpoint.origin.name) or ()
    if [name.lower() for name in said] != [name.lower() for name in task.label_names]:
        raise EvaluationError(
            f"{where}: its labels are {', '.join(said) or 'unknown'}, those of the ingredients "
            f"{', '.join(task.label_names)}; only models of the same labels can be compared"
        )
    return checkpoint


def _name_of_all(recipe: Recipe, selection: Selection | None) -> tuple[str, Kind]:
    if recipe.weights is not None:
        return "weighted soup", "soup"
    weighted = any(i.parameters for i in recipe.ingredients) or recipe.parameters
    if recipe.method == "average" and not weighted:
        return "uniform soup", "soup" if selection is None else "uniform"
    return f"{recipe.method} of all", "soup" if selection is None else "uniform"
