"""Files and Hub datasets become exactly the texts, labels and groups that they hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.data import limited, load
from hf_soups.evaluation.tasks.text_classification import TextClassification
from hf_soups.evaluation.text import normalise
from hf_soups.recipe import Data
from tests.local_hub import LocalHub

from .conftest import examples_of, sentences

Write = Callable[[str, Mapping[str, Sequence[Any]]], str]
NAMES = ("negative", "positive")
CLASSES = TextClassification(NAMES)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.json", "a.jsonl", "a.parquet"])
def test_every_format_gives_the_same_examples(table: Write, name: str) -> None:
    columns: dict[str, list[Any]] = {
        "text": ['a, "b"', "NA", "tab\there"],
        "label": ["negative", "positive", "positive"],
        "by": [1, 1, 2],
    }
    examples = load(Data(table(name, columns), "test", group="by"), CLASSES)
    assert examples.inputs == ('a, "b"', "NA", "tab\there")
    assert examples.references.tolist() == [0, 1, 1]
    assert examples.groups is not None and examples.groups.tolist() == ["1", "1", "2"]
    reference = examples_of(examples.inputs, [0, 1, 1], ["1", "1", "2"])
    assert examples.fingerprint == reference.fingerprint


@pytest.mark.parametrize("text", ["NA", "null", "None", "nan", "N/A", "", " ", "007", "1e3", "true", "#N/A"])
def test_a_text_that_looks_like_something_else_stays_text(table: Write, text: str) -> None:
    path = table("a.jsonl", {"text": [text, text], "label": [0, 1]})
    assert load(Data(path, "test"), CLASSES).inputs == (text, text)
    if text:  # in csv an empty cell is a missing text
        path = table("a.csv", {"text": [text, text], "label": [0, 1]})
        assert load(Data(path, "test"), CLASSES).inputs == (text, text)


def test_a_missing_text_label_or_group_is_an_error_with_count_and_first_row(table: Write) -> None:
    for column, what in (("text", "no text"), ("label", "no label"), ("by", "no group")):
        for name in ("a.csv", "a.jsonl"):
            columns: dict[str, list[Any]] = {"text": list("abcd"), "label": [0, 1, 0, 1], "by": list("wxyz")}
            columns[column][1] = columns[column][3] = None
            path = table(name, columns)
            with pytest.raises(EvaluationError, match=rf"{name}, column {column}: 2 rows have {what}, .* row 1 "):
                load(Data(path, "test", group="by"), CLASSES)


def test_columns_are_inferred_where_obvious(table: Write) -> None:
    def columns_of(columns: Mapping[str, Sequence[Any]], **given: Any) -> tuple[tuple[str, ...], str]:
        source = load(Data(table("a.csv", columns), "test", **given), CLASSES).source
        return source.text, source.label

    y = [0, 1]
    assert columns_of({"id": [5, 6], "Review": ["a", "b"], "Label": y}) == (("Review",), "Label")
    assert columns_of({"what_they_said": ["a", "b"], "sentiment": y, "n": [1, 2]}) == (("what_they_said",), "sentiment")
    assert columns_of({"premise": ["a", "b"], "hypothesis": ["c", "d"], "label": y}) == (
        ("premise", "hypothesis"),
        "label",
    )
    assert columns_of({"text": ["a", "b"], "x": ["c", "d"], "label": y, "z": y}, text=("x",), label="z") == (
        ("x",),
        "z",
    )


def test_a_pair_stays_a_pair(table: Write) -> None:
    path = table("a.parquet", {"question": ["a", "b"], "sentence": ["c", "d"], "label": [0, 1]})
    assert load(Data(path, "test"), CLASSES).inputs == (("a", "c"), ("b", "d"))


def test_a_column_that_is_not_there_is_an_error_that_lists_those_that_are(table: Write) -> None:
    path = table("a.csv", {"title": ["a", "b"], "story": ["c", "d"], "label": [0, 1]})
    with pytest.raises(EvaluationError, match="no column 'stori'; it has title, story, label; did you mean 'story'"):
        load(Data(path, "test", text=("stori",)), CLASSES)
    with pytest.raises(EvaluationError, match=r"which column is the text\? It has .*; say `columns: \{text: ...\}`"):
        load(Data(path, "test"), CLASSES)
    with pytest.raises(EvaluationError, match="which column is the label"):
        load(Data(table("b.csv", {"text": ["a"], "stars": [1]}), "test"), CLASSES)
    with pytest.raises(EvaluationError, match="column number: holds int, not text"):
        load(
            Data(table("c.jsonl", {"number": [1, 2], "label": [0, 1]}), "test", text=("number",)),
            CLASSES,
        )


def test_a_row_with_more_cells_than_names_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\nno quotes, here,1\nnor, here,0\n")
    with pytest.raises(EvaluationError, match=r"a\.csv: the first line names 2 columns, the second has 3"):
        load(Data(str(path), "test"), CLASSES)
    path.write_text("text,text,label\na,b,1\n")
    with pytest.raises(EvaluationError, match="column 'text' occurs twice"):
        load(Data(str(path), "test"), CLASSES)


def test_what_cannot_be_read_is_an_error_that_names_it(tmp_path: Path, table: Write) -> None:
    with pytest.raises(EvaluationError, match=r"nowhere\.csv: no such file"):
        load(Data(str(tmp_path / "nowhere.csv"), "test"), CLASSES)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(EvaluationError, match=r"notes\.txt: cannot read \.txt; use \.csv"):
        load(Data(str(tmp_path / "notes.txt"), "test"), CLASSES)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(EvaluationError, match=r"broken\.parquet: cannot be read: Parquet"):
        load(Data(str(tmp_path / "broken.parquet"), "test"), CLASSES)
    with pytest.raises(EvaluationError, match=r"empty\.csv: no rows; fill it"):
        load(Data(table("empty.csv", {"text": [], "label": []}), "test"), CLASSES)
    with pytest.raises(EvaluationError, match=r"a file has no splits; leave `split: test` out"):
        load(Data(table("a.csv", {"text": ["a"], "label": [0]}), "test", split="test"), CLASSES)


def test_a_folder_has_the_splits_that_its_file_names_say(table: Write, tmp_path: Path) -> None:
    table("d/validation.csv", {"text": ["v"], "label": [0]})
    table("d/test.csv", {"sentence": ["t"], "label": [1], "more": [3]})
    folder = str(tmp_path / "d")
    assert load(Data(folder, "select", split="validation"), CLASSES).inputs == ("v",)
    assert load(Data(folder, "test", split="test"), CLASSES).inputs == ("t",)
    with pytest.raises(EvaluationError, match="no split 'tset'; it has validation, test; did you mean 'test'"):
        load(Data(folder, "test", split="tset"), CLASSES)
    with pytest.raises(EvaluationError, match=r"which split\? It has validation, test"):
        load(Data(folder, "test"), CLASSES)


def test_a_local_source_is_published_by_its_name_only(table: Write, tmp_path: Path) -> None:
    source = load(Data(table("a.csv", {"text": ["a"], "label": [0]}), "test"), CLASSES).source
    assert source.path == "a.csv" and str(tmp_path) not in repr(source) and str(tmp_path) not in source.origin


def test_the_fingerprint_is_of_content_and_order(table: Write) -> None:
    base = examples_of(["a", "bc"], [0, 1])
    assert base.fingerprint == examples_of(["a", "bc"], [0, 1], origin="elsewhere").fingerprint
    others = [
        examples_of(["bc", "a"], [1, 0]),
        examples_of(["a", "bc"], [0, 0]),
        examples_of(["ab", "c"], [0, 1]),
        examples_of(["a", "bc"], [0, 1], ["x", "y"]),
        examples_of([("a", "bc"), ("d", "e")], [0, 1]),
        examples_of([("ab", "c"), ("d", "e")], [0, 1]),
        base.select([0]),
    ]
    assert len({e.fingerprint for e in (base, *others)}) == 1 + len(others)
    assert base.select([0, 1]).fingerprint == base.fingerprint


@given(st.permutations(range(30)), st.integers(1, 30))
def test_a_limit_chooses_the_same_rows_in_any_order(order: list[int], limit: int) -> None:
    texts = [*sentences(25), *sentences(5)]  # five of them twice
    examples = examples_of(texts, [i % 2 for i in range(30)])
    shuffled = examples.select(order)
    first, second = limited(examples, limit), limited(shuffled, limit)
    assert first.n == second.n == limit
    assert sorted(zip(first.inputs, first.references.tolist(), strict=True)) == sorted(
        zip(second.inputs, second.references.tolist(), strict=True)
    )
    kept = iter(shuffled.inputs)
    assert all(text in kept for text in second.inputs), "rows stay in the order of the data"


@given(st.lists(st.integers(0, 6), min_size=1, max_size=40), st.integers(1, 45))
def test_a_limit_never_cuts_a_group(membership: list[int], limit: int) -> None:
    examples = examples_of(
        [f"t{i}" for i in range(len(membership))], [0] * len(membership), [f"g{m}" for m in membership]
    )
    try:
        kept = limited(examples, limit)
    except EvaluationError as error:
        assert "raise limit, groups are never cut" in str(error)
        return
    assert examples.groups is not None and kept.groups is not None
    assert kept.n <= limit
    for group in np.unique(kept.groups):
        assert (kept.groups == group).sum() == (examples.groups == group).sum()


def test_normalisation_forgets_what_a_copy_may_change() -> None:
    assert normalise("  The\u00a0FILM\n was  \ufb01ne ") == normalise("the film was fine")
    assert normalise("Stra\u00dfe") == normalise("STRASSE")
    assert normalise(("a b", "c")) != normalise(("a", "b c"))
    assert normalise("good") != normalise("good!")


def test_a_hub_dataset_is_read_at_one_commit(hub: LocalHub, namespace: str) -> None:
    repo = f"{namespace}/reviews"
    api = hub.api()
    api.create_repo(repo, repo_type="dataset")

    def publish(first: str) -> str:
        for split in ("train", "test"):
            content = f"text,label\n{first} {split},negative\nNA,positive\n".encode()
            commit = api.upload_file(
                path_or_fileobj=content, path_in_repo=f"{split}.csv", repo_id=repo, repo_type="dataset"
            )
        return str(commit.oid)

    old = publish("old")
    new = publish("new")
    hub.clear_log()
    examples = load(Data(repo, "test", split="test"), CLASSES)
    assert examples.inputs == ("new test", "NA")
    assert (examples.source.path, examples.source.revision) == (repo, new)
    assert not hub.log(r"resolve/.*train\.csv"), "rows of other splits are not fetched"
    assert all(new in entry.path for entry in hub.log(r"GET .*resolve/.*\.csv"))
    assert load(Data(repo, "test", split="test", revision=old), CLASSES).inputs == ("old test", "NA")
    with pytest.raises(EvaluationError, match="no split 'tests'; it has train, test"):
        load(Data(repo, "test", split="tests"), CLASSES)


def test_what_the_hub_refuses_is_said_with_what_to_do(hub: LocalHub, namespace: str) -> None:
    with pytest.raises(EvaluationError, match=f"{namespace}/nothing: no such dataset on the Hub, or it is private"):
        load(Data(f"{namespace}/nothing", "test", split="test"), CLASSES)
    repo = f"{namespace}/secret"
    hub.api().create_repo(repo, repo_type="dataset", private=True)
    with pytest.raises(EvaluationError, match=f"{repo}: no such dataset on the Hub, or it is private.*hf auth login"):
        load(Data(repo, "test", split="test"), CLASSES, token=hub.other_token)
    with pytest.raises(EvaluationError, match=f"{repo}: the dataset has no revision 'v9'"):
        load(Data(repo, "test", split="test", revision="v9"), CLASSES)


def test_class_names_of_a_hub_dataset_decide_its_integers(hub: LocalHub, namespace: str, tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, Features, Value

    repo = f"{namespace}/classes"
    features = Features({"text": Value("string"), "label": ClassLabel(names=["Positive", "Negative"])})
    rows = Dataset.from_dict({"text": ["good", "bad"], "label": [0, 1]}, features=features)
    rows.to_parquet(tmp_path / "test.parquet")
    api = hub.api()
    api.create_repo(repo, repo_type="dataset")
    api.upload_file(
        path_or_fileobj=tmp_path / "test.parquet", path_in_repo="test.parquet", repo_id=repo, repo_type="dataset"
    )
    assert load(Data(repo, "test", split="test"), CLASSES).references.tolist() == [1, 0]
    assert load(Data(repo, "test", split="test"), TextClassification(("LABEL_0", "LABEL_1"))).references.tolist() == [
        0,
        1,
    ]
    with pytest.raises(EvaluationError, match=r"label 'Positive' in row 0 .* 0 = neg, 1 = pos .*Positive, Negative"):
        load(Data(repo, "test", split="test"), TextClassification(("neg", "pos")))


def test_columns_say_what_text_and_label_are_and_nothing_else(table: Write) -> None:
    path = table("a.csv", {"text": ["a"], "body": ["b"], "label": [0], "gold": [1]})
    examples = load(Data(path, "test", columns={"text": "body", "label": "gold"}), CLASSES)
    assert examples.inputs == ("b",) and examples.references.tolist() == [1]
    with pytest.raises(EvaluationError, match="columns: 'nonsense' is not needed here"):
        load(Data(path, "test", columns={"nonsense": "body"}), CLASSES)
