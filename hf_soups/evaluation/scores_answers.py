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
from numpy.typing import NDArray

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


def best(lines: NDArray[np.float32], gold: Gold) -> str:
    """The text that the logits mean: the span of at most LONGEST tokens with the largest sum of start and end logit.

    lines: [tokens, 4] start logit, end logit, first character, end character. A window of the context begins with the
        line of the first token of all, whose characters are -1: the logits of "no answer".
    The search is exact, where scripts look at the twenty best starts and ends only. No answer ("") if that is allowed
    and its logits, the least over the windows, are larger.
    """
    begins = np.flatnonzero(lines[:, 2] < 0)
    wide = lines.astype(np.float64)
    top, text = -np.inf, ""
    for window in np.split(wide, begins[1:]):
        inner = window[1:]
        if len(inner) == 0:
            continue
        ends = np.concatenate([inner[:, 1], np.full(LONGEST - 1, -np.inf)])
        sums = inner[:, :1] + np.lib.stride_tricks.sliding_window_view(ends, LONGEST)  # [tokens, LONGEST]
        start, further = np.unravel_index(int(sums.argmax()), sums.shape)
        if sums[start, further] > top:
            top = sums[start, further]
            text = gold.context[int(inner[start, 2]) : int(inner[start + further, 3])]
    none = wide[begins, :2].sum(axis=1).min()
    return "" if gold.may_be_none and none > top else text


def marks(outputs: Ragged, references: Sequence[Gold]) -> Array:
    """[n, 3]: exact match, F1, 1."""
    texts = [best(outputs[row], gold) for row, gold in enumerate(references)]
    found = [(exact(t, g.answers), overlap(t, g.answers), 1.0) for t, g in zip(texts, references, strict=True)]
    return np.array(found, dtype=np.float64).reshape(len(texts), 3)


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
