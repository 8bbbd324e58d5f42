"""Which columns of a table are the text, the label and the group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError, did_you_mean
from hf_soups.evaluation.text import Text

if TYPE_CHECKING:
    from hf_soups.evaluation.tables import Table
    from hf_soups.recipe import Data

# Names under which public datasets keep them, the most telling first; pairs before single texts.
PAIRS = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("question", "answer"),
    ("text1", "text2"),
    ("text_a", "text_b"),
)
TEXTS = ("text", "sentence", "review", "content", "comment", "tweet", "document", "body", "question", "utterance")
SCORES = ("score", "similarity_score", "rating", "stars")
LABELS = ("label", "labels", "gold_label", "sentiment", "category", "class", "target", "intent", "topic", "polarity")


def check(table: Table, data: Data) -> None:
    """EvaluationError if the recipe names a column that the table does not have."""
    for name in (*(data.text or ()), *data.columns.values(), *(name for name in (data.label, data.group) if name)):
        if name not in table.names:
            hint = did_you_mean(name, table.names)
            raise EvaluationError(f"{table.where()}: no column {name!r}; it has {', '.join(table.names)}{hint}")


def find(table: Table, data: Data, usual: Mapping[str, Sequence[str]], optional: Sequence[str] = ()) -> dict[str, str]:
    """What a task needs → the column that has it: the recipe's `columns:`, else one with a usual name.

    usual: for each need the names under which public datasets keep it. optional: needs that may stay without.
    Raises EvaluationError for a need that the task does not have, or that no column meets.
    """
    for need in data.columns:
        if need not in usual:
            raise EvaluationError(f"{table.where()}: columns: {need!r} is not needed here{did_you_mean(need, usual)}")
    found = {}
    for need, names in usual.items():
        name = data.columns.get(need) or _named(table, [n for n in names if n not in data.columns.values()])
        if name is not None:
            found[need] = name
        elif need not in optional:
            raise EvaluationError(
                f"{table.where()}: which column is the {need}? It has {', '.join(table.names)}; "
                f"say `columns: {{{need}: ...}}` in the recipe"
            )
    return found


def as_columns(data: Data, text: Sequence[str], label: str) -> Data:
    """The recipe's `text:` and `label:` as what they mean to a task that needs more: `columns:`.

    text: the needs that `text:` names the columns of, in order; label: the need of `label:`.
    """
    names = data.text or ()
    if len(names) not in (0, len(text)):
        raise EvaluationError(f"{data.path}: text names {len(names)} columns, but the columns are {', '.join(text)}")
    said = dict(zip(text, names, strict=False)) | ({label: data.label} if data.label else {})
    return replace(data, columns={**said, **data.columns})


def of_texts(table: Table, data: Data, labels: Sequence[str] = LABELS) -> dict[str, str]:
    """What `find` finds for a task about a text, or a pair with a `second`, and its label; labels: its usual names."""
    said = as_columns(data, ("text", "second") if len(data.text or ()) > 1 else ("text",), "label")
    named = {need: () for need in ("text", "second") if need in said.columns}
    label = said.columns.get("label") or _named(table, labels)
    texts = named if "text" in named else _texts(table, taken=(label, data.group))
    return find(table, said, {**texts, "label": labels})


def texts_of(table: Table, names: Sequence[str]) -> tuple[Text, ...]:
    """[n] texts, or pairs; a missing one is an error."""
    columns = []
    for name in names:
        values = table.column(name)
        missing = [row for row, value in enumerate(values) if value is None]
        if missing:
            raise EvaluationError(
                f"{table.where(name)}: {len(missing)} rows have no text, the first is row {missing[0]} "
                "(counting from 0); fill them or leave them out"
            )
        other = next((value for value in values if not isinstance(value, str)), None)
        if other is not None:
            raise EvaluationError(
                f"{table.where(name)}: holds {type(other).__name__}, not text; name another column with `text:`"
            )
        columns.append(values)
    return tuple(columns[0]) if len(columns) == 1 else tuple(zip(*columns, strict=True))


def groups_of(table: Table, name: str | None) -> NDArray[np.str_] | None:
    """[n] names of the groups, or None when the recipe names no group; a missing one is an error."""
    if name is None:
        return None
    values = table.column(name)
    missing = [row for row, value in enumerate(values) if value is None]
    if missing:
        raise EvaluationError(
            f"{table.where(name)}: {len(missing)} rows have no group, the first is row {missing[0]} "
            "(counting from 0); give each a group, alone if need be"
        )
    return np.array([str(value) for value in values], dtype=np.str_)


def _texts(table: Table, taken: Sequence[str | None]) -> dict[str, tuple[str, ...]]:
    """The names to look for: those of a pair, else of a text, else of the only column with words."""
    for first, second in PAIRS:
        left, right = _named(table, (first,)), _named(table, (second,))
        if left and right and not {left, right} & set(taken):
            return {"text": (first,), "second": (second,)}
    if _named(table, [name for name in TEXTS if name not in taken]) is not None:
        return {"text": tuple(name for name in TEXTS if name not in taken)}
    strings = [name for name in table.names if name not in taken and table.is_text(name)]
    return {"text": (strings[0].casefold(),) if len(strings) == 1 else ()}


def _named(table: Table, names: Sequence[str]) -> str | None:
    """The first of these names that the table has, in any case."""
    spelt = {name.casefold(): name for name in reversed(table.names)}
    return next((spelt[name] for name in names if name in spelt), None)
