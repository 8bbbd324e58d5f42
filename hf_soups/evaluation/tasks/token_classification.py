"""A label for each word of a sentence: named entities, parts of speech."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError
from hf_soups.evaluation import scores_entities as entities
from hf_soups.evaluation.columns import as_columns, find
from hf_soups.evaluation.labels import to_ids
from hf_soups.evaluation.metrics import Metric, table
from hf_soups.evaluation.outputs import Outputs, Ragged
from hf_soups.evaluation.tasks import tokens
from hf_soups.evaluation.tasks.base import Loaded, Task

if TYPE_CHECKING:
    import torch

    from hf_soups.evaluation.examples import Examples
    from hf_soups.evaluation.tables import Table
    from hf_soups.recipe import Data

_COLUMNS = {
    "tokens": ("tokens", "words"),
    "tags": ("ner_tags", "tags", "labels", "ner", "pos_tags", "upos", "chunk_tags", "label"),
}


def _metrics(label_names: Sequence[str]) -> Mapping[str, Metric]:
    """Of a model with these labels. Result keys are those of `evaluate`'s seqeval."""

    def of_entities(id: str, formula: Any) -> Metric:
        found = partial(entities.found, label_names=tuple(label_names))
        return Metric(id, True, "tags", f"overall_{id}", found, formula, (0.0, 1.0))

    return table(
        of_entities("f1", entities.f1),
        of_entities("precision", entities.precision),
        of_entities("recall", entities.recall),
        Metric("accuracy", True, "tags", "overall_accuracy", entities.right_words, entities.share, (0.0, 1.0)),
    )


@dataclass(frozen=True)
class Sentence:
    """ids: of its pieces; read: [k] the words that have one; first: [k] where the first of each will be in a row."""

    ids: tokens.Ids
    count: int
    read: NDArray[np.int64]
    first: NDArray[np.int64]


