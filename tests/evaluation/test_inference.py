"""Without a recipe: held-out, labelled rows, never training rows, never the same for choice and report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.data import load
from hf_soups.evaluation.inference import infer_splits
from hf_soups.evaluation.splits import check_roles
from hf_soups.evaluation.tasks.text_classification import TextClassification
from tests.local_hub import LocalHub

from .conftest import sentences

Write = Callable[[str, Mapping[str, Sequence[Any]]], str]
NAMES = ("negative", "positive")
TASK = "text-classification"


def splits(path: str | Path, task: str = TASK) -> tuple[str | None, str | None]:
    """What is selected on and what is reported."""
    found = infer_splits(str(path), task)
    assert [data.role for data in found.values()] == ["select", "test"] and list(found) == ["validation", "test"]
    check_roles(found)
    return found["validation"].split, found["test"].split


def test_labelled_validation_and_test_are_what_they_say(table: Write, tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        table(f"d/{split}.csv", {"text": ["a"], "label": [0]})
    assert splits(tmp_path / "d") == ("validation", "test")


def test_a_test_split_without_labels_leaves_the_halves_of_validation(table: Write, tmp_path: Path) -> None:
    for split, label in (("train", 0), ("validation", 1), ("test", -1)):
        table(f"d/{split}.jsonl", {"text": ["a"], "label": [label]})
    assert splits(tmp_path / "d") == ("validation#1/2", "validation#2/2")


@pytest.mark.parametrize(
    ("task", "row", "hidden"),
    [
        ("summarization", {"document": "long", "summary": "short"}, {"summary": ""}),
        ("token-classification", {"tokens": ["a"], "ner_tags": [0]}, {"ner_tags": [-1]}),
        (
            "question-answering",
            {"question": "q", "context": "c", "answers": {"text": ["c"], "answer_start": [0]}},
            {"answers": {"text": [], "answer_start": []}},
        ),
        ("multiple-choice", {"question": "q", "choices": ["a", "b"], "answerKey": "A"}, {"answerKey": ""}),
        ("regression", {"sentence1": "a", "sentence2": "b", "label": 2.5}, {"label": -1.0}),
        ("regression", {"review": "a", "stars": 4.5}, {"stars": None}),
        ("sentence-similarity", {"sentence1": "a", "sentence2": "b", "score": 2.5}, {"score": None}),
        ("automatic-speech-recognition", {"file": "a.wav", "transcript": "words"}, {"transcript": None}),
        ("retrieval", {"query": "q", "candidates": ["a", "b"], "relevant": [1]}, {"relevant": []}),
    ],
)
def test_the_task_says_which_column_is_the_answer_and_whether_it_is_hidden(
    task: str, row: Mapping[str, Any], hidden: Mapping[str, Any], table: Write, tmp_path: Path
) -> None:
    for split in ("train", "validation", "test"):
        table(f"d/{split}.jsonl", {name: [value] for name, value in row.items()})
    assert splits(tmp_path / "d", task) == ("validation", "test")
    table("d/test.jsonl", {name: [value] for name, value in {**row, **hidden}.items()})
    assert splits(tmp_path / "d", task) == ("validation#1/2", "validation#2/2")


@pytest.mark.parametrize(
    "columns", [{"text": ["a"]}, {"query": ["q"], "document": ["d"]}, {"text": ["a"], "label": [-1]}]
)
def test_texts_and_corpora_are_their_own_answers(columns: Mapping[str, Any], table: Write, tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        table(f"d/{split}.jsonl", columns)
    assert splits(tmp_path / "d", "retrieval" if "query" in columns else "text-generation") == ("validation", "test")


def test_held_out_rows_without_the_columns_of_the_task_are_an_error_that_names_them(
    table: Write, tmp_path: Path
) -> None:
    table("d/validation.jsonl", {"text": ["a"], "label": [1]})
    with pytest.raises(EvaluationError, match=r"d \[validation\]: which column is the tokens\? It has text, label"):
        infer_splits(str(tmp_path / "d"), "token-classification")


def test_a_test_split_without_the_others_label_column_is_hidden(table: Write, tmp_path: Path) -> None:
    table("d/validation.jsonl", {"text": ["a"], "label": [1]})
    table("d/test.jsonl", {"text": ["b"]})
    assert splits(tmp_path / "d") == ("validation#1/2", "validation#2/2")


def test_without_validation_the_test_split_is_halved(table: Write, tmp_path: Path) -> None:
    texts = sentences(40)
    table("d/train.csv", {"text": ["a"], "label": [0]})
    table("d/test.csv", {"text": texts, "label": [i % 2 for i in range(40)]})
    assert splits(tmp_path / "d") == ("test#1/2", "test#2/2")
    select, test = (load(data, TextClassification(NAMES)) for data in infer_splits(str(tmp_path / "d"), TASK).values())
    assert sorted([*map(str, select.inputs), *map(str, test.inputs)]) == sorted(texts)
    assert select.source.split == "test#1/2"


def test_a_single_file_is_halved(table: Write) -> None:
    path = table("reviews.csv", {"text": sentences(20), "label": [0] * 20})
    assert splits(path) == ("#1/2", "#2/2")
    select, test = (load(data, TextClassification(NAMES)) for data in infer_splits(path, TASK).values())
    assert select.n + test.n == 20 and not set(select.inputs) & set(test.inputs)


def test_training_rows_alone_are_an_error_that_says_what_to_do(table: Write, tmp_path: Path) -> None:
    path = table("d/train.csv", {"text": ["a"], "label": [0]})
    for training in (tmp_path / "d", path):
        with pytest.raises(EvaluationError, match=r"no labelled validation or test rows.*give held-out rows"):
            infer_splits(str(training), TASK)
    table("d/test.csv", {"text": ["a"], "label": [-1]})
    with pytest.raises(EvaluationError, match="no labelled validation or test rows"):
        infer_splits(str(tmp_path / "d"), TASK)


def test_a_hub_dataset_is_pinned(hub: LocalHub, namespace: str) -> None:
    repo = f"{namespace}/nli"
    api = hub.api()
    api.create_repo(repo, repo_type="dataset")
    for split, label in (("train", 0), ("validation_matched", 1), ("validation_mismatched", 1), ("test_matched", -1)):
        commit = api.upload_file(
            path_or_fileobj=f"premise,hypothesis,label\na,b,{label}\n".encode(),
            path_in_repo=f"data/{split}-00000-of-00001.csv",
            repo_id=repo,
            repo_type="dataset",
        )
    found = infer_splits(repo, TASK)
    assert {data.revision for data in found.values()} == {commit.oid}
    assert splits(repo) == ("validation_matched#1/2", "validation_matched#2/2")
