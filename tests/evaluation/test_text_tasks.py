"""Several labels a row, numbers, and batches: every task is asked through the same loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr  # type: ignore[import-untyped]
from sklearn import metrics as sk

from hf_soups.errors import EvaluationError
from hf_soups.evaluation import tasks
from hf_soups.evaluation.data import load
from hf_soups.evaluation.metrics import MULTI_LABEL, REGRESSION, score
from hf_soups.evaluation.predict import answering, halved, predict
from hf_soups.evaluation.statistics import interval
from hf_soups.evaluation.tasks.text_classification import MultiLabel, Regression, TextClassification
from hf_soups.recipe import Data

from .conftest import dense, examples_of, sentences

Write = Callable[[str, Mapping[str, Sequence[Any]]], str]
NAMES = ("sad", "funny", "long")
pytestmark = pytest.mark.usefixtures("one_thread")


def test_several_labels_a_row_are_read_predicted_and_scored(
    table: Write, classifier: Callable[..., Any], tokenizer: Any
) -> None:
    texts = sentences(30)
    marks = [[name for i, name in enumerate(NAMES) if (row >> i) & 1] for row in range(30)]
    task = MultiLabel(NAMES)
    by_name = load(Data(table("a.jsonl", {"text": texts, "labels": marks}), "test"), task)
    ids = [[NAMES.index(name) for name in row] for row in marks]
    by_id = load(Data(table("b.parquet", {"text": texts, "labels": ids}), "test"), task)
    assert by_name.references.tolist() == by_id.references.tolist()
    assert by_name.references[5].tolist() == [1, 0, 1] and by_name.references[8].tolist() == [0, 0, 0]
    outputs = dense(predict(task, classifier(0, labels=3), tokenizer, by_name, batch_size=7))
    chosen = outputs > 0
    expected = {
        "f1": sk.f1_score(by_name.references, chosen, average="macro", zero_division=0.0),
        "f1_micro": sk.f1_score(by_name.references, chosen, average="micro"),
        "accuracy": sk.accuracy_score(by_name.references, chosen),
        "log_loss": torch.nn.functional.binary_cross_entropy_with_logits(
            torch.from_numpy(outputs).double(), torch.from_numpy(by_name.references)
        ).item(),
    }
    for name, value in expected.items():
        assert score(MULTI_LABEL[name], outputs, by_name.references) == pytest.approx(value, abs=1e-9), name
        found = interval(MULTI_LABEL[name], outputs, by_name.references)
        assert found.low <= found.value <= found.high
        if name != "log_loss":
            module = MULTI_LABEL[name].as_evaluate(3)
            again = module.compute(predictions=chosen.astype(int), references=by_name.references.astype(int))
            assert again[name] == pytest.approx(value)


def test_one_label_a_row_is_not_taken_for_several(table: Write) -> None:
    path = table("a.jsonl", {"text": ["x", "y"], "label": [0, 1]})
    with pytest.raises(EvaluationError, match=r"row 0 .* holds 0, not a list of labels.*text-classification"):
        load(Data(path, "test"), MultiLabel(NAMES))


def test_numbers_are_read_predicted_and_scored(table: Write, classifier: Callable[..., Any], tokenizer: Any) -> None:
    texts = sentences(40)

    pairs: dict[str, Sequence[Any]] = {
        "sentence1": texts[:20],
        "sentence2": texts[20:],
        "score": [i / 7 for i in range(20)],
    }
    task = Regression()
    examples = load(Data(table("a.csv", pairs), "test", label="score"), task)
    assert examples.references.tolist() == [i / 7 for i in range(20)]
    outputs = dense(predict(task, classifier(0, labels=1), tokenizer, examples, batch_size=6))
    assert outputs.shape == (20, 1)
    flat, truth = outputs[:, 0].astype(np.float64), examples.references
    expected = {
        "pearsonr": pearsonr(truth, flat)[0],
        "spearmanr": spearmanr(truth, flat)[0],
        "mse": sk.mean_squared_error(truth, flat),
        "rmse": sk.mean_squared_error(truth, flat) ** 0.5,
        "mae": sk.mean_absolute_error(truth, flat),
        "r_squared": sk.r2_score(truth, flat),
    }
    assert set(expected) == set(REGRESSION)
    for name, value in expected.items():
        assert score(REGRESSION[name], outputs, truth) == pytest.approx(value, rel=1e-9), name
        module = REGRESSION[name].as_evaluate()
        assert module.compute(predictions=flat, references=truth)[name] == pytest.approx(value, rel=1e-9)


def test_what_is_no_number_is_named(table: Write) -> None:
    path = table("a.csv", {"text": ["x", "y"], "score": ["1.5", "many"]})
    with pytest.raises(EvaluationError, match=r"column score: 1 rows have no number, the first is row 1 .*many"):
        load(Data(path, "test", label="score"), Regression())


def test_the_task_is_what_the_architecture_is_for() -> None:
    bert = {"architectures": ["BertForSequenceClassification"]}
    assert tasks.infer(bert | {"id2label": {"0": "a", "1": "b"}}) == "text-classification"
    assert tasks.infer(bert | {"id2label": {"0": "a"}}) == "regression"
    assert tasks.infer(bert | {"problem_type": "multi_label_classification"}) == "multi-label-classification"
    with pytest.raises(EvaluationError, match="which task is BertModel for"):
        tasks.infer({"architectures": ["BertModel"]})
    with pytest.raises(EvaluationError, match=r"regression needs a model for ForSequence.*; this is BertModel"):
        tasks.check("regression", {"architectures": ["BertModel"]})


def test_the_order_of_batches_changes_no_answer(classifier: Callable[..., Any], tokenizer: Any) -> None:
    task, examples = TextClassification(("no", "yes")), examples_of(sentences(50), [0, 1] * 25)
    whole = dense(predict(task, classifier(0), tokenizer, examples, batch_size=8))
    with answering(task, classifier(0), tokenizer, examples, batch_size=8) as batches:
        assert sorted(int(row) for batch in batches for row in batch.rows) == list(range(50))
        for part, found in batches.run(reversed(batches)):
            assert np.stack(found).tobytes() == whole[part.rows].tobytes()


def test_where_memory_does_not_suffice_halves_are_padded_as_the_whole() -> None:
    asked: list[tuple[list[int], int]] = []

    def forward(part: np.ndarray, width: int) -> list[int]:
        if len(part) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        asked.append((part.tolist(), width))
        return [int(row) * 10 for row in part]

    with pytest.warns(UserWarning, match="rows at once do not fit into memory, so they are run as two halves") as told:
        assert halved(forward, np.array([4, 3, 2, 1, 0]), 17) == [40, 30, 20, 10, 0]
    assert [str(one.message).split()[0] for one in told] == ["5", "3"]
    assert asked == [([4, 3], 17), ([2], 17), ([1, 0], 17)]

    def never(part: np.ndarray, width: int) -> list[int]:
        raise MemoryError

    with (
        pytest.warns(UserWarning, match="2 rows at once"),
        pytest.raises(EvaluationError, match="one row of length 17 does not fit into memory"),
    ):
        halved(never, np.arange(2), 17)
