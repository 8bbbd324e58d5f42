"""The part of a context that answers a question: windows as in training, the best span, SQuAD's scores."""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_soups.errors import EvaluationError
from hf_soups.evaluation import scores_answers as scores
from hf_soups.evaluation.cache import Predictions
from hf_soups.evaluation.data import load
from hf_soups.evaluation.evaluator import Evaluator
from hf_soups.evaluation.examples import Examples, Source
from hf_soups.evaluation.metrics import score
from hf_soups.evaluation.outputs import Outputs, Ragged
from hf_soups.evaluation.predict import predict
from hf_soups.evaluation.scores_answers import Gold
from hf_soups.evaluation.tasks.question_answering import QuestionAnswering
from hf_soups.recipe import Data, Evaluate

from .conftest import WORDS, sentences
from .small_bert import small_bert

Write = Callable[[str, Mapping[str, Sequence[Any]]], str]
TASK = QuestionAnswering()
METRICS = QuestionAnswering.metrics
pytestmark = pytest.mark.usefixtures("one_thread")


def examples_of(pairs: Sequence[tuple[str, str]], may_be_none: bool = False) -> Examples:
    golds = tuple(Gold(context, (context.split()[0],), may_be_none) for _, context in pairs)
    return Examples(tuple(pairs), golds, None, Source(path="made.jsonl"))


def ragged(outputs: Outputs | None) -> Ragged:
    assert isinstance(outputs, Ragged)
    return outputs


def pairs(count: int, seed: int = 0, longest: int = 100) -> list[tuple[str, str]]:
    """Questions of three words on contexts of 1 to `longest` words."""
    random = np.random.default_rng(seed)
    questions = [" ".join(random.choice(WORDS, 3)) for _ in range(count)]
    return list(zip(questions, sentences(count, seed, longest), strict=True))


