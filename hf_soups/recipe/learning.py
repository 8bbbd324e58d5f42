"""What the strategy `learned` is told."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from hf_soups.errors import RecipeError, did_you_mean

if TYPE_CHECKING:
    from hf_soups.recipe.types import Recipe

GRANULARITIES = ("model", "block", "tensor")
SPACES = ("simplex", "free")
ROLES = {"fit": "to learn from", "calibrate": "to stop on"}


@dataclass(frozen=True)
class Learning:
    """How mixing weights are learned. Defaults: model soups (Wortsman et al. 2022), section 3.3 and the released code.

    granularity: one weight per ingredient for the whole `model`, for each `block` (layer) or for each `tensor`.
    space: `simplex` (positive, of sum 1) or `free`.
    beta: learn a factor of the logits too.
    epochs: at most; lr: of AdamW, which decays nothing; batch_size: rows of one step.
    linear: in the linearised model, where it is a convex problem; without epochs and steps.
    """

    granularity: str = "block"
    space: str = "simplex"
    beta: bool = True
    epochs: int = 5
    lr: float = 0.05
    batch_size: int = 256
    linear: bool = False


def check_learning(recipe: Recipe, options: Learning) -> None:
    """RecipeError unless weights can be learned so, for this recipe, on its data."""
    for key, choices in (("granularity", GRANULARITIES), ("space", SPACES)):
        value = getattr(options, key)
        if value not in choices:
            raise RecipeError(f"select: {key}: unknown value {value!r}{did_you_mean(value, choices)}")
    for key in ("epochs", "batch_size"):
        if getattr(options, key) < 1:
            raise RecipeError(f"select: {key}: at least 1 is needed, got {getattr(options, key)}")
    if not (isfinite(options.lr) and options.lr > 0):
        raise RecipeError(f"select: lr: a positive number is needed, got {options.lr:g}")
    if options.linear and options.space != "simplex":
        raise RecipeError("select: linear: weights of space free are not linearised; leave out space: or linear:")
    if recipe.method != "average":
        raise RecipeError(f"select: learned weights are those of method average, not of {recipe.method}")
    if len(recipe.ingredients) < 2:
        raise RecipeError("select: learned weights need at least two ingredients")
    given: list[object] = [recipe.parameters, *(i.parameters for i in recipe.ingredients)]
    if any([*given, *(o.parameters or o.ingredients for o in recipe.overrides)]):
        raise RecipeError("select: weights are learned, so leave out weight:")
    if any(override.source not in (None, "base") for override in recipe.overrides):
        raise RecipeError("select: learned may leave ingredients out, so overrides cannot name them; name base only")
    datasets = recipe.evaluate.datasets if recipe.evaluate else {}
    for role, purpose in ROLES.items():
        found = [name for name, data in datasets.items() if data.role == role]
        if len(found) != 1:
            raise RecipeError(
                f"select: learned needs one dataset {purpose}, and {len(found)} have role {role}; in evaluate: "
                f"datasets: give one, for instance {role}: {{path: org/data, split: train#1/2, role: {role}}}"
            )
