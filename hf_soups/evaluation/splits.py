"""No row in two roles: splits in halves, and what selection and report share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.examples import Examples
from hf_soups.evaluation.text import digest, identity, shown

if TYPE_CHECKING:
    from hf_soups.recipe import Data

SELECTION_ROLES = ("select", "fit", "calibrate")  # their rows decide what the soup is
REPORT_ROLES = ("test", "shift")  # theirs say how good it is
_SHARED_AT_MOST = 0.01  # of the report's rows: a few chance duplicates are normal, more is a leak
_HALF = re.compile(r"(?P<split>.*)#(?P<half>[12])/2")


def halves(examples: Examples) -> tuple[Examples, Examples]:
    """Two disjoint parts of about equal size.

    A row's part depends on its group, or without groups on its normalised text, and on nothing else: not on the order
    of rows, nor on which other rows there are.
    """
    part = np.array([digest("half", unit)[0] % 2 for unit in examples.units()])
    if part.size == 0 or part.min() == part.max():
        things = "groups" if examples.groups is not None else "different texts"
        raise EvaluationError(
            f"{examples.source.path}: too few {things} in {examples.n} rows to split them in halves; "
            "give one dataset for selection and another for the report"
        )
    return examples.select(np.flatnonzero(part == 0)), examples.select(np.flatnonzero(part == 1))


def half_of(examples: Examples, half: int) -> Examples:
    """The first (1) or second (2) of the halves."""
    return halves(examples)[half - 1]


def half_of_split(split: str | None) -> tuple[str | None, int | None]:
    """`test#2/2` → ("test", 2): the second half of `test`; `#1/2` is half of a file; others are whole (None)."""
    if split is None or "#" not in split:
        return split, None
    match = _HALF.fullmatch(split)
    if match is None:
        raise EvaluationError(f"split {split!r}: a half is written `{split.split('#')[0]}#1/2` or `#2/2`")
    return match["split"] or None, int(match["half"])


def overlaps(datasets: Mapping[str, Data]) -> list[str]:
    """Each split, or part of it, that serves in two roles; the Hub's revisions count as the same data."""
    found = []
    for (one, a), (other, b) in combinations(datasets.items(), 2):
        if a.role == b.role or _place(a) != _place(b):
            continue
        first, second = half_of_split(a.split)[1], half_of_split(b.split)[1]
        if first is None or second is None or first == second:
            found.append(
                f"datasets {one} and {other}: both are {_described(a)}, in roles {a.role} and {b.role}; "
                f"use another split for one, or its halves: `split: {half_of_split(a.split)[0] or ''}#1/2` and `#2/2`"
            )
    return found


def check_roles(datasets: Mapping[str, Data]) -> None:
    """Raise when one split, or a part of it, serves in two roles."""
    found = overlaps(datasets)
    if found:
        raise EvaluationError(found[0])


def remove_shared(report: Examples, *selections: Examples) -> tuple[Examples, int]:
    """The report without the rows that selection has seen, and how many those were.

    Shared is an equal input (texts normalised), or an equal group when both name groups and come from one source.
    More than 1 % of the report's rows is an error.
    """
    shared = _shared(report, selections)
    dropped = int(shared.sum())
    if _too_many(dropped, report):
        guilty = [_named(selection) for selection in selections if _seen(report, selection).any()]
        example = report.inputs[int(np.flatnonzero(shared)[0])]
        raise EvaluationError(
            f"{_named(report)}: {dropped} of {report.n} rows ({dropped / report.n:.1%}) are also in "
            f"{' or '.join(guilty)}, which the soup is chosen on, such as {shown(example)}; at most 1 % may be. "
            "Use rows that selection has not seen"
        )
    return (report.select(np.flatnonzero(~shared)), dropped) if dropped else (report, 0)


def keep_shared(report: Examples, *selections: Examples) -> tuple[Examples, int, int]:
    """The same by force: where `remove_shared` would raise, the rows stay.

    Returns the rows of the report, how many were left out, and how many are in it that selection has seen.
    """
    shared = int(_shared(report, selections).sum())
    if _too_many(shared, report):
        return report, 0, shared
    return (*remove_shared(report, *selections), 0)


def _shared(report: Examples, selections: Sequence[Examples]) -> NDArray[np.bool_]:
    """[n] is this row of the report in any of the selections?"""
    return np.any([np.zeros(report.n, dtype=bool), *(_seen(report, selection) for selection in selections)], axis=0)


def _too_many(shared: int, report: Examples) -> bool:
    return shared > _SHARED_AT_MOST * report.n


def _seen(report: Examples, selection: Examples) -> NDArray[np.bool_]:
    """[n] is this row of the report in the selection too?"""
    known = set(map(identity, selection.inputs))
    shared = np.array([identity(one) in known for one in report.inputs], dtype=bool)
    same_source = report.source.origin == selection.source.origin
    if same_source and report.groups is not None and selection.groups is not None:
        shared |= np.isin(report.groups, selection.groups)
    return shared


def _place(data: Data) -> tuple[str, str | None, str | None]:
    local = Path(data.path).expanduser()
    path = str(local.resolve()) if local.exists() else data.path.casefold()
    return path, data.config, half_of_split(data.split)[0]


def _described(data: Data) -> str:
    split = half_of_split(data.split)[0]
    return f"split {split} of {data.path}" if split else data.path


def _named(examples: Examples) -> str:
    return examples.source.title
