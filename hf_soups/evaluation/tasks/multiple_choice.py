"""Which of several texts answers a question or goes on with a story."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError
from hf_soups.evaluation import metrics
from hf_soups.evaluation.columns import LABELS, as_columns, find, texts_of
from hf_soups.evaluation.labels import labelled
from hf_soups.evaluation.outputs import Outputs
from hf_soups.evaluation.tasks import tokens
from hf_soups.evaluation.tasks.base import Loaded, Task
from hf_soups.evaluation.text import Text

if TYPE_CHECKING:
    import torch

    from hf_soups.evaluation.examples import Examples
    from hf_soups.evaluation.tables import Table
    from hf_soups.recipe import Data

NO_CHOICE = np.finfo(np.float32).min  # the logit of a choice that a row does not have: its probability is 0
_BEFORE = {
    "context": ("sent1", "ctx_a", "article", "passage", "context", "premise", "story"),
    "question": ("sent2", "ctx_b", "question", "question_stem", "goal", "sentence"),
}
_CHOICES = ("choices", "endings", "options", "answers")
_LABEL = ("label", "answerkey", "answer", *LABELS)
_NUMBERED = re.compile(r"(ending|choice|option|answer|sol)_?(\d+)", re.IGNORECASE)  # a column for each choice


@dataclass(frozen=True)
class Row:
    """choices: token ids of the question with each; width: choices that a row of this dataset has at most."""

    choices: Sequence[tokens.Ids]
    width: int


class MultipleChoice(Task):
    """Logits [n, choices], references [n] int64: the index of the right choice.

    A choice is the second text of a pair; where there are context and question, the question stands before it, as
    sent2 of SWAG does (Zellers et al. 2018, arXiv:1808.05326). Rows with fewer choices than others have NO_CHOICE in
    the place of the rest. Choices are a column of lists, or columns such as ending0 and ending1, or those that the
    recipe names: `columns: {choice0: A, choice1: B}`.
    """

    name = "multiple-choice"
    architectures = ("ForMultipleChoice",)
    metrics = metrics.table(*(metrics.METRICS[id] for id in ("accuracy", "log_loss", "expected_calibration_error")))

    @classmethod
    def columns(cls, table: Table, data: Data) -> dict[str, str]:
        """Columns that are one choice each are choice0, choice1, …"""
        said = as_columns(data, ("question",) if data.text and len(data.text) == 1 else tuple(_BEFORE), "label")
        asked = sorted(
            (need for need in said.columns if re.fullmatch(r"choice\d+", need)), key=lambda need: int(need[6:])
        )
        found: dict[str, Sequence[str]] = {need: (said.columns[need],) for need in asked}
        if not asked and "choices" not in said.columns:
            found = {f"choice{place}": (name.casefold(),) for place, name in enumerate(_numbered(table))}
        usual: dict[str, Sequence[str]] = {need: () if data.text else names for need, names in _BEFORE.items()}
        usual |= (found or {"choices": _CHOICES}) | {"label": _LABEL}
        columns = find(table, said, usual, optional=tuple(_BEFORE))
        if not set(columns) & set(_BEFORE):
            find(table, replace(said, columns={}), {"question": ()})  # says that it is missing
        return columns

    def load(self, table: Table, data: Data) -> Loaded:
        columns = self.columns(table, data)
        before = tuple(columns[need] for need in _BEFORE if need in columns)
        numbered = tuple(name for need, name in columns.items() if re.fullmatch(r"choice\d+", need))
        choices, names = _columnwise(table, numbered) if numbered else _listed(table, columns["choices"])
        pairs = tuple(
            tuple(_pair(text, choice) for choice in some)
            for text, some in zip(texts_of(table, before), choices, strict=True)
        )
        label = columns["label"]
        references = _indices(table.column(label), choices, names, table.where(label))
        return Loaded(pairs, references, (*before, *(numbered or (columns["choices"],))), label)

    def encode(self, model: Any, processor: Any, examples: Examples, max_length: int | None) -> Sequence[Row]:
        flat = [pair for pairs in examples.inputs for pair in pairs]
        ids = iter(tokens.encode(processor, flat, tokens.longest(model, processor, max_length)))
        width = _width(examples)
        return [Row([next(ids) for _ in pairs], width) for pairs in examples.inputs]

    def length(self, item: Row) -> int:
        return max(len(ids["input_ids"]) for ids in item.choices)

    def collate(self, processor: Any, items: Sequence[Row], width: int) -> dict[str, torch.Tensor]:
        """[choices of all rows, 1, width]: a model gives each choice its logit alone."""
        padded = tokens.pad(processor, [ids for item in items for ids in item.choices], width)
        return {key: values[:, None] for key, values in padded.items()}

    def answer(self, model: Any, inputs: Mapping[str, torch.Tensor], items: Sequence[Row]) -> list[NDArray[np.float32]]:
        logits = getattr(model(**inputs), "logits", None)
        counts = [len(item.choices) for item in items]
        if logits is None or logits.numel() != sum(counts):
            shape = "no logits" if logits is None else f"logits {list(logits.shape)}"
            raise EvaluationError(
                f"the model gives {shape} for {sum(counts)} choices; load it as a model for multiple choice"
            )
        rows = np.split(logits.float().cpu().numpy().reshape(-1), np.cumsum(counts)[:-1])
        return [
            np.concatenate([row, np.full(item.width - len(row), NO_CHOICE, np.float32)])
            for item, row in zip(items, rows, strict=True)
        ]

    def check(self, outputs: Outputs, examples: Examples, whose: str) -> None:
        expected = (examples.n, _width(examples))
        shape = outputs.shape if isinstance(outputs, np.ndarray) else (len(outputs),)
        if shape != expected:
            raise EvaluationError(f"{whose}: logits are {list(shape)}, expected {list(expected)}")


def _width(examples: Examples) -> int:
    return max(len(pairs) for pairs in examples.inputs)


def _pair(text: Text, choice: str) -> tuple[str, str]:
    return (text, choice) if isinstance(text, str) else (text[0], f"{text[1]} {choice}")


def _numbered(table: Table) -> tuple[str, ...]:
    """Columns of one name that are numbered from 0 or 1 without a gap, at least two."""
    found: dict[str, dict[int, str]] = {}
    for name in table.names:
        if match := _NUMBERED.fullmatch(name):
            found.setdefault(match[1].casefold(), {})[int(match[2])] = name
    for columns in found.values():
        numbers = sorted(columns)
        if len(numbers) > 1 and numbers[0] < 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
            return tuple(columns[number] for number in numbers)
    return ()


def _columnwise(table: Table, names: Sequence[str]) -> tuple[list[Sequence[str]], list[Sequence[str]]]:
    rows: list[Sequence[str]] = list(texts_of(table, names))
    return rows, [()] * len(rows)


def _listed(table: Table, name: str) -> tuple[list[Sequence[str]], list[Sequence[str]]]:
    """Each row's choices, from lists or {text: [...], label: [...]}, and what the label calls them, if that says so."""
    texts: list[Sequence[str]] = []
    names: list[Sequence[str]] = []
    for row, value in enumerate(table.column(name)):
        some, calls = (value.get("text"), value.get("label")) if isinstance(value, Mapping) else (value, ())
        if not isinstance(some, list | tuple) or len(some) < 2 or not all(isinstance(one, str) for one in some):
            raise EvaluationError(
                f"{table.where(name)}: row {row} (counting from 0) holds {str(value)[:60]!r}, not a list of at "
                "least two texts; name another column with `columns: {choices: ...}`"
            )
        texts.append(some)
        names.append([str(one) for one in calls or ()])
    return texts, names


def _indices(
    values: Sequence[Any], choices: Sequence[Sequence[str]], names: Sequence[Sequence[str]], where: str
) -> NDArray[np.int64]:
    if not labelled(values):
        raise EvaluationError(f"{where}: no row has a label; use a split whose labels are public")
    found = [_index(value, calls) for value, calls in zip(values, names, strict=True)]
    wrong = [row for row, index in enumerate(found) if not 0 <= index < len(choices[row])]
    if wrong:
        raise EvaluationError(
            f"{where}: {len(wrong)} rows do not say which choice is right, the first is row {wrong[0]} (counting from "
            f"0): {values[wrong[0]]!r} of {len(choices[wrong[0]])} choices; give indices that count from 0, or letters"
        )
    return np.array(found, dtype=np.int64)


def _index(value: Any, names: Sequence[str]) -> int:
    """By the row's own names of its choices, a number from 0, or a letter; -1 if it is none of these."""
    text = str(value).strip()
    if text in names:
        return names.index(text)
    if re.fullmatch(r"\d+(\.0*)?", text):
        return int(float(text))
    return ord(text.upper()) - ord("A") if re.fullmatch(r"[A-Za-z]", text) else -1
