"""Diversity by hand, by scikit-learn, and at its ends: copies have none."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.diversity import diversity


def pool(models: int = 3, n: int = 500) -> tuple[list[NDArray[np.float32]], NDArray[np.int64]]:
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, n)
    return [(random.normal(size=(n, 4)) + np.eye(4)[labels]).astype(np.float32) for _ in range(models)], labels


def test_copies_of_one_model_have_no_diversity() -> None:
    (one, *_), labels = pool()
    found = diversity([one, one, one], labels)
    assert (found.models, found.disagreement, found.kappa, found.divergence) == (3, 0.0, 1.0, 0.0)
    assert found.override is None


def test_four_rows_counted_by_hand() -> None:
    """Both right; only a, which is surer; only b, which is less sure than a; both wrong."""
    labels = np.array([0, 0, 1, 1])
    a = np.array([[2.0, 0], [3, 0], [3, 0], [1, 0]], dtype=np.float32)
    b = np.array([[1.0, 0], [0, 1], [0, 1], [1, 0]], dtype=np.float32)
    found = diversity([a, b], labels)
    assert found.disagreement == 0.5
    assert found.override == 0.5
    # They say 0000 and 0110: they agree on a half, as chance would (1.0 · 0.5).
    assert found.kappa == 0.0


def test_two_different_wrong_answers_are_no_disagreement_on_what_is_right() -> None:
    a, b = (np.eye(3, dtype=np.float32)[[answer, 0]] for answer in (1, 2))
    assert diversity([a, b], np.array([0, 0])).disagreement == 0.0


def test_a_pair_agrees_with_scikit_learn_and_scipy() -> None:
    from scipy.special import softmax  # type: ignore[import-untyped]
    from scipy.stats import entropy  # type: ignore[import-untyped]
    from sklearn.metrics import cohen_kappa_score

    (a, b), labels = pool(models=2)
    found = diversity([a, b], labels)
    assert found.kappa == pytest.approx(cohen_kappa_score(a.argmax(1), b.argmax(1)))
    p, q = (softmax(one.astype(np.float64), axis=1) for one in (a, b))
    assert found.divergence == pytest.approx(np.mean([entropy(p.T, q.T).mean(), entropy(q.T, p.T).mean()]))


def test_neither_the_order_of_models_nor_that_of_rows_matters() -> None:
    models, labels = pool()
    found = diversity(models, labels)
    shuffled = np.random.default_rng(1).permutation(len(labels))
    for other in (diversity(models[::-1], labels), diversity([one[shuffled] for one in models], labels[shuffled])):
        assert other.disagreement == pytest.approx(found.disagreement)
        assert other.kappa == pytest.approx(found.kappa)
        assert other.divergence == pytest.approx(found.divergence)
        assert other.override == pytest.approx(found.override)


def test_more_than_two_models_are_the_mean_of_their_pairs() -> None:
    (a, b, c), labels = pool()
    pairs = [diversity(pair, labels) for pair in ([a, b], [a, c], [b, c])]
    assert diversity([a, b, c], labels).disagreement == pytest.approx(np.mean([p.disagreement for p in pairs]))


def test_confident_logits_do_not_overflow_and_one_answer_for_all_rows_has_no_kappa() -> None:
    always = np.tile(np.array([[1e4, -1e4]], dtype=np.float32), (5, 1))
    found = diversity([always, always], np.array([0, 1, 0, 1, 0]))
    assert found.kappa is None and found.divergence == 0.0


def test_one_model_alone_is_an_error() -> None:
    models, labels = pool(models=1)
    with pytest.raises(EvaluationError, match="two models or more, got 1"):
        diversity(models, labels)
