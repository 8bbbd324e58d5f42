"""One dataset of a recipe → labelled inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.columns import check, groups_of
from hf_soups.evaluation.examples import Examples, Source
from hf_soups.evaluation.splits import half_of, half_of_split
from hf_soups.evaluation.tables import locate, read
from hf_soups.evaluation.text import digest, identity

if TYPE_CHECKING:
    from hf_soups.evaluation.tasks.base import Task
    from hf_soups.recipe import Data

__all__ = ["Examples", "Source", "limited", "load"]


def load(data: Data, task: Task, *, token: str | None = None) -> Examples:
    """Read one dataset of a recipe as a task understands it.

    token: for private Hub datasets; default: the stored one.
    Raises EvaluationError for anything that is not exactly one input, one reference and, if asked for, one group in
    every row.
    """
    split, half = half_of_split(data.split)
    location = locate(data.path, data.config, data.revision, token=token)
    table = read(location, split, token=token)
    check(table, data)
    loaded = task.load(table, data)
    source = Source(
        location.path, data.split, data.config, location.revision, loaded.read, loaded.label, location.origin
    )
    examples = Examples(loaded.inputs, loaded.references, groups_of(table, data.group), source, loaded.choices)
    if half is not None:
        examples = half_of(examples, half)
    return examples if data.limit is None else limited(examples, data.limit)


def limited(examples: Examples, limit: int) -> Examples:
    """At most `limit` rows, chosen by a hash of their content, whole groups at a time.

    The choice does not depend on the order of the rows. Groups are taken in the order of their hashes up to the first
    that does not fit.
    """
    if limit < 1:
        raise EvaluationError(f"{examples.source.path}: limit is {limit}; it must be at least 1")
    if limit >= examples.n:
        return examples
    if examples.groups is None:
        contents = [
            f"{identity(one)}\x1e{right}\x1e{one}"
            for one, right in zip(examples.inputs, examples.references, strict=True)
        ]
        order = sorted(range(examples.n), key=lambda i: digest("limit", contents[i]))
        return examples.select(sorted(order[:limit]))
    names, sizes = np.unique(examples.groups, return_counts=True)
    order = sorted(range(len(names)), key=lambda g: digest("limit", str(names[g])))
    fitting = np.cumsum(sizes[order]) <= limit
    if not fitting[0]:
        raise EvaluationError(
            f"{examples.source.path}: limit is {limit}, but group {str(names[order[0]])!r} alone has "
            f"{sizes[order[0]]} rows; raise limit, groups are never cut"
        )
    kept = names[np.array(order)[fitting]]
    return examples.select(np.flatnonzero(np.isin(examples.groups, kept)))
