"""One label for a text or a pair, several at once, or a number."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError
from hf_soups.evaluation import metrics
from hf_soups.evaluation.columns import LABELS, SCORES, of_texts, texts_of
from hf_soups.evaluation.labels import to_ids, to_indicators, to_numbers
from hf_soups.evaluation.outputs import Outputs
from hf_soups.evaluation.tasks import tokens
from hf_soups.evaluation.tasks.base import Loaded, Task
from hf_soups.evaluation.tasks.vectors import check_shape, logits_of

if TYPE_CHECKING:
    import torch

    from hf_soups.evaluation.examples import Examples, References
    from hf_soups.evaluation.tables import Table
    from hf_soups.recipe import Data


class _OfTexts(Task):
    """A vector for a text or a pair of texts."""

    architectures = ("ForSequenceClassification",)

    @property
    def width(self) -> int:
        """Numbers that a model gives for a row."""
        return len(self.label_names)

    @abstractmethod
    def references(self, table: Table, column: str) -> References:
        """What the label column says, one a row."""

    @classmethod
    def columns(cls, table: Table, data: Data) -> dict[str, str]:
        return of_texts(table, data)

    def load(self, table: Table, data: Data) -> Loaded:
        columns = self.columns(table, data)
        read = tuple(columns[need] for need in ("text", "second") if need in columns)
        return Loaded(texts_of(table, read), self.references(table, columns["label"]), read, columns["label"])

    def encode(self, model: Any, processor: Any, examples: Examples, max_length: int | None) -> Sequence[tokens.Ids]:
        return tokens.encode(processor, examples.inputs, tokens.longest(model, processor, max_length))

    def collate(self, processor: Any, items: Sequence[Any], width: int) -> dict[str, torch.Tensor]:
        return tokens.pad(processor, items, width)

    def answer(self, model: Any, inputs: Mapping[str, torch.Tensor], items: Sequence[Any]) -> list[NDArray[np.float32]]:
        return logits_of(model(**inputs), len(items), "a sequence classifier")

    def check(self, outputs: Outputs, examples: Examples, whose: str) -> None:
        check_shape(outputs, examples.n, self.width, whose, self.label_names)


class TextClassification(_OfTexts):
    """One of several labels for a text or a pair: logits [n, labels], references [n] label ids."""

    name = "text-classification"
    metrics = metrics.METRICS

    def __init__(self, label_names: Sequence[str] = ()) -> None:
        if len(label_names) < 2:
            raise EvaluationError(f"a classifier has at least two labels; this model has {len(label_names)}")
        super().__init__(label_names)

    def references(self, table: Table, column: str) -> NDArray[np.int64]:
        return to_ids(table.column(column), table.class_names(column), self.label_names, table.where(column))


class MultiLabel(_OfTexts):
    """Any of several labels for a text or a pair: logits [n, labels], references [n, labels] of 0 and 1."""

    name = "multi-label-classification"
    metrics = metrics.MULTI_LABEL

    def references(self, table: Table, column: str) -> NDArray[np.float64]:
        return to_indicators(table.column(column), table.class_names(column), self.label_names, table.where(column))


class Regression(_OfTexts):
    """A number for a text or a pair: outputs [n, 1], references [n] float64."""

    name = "regression"
    metrics = metrics.REGRESSION
    width = 1

    @classmethod
    def columns(cls, table: Table, data: Data) -> dict[str, str]:
        return of_texts(table, data, (*LABELS, *SCORES))

    def references(self, table: Table, column: str) -> NDArray[np.float64]:
        return to_numbers(table.column(column), table.where(column))
