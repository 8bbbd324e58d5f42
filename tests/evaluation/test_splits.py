"""No row is both selected on and reported."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.splits import check_roles, half_of_split, halves, keep_shared, remove_shared
from hf_soups.recipe import Data

from .conftest import examples_of, sentences

TEXTS = sentences(60)


@given(st.permutations(range(60)))
def test_halves_do_not_depend_on_the_order_of_rows(order: list[int]) -> None:
    examples = examples_of(TEXTS, [0] * 60)
    first, second = halves(examples)
    again, rest = halves(examples.select(order))
    assert sorted(map(str, again.inputs)) == sorted(map(str, first.inputs))
    assert sorted(map(str, rest.inputs)) == sorted(map(str, second.inputs))


def test_halves_are_a_partition_of_about_equal_parts_in_the_order_of_the_data() -> None:
    texts = sentences(2000)
    first, second = halves(examples_of(texts, list(range(2000))))
    assert sorted([*first.references, *second.references]) == list(range(2000))
    assert first.references.tolist() == sorted(first.references) and abs(first.n - 1000) < 150


def test_a_rows_half_does_not_depend_on_other_rows() -> None:
    whole, _ = halves(examples_of(TEXTS, [0] * 60))
    some, _ = halves(examples_of(TEXTS[:30], [0] * 30))
    assert set(some.inputs) == set(whole.inputs) & set(TEXTS[:30])


def test_copies_of_a_text_are_in_one_half() -> None:
    copies = [text.upper() + " " for text in TEXTS]
    first, second = halves(examples_of([*TEXTS, *copies], [0] * 120))
    assert {str(t).strip().lower() for t in first.inputs}.isdisjoint(str(t).strip().lower() for t in second.inputs)


@given(st.lists(st.integers(0, 9), min_size=2, max_size=60))
def test_halves_never_cut_a_group(membership: list[int]) -> None:
    n = len(membership)
    try:
        first, second = halves(examples_of(TEXTS[:n], [0] * n, [f"g{m}" for m in membership]))
    except EvaluationError as error:
        assert "too few groups" in str(error)
        return
    assert first.groups is not None and second.groups is not None
    assert first.n + second.n == n and not set(first.groups) & set(second.groups)


def test_halves_are_written_behind_the_split() -> None:
    assert half_of_split("test#1/2") == ("test", 1)
    assert half_of_split("#2/2") == (None, 2)
    assert half_of_split("test") == ("test", None) and half_of_split(None) == (None, None)
    with pytest.raises(EvaluationError, match="a half is written `test#1/2`"):
        half_of_split("test#1/3")


def test_up_to_one_percent_of_shared_rows_is_taken_out_and_counted() -> None:
    selection = examples_of(["Seen  Before", "other"], [0, 1])
    report = examples_of([*sentences(99), "seen before"], [i % 2 for i in range(100)])
    kept, dropped = remove_shared(report, selection)
    assert (
        dropped == 1
        and kept.inputs == report.inputs[:99]
        and kept.references.tolist() == report.references[:99].tolist()
    )
    untouched, none = remove_shared(kept, selection)
    assert none == 0 and untouched is kept


def test_more_than_one_percent_of_shared_rows_is_an_error() -> None:
    selection = examples_of(["seen before", "other"], [0, 1])
    report = examples_of([*sentences(98), "seen before"], [0] * 99)
    with pytest.raises(
        EvaluationError, match=r"1 of 99 rows \(1\.0%\) are also in .*'seen before'; at most 1 % may be"
    ):
        remove_shared(report, selection)


def test_by_force_shared_rows_stay_and_are_counted_but_a_few_are_taken_out_as_ever() -> None:
    selection = examples_of(["seen before", "other"], [0, 1])
    many = examples_of([*sentences(98), "seen before"], [0] * 99)
    assert keep_shared(many, selection) == (many, 0, 1)
    few = examples_of([*sentences(99), "seen before"], [0] * 100)
    kept, dropped, shared = keep_shared(few, selection)
    assert (kept.n, dropped, shared) == (99, 1, 0)
    assert keep_shared(selection, selection) == (selection, 0, 2)


def test_rows_shared_with_several_selections_are_counted_together() -> None:
    report = examples_of([*sentences(198), "one", "two", "three"], [0] * 201)
    first, second = examples_of(["one", "two"], [0, 0]), examples_of(["two", "three"], [0, 0])
    assert remove_shared(report, first)[1] == remove_shared(report, second)[1] == 2
    with pytest.raises(EvaluationError, match=r"3 of 201 rows \(1\.5%\) are also in made\.csv or made\.csv"):
        remove_shared(report, first, second)


def test_a_group_on_both_sides_counts_as_shared_within_one_source() -> None:
    selection = examples_of(["x"], [0], ["ann"])
    report = examples_of(sentences(200), [0] * 200, ["ann", "ann", *["bob"] * 198])
    kept, dropped = remove_shared(report, selection)
    assert dropped == 2 and kept.groups is not None and set(kept.groups) == {"bob"}
    elsewhere = examples_of(["x"], [0], ["ann"], origin="another source")
    assert remove_shared(report, elsewhere)[1] == 0
    ungrouped = examples_of(["x"], [0])
    assert remove_shared(report, ungrouped)[1] == 0


def test_one_split_in_two_roles_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").touch()

    def check(first: Data, second: Data) -> None:
        check_roles({"one": first, "two": second})

    for a, b in (
        (Data("org/d", "select", split="test"), Data("org/d", "test", split="test")),
        (Data("org/d", "select", split="test"), Data("Org/D", "test", split="test", revision="v2")),
        (Data("org/d", "select", split="test"), Data("org/d", "test", split="test#1/2")),
        (Data("org/d", "select", split="test#1/2"), Data("org/d", "shift", split="test#1/2")),
        (Data("a.csv", "fit"), Data("a.csv", "select")),
        (Data("a.csv", "fit"), Data("./a.csv", "select")),
    ):
        with pytest.raises(EvaluationError, match=f"datasets one and two.* in roles {a.role} and {b.role}"):
            check(a, b)
    check(Data("org/d", "select", split="validation"), Data("org/d", "test", split="test"))
    check(Data("org/d", "select", split="test#1/2"), Data("org/d", "test", split="test#2/2"))
    check(Data("org/d", "select", split="test", config="en"), Data("org/d", "test", split="test", config="de"))
    check(Data("org/d", "shift", split="test"), Data("org/d", "shift", split="test"))
