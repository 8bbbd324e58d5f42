"""Which of several texts is right: read from lists or numbered columns, one logit a choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.cache import Predictions
from hf_soups.evaluation.data import load
from hf_soups.evaluation.evaluator import Evaluator
from hf_soups.evaluation.examples import Examples, Source
from hf_soups.evaluation.metrics import score
from hf_soups.evaluation.predict import predict
from hf_soups.evaluation.tasks.multiple_choice import MultipleChoice
from hf_soups.recipe import Data, Evaluate

from .conftest import dense, sentences
from .small_bert import small_bert

Write = Callable[[str, Mapping[str, Sequence[Any]]], str]
TASK = MultipleChoice()
pytestmark = pytest.mark.usefixtures("one_thread")


def examples_of(counts: Sequence[int], seed: int = 0) -> Examples:
    """Rows with so many choices."""
    texts = iter(sentences(sum(counts) + len(counts), seed, longest=12))
    rows = tuple(tuple((question, next(texts)) for _ in range(count)) for count in counts for question in [next(texts)])
    return Examples(rows, np.zeros(len(counts), np.int64), None, Source(path="made.jsonl"))


def test_batches_answer_as_one_row_at_a_time(tokenizer: Any) -> None:
    model, examples = small_bert("MultipleChoice"), examples_of([4] * 20)
    outputs = dense(predict(TASK, model, tokenizer, examples, batch_size=6))
    assert outputs.shape == (20, 4)
    for row, pairs in enumerate(examples.inputs):
        ids = tokenizer([a for a, _ in pairs], [b for _, b in pairs], padding=True, return_tensors="pt")
        with torch.inference_mode():
            logits = model(**{key: values[None] for key, values in ids.items()}).logits[0]
        np.testing.assert_allclose(outputs[row], logits.numpy(), atol=1e-5)


def test_a_row_with_fewer_choices_is_scored_among_its_own(tokenizer: Any) -> None:
    model, examples = small_bert("MultipleChoice"), examples_of([2, 5, 3, 4])
    outputs = dense(predict(TASK, model, tokenizer, examples, batch_size=3))
    assert outputs.shape == (4, 5)
    TASK.check(outputs, examples, "it")
    right = np.array([1, 4, 0, 2])
    own = [torch.tensor(outputs[row, : len(pairs)]).double() for row, pairs in enumerate(examples.inputs)]
    losses = [-torch.log_softmax(logits, 0)[label].item() for logits, label in zip(own, right, strict=True)]
    assert score(TASK.metric("log_loss"), outputs, right) == pytest.approx(np.mean(losses), rel=1e-6)
    hits = [int(logits.argmax()) == label for logits, label in zip(own, right, strict=True)]
    assert score(TASK.metric("accuracy"), outputs, right) == np.mean(hits)
    again = dense(TASK.ensemble([outputs, outputs]))
    np.testing.assert_array_equal(again, outputs)
    with pytest.raises(EvaluationError, match=r"it: logits are \[4, 2\], expected \[4, 5\]"):
        TASK.check(outputs[:, :2], examples, "it")


def test_rows_are_read_as_public_datasets_write_them(table: Write) -> None:
    def read(name: str, rows: Mapping[str, Sequence[Any]], **more: Any) -> Examples:
        return load(Data(table(f"{name}.jsonl", rows), "test", **more), TASK)

    swag = read(
        "swag", {"sent1": ["s"], "sent2": ["t"], "ending0": ["a"], "ending1": ["b"], "ending2": ["c"], "label": [2]}
    )
    assert swag.inputs == ((("s", "t a"), ("s", "t b"), ("s", "t c")),) and swag.references.tolist() == [2]
    csqa = read(
        "csqa",
        {"question": ["q"], "choices": [{"label": ["A", "B"], "text": ["x", "y"]}], "answerKey": ["B"]},
    )
    assert csqa.inputs == ((("q", "x"), ("q", "y")),) and csqa.references.tolist() == [1]
    arc = read("arc", {"question": ["q"], "choices": [{"label": ["1", "2"], "text": ["x", "y"]}], "answerKey": ["2"]})
    assert arc.references.tolist() == [1]
    race = read("race", {"article": ["s"], "question": ["q"], "options": [["x", "y", "z"]], "answer": ["C"]})
    assert race.inputs[0][2] == ("s", "q z") and race.references.tolist() == [2]
    swag_like = read("hellaswag", {"ctx_a": ["s"], "ctx_b": ["t"], "endings": [["x", "y"]], "label": ["1"]})
    assert swag_like.inputs[0][0] == ("s", "t x") and swag_like.references.tolist() == [1]
    copa = read("copa", {"premise": ["s"], "choice1": ["x"], "choice2": ["y"], "label": [0]})
    assert copa.inputs == ((("s", "x"), ("s", "y")),) and copa.references.tolist() == [0]
    own: dict[str, list[Any]] = {"context": ["not this"], "q": ["q"], "c": [["x", "y"]], "r": [1]}
    said = read("own", own, text=("q",), label="r", columns={"choices": "c"})
    assert said.inputs == ((("q", "x"), ("q", "y")),) and said.references.tolist() == [1]
    assert said.source.text == ("q", "c") and said.source.label == "r"
    letters = {"question": ["q"], "B": ["y"], "A": ["x"], "answer": ["B"]}
    named = read("letters", letters, columns={"choice1": "B", "choice0": "A"})
    assert named.inputs == ((("q", "x"), ("q", "y")),) and named.references.tolist() == [1]


def test_a_table_has_scores_with_intervals_and_an_ensemble(table: Write, tmp_path: Path, tokenizer: Any) -> None:
    models = [small_bert("MultipleChoice", seed) for seed in range(2)]
    examples = examples_of([3] * 60)
    logits = [dense(predict(TASK, model, tokenizer, examples)) for model in models]
    best = logits[0].argmax(axis=1)
    columns: dict[str, list[Any]] = {
        "question": [row[0][0] for row in examples.inputs],
        "choices": [[choice for _, choice in row] for row in examples.inputs],
        "label": [int(label + (row % 5 == 0)) % 3 for row, label in enumerate(best)],
    }
    section = Evaluate(
        {"test": Data(table("t.jsonl", columns), "test")},
        task="multiple-choice",
        metrics=("accuracy", "log_loss", "expected_calibration_error"),
    )
    evaluator = Evaluator(section, (), Predictions(tmp_path / "cache"))
    outputs = [evaluator.outputs(f"m{i}", partial(tuple, (model, tokenizer))) for i, model in enumerate(models)]
    evaluator.outputs("m0", lambda: pytest.fail("it was in the cache"))
    row = evaluator.row("first", "ingredient", outputs[0], best=outputs[1])
    assert row.scores["test"]["accuracy"].value == 48 / 60
    assert row.difference["test"]["accuracy"].low > 0
    for metric, found in row.scores["test"].items():
        assert found.low < found.value < found.high, metric
    together = dense(evaluator.ensemble([one["test"] for one in outputs]))
    np.testing.assert_allclose(together, (logits[0] + logits[1]) / 2, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"question": None}, r"which column is the question\? It has choices, label; say `columns: \{question"),
        ({"choices": None}, r"which column is the choices\?"),
        ({"label": None}, r"which column is the label\?"),
        ({"choices": [["x", "y"], ["x"]]}, r"column choices: row 1 .* not a list of at least two texts"),
        ({"label": [0, 2]}, r"column label: 1 rows do not say which choice is right, the first is row 1 .*: 2 of 2"),
        ({"label": ["A", "X"]}, r"the first is row 1 .*'X' of 2 choices; give indices that count from 0, or letters"),
        ({"label": [-1, -1]}, r"column label: no row has a label"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_table_is_named(table: Write, changes: dict[str, Any], message: str) -> None:
    columns: dict[str, Any] = {"question": ["q", "r"], "choices": [["x", "y"], ["x", "z"]], "label": [0, 1]}
    given = {name: values for name, values in (columns | changes).items() if values is not None}
    with pytest.raises(EvaluationError, match=message):
        load(Data(table("a.jsonl", given), "test"), TASK)
