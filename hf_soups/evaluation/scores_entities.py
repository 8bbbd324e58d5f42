"""Named entities: which runs of words the tags make, and how many of them are found, as formulas of sums over rows.

The scores are the overall ones of CoNLL-2000 (Tjong Kim Sang and Buchholz 2000, Introduction to the CoNLL-2000 Shared
Task) in the lenient reading of seqeval's default mode, which takes IOB1, IOB2, IOE, IO and IOBES alike: an entity is a
run of words of one type, cut before B or S and after E or S. BILOU's L and U are E and S here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.outputs import Ragged
from hf_soups.evaluation.scores import Array, Labels, ratio

_PREFIXED = re.compile(r"([BIESLUM])[-_](.+)", re.IGNORECASE)


@dataclass(frozen=True)
class Scheme:
    """What each label says about its word.

    types: [labels] the type of the entity that the word is in, -1 for none.
    begins, ends: [labels] whether the word is an entity's first, and last, whatever its neighbours are.
    """

    types: Labels
    begins: NDArray[np.bool_]
    ends: NDArray[np.bool_]

    @classmethod
    def of(cls, label_names: Sequence[str]) -> Scheme:
        """From names such as O, B-PER, I-PER, or O, PER; EvaluationError for names that mark no entities."""
        outside = outside_of(label_names)
        parts = [_split(name) for name in label_names]
        if outside is None and not all(kind for kind, _ in parts):
            names = ", ".join(label_names) or "nothing"
            raise EvaluationError(
                f"the model's labels ({names}) mark no entities, as O, B-PER and I-PER would; name them with `labels:` "
                "on the ingredients, or use `metrics: [accuracy]`"
            )
        types: dict[str, int] = {}
        numbers = [-1 if i == outside else types.setdefault(type, len(types)) for i, (_, type) in enumerate(parts)]
        kinds = [kind for kind, _ in parts]
        return cls(
            np.array(numbers, dtype=np.int64),
            np.array([kind in ("B", "S", "U") for kind in kinds]),
            np.array([kind in ("E", "L", "S", "U") for kind in kinds]),
        )

    def entities(self, labels: Labels, rows: Labels) -> tuple[Labels, Labels, Labels]:
        """First word, last word and type of each entity, in order.

        labels: [words] of all rows, one after the other; rows: [words] which row each belongs to.
        """
        types = self.types[labels]
        inside = types >= 0
        goes_on = (
            (rows[1:] == rows[:-1]) & (types[1:] == types[:-1]) & ~self.begins[labels[1:]] & ~self.ends[labels[:-1]]
        )
        edge = np.ones(min(1, len(labels)), dtype=bool)
        first = np.flatnonzero(inside & np.concatenate([edge, ~goes_on]))
        last = np.flatnonzero(inside & np.concatenate([~goes_on, edge]))
        return first, last, types[first]


def outside_of(label_names: Sequence[str]) -> int | None:
    """The id of the label of words in no entity, if there is one."""
    return next((i for i, name in enumerate(label_names) if name.strip().upper() == "O"), None)


def found(outputs: Ragged, references: Sequence[Labels], label_names: Sequence[str]) -> Array:
    """[n, 3]: entities found, with the very words and type; true entities; predicted entities.

    outputs: logits [words, labels] a row; references: label ids [words] a row.
    """
    return _matches(
        outputs.values.argmax(axis=1), _flat(references), outputs.rows, len(outputs), Scheme.of(label_names)
    )


def matches(predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> Array:
    """`found`, of tags by name."""
    names = sorted({tag for row in (*predictions, *references) for tag in row} | {"O"})
    ids = {name: i for i, name in enumerate(names)}
    predicted, true = (
        [np.array([ids[tag] for tag in row], np.int64) for row in side] for side in (predictions, references)
    )
    rows = np.repeat(np.arange(len(true)), [len(row) for row in true])
    return _matches(_flat(predicted), _flat(true), rows, len(true), Scheme.of(names))


def right_words(outputs: Ragged, references: Sequence[Labels]) -> Array:
    """[n, 2]: words whose label is predicted; words."""
    right = outputs.values.argmax(axis=1) == _flat(references)
    return np.stack([np.bincount(outputs.rows, right, len(outputs)), outputs.lengths], axis=1).astype(np.float64)


def precision(sums: Array) -> Array:
    return ratio(sums[..., 0], sums[..., 2])


def recall(sums: Array) -> Array:
    return ratio(sums[..., 0], sums[..., 1])


def f1(sums: Array) -> Array:
    return ratio(2 * sums[..., 0], sums[..., 1] + sums[..., 2])


def share(sums: Array) -> Array:
    return ratio(sums[..., 0], sums[..., 1])


def _matches(predicted: Labels, true: Labels, rows: Labels, n: int, scheme: Scheme) -> Array:
    of_truth, of_model = scheme.entities(true, rows), scheme.entities(predicted, rows)
    known = set(zip(*(part.tolist() for part in of_truth), strict=True))
    right = np.array(
        [one in known for one in zip(*(part.tolist() for part in of_model), strict=True)], dtype=np.float64
    )
    where = [rows[first] for first, _, _ in (of_model, of_truth, of_model)]
    weights = (right, None, None)
    return np.stack([np.bincount(r, w, n) for r, w in zip(where, weights, strict=True)], axis=1).astype(np.float64)


def _split(name: str) -> tuple[str, str]:
    """The kind of a tag, empty if it says none, and its type: B-PER → B, PER."""
    match = _PREFIXED.fullmatch(name.strip())
    if match:
        return match[1].upper(), match[2]
    return (name, "") if name in ("B", "I") else ("", name)


def _flat(rows: Sequence[Labels]) -> Labels:
    return np.concatenate([np.zeros(0, np.int64), *rows])
