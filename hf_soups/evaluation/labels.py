"""What a dataset calls its labels → the ids of the model's outputs."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError

_NUMBER = re.compile(r"\s*[+-]?\d+(\.0*)?\s*")  # 1, -1, 1.0: what a table's tools make of an integer


def labelled(values: Sequence[Any]) -> bool:
    """Does any row have a label? Hidden test labels are all null, all -1, or all empty, in lists too."""
    return any(not _hidden(value) for value in values)


def to_ids(
    values: Sequence[Any],
    class_names: Sequence[str] | None,
    label_names: Sequence[str],
    where: str,
    rows: Sequence[int] | None = None,
) -> NDArray[np.int64]:
    """[n] label ids of the model.

    values: integers are ids already; strings are names, in any case, or integers as text.
    class_names: what the dataset's integers stand for, if it says so; then they are mapped by name.
    label_names: the model's names, in the order of its outputs.
    where: dataset, split and column, for messages; rows: [n] which row each value is in, where a row has several.
    """
    at = range(len(values)) if rows is None else rows
    if not labelled(values):
        raise EvaluationError(f"{where}: no row has a label; use a split whose labels are public")
    absent = [i for i, value in enumerate(values) if _absent(value)]
    if absent:
        raise EvaluationError(
            f"{where}: {len({at[i] for i in absent})} rows have no label, the first is row {at[absent[0]]} (counting "
            "from 0); label them or leave them out"
        )
    numbers = [_number(value) for value in values]
    if class_names is not None and not _are_ids(class_names) and not _are_generic(label_names):
        names = [class_names[n] if n is not None and 0 <= n < len(class_names) else str(n) for n in numbers]
        return _by_name(names, label_names, where, at, listed=class_names)
    if all(n is not None for n in numbers):
        if isinstance(values[0], str) and _mean_something_else(label_names):
            raise EvaluationError(
                f"{where}: the labels are numbers written as text and so are the model's names "
                f"({', '.join(label_names)}), which do not count from 0; give integer ids in a parquet or jsonl file"
            )
        return _in_range([n for n in numbers if n is not None], label_names, where, at)
    other = next(
        (row for row, value in enumerate(values) if not isinstance(value, str) and _number(value) is None), None
    )
    if other is not None:
        raise EvaluationError(
            f"{where}: label {values[other]!r} in row {at[other]} (counting from 0) is neither an integer nor a name; "
            f"the model's labels are {_listed(label_names)}"
        )
    return _by_name([str(value) for value in values], label_names, where, at, listed=None)


def to_indicators(
    values: Sequence[Any], class_names: Sequence[str] | None, label_names: Sequence[str], where: str
) -> NDArray[np.float64]:
    """[n, labels] of 0 and 1: which labels each row has.

    values: for each row a list of label ids or names (none is a row without labels), or one 0 or 1 for each label.
    class_names, label_names, where: as in `to_ids`.
    """
    for row, value in enumerate(values):
        if not isinstance(value, list | tuple | np.ndarray):
            raise EvaluationError(
                f"{where}: row {row} (counting from 0) holds {value!r}, not a list of labels; with one label a row the "
                "task is text-classification"
            )
    width = len(label_names)
    if all(len(value) == width and all(v in (0, 1, 0.0, 1.0) for v in value) for value in values) and width > 2:
        return np.array([[float(v) for v in value] for value in values])
    flat = [v for value in values for v in value]
    rows = np.repeat(np.arange(len(values)), [len(value) for value in values])
    ids = to_ids(flat, class_names, label_names, where, rows.tolist()) if flat else np.zeros(0, np.int64)
    found = np.zeros((len(values), width))
    found[rows, ids] = 1.0
    return found


def to_numbers(values: Sequence[Any], where: str) -> NDArray[np.float64]:
    """[n] float64; EvaluationError that names the first row without a finite number."""
    found = np.full(len(values), np.nan)
    for row, value in enumerate(values):
        try:
            found[row] = float(value)
        except (TypeError, ValueError):
            continue
    strange = np.flatnonzero(~np.isfinite(found))
    if len(strange):
        raise EvaluationError(
            f"{where}: {len(strange)} rows have no number, the first is row {strange[0]} (counting from 0): "
            f"{values[int(strange[0])]!r}; fill them or leave them out"
        )
    return found


def _hidden(value: Any) -> bool:
    if isinstance(value, list | tuple | np.ndarray):
        return all(map(_hidden, value))
    if isinstance(value, dict):
        return all(map(_hidden, value.values()))
    return _absent(value) or (isinstance(value, str) and not value.strip())


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value)) or _number(value) == -1


def _number(value: Any) -> int | None:
    """The integer that this is or spells, or None."""
    if isinstance(value, str):
        return int(float(value)) if _NUMBER.fullmatch(value) else None
    if isinstance(value, (bool, int, np.integer)):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return None


def _are_ids(names: Sequence[str]) -> bool:
    return all(name == str(i) for i, name in enumerate(names))


def _are_generic(names: Sequence[str]) -> bool:
    """LABEL_0, LABEL_1, …: transformers' way to say that nobody named them."""
    return _are_ids(names) or all(name == f"LABEL_{i}" for i, name in enumerate(names))


def _mean_something_else(names: Sequence[str]) -> bool:
    return any(_number(name) not in (None, i) for i, name in enumerate(names))


def _in_range(numbers: Sequence[int], label_names: Sequence[str], where: str, at: Sequence[int]) -> NDArray[np.int64]:
    for row, number in zip(at, numbers, strict=True):
        if not 0 <= number < len(label_names):
            raise EvaluationError(
                f"{where}: label {number} in row {row} (counting from 0) is not one of the model's "
                f"{len(label_names)} ids: {_listed(label_names)}; integers are the model's label ids"
            )
    return np.array(numbers, dtype=np.int64)


def _by_name(
    names: Sequence[str],
    label_names: Sequence[str],
    where: str,
    at: Sequence[int],
    *,
    listed: Sequence[str] | None,
) -> NDArray[np.int64]:
    exact = {name: i for i, name in enumerate(label_names)}
    folded = {name.strip().casefold(): i for i, name in enumerate(label_names)}
    if len(folded) < len(label_names):  # names that differ only in case
        folded = {}
    known = {name: exact.get(name, folded.get(name.strip().casefold())) for name in dict.fromkeys(names)}
    for name, label in known.items():
        if label is None:
            calls = f" (the dataset's labels: {', '.join(listed)})" if listed else ""
            raise EvaluationError(
                f"{where}: label {name!r} in row {at[names.index(name)]} (counting from 0) is not one of the model's: "
                f"{_listed(label_names)}{calls}; rename one side, or name the model's outputs with `labels:` "
                "on the ingredients"
            )
    return np.array([known[name] for name in names], dtype=np.int64)


def _listed(label_names: Sequence[str]) -> str:
    return ", ".join(f"{i} = {name}" for i, name in enumerate(label_names))
