"""How much of a reference text an answer repeats: ROUGE, BLEU, chrF, as formulas of sums over rows.

ROUGE is the mean over rows of an F-measure, as in the package rouge_score without stemming. BLEU and chrF are
computed from counts over all rows, as in sacreBLEU, so their sums are those counts.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache

import numpy as np

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.scores import Array, ratio

BLEU_ORDER = 4  # the longest n-grams of words: Papineni et al. (2002), BLEU
CHRF_ORDER, CHRF_BETA = 6, 2.0  # the longest n-grams of characters; recall counts twice: Popović (2016), chrF
_KEPT = 200_000  # rows whose counts are remembered: every interval asks for them again

_ESCAPED = {"&quot;": '"', "&amp;": "&", "&lt;": "<", "&gt;": ">"}
_ALWAYS_APART = re.compile("([" + re.escape("".join(c for c in string.punctuation if c not in "',-.")) + "])")


def rouge(n: int) -> Callable[[Sequence[str], Sequence[str]], Array]:
    """Features [rows, 2] of ROUGE-N: F-measure of common n-grams of words; 1. Source: Lin (2004), ROUGE."""

    def one(answer: str, reference: str) -> tuple[float, ...]:
        found, right = Counter(_ngrams(_words(answer), n)), Counter(_ngrams(_words(reference), n))
        return _f_measure((found & right).total(), found.total(), right.total()), 1.0

    return _of_rows(one)


def _common_subsequence(answer: str, reference: str) -> tuple[float, ...]:
    found, right = _words(answer), _words(reference)
    return _f_measure(longest_common(found, right), len(found), len(right)), 1.0


def longest_common(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """Length of the longest common subsequence, a column of the table at a time as the bits of one number.

    Source: Hyyrö (2004), Bit-parallel LCS-length computation revisited.
    """
    places: dict[Hashable, int] = {}
    for i, token in enumerate(a):
        places[token] = places.get(token, 0) | 1 << i
    everywhere = (1 << len(a)) - 1
    column = everywhere
    for token in b:
        met = column & places.get(token, 0)
        column = ((column + met) | (column - met)) & everywhere
    return len(a) - column.bit_count()


def bleu_counts(answer: str, reference: str) -> tuple[float, ...]:
    """Matches of 1 … 4 words, n-grams of 1 … 4 words in the answer, words of the answer, of the reference."""
    found, right = bleu_words(answer), bleu_words(reference)
    matches, totals = [], []
    for n in range(1, BLEU_ORDER + 1):
        grams = Counter(_ngrams(found, n))
        matches.append((grams & Counter(_ngrams(right, n))).total())
        totals.append(grams.total())
    return (*matches, *totals, len(found), len(right))


def bleu_words(text: str) -> list[str]:
    """Words as BLEU counts them: the rules called 13a, those of the WMT and NIST evaluations."""
    text = text.replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for escaped, plain in _ESCAPED.items():
        text = text.replace(escaped, plain)
    text = _ALWAYS_APART.sub(r" \1 ", f" {text} ")
    text = re.sub(r"([^0-9])([.,])", r"\1 \2 ", text)  # a point or comma is part of a number or apart
    text = re.sub(r"([.,])([^0-9])", r" \1 \2", text)
    return re.sub(r"([0-9])(-)", r"\1 \2 ", text).split()


def chrf_counts(answer: str, reference: str) -> tuple[float, ...]:
    """For 1 … 6 characters without white space: n-grams of the answer, of the reference, of both."""
    found, right = "".join(answer.split()), "".join(reference.split())
    counted: list[float] = []
    for n in range(1, CHRF_ORDER + 1):
        grams, truth = Counter(_ngrams(found, n)), Counter(_ngrams(right, n))
        counted += [grams.total() if truth else 0, truth.total(), (grams & truth).total()]
    return tuple(counted)


# Formulas [..., f] → [...]: the metric, from sums of features.


def bleu(sums: Array) -> Array:
    """0 to 100. An order without a match counts as half a match, the next as a quarter, … (Chen and Cherry 2014)."""
    matches, totals, lengths = np.split(sums, [BLEU_ORDER, 2 * BLEU_ORDER], axis=-1)
    halvings = 2.0 ** -np.cumsum(matches == 0, axis=-1)
    precisions = ratio(np.where(matches > 0, matches, halvings), totals)
    with np.errstate(divide="ignore"):
        geometric = np.exp(np.log(precisions).mean(axis=-1))
        brevity = np.exp(np.minimum(0.0, 1.0 - _over(lengths[..., 1], lengths[..., 0])))
    return np.where(matches.sum(axis=-1) > 0, 100.0 * brevity * geometric, 0.0)


def chrf(sums: Array) -> Array:
    """0 to 100: F2 of the mean precision and the mean recall over the orders that answers and references have."""
    found, right, both = np.moveaxis(sums.reshape(*sums.shape[:-1], CHRF_ORDER, 3), -1, 0)
    orders = ((found > 0) & (right > 0)).sum(axis=-1)
    counted = (found > 0) & (right > 0)
    precision = ratio(np.where(counted, ratio(both, found), 0.0).sum(axis=-1), orders.astype(np.float64))
    recall = ratio(np.where(counted, ratio(both, right), 0.0).sum(axis=-1), orders.astype(np.float64))
    weight = CHRF_BETA**2
    return 100.0 * ratio((1 + weight) * precision * recall, weight * precision + recall)


def _of_rows(
    one: Callable[[str, str], tuple[float, ...]], latin_only: bool = True
) -> Callable[[Sequence[str], Sequence[str]], Array]:
    """Features of all rows from those of one."""
    remembered = lru_cache(maxsize=_KEPT)(one)

    def features(answers: Sequence[str], references: Sequence[str]) -> Array:
        if latin_only and not any(map(_words, references)):
            raise EvaluationError(
                "ROUGE compares words of the letters a to z and digits, and no reference has any; use chrf"
            )
        return np.array([remembered(a, r) for a, r in zip(answers, references, strict=True)], dtype=np.float64)

    return features


rouge_l = _of_rows(_common_subsequence)
bleu_features = _of_rows(bleu_counts, latin_only=False)  # [rows, 10]
chrf_features = _of_rows(chrf_counts, latin_only=False)  # [rows, 18]


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _ngrams(tokens: Sequence[str], n: int) -> list[tuple[str, ...] | str]:
    return [
        tokens[i : i + n] if isinstance(tokens, str) else tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)
    ]


def _f_measure(common: int, found: int, right: int) -> float:
    """Harmonic mean of common / found and common / right."""
    return 2 * common / (found + right) if common else 0.0


def _over(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.full_like(part, np.inf), where=whole > 0)
