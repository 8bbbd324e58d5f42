"""The joint pass of an ensemble of language models: of their own answers only losses are kept, which have no mean."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from hf_soups.checkpoint import Checkpoint
from hf_soups.evaluation.evaluator import Evaluator
from hf_soups.evaluation.outputs import Outputs
from hf_soups.evaluation.tasks.text_generation import TextGeneration
from hf_soups.selection.recomputed import identity
from hf_soups.selection.settings import settings_of
from hf_soups.selection.warm import WarmModel


def joint(checkpoints: Sequence[Checkpoint], dataset: str, evaluator: Evaluator, warm: WarmModel) -> Outputs | None:
    """What language models say together, from the cache where they did before; None for any other task."""
    from hf_soups.evaluation.together import together

    task, way = evaluator.task, evaluator.way
    if not isinstance(task, TextGeneration):
        return None

    def compute() -> Outputs:
        placed, processor = warm.placed(checkpoints[0])
        return together(
            task,
            placed.model,
            [partial(placed.fill, one) for one in checkpoints],
            processor,
            evaluator.examples(dataset),
            max_length=way["max_length"],
            dtype=way["dtype"],
        )

    whose = " + ".join(identity(one, evaluator) for one in checkpoints)
    about = {"task": task.name, "dataset": evaluator.examples(dataset).source.title, "model": "ensemble"}
    key = evaluator.key(f"ensemble of {whose}", dataset, settings_of(checkpoints[0].assets))
    return evaluator.cache.get_or_compute(key, compute, about)
