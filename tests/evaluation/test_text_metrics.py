"""ROUGE, BLEU, chrF and error rates: by hand, against plain algorithms, and against the packages that define them."""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.metrics import Metric, own_metric, score
from hf_soups.evaluation.metrics_text import SUMMARIES, TRANSCRIPTS, TRANSLATIONS
from hf_soups.evaluation.scores_edits import edits, plain
from hf_soups.evaluation.scores_overlap import bleu_words, longest_common
from hf_soups.evaluation.statistics import difference, interval

EVERY = [*SUMMARIES.values(), *TRANSLATIONS.values(), *TRANSCRIPTS.values()]
TOKENS = 'the a 3.5 film, plot\'s "cast" U.S. 1-2 well-known &amp; score; scene. was not (great) 1,000 über'.split()
LETTERS = st.text(alphabet="abc", max_size=70)


def texts(seed: int, noise: float) -> tuple[list[str], list[str]]:
    """Answers and references of up to 25 words; `noise` is the share of words that the answers have wrong."""
    draw = random.Random(seed)
    references = [" ".join(draw.choices(TOKENS, k=draw.randint(1, 25))) for _ in range(80)]
    answers = [
        " ".join(word if draw.random() > noise else draw.choice([*TOKENS, ""]) for word in reference.split())
        for reference in references
    ]
    return answers, references


@functools.cache
def slow_edits(a: str, b: str) -> int:
    if not a or not b:
        return len(a) + len(b)
    return min(slow_edits(a[1:], b) + 1, slow_edits(a, b[1:]) + 1, slow_edits(a[1:], b[1:]) + (a[0] != b[0]))


@functools.cache
def slow_common(a: str, b: str) -> int:
    if not a or not b:
        return 0
    return slow_common(a[1:], b[1:]) + 1 if a[0] == b[0] else max(slow_common(a[1:], b), slow_common(a, b[1:]))


@given(LETTERS, LETTERS)
def test_tables_a_column_at_a_time_equal_recursion(a: str, b: str) -> None:
    assert edits(a, b) == slow_edits(a, b)
    assert longest_common(a, b) == slow_common(a, b)


def test_values_by_hand() -> None:
    answer, reference = ("the cat sat on a mat",), ("the cat is on the mat",)
    assert score(SUMMARIES["rouge1"], answer, reference) == pytest.approx(4 / 6)  # the cat on mat
    assert score(SUMMARIES["rouge2"], answer, reference) == pytest.approx(1 / 5)  # "the cat"
    assert score(SUMMARIES["rougeL"], answer, reference) == pytest.approx(4 / 6)
    assert score(TRANSCRIPTS["wer"], answer, reference) == pytest.approx(2 / 6)  # sat for is, a for the
    assert score(TRANSCRIPTS["cer"], ("abd",), ("abc ",)) == pytest.approx(1 / 3)
    # Matches of 1 to 4 words: 4, 1, 0 (half a match), 0 (a quarter) of 6, 5, 4, 3; equal lengths.
    by_hand = 100 * (4 / 6 * 1 / 5 * 0.5 / 4 * 0.25 / 3) ** (1 / 4)
    assert score(TRANSLATIONS["bleu"], answer, reference) == pytest.approx(by_hand)


@pytest.mark.parametrize("metric", EVERY, ids=lambda metric: metric.id)
def test_what_equals_its_reference_is_best(metric: Metric) -> None:
    right = [text for text in texts(0, 0.0)[1] if len(text.split()) > 3]
    best = metric.bounds[1] if metric.greater_is_better else 0.0
    assert score(metric, tuple(right), right) == pytest.approx(best)
    assert score(metric, ("",) * len(right), right) == pytest.approx(0.0 if metric.greater_is_better else 1.0)


def test_error_rates_are_of_all_words_together() -> None:
    answers, references = ("b", "a a a a a a a a a"), ("a", "a a a a a a a a a")
    assert score(TRANSCRIPTS["wer"], answers, references) == pytest.approx(1 / 10)  # not the mean of 1 and 0


def test_plain_words_have_neither_case_nor_punctuation() -> None:
    assert plain("It\u2019s “3.5” FILMS, isn't it?") == "it's 3 5 films isn't it"
    assert score(TRANSCRIPTS["wer_plain"], ("HELLO WORLD",), ("Hello, world.",)) == 0.0
    assert score(TRANSCRIPTS["wer"], ("HELLO WORLD",), ("Hello, world.",)) == 1.0


def test_numbers_keep_their_points_and_commas_in_bleu() -> None:
    assert (
        bleu_words("3.5 (1,000) U.S. 1-2, it's well-known") == "3.5 ( 1,000 ) U . S . 1 - 2 , it's well-known".split()
    )


def test_undefined_scores_are_errors() -> None:
    with pytest.raises(EvaluationError, match="no reference has any; use chrf"):
        score(SUMMARIES["rouge1"], ("xyz",), ("слово",))
    with pytest.raises(EvaluationError, match="wer: undefined on these 1 rows"):
        score(TRANSCRIPTS["wer"], ("word",), ("",))


@pytest.mark.parametrize("metric", EVERY, ids=lambda metric: metric.id)
def test_intervals_hold_the_value_and_equal_answers_do_not_differ(metric: Metric) -> None:
    answers, references = texts(1, 0.4)
    worse = texts(1, 0.8)[0]
    found = interval(metric, tuple(answers), references)
    assert found.low < found.value < found.high
    same = difference(metric, tuple(answers), tuple(answers), references)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
    gap = difference(metric, tuple(answers), tuple(worse), references)
    assert gap.low > 0 if metric.greater_is_better else gap.high < 0


def test_they_are_evaluate_metrics_that_combine() -> None:
    import evaluate

    answers, references = texts(3, 0.3)
    together = evaluate.combine([metric.as_evaluate() for metric in EVERY])
    found = together.compute(predictions=answers, references=references)
    assert found == {metric.id: pytest.approx(score(metric, tuple(answers), references)) for metric in EVERY}
    own = own_metric(SUMMARIES["rouge1"].as_evaluate(), greater_is_better=True, consumes="texts", key="rouge1")
    assert score(own, tuple(answers), references) == pytest.approx(found["rouge1"])


@pytest.mark.parametrize("noise", [0.05, 0.5, 0.95])
def test_they_equal_the_packages_that_define_them(noise: float) -> None:
    answers, references = texts(2, noise)
    for name, value in _of_packages(answers, references).items():
        metric = next(metric for metric in EVERY if metric.id == name)
        assert score(metric, tuple(answers), references) == pytest.approx(value, abs=1e-9), name


def _of_packages(answers: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    sacrebleu: Any = pytest.importorskip("sacrebleu")
    rouge_scorer: Any = pytest.importorskip("rouge_score.rouge_scorer")
    jiwer: Any = pytest.importorskip("jiwer")
    names = list(SUMMARIES)
    rouge = rouge_scorer.RougeScorer(names)
    rows = [rouge.score(reference, answer) for answer, reference in zip(answers, references, strict=True)]
    return {
        "bleu": sacrebleu.corpus_bleu(answers, [references]).score,
        "chrf": sacrebleu.corpus_chrf(answers, [references]).score,
        "wer": jiwer.wer(list(references), list(answers)),
        "cer": jiwer.cer(list(references), [" ".join(answer.split()) for answer in answers]),
        **{name: float(np.mean([row[name].fmeasure for row in rows])) for name in names},
    }
