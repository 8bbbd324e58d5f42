"""A dataset without a recipe: which rows choose the soup, which rows report on it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.columns import LABELS, label_of
from hf_soups.evaluation.labels import labelled
from hf_soups.evaluation.tables import Location, locate, read

if TYPE_CHECKING:
    from hf_soups.recipe import Data

_TRAIN = r"train(ing)?"
_VALIDATION = r"validation|valid|val|dev"
_TEST = r"test(ing)?|eval(uation)?"


def infer_splits(
    path: str, *, config: str | None = None, revision: str | None = None, token: str | None = None
) -> dict[str, Data]:
    """Datasets `validation` (role select) and `test` (role test), a Hub dataset at a fixed commit.

    They are the validation and test splits whose labels, where the data has any, are not hidden; with only one of
    these, its two halves (`split: test#1/2`, `test#2/2`), as for a single file. Training rows are never used: a
    dataset with nothing else is an error.
    """
    location = locate(path, config, revision, token=token)
    if location.kind == "file":
        if _is(location.path.rsplit(".", 1)[0], _TRAIN):
            raise _only_training(location)
        return _halved(path, location, "")
    validation, test = (_held_out(location, keywords, token) for keywords in (_VALIDATION, _TEST))
    if validation is not None and test is not None and validation.labels != test.labels:
        validation, test = (split if split.labels else None for split in (validation, test))  # hidden, column and all
    if validation is not None and test is not None:
        return _pair(path, location, validation.name, test.name)
    held_out = validation or test
    if held_out is None:
        raise _only_training(location)
    return _halved(path, location, held_out.name)


class _Split(NamedTuple):
    name: str
    labels: bool  # whether there is a column with them; texts to write, say, have none


def _held_out(location: Location, keywords: str, token: str | None) -> _Split | None:
    """The first split of this kind whose labels are not hidden; `test` comes before `test_matched`."""
    without: list[_Split] = []
    for name in sorted((name for name in location.files if _is(name, keywords)), key=len):
        table = read(location, name, token=token)
        if not any(column.casefold() in LABELS for column in table.names):
            without.append(_Split(name, labels=False))
        elif labelled(table.column(label_of(table))):
            return _Split(name, labels=True)
    return next(iter(without), None)


def _is(name: str, keywords: str) -> bool:
    return re.fullmatch(rf"({keywords})([-._ 0-9].*)?", name.casefold()) is not None


def _halved(path: str, location: Location, split: str) -> dict[str, Data]:
    return _pair(path, location, f"{split}#1/2", f"{split}#2/2")


def _pair(path: str, location: Location, select: str, test: str) -> dict[str, Data]:
    from hf_soups.recipe import Data

    def data(role: str, split: str) -> Data:
        return Data(path=path, role=role, split=split, config=location.config, revision=location.revision)

    return {"validation": data("select", select), "test": data("test", test)}


def _only_training(location: Location) -> EvaluationError:
    splits = "" if location.kind == "file" else f" (splits: {', '.join(location.files)})"
    return EvaluationError(
        f"{location.path}: no labelled validation or test rows{splits}, and rows that models may have been trained on "
        "can neither choose a soup nor judge it; give held-out rows in a file of another name, or a recipe whose "
        "`evaluate.datasets` says which split has which role"
    )
