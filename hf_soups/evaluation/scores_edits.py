"""How many edits turn an answer into its reference: word and character error rates, as formulas of sums over rows."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache

import numpy as np

from hf_soups.evaluation.scores import Array

_KEPT = 200_000  # rows whose edits are remembered: every interval asks for them again


def edits(answer: Sequence[Hashable], reference: Sequence[Hashable]) -> int:
    """Fewest insertions, deletions and substitutions (Levenshtein), a column of the table at a time.

    The column is kept as the bits where it rises and where it falls. Source: Hyyrö (2003), A bit-vector algorithm for
    computing Levenshtein and Damerau edit distances, after Myers (1999).
    """
    if not reference:
        return len(answer)
    places: dict[Hashable, int] = {}
    for i, token in enumerate(reference):
        places[token] = places.get(token, 0) | 1 << i
    everywhere = (1 << len(reference)) - 1
    last = 1 << (len(reference) - 1)
    rises, falls, distance = everywhere, 0, len(reference)
    for token in answer:
        equal = places.get(token, 0)
        diagonal = (((equal & rises) + rises) ^ rises) | equal | falls  # where no edit is needed
        grows = falls | (everywhere & ~(diagonal | rises))
        shrinks = diagonal & rises
        distance += bool(grows & last) - bool(shrinks & last)
        grows, shrinks = grows << 1 | 1, shrinks << 1
        rises = (shrinks | ~(diagonal | grows)) & everywhere
        falls = grows & diagonal & everywhere
    return distance


def word_edits(answer: str, reference: str) -> tuple[float, float]:
    """Edits of words; words of the reference."""
    right = reference.split()
    return edits(answer.split(), right), len(right)


def plain_word_edits(answer: str, reference: str) -> tuple[float, float]:
    """The same without case and punctuation, which many transcripts leave out; an apostrophe stays in its word."""
    return word_edits(plain(answer), plain(reference))


def character_edits(answer: str, reference: str) -> tuple[float, float]:
    """Edits of characters, runs of white space being one space; characters of the reference."""
    right = " ".join(reference.split())
    return edits(" ".join(answer.split()), right), len(right)


def plain(text: str) -> str:
    """Words and numbers in lower case, without punctuation."""
    text = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    return " ".join(re.findall(r"\w+(?:'\w+)*", text))


def of_rows(one: Callable[[str, str], tuple[float, float]]) -> Callable[[Sequence[str], Sequence[str]], Array]:
    """Features [rows, 2]: edits; length of the reference. Their ratio is the error rate, which may exceed 1."""
    remembered = lru_cache(maxsize=_KEPT)(one)

    def features(answers: Sequence[str], references: Sequence[str]) -> Array:
        return np.array([remembered(a, r) for a, r in zip(answers, references, strict=True)], dtype=np.float64)

    return features


def rate(sums: Array) -> Array:
    """Edits per word or character of all references together; NaN where these are empty."""
    return np.divide(sums[..., 0], sums[..., 1], out=np.full_like(sums[..., 0], np.nan), where=sums[..., 1] > 0)
