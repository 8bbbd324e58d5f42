"""Batches in parts: the same answers, the hard rows first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_soups.evaluation.batches import Batches, Part, hardest_first, in_batches
from hf_soups.evaluation.predict import answering
from hf_soups.evaluation.tasks.text_classification import TextClassification
from tests.evaluation.test_text_tasks import examples_of, sentences

LENGTHS = np.array([5, 9, 2, 9, 7, 3, 8, 1, 6, 4, 9, 2, 7, 5, 3, 8, 6, 1, 4, 2])


def summing_otherwise_below(rows: int) -> Callable[[np.ndarray, int], list[np.ndarray]]:
    """Answers that depend on how many rows there are, as those of a matrix product may."""
    return lambda part, width: [np.array([row / width + (len(part) < rows) * 1e-7]) for row in part]


@pytest.mark.parametrize(("below", "expected"), [(0, 4), (4, 4), (5, 8), (9, 16), (17, None)])
def test_the_least_part_is_one_that_answers_as_its_whole_batch(below: int, expected: int | None) -> None:
    batches = Batches(in_batches(np.arange(40, 100), 20), summing_otherwise_below(below))
    assert batches.least() == expected


def test_parts_are_not_tried_where_kernels_go_by_shape() -> None:
    assert Batches(in_batches(np.arange(40), 20), summing_otherwise_below(0), divisible=False).least() is None


def test_trying_parts_keeps_no_answers() -> None:
    def never(rows: np.ndarray, answers: list[Any]) -> None:
        raise AssertionError("kept")

    assert Batches(in_batches(np.arange(40), 20), summing_otherwise_below(0), keep=never).least() == 4


@given(st.integers(1, 24), st.sampled_from([None, 4, 8]), st.integers(0, 5))
def test_every_row_is_in_one_part_padded_as_its_batch(batch_size: int, least: int | None, seed: int) -> None:
    hardness = np.random.default_rng(seed).random(len(LENGTHS))
    batches = in_batches(LENGTHS, batch_size)
    parts = hardest_first(batches, hardness, least)
    assert sorted(int(row) for part in parts for row in part.rows) == list(range(len(LENGTHS)))
    widths = {int(row): batch.width for batch in batches for row in batch.rows}
    assert all(widths[int(row)] == part.width for part in parts for row in part.rows)
    smallest = min(len(batch.rows) for batch in batches)
    assert all(len(part.rows) >= min(least or smallest, smallest) for part in parts)
    means = [hardness[part.rows].mean() for part in parts]
    assert means == sorted(means, reverse=True)


def test_hard_rows_do_not_wait_for_the_easy_ones_of_their_batch() -> None:
    hardness = np.zeros(16)
    hardness[[3, 5, 8, 13]] = 1
    first, *rest = hardest_first([Part(np.arange(16), 9)], hardness, 4)
    assert first.rows.tolist() == [3, 5, 8, 13]
    assert [len(part.rows) for part in rest] == [4, 8]


def test_parts_of_a_real_model_answer_as_whole_batches(classifier: Callable[..., Any], tokenizer: Any) -> None:
    task, examples = TextClassification(("no", "yes")), examples_of(sentences(50), [0, 1] * 25)
    hardness = np.random.default_rng(0).random(50)
    with answering(task, classifier(0), tokenizer, examples, batch_size=25) as batches:
        least = batches.least()
        if least is None:
            pytest.skip("on this machine rows answer otherwise in other company")
        whole = {int(r): one for part, found in batches.run(batches) for r, one in zip(part.rows, found, strict=True)}
        parts = hardest_first(batches, hardness, least)
        assert len(parts) > len(batches)
        for part, found in batches.run(parts):
            assert all(whole[int(row)].tobytes() == one.tobytes() for row, one in zip(part.rows, found, strict=True))