def slow_answer(model: Any, tokenizer: Any, pair: tuple[str, str], length: int, overlap: int, none: bool) -> str:
    """The tokenizer's own windows, each alone, and every span by hand."""
    windows = tokenizer(
        *pair,
        truncation="only_second",
        max_length=length,
        stride=overlap,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    spans, of_none = [], []
    for i, ids in enumerate(windows["input_ids"]):
        given = {key: torch.tensor([windows[key][i]]) for key in ("input_ids", "token_type_ids", "attention_mask")}
        with torch.inference_mode():
            said = model(**given)
        starts, ends = said.start_logits[0].tolist(), said.end_logits[0].tolist()
        of_none.append(starts[0] + ends[0])
        inner = [t for t in range(len(ids)) if windows.sequence_ids(i)[t] == 1]
        characters = windows["offset_mapping"][i]
        spans += [
            (starts[a] + ends[b], pair[1][characters[a][0] : characters[b][1]])
            for a in inner
            for b in inner
            if a <= b < a + 30
        ]
    best = max(spans, key=lambda span: span[0])
    return "" if none and min(of_none) > best[0] else best[1]


@pytest.mark.parametrize("none", [False, True])
def test_batches_of_windows_answer_as_the_tokenizers_windows_one_by_one(tokenizer: Any, none: bool) -> None:
    model = small_bert("QuestionAnswering")
    asked = pairs(20)
    length, special = 40, 3
    outputs = ragged(predict(TASK, model, tokenizer, examples_of(asked), batch_size=6, max_length=length))
    found = scores.texts(outputs, [Gold(context, (), none) for _, context in asked])
    expected = [
        slow_answer(model, tokenizer, pair, length, (length - special - len(pair[0].split())) // 2, none)
        for pair in asked
    ]
    assert found == expected
    assert 0 < sum(not text for text in found) < 20 if none else all(found)
    assert (np.add.reduceat(outputs.values[:, 2] < 0, outputs.offsets[:-1]) > 1).sum() > 10  # of several windows


def test_padding_on_the_left_changes_no_answer(tokenizer: Any) -> None:
    model, asked = small_bert("QuestionAnswering"), pairs(12, seed=1, longest=40)
    model.bert.embeddings.position_embeddings.weight.data.zero_()
    left = copy.deepcopy(tokenizer)
    left.padding_side = "left"
    together = ragged(predict(TASK, model, left, examples_of(asked), batch_size=12))
    for row, pair in enumerate(asked):
        alone = predict(TASK, model, left, examples_of([pair]), batch_size=1)
        np.testing.assert_allclose(together[row], ragged(alone)[0], atol=1e-5)
    given = left(asked[0][1], asked[0][0], return_tensors="pt")  # the context first, the question last
    with torch.inference_mode():
        expected = model(**given).start_logits[0, 1 : 1 + len(asked[0][1].split())]
    np.testing.assert_allclose(together[0][1:, 0], expected.numpy(), atol=1e-5)


def test_a_long_question_is_cut_so_that_the_context_is_read(tokenizer: Any) -> None:
    model, context = small_bert("QuestionAnswering"), " ".join(["the film was good"] * 10)
    asked = [(" ".join(WORDS * 3), context), (" ".join(WORDS[:17]), context)]
    outputs = ragged(predict(TASK, model, tokenizer, examples_of(asked), max_length=40))
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-5)  # 40 / 2 - 3 special tokens
    assert outputs[0][:, 3].max() == len(context)
    with pytest.raises(EvaluationError, match=r"max_length is 3: 3 tokens are taken before the context begins"):
        predict(TASK, model, tokenizer, examples_of(asked), max_length=3)


def lines(starts: Sequence[float], ends: Sequence[float]) -> np.ndarray:
    """One window: logits of no answer, then of the letters of "abcdef…"."""
    at = [-1, *range(len(starts) - 1)]
    return np.array([starts, ends, at, [-1, *(i + 1 for i in at[1:])]], dtype=np.float32).T


def best(lines: np.ndarray, gold: Gold) -> str:
    return scores.texts(Ragged(lines, np.array([0, len(lines)])), [gold])[0]


def test_the_best_span_is_in_order_and_short_enough() -> None:
    gold = Gold("abcdefghijklmnopqrstuvwxyz0123456789", (), True)
    assert best(lines([0, 1, 5, 1], [0, 9, 1, 3]), gold) == "a"  # "ba" would be 14, but is no span
    far = lines([0, 9, *[-5] * 33, 0, -5], [0, *[0] * 34, 9.5, 0])
    assert best(far, gold) == "8"  # 9.5 alone; from a it would be 18.5, but 35 letters
    near = lines([0, 9, *[0] * 35], [0, *[0] * 29, 9, *[0] * 6])
    assert best(near, gold) == gold.context[:30]


def test_a_context_without_tokens_has_no_answer() -> None:
    assert best(lines([1], [1]), Gold("\u200b", ("x",), False)) == ""


def test_no_answer_needs_to_win_in_every_window_and_to_be_allowed() -> None:
    sure, unsure = lines([5, 1, 1], [5, 1, 1]), lines([0, 2, 1], [0, 1, 1])
    gold = Gold("ab", ("a",), True)
    assert best(sure, gold) == ""
    assert best(sure, gold._replace(may_be_none=False)) == "a"
    assert best(np.concatenate([sure, unsure]), gold) == "a"


@pytest.mark.parametrize(
    ("text", "answers", "exact", "overlap"),
    [
        ("The Film!", ("film",), 1, 1),
        ("the good film", ("film",), 0, 2 * (1 / 2) * 1 / (1 / 2 + 1)),
        ("good good film", ("good film film",), 0, 2 / 3),
        ("a plot", ("cast", "plot twist"), 0, 2 / 3),
        ("", (), 1, 1),
        ("film", (), 0, 0),
        ("", ("film",), 0, 0),
        ("an  e-mail", ("Email",), 1, 1),
    ],
)
def test_scores_by_hand(text: str, answers: tuple[str, ...], exact: float, overlap: float) -> None:
    assert scores.exact(text, answers) == exact
    assert scores.overlap(text, answers) == pytest.approx(overlap)


phrases = st.lists(st.sampled_from(["the", "a", "film", "plot.", "Plot", "good", "x-y", "xy"]), max_size=5).map(
    " ".join
)


@settings(deadline=None)
@given(phrases, st.lists(phrases, min_size=1, max_size=3))
def test_overlap_is_the_harmonic_mean_of_precision_and_recall_of_words(text: str, answers: list[str]) -> None:
    def bag(some: str) -> Counter[str]:
        letters = re.sub(r"[^a-z ]", "", some.lower()).split()
        return Counter(word for word in letters if word not in ("a", "an", "the"))

    best = 0.0
    said, bags = bag(text), [found for answer in answers if (found := bag(answer))] or [Counter()]
    for true in bags:
        common = (said & true).total()
        precision, recall = (common / max(1, side.total()) for side in (said, true))
        f1 = 2 * precision * recall / (precision + recall) if common else float(said == true)
        best = max(best, f1)
    assert scores.overlap(text, answers) == pytest.approx(best)
    assert scores.exact(text, answers) <= scores.overlap(text, answers)


def test_a_table_has_scores_with_intervals_and_an_ensemble(table: Write, tmp_path: Path, tokenizer: Any) -> None:
    asked = pairs(60, seed=2, longest=60)
    models = [small_bert("QuestionAnswering", seed) for seed in range(2)]
    logits = ragged(predict(TASK, models[0], tokenizer, examples_of(asked)))
    said = scores.texts(logits, [Gold(context, (), False) for _, context in asked])
    right = [
        text if row % 3 else context.split()[-1]
        for row, (text, (_, context)) in enumerate(zip(said, asked, strict=True))
    ]
    columns: dict[str, list[Any]] = {
        "question": [question for question, _ in asked],
        "context": [context for _, context in asked],
        "answers": [{"text": [text], "answer_start": [0]} for text in right],
    }
    section = Evaluate(
        {"test": Data(table("t.jsonl", columns), "test")}, task="question-answering", metrics=("f1", "exact_match")
    )
    evaluator = Evaluator(section, (), Predictions(tmp_path / "cache"))
    outputs = [evaluator.outputs(f"m{i}", partial(tuple, (model, tokenizer))) for i, model in enumerate(models)]
    evaluator.outputs("m0", lambda: pytest.fail("it was in the cache"))
    first = evaluator.row("first", "ingredient", outputs[0], best=outputs[0])
    second = evaluator.row("second", "ingredient", outputs[1], best=outputs[0])
    assert 200 / 3 <= first.scores["test"]["exact_match"].value < 100
    for metric, found in first.scores["test"].items():
        assert found.low < found.value < found.high, metric
        assert first.difference["test"][metric].value == 0 > second.difference["test"][metric].high
        ids = [str(i) for i in range(60)]
        again = (
            METRICS[metric]
            .as_evaluate()
            .compute(
                predictions=[{"id": i, "prediction_text": text} for i, text in zip(ids, said, strict=True)],
                references=[{"id": i, "answers": one} for i, one in zip(ids, columns["answers"], strict=True)],
            )
        )
        assert again[metric] == pytest.approx(found.value)
        assert METRICS[metric].bounds == (0.0, 100.0) and METRICS[metric].greater_is_better
    one, other = (ragged(found["test"]) for found in outputs)
    together = ragged(evaluator.ensemble([one, other]))
    np.testing.assert_allclose(together.values[:, :2], (one.values[:, :2] + other.values[:, :2]) / 2, atol=1e-5)
    assert np.array_equal(together.values[:, 2:], one.values[:, 2:])
    shifted = Ragged(one.values + np.array([0, 0, 1, 1], np.float32), one.offsets)
    assert evaluator.ensemble([one, shifted]) is None  # models that read other tokens


def test_answers_are_read_as_squad_writes_them_as_texts_or_as_one_text(table: Write) -> None:
    base = {"question": ["q", "r"], "context": ["the film", "a plot"]}
    forms: list[list[Any]] = [
        [{"text": ["film"], "answer_start": [4]}, {"text": ["plot"], "answer_start": [2]}],
        [["film"], ["plot"]],
        ["film", "plot"],
        [[{"text": "film", "answer_start": 4}], [{"text": "plot", "answer_start": 2}]],
    ]
    expected = (Gold("the film", ("film",), False), Gold("a plot", ("plot",), False))
    for number, answers in enumerate(forms):
        examples = load(Data(table(f"{number}.jsonl", {**base, "answers": answers}), "test"), TASK)
        assert examples.references == expected
        assert examples.inputs == (("q", "the film"), ("r", "a plot"))
    second = [{"text": ["film"], "answer_start": [4]}, {"text": [], "answer_start": []}]
    found = load(Data(table("v2.jsonl", {**base, "answers": second}), "test"), TASK)
    assert found.references == (Gold("the film", ("film",), True), Gold("a plot", (), True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context": None}, r"which column is the context\? It has question, answers; say `columns: \{context"),
        ({"context": ["the film", " "]}, r"column context: 1 rows are empty, the first is row 1 \(counting from 0\)"),
        ({"answers": ["film", "cast"]}, r"1 of 2 rows have answers that are not in their context, .* row 1"),
        ({"answers": [None, None]}, r"column answers: no row has an answer"),
        ({"answers": [3, 4]}, r"column answers: row 0 .* holds '3', not answers"),
        ({"answers": [[1], [2]]}, r"column answers: row 0 .* holds '\[1\]', not answers"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_table_is_named(table: Write, changes: dict[str, Any], message: str) -> None:
    columns: dict[str, Any] = {"question": ["q", "r"], "context": ["the film", "a plot"], "answers": ["film", "plot"]}
    given = {name: values for name, values in (columns | changes).items() if values is not None}
    with pytest.raises(EvaluationError, match=message):
        load(Data(table("a.jsonl", given), "test"), TASK)


def test_a_users_own_metric_says_that_it_cannot_read_these_answers(tokenizer: Any) -> None:
    from hf_soups.evaluation.metrics import METRICS as OF_TEXTS
    from hf_soups.evaluation.metrics import own_metric

    asked = pairs(3)
    outputs = predict(TASK, small_bert("QuestionAnswering"), tokenizer, examples_of(asked))
    metric = own_metric(OF_TEXTS["accuracy"].as_evaluate(), greater_is_better=True)
    with pytest.raises(EvaluationError, match="accuracy: fails on these answers, of which it reads labels"):
        score(metric, outputs, examples_of(asked).references)
