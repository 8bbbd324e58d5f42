"""An evaluation's data, each dataset in its role: read once, and reported without the rows that selection has seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hf_soups.evaluation.data import load
from hf_soups.evaluation.examples import Examples
from hf_soups.evaluation.results import DatasetReport
from hf_soups.evaluation.splits import REPORT_ROLES, SELECTION_ROLES, check_roles, keep_shared, remove_shared

if TYPE_CHECKING:
    from hf_soups.evaluation.tasks.base import Task
    from hf_soups.recipe import Evaluate


def check(evaluate: Evaluate) -> None:
    """EvaluationError if one split is in two roles; a report may share what it is allowed to, a selection never."""
    forced = evaluate.allow_overlap
    check_roles({n: d for n, d in evaluate.datasets.items() if not forced or d.role in SELECTION_ROLES})


def read(evaluate: Evaluate, task: Task, token: str | None) -> tuple[dict[str, Examples], dict[str, DatasetReport]]:
    """The rows of every dataset that count, and how it was used, both by name.

    Rows of reports that selection has seen are taken out, or only counted where `allow_overlap` says so.
    """
    every = {name: load(data, task, token=token) for name, data in evaluate.datasets.items()}
    roles = {name: data.role for name, data in evaluate.datasets.items()}
    seen = [examples for name, examples in every.items() if roles[name] in SELECTION_ROLES]
    datasets, reports = {}, {}
    for name, examples in every.items():
        kept, dropped, shared = examples, 0, 0
        if roles[name] in REPORT_ROLES and evaluate.allow_overlap:
            kept, dropped, shared = keep_shared(examples, *seen)
        elif roles[name] in REPORT_ROLES:
            kept, dropped = remove_shared(examples, *seen)
        groups = None if kept.groups is None else len(np.unique(kept.groups))
        datasets[name] = kept
        reports[name] = DatasetReport(
            name,
            roles[name],
            kept.source,
            kept.n,
            groups,
            kept.fingerprint,
            dropped,
            shared,
            _only(kept, kept.choices or task.label_names),
        )
    return datasets, reports


def _only(examples: Examples, label_names: Sequence[str]) -> str | None:
    """The one label that all rows have, if there is one."""
    right = examples.references
    if not (isinstance(right, np.ndarray) and right.ndim == 1 and right.dtype.kind == "i" and label_names):
        return None
    return label_names[int(right[0])] if len(np.unique(right)) == 1 and right[0] < len(label_names) else None
