"""Images against names of classes, in the common space of a dual encoder: WiSE-FT's own setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError
from hf_soups.evaluation import metrics
from hf_soups.evaluation.images import Picture, contents
from hf_soups.evaluation.labels import to_ids
from hf_soups.evaluation.outputs import Outputs
from hf_soups.evaluation.tasks import tokens
from hf_soups.evaluation.tasks.base import Loaded, Task
from hf_soups.evaluation.tasks.image_classification import columns_of, pictures, pixel_values
from hf_soups.evaluation.tasks.vectors import check_shape
from hf_soups.placement import device_of

if TYPE_CHECKING:
    import torch

    from hf_soups.checkpoint import Checkpoint
    from hf_soups.evaluation.examples import Examples
    from hf_soups.evaluation.tables import Table
    from hf_soups.recipe import Data

TEMPLATES = ("a photo of a {}.",)
_AT_ONCE = 256  # prompts in a batch; ImageNet has 80,000


class _Processor(NamedTuple):
    images: Any
    tokenizer: Any


@dataclass(frozen=True)
class _Seen:
    """A row: its image, and the head [classes, width] that all rows share."""

    picture: Picture
    head: torch.Tensor


class ZeroShotImageClassification(Task):
    """Which class's name is nearest to an image: logits [n, classes], references [n] class ids.

    Each dataset has the classes that the recipe's `labels` option or its own label column name, so a model may be
    asked about other classes than it was fine-tuned for. Source: WiSE-FT (Wortsman et al. 2022, arXiv:2109.01903) and
    CLIP (Radford et al. 2021, arXiv:2103.00020), section 3.1.4, for ensembles of prompts.
    """

    name = "zero-shot-image-classification"
    architectures = ("CLIPModel", "SiglipModel", "MetaClip2Model")
    metrics = metrics.METRICS
    encodes_alike = False  # the head is made of the model's own text tower

    def __init__(
        self, label_names: Sequence[str] = (), *, templates: Sequence[str] = TEMPLATES, labels: Sequence[str] = ()
    ) -> None:
        """label_names: of a head, which these models do not have. templates: prompts, with {} for the class; labels:
        names of the classes to choose from; default: those that the data names."""
        self.templates, self.labels = _texts(templates, "templates"), _texts(labels, "labels")
        super().__init__(self.labels)
        if not self.templates:
            raise EvaluationError("evaluate: options: templates: give at least one, such as 'a photo of a {}.'")
        for template in self.templates:
            if template.count("{}") != 1:
                raise EvaluationError(f"evaluate: options: templates: {template!r}: write {{}} once, for the class")
        if len(set(self.labels)) != len(self.labels):
            raise EvaluationError("evaluate: options: labels: names a class twice")

    @classmethod
    def columns(cls, table: Table, data: Data) -> dict[str, str]:
        return columns_of(table, data)

    def load(self, table: Table, data: Data) -> Loaded:
        found = self.columns(table, data)
        label = found["label"]
        own = table.class_names(label)
        names = self.label_names or tuple(own or ())
        if len(names) < 2:
            raise EvaluationError(
                f"{table.where(label)}: which classes are there? The data names {len(names)}; list them in the recipe, "
                "`evaluate: {options: {labels: [...]}}`"
            )
        ids = to_ids(table.column(label), own, names, table.where(label))
        return Loaded(contents(table, found["image"]), ids, (found["image"],), label, names)

    def encode(self, model: Any, processor: Any, examples: Examples, max_length: int | None) -> Sequence[_Seen]:
        head = zero_shot_head(model, processor.tokenizer, examples.choices, self.templates)
        return [_Seen(picture, head) for picture in pictures(examples)]

    def length(self, item: Any) -> int:
        return 1  # the processor makes all images one size

    def collate(self, processor: Any, items: Sequence[_Seen], width: int) -> dict[str, torch.Tensor]:
        return pixel_values(processor.images, [item.picture for item in items])

    def answer(
        self, model: Any, inputs: Mapping[str, torch.Tensor], items: Sequence[_Seen]
    ) -> list[NDArray[np.float32]]:
        import torch

        features = _vectors(model.get_image_features(**inputs))
        logits = torch.nn.functional.normalize(features, dim=-1) @ items[0].head.T  # [rows, classes]
        return list(logits.float().cpu().numpy())

    def processor(self, checkpoint: Checkpoint) -> _Processor:
        from hf_soups.model import load_image_processor, load_tokenizer

        return _Processor(load_image_processor(checkpoint), load_tokenizer(checkpoint))

    def check(self, outputs: Outputs, examples: Examples, whose: str) -> None:
        check_shape(outputs, examples.n, len(examples.choices), whose, examples.choices)


def _texts(values: Sequence[str], option: str) -> tuple[str, ...]:
    if not isinstance(values, list | tuple) or not all(isinstance(value, str) for value in values):
        raise EvaluationError(f"evaluate: options: {option}: a list of texts is needed, got {values!r}")
    return tuple(values)


def zero_shot_head(model: Any, tokenizer: Any, classes: Sequence[str], templates: Sequence[str]) -> torch.Tensor:
    """[classes, width]: mean over templates of normalised text embeddings, normalised again, times the logit scale.

    classes: an underscore in a name is read as a space. A sigmoid model's bias, equal for all classes, is left out.
    Raises EvaluationError for a prompt that is longer than the model reads.
    """
    import torch

    names = [name.replace("_", " ") for name in classes]
    prompts = [template.replace("{}", name) for name in names for template in templates]
    device = device_of(model)
    encoded = tokens.encode(tokenizer, prompts, None)
    most = model.config.text_config.max_position_embeddings
    for prompt, one in zip(prompts, encoded, strict=True):
        if len(one["input_ids"]) > most:
            raise EvaluationError(
                f"the prompt {prompt!r} has {len(one['input_ids'])} tokens, the model reads {most}; shorten it"
            )
    # SigLIP was trained on prompts of full length without a mask, and pools at their last place
    full = most if "siglip" in model.config.model_type else 0
    read = ("input_ids",) if full else ("input_ids", "attention_mask")
    found = []
    for start in range(0, len(encoded), _AT_ONCE):
        some = encoded[start : start + _AT_ONCE]
        inputs = tokens.pad(tokenizer, some, max(full, *(len(one["input_ids"]) for one in some)))
        inputs = {name: inputs[name].to(device) for name in read if name in inputs}
        found.append(torch.nn.functional.normalize(_vectors(model.get_text_features(**inputs)), dim=-1))
    each = torch.cat(found).reshape(len(names), len(templates), -1)  # [classes, templates, width]
    return torch.nn.functional.normalize(each.mean(dim=1), dim=-1) * model.logit_scale.exp()


def _vectors(features: Any) -> torch.Tensor:
    """[rows, width] of what `get_text_features` and `get_image_features` give, in any release of transformers."""
    vectors: torch.Tensor = getattr(features, "pooler_output", features)
    return vectors
