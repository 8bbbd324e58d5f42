"""Answers taken from a context: which one the logits mean, and how right it is, as formulas of sums over rows.

Exact match and F1 are those of SQuAD (Rajpurkar et al. 2016, arXiv:1606.05250, section 6.1; 2018, arXiv:1806.03822),
in percent as there.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hf_soups.evaluation.outputs import Ragged
from hf_soups.evaluation.scores import Array

LONGEST = 30  # tokens of an answer, as in BERT's and transformers' scripts for SQuAD
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


class Gold(NamedTuple):
    """What is right about a question.

    answers: any of these, parts of the context; none where the context has no answer.
    may_be_none: whether questions of this dataset may be without answer, so that a model may say so.
    """

    context: str
    answers: tuple[str, ...]
    may_be_none: bool


def texts(outputs: Ragged, references: Sequence[Gold]) -> list[str]:
    """What the logits mean: of each context the span of at most LONGEST tokens with the largest start plus end logit.

    outputs: [tokens, 4] a row: start logit, end logit, first character, end character. A window of the context begins
        with the line of the token that stands for "no answer", whose characters are -1.
    The search is exact, where scripts look at the twenty best starts and ends only; of equals the first and shortest
    wins. No answer ("") if that is allowed and its logits, in the window where their sum is least, are larger.
    """
    wide = outputs.values.astype(np.float64)
    total, row_starts = len(wide), outputs.offsets[:-1]
    none = wide[:, 2] < 0
    windows = np.cumsum(none)
    sums, last = np.full(total, -np.inf), np.arange(total)  # of the best span from each token, and its last token
    for further in range(min(LONGEST, total)):
        found = wide[: total - further, 0] + wide[further:, 1]
        inside = ~none[: total - further] & (windows[: total - further] == windows[further:])
        better = np.flatnonzero(inside & (found > sums[: total - further]))
        sums[better], last[better] = found[better], better + further
    top = np.maximum.reduceat(sums, row_starts)
    first = np.minimum.reduceat(np.where(sums == top[outputs.rows], np.arange(total), total), row_starts)
    of_none = np.minimum.reduceat(np.where(none, wide[:, 0] + wide[:, 1], np.inf), row_starts)
    return [
        "" if top[row] == -np.inf or (gold.may_be_none and of_none[row] > top[row]) else gold.context[begin:end]
        for row, (gold, begin, end) in enumerate(
            zip(references, wide[first, 2].astype(int), wide[last[first], 3].astype(int), strict=True)
        )
    ]


def marks(outputs: Ragged, references: Sequence[Gold]) -> Array:
    """[n, 3]: exact match, F1, 1."""
    pairs = zip(texts(outputs, references), references, strict=True)
    found = [(exact(text, gold.answers), overlap(text, gold.answers), 1.0) for text, gold in pairs]
    return np.array(found, dtype=np.float64).reshape(len(found), 3)


def percent_exact(sums: Array) -> Array:
    return np.asarray(100 * sums[..., 0] / sums[..., 2])


def percent_overlap(sums: Array) -> Array:
    return np.asarray(100 * sums[..., 1] / sums[..., 2])


def exact(text: str, answers: Sequence[str]) -> float:
    """1 if the text is one of the answers, else 0."""
    return float(normalised(text) in _normalised(answers))


def overlap(text: str, answers: Sequence[str]) -> float:
    """F1 of the words of the text, repeated ones as often as they occur, with the answer that suits it best."""
    return max(_shared(normalised(text).split(), answer.split()) for answer in _normalised(answers))


def normalised(text: str) -> str:
    """In lower case, without punctuation and articles, words one space apart."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def _normalised(answers: Sequence[str]) -> list[str]:
    """Empty is the right text where no answer is left."""
    return [short for answer in answers if (short := normalised(answer))] or [""]


def _shared(words: Sequence[str], true: Sequence[str]) -> float:
    if not words or not true:
        return float(words == true)
    return 2 * sum((Counter(words) & Counter(true)).values()) / (len(words) + len(true))
