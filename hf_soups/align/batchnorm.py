"""BatchNorm's running statistics among a model's tensors: averaged ones are not those of averaged weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hf_soups.align.finding import Finding
from hf_soups.align.tensors import Treatment
from hf_soups.method import get
from hf_soups.recipe import Recipe

MEAN, VARIANCE, COUNTER = "running_mean", "running_var", "num_batches_tracked"


def statistics(names: Iterable[str]) -> list[str]:
    """Those of layers that keep count; layers without a counter are frozen, and their numbers are constants."""
    known = dict.fromkeys(names)
    layers = [name.removesuffix(COUNTER) for name in known if name.rpartition(".")[2] == COUNTER]
    return [layer + part for layer in layers for part in (MEAN, VARIANCE, COUNTER) if layer + part in known]


def check_statistics(recipe: Recipe, treatments: Mapping[str, Treatment]) -> list[Finding]:
    """A warning where statistics are averaged, and where there are none that could be recomputed."""
    found = statistics(treatments)
    if recipe.recompute_batchnorm is not None:
        said = f"recompute_batchnorm: {recipe.recompute_batchnorm}: these models keep no BatchNorm statistics"
        return [] if found else [Finding("warning", f"{said}, so nothing is recomputed; leave it out")]
    several = len(recipe.ingredients) > 1 or get(recipe.method).needs_base
    averaged = [name for name in found if treatments[name].rule == "mean" and name.endswith(VARIANCE)]
    if not (several and averaged):
        return []
    return [
        Finding(
            "warning",
            f"the running statistics of {len(averaged)} BatchNorm layers (such as {averaged[0]}) are averaged, which "
            "are not those of the averaged weights; recompute_batchnorm: NAME (--recompute-batchnorm), with a dataset "
            "of evaluate: of role fit, calibrate or select, estimates them anew",
        )
    ]
