"""What several language models say together: one joint pass, since outputs of vocabulary size are not kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.outputs import Outputs, assemble, finite
from hf_soups.evaluation.predict import halved, ready
from hf_soups.evaluation.tasks.text_generation import LOGITS, TextGeneration, Window, joined, losses_of

if TYPE_CHECKING:
    import torch

    from hf_soups.evaluation.examples import Examples


def together(
    task: TextGeneration,
    model: Any,
    fills: Sequence[Callable[[], None]],
    processor: Any,
    examples: Examples,
    *,
    max_length: int | None = None,
    dtype: str = "float32",
    logits: int = LOGITS,
) -> Outputs:
    """Losses of the mean of several models' unnormalised logits (Wortsman et al. 2022), as `answer` gives one's.

    model: one of them; fills: each puts one of the models' weights into it.
    logits: numbers in the sum of logits that is held, in float32; every model is filled in once for each such chunk.
    Beside the sum, memory holds one model and its own logits of a chunk.
    """
    import torch

    with ready(model, dtype) as device, torch.inference_mode():
        items = task.encode(model, processor, examples, max_length)
        every = [window for item in items for window in item]
        vocabulary = model.get_output_embeddings().weight.shape[0]

        def forward(part: NDArray[np.int64], width: int) -> list[NDArray[np.float32]]:
            some = [every[i] for i in part]
            inputs = {name: value.to(device) for name, value in task.collate(processor, [some], width).items()}
            total = _sum(model, fills, inputs)
            return losses_of(total.div_(len(fills)), inputs["input_ids"], some)

        found: list[Any] = [None] * len(every)
        for part, width in _chunks(every, max(1, logits // vocabulary)):
            for i, losses in zip(part, halved(forward, part, width), strict=True):
                found[i] = losses
    rows = joined(found, items)
    if not all(finite(row) for row in rows):
        raise EvaluationError(f"{examples.source.path}: the losses of the ensemble are not finite")
    return assemble(rows)


def _sum(model: Any, fills: Sequence[Callable[[], None]], inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """[windows, width - 1, vocabulary] float32, of all models in their order."""
    fills[0]()
    total: torch.Tensor = model(**inputs, use_cache=False).logits[:, :-1].float()
    for fill in fills[1:]:
        fill()
        total = total.add_(model(**inputs, use_cache=False).logits[:, :-1])
    return total


def _chunks(windows: Sequence[Window], tokens: int) -> list[tuple[NDArray[np.int64], int]]:
    """Windows of similar length, of so many tokens together with their padding, and the longest's length."""
    lengths = np.array([len(window.ids) for window in windows], np.int64)
    order = np.argsort(-lengths, kind="stable")
    found, start = [], 0
    while start < len(order):
        width = int(lengths[order[start]])
        stop = start + max(1, tokens // width)
        found.append((order[start:stop], width))
        start = stop
    return found
