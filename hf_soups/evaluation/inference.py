"""A dataset without a recipe: which rows choose the soup, which rows report on it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hf_soups.errors import EvaluationError
from hf_soups.evaluation import tasks
from hf_soups.evaluation.labels import labelled
from hf_soups.evaluation.tables import Location, locate, read
from hf_soups.recipe import Data

if TYPE_CHECKING:
    from hf_soups.evaluation.tasks.base import Task

_TRAIN = r"train(ing)?"
_VALIDATION = r"validation|valid|val|dev"
_TEST = r"test(ing)?|eval(uation)?"


def infer_splits(
    path: str, task: str, *, config: str | None = None, revision: str | None = None, token: str | None = None
) -> dict[str, Data]:
    """Datasets `validation` (role select) and `test` (role test), a Hub dataset at a fixed commit.

    task: its name; it says which columns are read, and which of them is the answer.
    They are the validation and test splits whose answers, where there are any beside the input, are not hidden; with
    only one of these, its two halves (`split: test#1/2`, `test#2/2`), as for a single file. Training rows are never
    used: a dataset with nothing else is an error, and so is one without the task's columns.
    """
    location = locate(path, config, revision, token=token)
    if location.kind == "file":
        if _is(location.path.rsplit(".", 1)[0], _TRAIN):
            raise _only_training(location)
        return _halved(path, location, "")
    asked = tasks.named(task)
    reasons: list[EvaluationError] = []
    validation, test = (_held_out(location, words, asked, reasons, token) for words in (_VALIDATION, _TEST))
    if validation is not None and test is not None:
        return _pair(path, location, validation, test)
    held_out = validation or test
    if held_out is None:
        raise reasons[0] if reasons else _only_training(location)
    return _halved(path, location, held_out)


def _held_out(
    location: Location, keywords: str, task: type[Task], reasons: list[EvaluationError], token: str | None
) -> str | None:
    """The first split of this kind whose answers are not hidden; `test` comes before `test_matched`.

    reasons: gets what is wrong with those that have not the task's columns.
    """
    for name in sorted((name for name in location.files if _is(name, keywords)), key=len):
        table = read(location, name, token=token)
        try:
            columns = task.columns(table, Data(location.path, "test"))
        except EvaluationError as error:  # hidden with their column, if another split has it
            reasons.append(error)
            continue
        if task.reference not in columns or labelled(table.column(columns[task.reference])):
            return name
    return None


def _is(name: str, keywords: str) -> bool:
    return re.fullmatch(rf"({keywords})([-._ 0-9].*)?", name.casefold()) is not None


def _halved(path: str, location: Location, split: str) -> dict[str, Data]:
    return _pair(path, location, f"{split}#1/2", f"{split}#2/2")


def _pair(path: str, location: Location, select: str, test: str) -> dict[str, Data]:
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
