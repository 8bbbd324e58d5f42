"""One dataset of a recipe → labelled inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.columns import choose, groups_of, texts_of
from hf_soups.evaluation.examples import Examples, Source
from hf_soups.evaluation.labels import to_ids
from hf_soups.evaluation.splits import half_of, half_of_split
from hf_soups.evaluation.tables import locate, read
from hf_soups.evaluation.text import digest, normalise

if TYPE_CHECKING:
    from hf_soups.recipe import Data

__all__ = ["Examples", "Source", "limited", "load"]


def load(data: Data, label_names: Sequence[str], *, token: str | None = None) -> Examples:
    """Read one dataset of a recipe.

    label_names: the model's labels, in the order of its outputs.
    token: for private Hub datasets; default: the stored one.
    Raises EvaluationError for anything that is not exactly one text (or pair), one known label and, if asked for,
    one group in every row.
    """
    split, half = half_of_split(data.split)
    location = locate(data.path, data.config, data.revision, token=token)
    table = read(location, split, token=token)
    columns = choose(table, data)
    source = Source(
        location.path, data.split, data.config, location.revision, columns.text, columns.label, location.origin
    )
    examples = Examples(
        texts_of(table, columns.text),
        to_ids(table.column(columns.label), table.class_names(columns.label), label_names, table.where(columns.label)),
        groups_of(table, columns.group),
        source,
    )
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
            f"{normalise(t)}\x1e{label}\x1e{t}" for t, label in zip(examples.texts, examples.labels, strict=True)
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
