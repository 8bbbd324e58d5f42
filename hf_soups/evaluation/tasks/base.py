"""What a model is asked: which columns, how they are encoded, how its answers are read and scored."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from hf_soups.errors import EvaluationError, did_you_mean
from hf_soups.evaluation import outputs as answers
from hf_soups.evaluation.outputs import Outputs

if TYPE_CHECKING:
    import torch

    from hf_soups.checkpoint import Checkpoint
    from hf_soups.evaluation.examples import Examples, References
    from hf_soups.evaluation.metrics import Metric
    from hf_soups.evaluation.tables import Table
    from hf_soups.recipe import Data, Evaluate


@dataclass(frozen=True)
class Loaded:
    """The columns of a table as a task understands them.

    inputs: one a row, of text, tuples, or bytes; references: what is right, one a row.
    read: names of the columns with the input; label: name of the one with the reference.
    choices: what all rows are asked to choose from, where the data says so: names of classes, texts of a corpus.
    """

    inputs: Sequence[Any]
    references: References
    read: tuple[str, ...]
    label: str = ""
    choices: tuple[str, ...] = ()


class Task(ABC):
    """One kind of question. It has no state but labels and options, so that every model is asked alike.

    name: as in recipes; architectures: endings of the class names of models that answer it.
    metrics: those that make sense, by name; the first is what decides unless the recipe says otherwise.
    encodes_alike: whether `encode` gives the same for every model with the same files, so that it is done once.
    reference: which of its `columns` says what is right; "" where the input itself does.
    label_names: of the models' outputs, in their order; empty where a model has none.
    """

    name: ClassVar[str]
    architectures: ClassVar[tuple[str, ...]]
    metrics: ClassVar[Mapping[str, Metric]]
    encodes_alike: ClassVar[bool] = True
    reference: ClassVar[str] = "label"

    def __init__(self, label_names: Sequence[str] = ()) -> None:
        self.label_names = tuple(label_names)

    @classmethod
    def of(cls, evaluate: Evaluate, label_names: Sequence[str]) -> Task:
        """The task as a recipe asks for it; EvaluationError for an option that it has no use for."""
        known = cls._options()
        for option in evaluate.options:
            if option not in known:
                listed = f"it has {', '.join(known)}" if known else "it has none"
                hint = did_you_mean(option, known)
                raise EvaluationError(f"evaluate: options: {cls.name} has no {option!r}; {listed}{hint}")
        return cls(label_names, **evaluate.options)

    @property
    def settings(self) -> Mapping[str, str]:
        """What of the recipe, beside the data, decides the answers: part of the key that they are kept under."""
        said = {name: getattr(self, name) for name in self._options()}
        return {name: str(value) for name, value in said.items() if value is not None}

    @classmethod
    def _options(cls) -> list[str]:
        """What only this task knows, such as a prefix: keyword arguments of its class, and attributes."""
        parameters = inspect.signature(cls).parameters.values()
        return [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]

    @classmethod
    @abstractmethod
    def columns(cls, table: Table, data: Data) -> dict[str, str]:
        """What the task needs → the column that has it: as the recipe says, else the one with a usual name.

        Raises EvaluationError where no column has it, or several might.
        """

    @abstractmethod
    def load(self, table: Table, data: Data) -> Loaded:
        """The inputs and references in a table; EvaluationError that names column and row for what is neither."""

    @abstractmethod
    def encode(self, model: Any, processor: Any, examples: Examples, max_length: int | None) -> Sequence[Any]:
        """What each row is before it is put into a batch, such as its token ids.

        The model is in place already, and may be asked about what all rows share.
        """

    @abstractmethod
    def collate(self, processor: Any, items: Sequence[Any], width: int) -> dict[str, torch.Tensor]:
        """The inputs of a model for some encoded rows, each padded to `width`."""

    @abstractmethod
    def answer(self, model: Any, inputs: Mapping[str, torch.Tensor], items: Sequence[Any]) -> list[Any]:
        """What the model says of a batch: for each row a text, a vector [width] or a matrix [length, width]."""

    def length(self, item: Any) -> int:
        """Of an encoded row: rows of similar length share a batch, and the longest decides the padding."""
        return len(item["input_ids"])

    def processor(self, checkpoint: Checkpoint) -> Any:
        """What turns inputs into numbers, from the checkpoint's files."""
        from hf_soups.model import load_tokenizer

        return load_tokenizer(checkpoint)

    def ensemble(self, outputs: Sequence[Outputs]) -> Outputs | None:
        """What several models say together: the mean of their logits. None where that means nothing."""
        return answers.mean(outputs)

    def check(self, outputs: Outputs, examples: Examples, whose: str) -> None:
        """EvaluationError if these are not answers to those questions."""
        if len(outputs) != examples.n:
            raise EvaluationError(f"{whose}: answers to {len(outputs)} rows, expected {examples.n}")

    def metric(self, name: str) -> Metric:
        """The metric that this name means here."""
        if name not in self.metrics:
            raise EvaluationError(f"no metric {name!r} for {self.name}{did_you_mean(name, self.metrics)}")
        return self.metrics[name]
