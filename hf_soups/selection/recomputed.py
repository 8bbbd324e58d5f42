"""BatchNorm's statistics of soups, which no averaging gives: estimated on the dataset that the recipe names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hf_soups.align.batchnorm import statistics
from hf_soups.checkpoint import Checkpoint
from hf_soups.evaluation import batchnorm
from hf_soups.evaluation.evaluator import Evaluator
from hf_soups.evaluation.scores import Array
from hf_soups.soup import Soup


def recomputed_on(checkpoint: Checkpoint) -> str | None:
    """The dataset that they are estimated on; None where there are none, and for ingredients."""
    if not isinstance(checkpoint, Soup) or not statistics(checkpoint.specs):
        return None
    return checkpoint.recipe.recompute_batchnorm


def identity(checkpoint: Checkpoint, evaluator: Evaluator) -> str:
    """What a model's answers are kept under: its weights, and how these statistics are estimated."""
    dataset = recomputed_on(checkpoint)
    if dataset is None:
        return checkpoint.fingerprint()
    way = [evaluator.examples(dataset).fingerprint, evaluator.way["batch_size"], evaluator.way["max_length"]]
    return f"{checkpoint.fingerprint()} batchnorm {batchnorm.WAY} {' '.join(map(str, way))}"


def recompute(checkpoint: Checkpoint, dataset: str, model: Any, processor: Any, evaluator: Evaluator) -> None:
    """Put those of the weights that the model holds into it, rounded as they will be written."""
    from hf_soups.model import fill_in, places

    way = evaluator.way
    batchnorm.estimate(
        evaluator.task,
        model,
        processor,
        evaluator.examples(dataset),
        batch_size=way["batch_size"],
        max_length=way["max_length"],
    )
    targets = places(model, checkpoint)
    found = batchnorm.read(model, targets, checkpoint)
    fill_in(model, ((targets[name], value) for name, value in found.items()))


def read(checkpoint: Checkpoint, model: Any) -> Mapping[str, Array]:
    """Those that a model of this checkpoint holds, by name of the tensor."""
    from hf_soups.model import places

    return batchnorm.read(model, places(model, checkpoint), checkpoint)
