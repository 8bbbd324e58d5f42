"""Entities in tag sequences are what seqeval finds, and their scores are its overall ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval import metrics as seqeval  # type: ignore[import-untyped]

from hf_soups.errors import EvaluationError
from hf_soups.evaluation import scores_entities as entities
from hf_soups.evaluation.metrics import Metric, score
from hf_soups.evaluation.outputs import Ragged
from hf_soups.evaluation.statistics import interval
from hf_soups.evaluation.tasks.token_classification import TokenClassification

NAMES = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
WIDE = (*NAMES, "E-PER", "S-PER", "E-LOC", "S-LOC")


def logits(rows: Sequence[Sequence[int]], labels: int) -> Ragged:
    """Answers that choose these labels."""
    flat = np.array([label for row in rows for label in row], dtype=np.int64)
    ends = np.cumsum([0, *(len(row) for row in rows)]).astype(np.int64)
    return Ragged(np.eye(labels, dtype=np.float32)[flat], ends)


def spans(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """Type, first and last word of each entity of one sentence."""
    names = tuple(dict.fromkeys(["O", *tags]))
    scheme = entities.Scheme.of(names)
    ids = np.array([names.index(tag) for tag in tags], dtype=np.int64)
    first, last, types = scheme.entities(ids, np.zeros(len(tags), dtype=np.int64))
    seen: list[str] = list(dict.fromkeys(tag.split("-", 1)[-1] for tag in names if tag != "O"))
    return [(seen[t], int(a), int(b)) for a, b, t in zip(first, last, types, strict=True)]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("B-PER I-PER O B-LOC", [("PER", 0, 1), ("LOC", 3, 3)]),
        ("B-PER B-PER I-PER", [("PER", 0, 0), ("PER", 1, 2)]),
        ("I-PER I-LOC O", [("PER", 0, 0), ("LOC", 1, 1)]),  # no B: the type begins it
        ("O I-PER I-PER B-PER", [("PER", 1, 2), ("PER", 3, 3)]),  # IOB1
        ("S-PER S-PER B-LOC I-LOC E-LOC I-LOC", [("PER", 0, 0), ("PER", 1, 1), ("LOC", 2, 4), ("LOC", 5, 5)]),
        ("U-PER U-PER B-LOC L-LOC", [("PER", 0, 0), ("PER", 1, 1), ("LOC", 2, 3)]),  # BILOU
        ("PER PER O LOC", [("PER", 0, 1), ("LOC", 3, 3)]),  # IO
        ("O O", []),
        ("", []),
    ],
)
def test_an_entity_is_a_run_of_one_type_cut_where_tags_say_so(tags: str, expected: list[Any]) -> None:
    assert spans(tags.split()) == expected


def test_no_entity_goes_on_in_the_next_row() -> None:
    scheme = entities.Scheme.of(NAMES)
    first, last, _ = scheme.entities(np.array([1, 2, 2, 2]), np.array([0, 0, 1, 1]))
    assert first.tolist() == [0, 2] and last.tolist() == [1, 3]


def test_scores_by_hand() -> None:
    truth = [[1, 2, 0, 3], [0, 1, 0, 0], [0]]  # PER(0-1) LOC(3); PER(1); none
    said = [[1, 0, 0, 3], [0, 1, 3, 0], [0]]  # PER(0) LOC(3); PER(1) LOC(2): two of four right
    references = tuple(np.array(row) for row in truth)
    found = {name: TokenClassification(NAMES).metric(name) for name in TokenClassification.metrics}
    outputs = logits(said, 5)
    assert entities.found(outputs, references, NAMES).tolist() == [[1, 2, 2], [1, 1, 2], [0, 0, 0]]
    values = {name: score(metric, outputs, references) for name, metric in found.items()}
    assert values == {"f1": 4 / 7, "precision": 2 / 4, "recall": 2 / 3, "accuracy": 7 / 9}
    for name, metric in found.items():
        assert metric.bounds == (0.0, 1.0) and metric.greater_is_better
        around = interval(metric, outputs, references)
        assert around.low <= values[name] <= around.high
        again = as_strings(metric, said, truth)
        assert again == pytest.approx(values[name])


def as_strings(metric: Metric, said: Sequence[Sequence[int]], truth: Sequence[Sequence[int]]) -> float:
    """The metric as an `evaluate.Metric`, on names."""
    named = [[[NAMES[i] for i in row] for row in side] for side in (said, truth)]
    return float(metric.as_evaluate(len(NAMES)).compute(predictions=named[0], references=named[1])[metric.key])


sentences = st.lists(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=8), min_size=1, max_size=6)


@settings(deadline=None, max_examples=150)
@given(sentences)
def test_scores_are_those_of_seqeval(rows: list[list[tuple[int, int]]]) -> None:
    said, truth = [[a for a, _ in row] for row in rows], [[b for _, b in row] for row in rows]
    names = [[[WIDE[i] for i in row] for row in side] for side in (truth, said)]
    sums = entities.found(logits(said, len(WIDE)), tuple(np.array(row, np.int64) for row in truth), WIDE).sum(axis=0)
    for ours, theirs in (
        (entities.precision, seqeval.precision_score),
        (entities.recall, seqeval.recall_score),
        (entities.f1, seqeval.f1_score),
    ):
        assert float(ours(sums)) == pytest.approx(theirs(*names, zero_division=0))


def test_labels_that_mark_no_entities_are_refused_for_f1_and_scored_by_accuracy() -> None:
    task = TokenClassification(("NOUN", "VERB", "DET"))
    outputs, references = logits([[0, 1], [2]], 3), (np.array([0, 2]), np.array([2]))
    assert score(task.metric("accuracy"), outputs, references) == pytest.approx(2 / 3)
    with pytest.raises(EvaluationError, match=r"NOUN, VERB, DET\) mark no entities.*metrics: \[accuracy\]"):
        score(task.metric("f1"), outputs, references)
