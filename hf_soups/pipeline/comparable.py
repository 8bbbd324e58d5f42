"""Models beside the ingredients whose answers mean what the ingredients' do: the base, and the baselines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hf_soups.align import config_of, label_names
from hf_soups.checkpoint import Checkpoint
from hf_soups.errors import EvaluationError
from hf_soups.recipe import Ingredient, Recipe

if TYPE_CHECKING:
    from hf_soups.selection.candidates import Candidates


def base_of(recipe: Recipe, candidates: Candidates) -> Checkpoint | None:
    """The base; None where there is none, or it has no head, or one of other labels."""
    if recipe.base is None:
        return None
    base, ingredient = candidates.open(recipe.base), candidates.open(recipe.ingredients[0])
    return base if _same_head(base, ingredient, candidates.evaluator.task.label_names) else None


def baseline(ingredient: Ingredient, candidates: Candidates) -> Checkpoint:
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


def _same_head(base: Checkpoint, ingredient: Checkpoint, labels: Sequence[str]) -> bool:
    """Whether a base gives the same outputs, by shape and by name, so that its scores mean the same."""
    shapes = {name: spec.shape for name, spec in base.specs.items()}
    said = label_names(config_of(base), base.origin.name)
    same_names = said is None or [n.lower() for n in said] == [n.lower() for n in labels]
    return same_names and shapes == {name: spec.shape for name, spec in ingredient.specs.items()}
