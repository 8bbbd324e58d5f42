"""A text for a text, written by an encoder-decoder: summaries and translations."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hf_soups.errors import EvaluationError
from hf_soups.evaluation import metrics_text
from hf_soups.evaluation.columns import as_columns, find, texts_of
from hf_soups.evaluation.outputs import Outputs
from hf_soups.evaluation.tasks import tokens
from hf_soups.evaluation.tasks.base import Loaded, Task
from hf_soups.evaluation.tasks.generation import Decode, decoder, generate, positive

if TYPE_CHECKING:
    import torch

    from hf_soups.evaluation.examples import Examples
    from hf_soups.evaluation.tables import Table
    from hf_soups.recipe import Data

SUMMARY = {
    "text": ("document", "article", "dialogue", "text", "report", "source", "input", "content", "body"),
    "target": ("summary", "highlights", "target", "abstract", "output", "headline"),
}
TRANSLATION = {"text": ("source", "text", "input", "src"), "target": ("target", "translation", "output", "tgt")}


@dataclass(frozen=True)
class Question:
    """The token ids of a text, and how the answer's become text again."""

    ids: tokens.Ids
    decode: Decode


class _Writing(Task):
    """A text for a text.

    prefix: what stands before every text, such as "summarize: "; default: what the model's config says of the task.
    max_new_tokens: of an answer; num_beams: of the search; default: the checkpoint's generation config, and 128 new
        tokens where that says nothing.
    Answers and references are [n] texts. Texts have no mean, so there is no ensemble.
    """

    architectures = ("ForConditionalGeneration", "MTModel", "EncoderDecoderModel")
    reference = "target"

    def __init__(
        self,
        label_names: Sequence[str] = (),
        *,
        prefix: str | None = None,
        max_new_tokens: int | None = None,
        num_beams: int | None = None,
    ) -> None:
        super().__init__(label_names)
        if not isinstance(prefix, str | None):
            raise EvaluationError(f"evaluate: options: prefix is {prefix!r}; it must be a text")
        self.prefix = prefix
        self.max_new_tokens = positive("max_new_tokens", max_new_tokens)
        self.num_beams = positive("num_beams", num_beams)

    @abstractmethod
    def usual(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """The part of a config's `task_specific_params` that is about this task."""

    def encode(self, model: Any, processor: Any, examples: Examples, max_length: int | None) -> Sequence[Question]:
        if "input_ids" not in inspect.signature(model.forward).parameters:
            raise EvaluationError(f"{self.name}: {type(model).__name__} does not read text; choose another `task:`")
        said = self.usual(getattr(model.config, "task_specific_params", None) or {})
        prefix = str(said.get("prefix") or "") if self.prefix is None else self.prefix
        encoded = tokens.encode(
            processor, [prefix + text for text in examples.inputs], tokens.longest(model, processor, max_length)
        )
        for row, ids in enumerate(encoded):
            if not ids["input_ids"]:
                raise EvaluationError(f"{examples.source.path}: row {row} (counting from 0) is an empty text")
        decode = decoder(processor)
        return [Question(ids, decode) for ids in encoded]

    def length(self, item: Question) -> int:
        return len(item.ids["input_ids"])

    def collate(self, processor: Any, items: Sequence[Question], width: int) -> dict[str, torch.Tensor]:
        return tokens.pad(processor, [item.ids for item in items], width)

    def answer(self, model: Any, inputs: Mapping[str, torch.Tensor], items: Sequence[Question]) -> list[str]:
        decodes = [item.decode for item in items]
        return generate(model, inputs, decodes, self.max_new_tokens, self.num_beams)

    def ensemble(self, outputs: Sequence[Outputs]) -> Outputs | None:
        return None


class Summarization(_Writing):
    """A summary of a text: columns text and target."""

    name = "summarization"
    metrics = metrics_text.SUMMARIES

    @classmethod
    def columns(cls, table: Table, data: Data) -> dict[str, str]:
        return find(table, as_columns(data, ("text",), "target"), SUMMARY)

    def load(self, table: Table, data: Data) -> Loaded:
        columns = self.columns(table, data)
        texts, targets = (texts_of(table, [columns[need]]) for need in SUMMARY)
        return Loaded(texts, targets, (columns["text"],), columns["target"])

    def usual(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        return settings.get("summarization") or {}


class Translation(_Writing):
    """A text in another language: columns text and target, or one column that holds {language: text, …}.

    source, target: the languages' names in such a column. What a model of many languages is told of them stands in
    its tokenizer's and generation configs.
    """

    name = "translation"
    metrics = metrics_text.TRANSLATIONS

    def __init__(
        self,
        label_names: Sequence[str] = (),
        *,
        source: str | None = None,
        target: str | None = None,
        prefix: str | None = None,
        max_new_tokens: int | None = None,
        num_beams: int | None = None,
    ) -> None:
        super().__init__(label_names, prefix=prefix, max_new_tokens=max_new_tokens, num_beams=num_beams)
        self.source = source
        self.target = target

    @classmethod
    def columns(cls, table: Table, data: Data) -> dict[str, str]:
        """One column twice where it holds both languages."""
        data = as_columns(data, ("text",), "target")
        name = data.columns.get("text") or next((n for n in table.names if n.casefold() == "translation"), None)
        if name is not None and isinstance(table.rows[0][name], dict):
            return {"text": name, "target": name}
        return find(table, data, TRANSLATION)

    def load(self, table: Table, data: Data) -> Loaded:
        said = as_columns(data, ("text",), "target").columns
        columns = self.columns(table, replace(data, columns={**self._named_after(table), **said}))
        if isinstance(first := table.rows[0][columns["text"]], dict):
            languages = [key for key, text in first.items() if text is not None]
            return self._of_languages(table, columns["text"], languages)
        texts, targets = (texts_of(table, [columns[need]]) for need in TRANSLATION)
        return Loaded(texts, targets, (columns["text"],), columns["target"])

    def usual(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        return settings.get(f"translation_{self.source}_to_{self.target}") or {}

    def _named_after(self, table: Table) -> dict[str, str]:
        """Columns that are called like the languages."""
        languages = {"text": self.source, "target": self.target}
        return {need: language for need, language in languages.items() if language in table.names}

    def _of_languages(self, table: Table, column: str, languages: Sequence[str]) -> Loaded:
        if self.source not in languages or self.target not in languages or self.source == self.target:
            raise EvaluationError(
                f"{table.where(column)}: from which language to which? It has {', '.join(languages)}; "
                "say `options: {source: ..., target: ...}` under `evaluate:`"
            )
        sides = [[row.get(language) if row else None for row in table.column(column)] for language in
                 (self.source, self.target)]  # fmt: skip
        for language, texts in zip((self.source, self.target), sides, strict=True):
            for row, text in enumerate(texts):
                if not isinstance(text, str):
                    raise EvaluationError(
                        f"{table.where(column)}: row {row} (counting from 0) has no text in {language}; leave it out"
                    )
        return Loaded(tuple(sides[0]), tuple(sides[1]), (column,), column)