class TokenClassification(Task):
    """A label for each word: logits [words, labels] a row, references int64 [words] a row.

    A word is what the model says of its first piece, as in transformers' example. Sentences longer than the model
    reads are cut; the words beyond count as predicted to be in no entity (label O, else label 0), and a warning says
    how many they are. The tokenizer is used as the model's files have it; a warning tells if it glues words together.
    """

    name = "token-classification"
    architectures = ("ForTokenClassification",)
    metrics = _metrics(())
    reference = "tags"

    @classmethod
    def columns(cls, table: Table, data: Data) -> dict[str, str]:
        return find(table, as_columns(data, ("tokens",), "tags"), _COLUMNS)

    def load(self, table: Table, data: Data) -> Loaded:
        columns = self.columns(table, data)
        words = tuple(tuple(row) for row in _lists(table, columns["tokens"], "words", str))
        tags = _lists(table, columns["tags"], "tags", object)
        where = table.where(columns["tags"])
        for row, (some, their) in enumerate(zip(words, tags, strict=True)):
            if len(some) != len(their):
                raise EvaluationError(
                    f"{where}: row {row} (counting from 0) has {len(their)} tags for {len(some)} words; give one a word"
                )
        lengths = [len(row) for row in tags]
        if not sum(lengths):
            raise EvaluationError(f"{where}: no row has a word")
        rows = np.repeat(np.arange(len(tags)), lengths).tolist()
        flat = to_ids(
            [tag for row in tags for tag in row], table.class_names(columns["tags"]), self.label_names, where, rows
        )
        references = tuple(np.split(flat, np.cumsum(lengths)[:-1]))
        return Loaded(words, references, (columns["tokens"],), columns["tags"])

    def encode(self, model: Any, processor: Any, examples: Examples, max_length: int | None) -> Sequence[Sentence]:
        tokens.check_aligns(processor, self.name)
        _warn_of_glue(processor)
        longest = tokens.longest(model, processor, max_length)
        encoded = processor(
            [list(words) for words in examples.inputs],
            is_split_into_words=True,
            truncation=longest is not None,
            max_length=longest,
        )
        items = []
        for row, words in enumerate(examples.inputs):
            ids = {key: values[row] for key, values in encoded.items()}
            where: dict[int, int] = {}
            for position, word in enumerate(encoded.word_ids(row)):
                if word is not None:
                    where.setdefault(word, position)
            first = tokens.placed(processor, list(where.values()), len(ids["input_ids"]))
            items.append(Sentence(ids, len(words), np.array(list(where), dtype=np.int64), first))
        _warn_of_cut(items, examples, longest)
        return items

    def length(self, item: Sentence) -> int:
        return len(item.ids["input_ids"])

    def collate(self, processor: Any, items: Sequence[Sentence], width: int) -> dict[str, torch.Tensor]:
        return tokens.pad(processor, [item.ids for item in items], width)

    def answer(
        self, model: Any, inputs: Mapping[str, torch.Tensor], items: Sequence[Sentence]
    ) -> list[NDArray[np.float32]]:
        logits = getattr(model(**inputs), "logits", None)
        width = len(self.label_names)
        if logits is None or logits.ndim != 3 or logits.shape[0] != len(items) or logits.shape[2] != width:
            shape = "no logits" if logits is None else f"logits {list(logits.shape)}"
            raise EvaluationError(
                f"the model gives {shape} for {len(items)} sentences and {width} labels; load it as a token classifier"
            )
        values = logits.float().cpu().numpy()
        unread = np.zeros(width, np.float32)
        unread[entities.outside_of(self.label_names) or 0] = 1.0
        rows = []
        for item, line in zip(items, values, strict=True):
            row = np.tile(unread, (item.count, 1))
            row[item.read] = line[item.first]
            rows.append(row)
        return rows

    def check(self, outputs: Outputs, examples: Examples, whose: str) -> None:
        super().check(outputs, examples, whose)
        expected = [len(row) for row in examples.references]
        if (
            not isinstance(outputs, Ragged)
            or outputs.values.shape[1] != len(self.label_names)
            or outputs.lengths.tolist() != expected
        ):
            raise EvaluationError(
                f"{whose}: answers are not one line of {len(self.label_names)} logits for each of {sum(expected)} words"
            )

    def metric(self, name: str) -> Metric:
        super().metric(name)
        return _metrics(self.label_names)[name]


def _lists(table: Table, name: str, things: str, kind: type) -> list[Sequence[Any]]:
    """A column of lists of such things."""
    values = table.column(name)
    for row, value in enumerate(values):
        if not isinstance(value, list | tuple | np.ndarray) or not all(isinstance(one, kind) for one in value):
            raise EvaluationError(
                f"{table.where(name)}: row {row} (counting from 0) holds {str(value)[:60]!r}, not a list of {things}; "
                "use a parquet or jsonl file with such lists, or name another column with `columns:`"
            )
    return values


def _warn_of_glue(tokenizer: Any) -> None:
    """Byte-level tokenizers put words together without spaces, unless they were saved to add them."""
    if tokenizer(["a", "a"], is_split_into_words=True)["input_ids"] != tokenizer("a a")["input_ids"]:
        warnings.warn(
            "the tokenizer reads words as if no spaces were between them; unless the models were trained so, save it "
            "with add_prefix_space=True",
            stacklevel=2,
        )


def _warn_of_cut(items: Sequence[Sentence], examples: Examples, longest: int | None) -> None:
    """Words after the last that is read; one without pieces before that, such as an invisible character, is not cut."""
    cut = [item.count - 1 - int(item.read.max(initial=-1)) for item in items if longest == len(item.ids["input_ids"])]
    if sum(cut):
        warnings.warn(
            f"{examples.source.path}: {sum(cut)} of {sum(item.count for item in items)} words, in "
            f"{sum(some > 0 for some in cut)} of {len(items)} rows, lie beyond the {longest} tokens that the model "
            "reads; they count as predicted to be in no entity",
            stacklevel=2,
        )
