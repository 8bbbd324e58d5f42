"""One of several labels for an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError
from hf_soups.evaluation import metrics
from hf_soups.evaluation.columns import LABELS, as_columns, find
from hf_soups.evaluation.images import NAMES, Picture, contents
from hf_soups.evaluation.labels import to_ids
from hf_soups.evaluation.outputs import Outputs
from hf_soups.evaluation.tasks.base import Loaded, Task
from hf_soups.evaluation.tasks.vectors import check_shape, logits_of

if TYPE_CHECKING:
    import torch

    from hf_soups.checkpoint import Checkpoint
    from hf_soups.evaluation.examples import Examples
    from hf_soups.evaluation.tables import Table
    from hf_soups.recipe import Data


class ImageClassification(Task):
    """One of several labels for an image: logits [n, labels], references [n] label ids."""

    name = "image-classification"
    architectures = ("ForImageClassification",)
    metrics = metrics.METRICS

    def __init__(self, label_names: Sequence[str] = ()) -> None:
        if len(label_names) < 2:
            raise EvaluationError(f"a classifier has at least two labels; this model has {len(label_names)}")
        super().__init__(label_names)

    @classmethod
    def columns(cls, table: Table, data: Data) -> dict[str, str]:
        return columns_of(table, data)

    def load(self, table: Table, data: Data) -> Loaded:
        found = self.columns(table, data)
        label = found["label"]
        ids = to_ids(table.column(label), table.class_names(label), self.label_names, table.where(label))
        return Loaded(contents(table, found["image"]), ids, (found["image"],), label)

    def encode(self, model: Any, processor: Any, examples: Examples, max_length: int | None) -> Sequence[Picture]:
        return pictures(examples)

    def length(self, item: Any) -> int:
        return 1  # the processor makes all images one size

    def collate(self, processor: Any, items: Sequence[Picture], width: int) -> dict[str, torch.Tensor]:
        return pixel_values(processor, items)

    def answer(self, model: Any, inputs: Mapping[str, torch.Tensor], items: Sequence[Any]) -> list[NDArray[np.float32]]:
        return logits_of(model(**inputs), len(items), "an image classifier")

    def processor(self, checkpoint: Checkpoint) -> Any:
        from hf_soups.model import load_image_processor

        return load_image_processor(checkpoint)

    def check(self, outputs: Outputs, examples: Examples, whose: str) -> None:
        check_shape(outputs, examples.n, len(self.label_names), whose, self.label_names)


def columns_of(table: Table, data: Data) -> dict[str, str]:
    """The columns with image and label: as the recipe says, else those with a usual name."""
    return find(table, as_columns(data, ("image",), "label"), {"image": NAMES, "label": LABELS})


def pictures(examples: Examples) -> list[Picture]:
    """What each row is before its pixels are needed: memory holds no decoded image longer than its batch."""
    return [Picture(content, row, examples.source.title) for row, content in enumerate(examples.inputs)]


def pixel_values(processor: Any, items: Sequence[Picture]) -> dict[str, torch.Tensor]:
    """[rows, channels, height, width] float32, prepared as the model's image processor says."""
    made = processor([item.pixels() for item in items], return_tensors="pt")
    return {name: value for name, value in made.items() if hasattr(value, "shape")}
