"""How much do two sentences say the same: the cosine of their vectors against people's scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.evaluation import metrics
from hf_soups.evaluation.columns import as_columns, find, texts_of
from hf_soups.evaluation.labels import to_numbers
from hf_soups.evaluation.outputs import Outputs
from hf_soups.evaluation.tasks import tokens
from hf_soups.evaluation.tasks.base import Loaded, Task
from hf_soups.evaluation.tasks.embedding import Reader, reader
from hf_soups.evaluation.tasks.vectors import check_shape

if TYPE_CHECKING:
    import torch

    from hf_soups.checkpoint import Checkpoint
    from hf_soups.evaluation.examples import Examples
    from hf_soups.evaluation.tables import Table
    from hf_soups.recipe import Data

_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "sentence1": ("sentence1", "text1", "text_a", "question1", "premise"),
    "sentence2": ("sentence2", "text2", "text_b", "question2", "hypothesis"),
    "score": ("score", "similarity_score", "similarity", "label", "labels"),
}


@dataclass(frozen=True)
class _Pair:
    """The tokens of two sentences, and what makes vectors of them."""

    left: tokens.Ids
    right: tokens.Ids
    reader: Reader


class SentenceSimilarity(Task):
    """Cosine of two sentences' vectors: outputs [n, 1] between -1 and 1, references [n] scores of any range."""

    name = "sentence-similarity"
    architectures = ("Model",)
    metrics = metrics.SIMILARITY

    reference = "score"

    @classmethod
    def columns(cls, table: Table, data: Data) -> dict[str, str]:
        return find(table, as_columns(data, ("sentence1", "sentence2"), "score"), _COLUMNS)

    def load(self, table: Table, data: Data) -> Loaded:
        found = self.columns(table, data)
        read = (found["sentence1"], found["sentence2"])
        scores = to_numbers(table.column(found["score"]), table.where(found["score"]))
        return Loaded(texts_of(table, read), scores, read, found["score"])

    def encode(self, model: Any, processor: Reader, examples: Examples, max_length: int | None) -> Sequence[_Pair]:
        left, right = (processor.encode(model, side, max_length) for side in zip(*examples.inputs, strict=True))
        return [_Pair(*sides, processor) for sides in zip(left, right, strict=True)]

    def length(self, item: _Pair) -> int:
        return max(len(item.left["input_ids"]), len(item.right["input_ids"]))

    def collate(self, processor: Reader, items: Sequence[_Pair], width: int) -> dict[str, torch.Tensor]:
        return processor.pad([*(item.left for item in items), *(item.right for item in items)], width)

    def answer(
        self, model: Any, inputs: Mapping[str, torch.Tensor], items: Sequence[_Pair]
    ) -> list[NDArray[np.float32]]:
        vectors = items[0].reader.vectors(model, inputs)  # [2 rows, width], all left sides first
        cosines = (vectors[: len(items)] * vectors[len(items) :]).sum(dim=1, keepdim=True)  # [rows, 1]
        return list(cosines.cpu().numpy())

    def processor(self, checkpoint: Checkpoint) -> Reader:
        return reader(checkpoint)

    def check(self, outputs: Outputs, examples: Examples, whose: str) -> None:
        check_shape(outputs, examples.n, 1, whose)
