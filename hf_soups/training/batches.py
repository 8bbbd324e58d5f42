"""Examples as padded batches of token ids, texts of similar length together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hf_soups.evaluation.data import Examples

BUCKET = 20  # batches that are sorted by length together: little padding, still a fresh mix in each epoch


@dataclass(frozen=True)
class Batches:
    """n tokenized examples.

    inputs: one mapping per example, such as {"input_ids": [...], "attention_mask": [...]}.
    labels: int64 [n].
    """

    inputs: Sequence[dict[str, list[int]]]
    labels: torch.Tensor
    tokenizer: Any
    size: int

    def in_order_of_length(self) -> Iterator[tuple[list[int], dict[str, torch.Tensor]]]:
        """Every example once: row numbers and inputs."""
        order = sorted(range(len(self.inputs)), key=self._length)
        for start in range(0, len(order), self.size):
            rows = order[start : start + self.size]
            yield rows, self._pad(rows)

    def epoch(self, rows: Sequence[int], generator: torch.Generator) -> Iterator[tuple[dict[str, torch.Tensor], Any]]:
        """These examples once, in random order: inputs and labels."""
        order = [rows[i] for i in torch.randperm(len(rows), generator=generator).tolist()]
        cut = []
        for start in range(0, len(order), self.size * BUCKET):
            bucket = sorted(order[start : start + self.size * BUCKET], key=self._length)
            cut += [bucket[i : i + self.size] for i in range(0, len(bucket), self.size)]
        for i in torch.randperm(len(cut), generator=generator).tolist():
            yield self._pad(cut[i]), self.labels[cut[i]]

    def _length(self, row: int) -> int:
        return len(self.inputs[row]["input_ids"])

    def _pad(self, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        from transformers import DataCollatorWithPadding

        return dict(DataCollatorWithPadding(self.tokenizer)([self.inputs[row] for row in rows]))


def tokenize(examples: Examples, tokenizer: Any, max_length: int, size: int) -> Batches:
    """Token ids of every example, cut to `max_length`."""
    first = [t if isinstance(t, str) else t[0] for t in examples.inputs]
    second = None if isinstance(examples.inputs[0], str) else [t[1] for t in examples.inputs]
    encoded = tokenizer(first, second, truncation=True, max_length=max_length, padding=False)
    inputs = [dict(zip(encoded, row, strict=True)) for row in zip(*encoded.values(), strict=True)]
    return Batches(inputs, torch.from_numpy(np.asarray(examples.references)), tokenizer, size)
