"""Examples as padded batches of token ids, in pieces that fit in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch

    from hf_soups.evaluation.examples import Examples


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


class TextBatches:
    """Tokenized texts; those of similar length lie in one batch.

    size: rows of the largest batch. max_length: in tokens; default: what the model can read.
    """

    def __init__(self, examples: Examples, model: Any, tokenizer: Any, size: int, max_length: int | None) -> None:
        from hf_soups.evaluation.predict import _encode, _longest

        self._tokenizer = tokenizer
        self._encoded = _encode(tokenizer, examples, _longest(model, tokenizer, max_length))
        self._lengths = np.array([len(ids) for ids in self._encoded["input_ids"]])
        self._labels = examples.labels
        self._size = size

    @property
    def n(self) -> int:
        return len(self._labels)

    def pieces(self, rows: np.ndarray) -> Iterator[Batch]:
        import torch

        from hf_soups.evaluation.predict import _padded

        order = rows[np.argsort(-self._lengths[rows], kind="stable")]
        for start in range(0, len(order), self._size):
            few = order[start : start + self._size]
            inputs = _padded(self._tokenizer, {key: [values[i] for i in few] for key, values in self._encoded.items()})
            yield Batch(inputs, torch.from_numpy(self._labels[few]))
