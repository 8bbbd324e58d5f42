"""Labels become the model's ids, or an error that names the label, its row and the labels that are known."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.labels import labelled, to_ids

NAMES = ("negative", "neutral", "positive")


def ids(values: list[Any], names: tuple[str, ...] = NAMES, classes: list[str] | None = None) -> list[int]:
    return list(to_ids(values, classes, names, "d.csv, column label").tolist())


def test_strings_are_mapped_by_name_in_any_case() -> None:
    assert ids(["Positive", "negative", " NEUTRAL"]) == [2, 0, 1]
    assert ids(["a", "A"], names=("a", "A")) == [0, 1]
    with pytest.raises(EvaluationError, match="label ' a' in row 0"):
        ids([" a"], names=("a", "A"))


def test_integers_are_the_models_ids_also_as_text_or_whole_floats() -> None:
    assert ids([2, 0, 1]) == ids(["2", "0", "1"]) == ids([2.0, 0.0, 1.0]) == [2, 0, 1]
    assert ids([True, False]) == [1, 0]


@given(st.permutations(NAMES), st.lists(st.integers(0, 2), min_size=1))
def test_class_names_in_another_order_are_mapped_by_name(classes: list[str], values: list[int]) -> None:
    assert [NAMES[i] for i in ids(values, classes=[name.upper() for name in classes])] == [classes[v] for v in values]


def test_nameless_labels_on_either_side_are_ids() -> None:
    assert ids([2, 0], names=("LABEL_0", "LABEL_1", "LABEL_2"), classes=["x", "y", "z"]) == [2, 0]
    assert ids([2, 0], classes=["0", "1", "2"]) == [2, 0]


def test_conflicting_class_names_are_an_error() -> None:
    with pytest.raises(EvaluationError, match=r"label 'neg' in row 1 .*0 = negative.*dataset's labels: neg, positive"):
        ids([1, 0], classes=["neg", "positive"])


def test_an_unknown_label_is_an_error_with_its_first_row_and_the_known_ones() -> None:
    with pytest.raises(EvaluationError, match=r"label 'great' in row 2 .*0 = negative, 1 = neutral, 2 = positive"):
        ids(["positive", "neutral", "great", "great"])


@pytest.mark.parametrize("number", [3, -2])
def test_a_number_out_of_range_is_an_error(number: int) -> None:
    for value in (number, str(number)):
        with pytest.raises(EvaluationError, match=rf"label {number} in row 1 .*2 = positive"):
            ids([type(value)(0), value])


def test_labels_like_scores_are_an_error() -> None:
    with pytest.raises(EvaluationError, match=r"label 0\.7 in row 1 .* neither an integer nor a name"):
        ids([0.0, 0.7])


def test_rows_without_label_are_counted() -> None:
    with pytest.raises(EvaluationError, match="2 rows have no label, the first is row 1 "):
        ids([1, None, 0, None])
    with pytest.raises(EvaluationError, match="1 rows have no label, the first is row 0 "):
        ids([-1, 1])


def test_a_hidden_test_set_has_no_labels() -> None:
    for values in ([-1, -1], [None, None], ["-1", "-1"], [float("nan"), -1]):
        assert not labelled(values)
        with pytest.raises(EvaluationError, match="no row has a label"):
            ids(values)
    assert labelled([-1, 0])


def test_numbers_as_text_are_refused_when_names_are_other_numbers() -> None:
    names = ("1", "2", "3")
    with pytest.raises(EvaluationError, match="numbers written as text and so are the model's names"):
        ids(["1", "2"], names=names)
    assert ids([1, 2], names=names) == [1, 2]
    assert ids(["1", "2"], names=("0", "1", "2")) == [1, 2]
