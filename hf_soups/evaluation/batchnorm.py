"""BatchNorm's running statistics, estimated anew by a forward pass over data, as in stochastic weight averaging."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.align.batchnorm import statistics
from hf_soups.checkpoint import Checkpoint
from hf_soups.errors import EvaluationError
from hf_soups.evaluation.predict import ready

if TYPE_CHECKING:
    from hf_soups.evaluation.examples import Examples
    from hf_soups.evaluation.tasks.base import Task

WAY = "1"  # raised when the same rows would give other statistics than before


def estimate(
    task: Task, model: Any, processor: Any, examples: Examples, *, batch_size: int = 64, max_length: int | None = None
) -> None:
    """Put the mean and variance of these rows into the model's BatchNorm layers; all else stays as it was.

    Layers that keep statistics are in training mode, the rest in evaluation mode; float32, without gradients.
    The mean is that of all rows. The variance is the mean of the batches' unbiased variances, each counted by its
    rows: unbiased where batches are random, which their order sees to, and without what the batches' means differ by.
    Both are what torch's `update_bn` gives for batches of one size; there, a short last batch counts as much as a whole
    one. Padding counts as values, as in training. A layer that never runs keeps its statistics.
    Raises EvaluationError for fewer than two rows, too little memory, or statistics that are not finite.

    Source: SWA (Izmailov et al. 2018, arXiv:1803.05407), section 3.2.
    """
    import torch

    parameters = inspect.signature(model.forward).parameters
    with ready(model, "float32") as device, torch.no_grad():
        items = task.encode(model, processor, examples, max_length)
        with _counting(model):
            for rows in batches(examples.n, batch_size, examples.source.path):
                some = [items[row] for row in rows]
                inputs = task.collate(processor, some, max(task.length(item) for item in some))
                try:
                    task.answer(model, {k: v.to(device) for k, v in inputs.items() if k in parameters}, some)
                except (torch.OutOfMemoryError, MemoryError) as error:
                    raise EvaluationError(
                        f"{examples.source.path}: BatchNorm statistics of {len(rows)} rows at once do not fit into "
                        "memory; lower evaluate: batch_size"
                    ) from error
    for name, layer in layers(model).items():
        if not (torch.isfinite(layer.running_mean).all() and torch.isfinite(layer.running_var).all()):
            raise EvaluationError(f"{name}: BatchNorm statistics are not finite; the model's weights are broken")


def batches(n: int, size: int, where: str = "recompute_batchnorm") -> list[NDArray[np.int64]]:
    """Rows that share a batch: shuffled, always alike, since data is often sorted by label.

    A batch has at least two rows, as one has no variance: a last row alone joins those before it.
    """
    if n < 2:
        raise EvaluationError(f"{where}: BatchNorm statistics need at least two rows, got {n}")
    size = max(2, size)
    order = np.random.RandomState(0).permutation(n)  # whose numbers NumPy promises never to change
    starts = list(range(0, n - 1, size))
    return [order[start:stop] for start, stop in zip(starts, [*starts[1:], n], strict=True)]


def layers(model: Any) -> dict[str, Any]:
    """The BatchNorm layers that keep statistics, by name; those without, or with frozen ones, are no such."""
    from torch.nn.modules.batchnorm import _BatchNorm

    found = model.named_modules()
    return {name: layer for name, layer in found if isinstance(layer, _BatchNorm) and layer.running_mean is not None}


def read(model: Any, places: Mapping[str, str], checkpoint: Checkpoint) -> dict[str, NDArray[Any]]:
    """A model's statistics by the checkpoint's names, in its dtypes: what a soup of it is written with.

    places: tensor → its name in the model, from `hf_soups.model.places`.
    """
    own = model.state_dict()
    return {
        name: own[places[name]].detach().cpu().numpy().astype(checkpoint.specs[name].dtype)
        for name in statistics(checkpoint.specs)
    }


@contextmanager
def _counting(model: Any) -> Iterator[None]:
    """BatchNorm layers in training mode, forgetting what they knew, with the cumulative mean of all rows to come."""
    counted: dict[Any, int] = {}

    def count(layer: Any, inputs: tuple[Any, ...]) -> None:
        if layer not in counted:
            layer.reset_running_stats()
        counted[layer] = counted.get(layer, 0) + len(inputs[0])
        layer.momentum = len(inputs[0]) / counted[layer]

    found = list(layers(model).values())
    momenta = [layer.momentum for layer in found]
    hooks = [layer.register_forward_pre_hook(count) for layer in found]
    try:
        for layer in found:
            layer.train()
        yield
    finally:
        for layer, momentum, hook in zip(found, momenta, hooks, strict=True):
            layer.momentum = momentum
            hook.remove()
            layer.eval()
