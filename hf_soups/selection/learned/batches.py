"""Examples as padded batches of token ids, in pieces that fit in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch

    from hf_soups.evaluation.examples import Examples
    from hf_soups.evaluation.tasks.base import Task


@dataclass(frozen=True)
class Batch:
    """Inputs of a model, and label ids `[rows]`."""

    inputs: Mapping[str, torch.Tensor]
    labels: torch.Tensor

    def to(self, device: Any) -> Batch:
        return Batch({key: value.to(device) for key, value in self.inputs.items()}, self.labels.to(device))


class Batches(Protocol):
    """Examples, handed over piece by piece."""

    @property
    def n(self) -> int:
        """Number of rows."""

    def pieces(self, rows: np.ndarray) -> Iterator[Batch]:
        """These rows, in any order, in batches that fit in memory."""


class TaskBatches:
    """Examples encoded as their task does; those of similar length lie in one batch.

    size: rows of the largest batch. max_length: in tokens; default: what the model can read.
    """

    def __init__(
        self, task: Task, examples: Examples, model: Any, processor: Any, size: int, max_length: int | None
    ) -> None:
        self._task = task
        self._processor = processor
        self._items = task.encode(model, processor, examples, max_length)
        self._lengths = np.array([task.length(item) for item in self._items])
        self._labels = np.asarray(examples.references)
        self._size = size

    @property
    def n(self) -> int:
        return len(self._labels)

    def pieces(self, rows: np.ndarray) -> Iterator[Batch]:
        import torch

        order = rows[np.argsort(-self._lengths[rows], kind="stable")]
        for start in range(0, len(order), self._size):
            few = order[start : start + self._size]
            inputs = self._task.collate(self._processor, [self._items[i] for i in few], int(self._lengths[few].max()))
            yield Batch(inputs, torch.from_numpy(self._labels[few]))
