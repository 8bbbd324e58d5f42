"""Model Stock against its formula on whole vectors, and at its limits."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest

from hf_soups import SoupError, merge_state_dicts
from tests.models import f32


def stock(base: Any, deltas: list[Any]) -> np.ndarray:
    """What is added to the base, in float64."""
    origin = np.asarray(base, dtype=np.float64)
    ingredients = [{"w": origin + np.asarray(d)} for d in deltas]
    added: np.ndarray = merge_state_dicts(ingredients, "model_stock", {"w": origin})["w"] - origin
    return added


def formula(deltas: np.ndarray) -> np.ndarray:
    n = len(deltas)
    c = np.mean([a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) for a, b in combinations(deltas, 2)])
    added: np.ndarray = n * c / (1 + (n - 1) * c) * deltas.mean(0)
    return added


def test_examples() -> None:
    one, two, three = [1, 0, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0]
    np.testing.assert_allclose(stock([0, 0, 0, 0], [one, two]), [0.6, 0.3, 0, 0], atol=1e-6)
    expected = [0.228571, 0.114286, 0.142857, 0]
    np.testing.assert_allclose(stock([0, 0, 0, 0], [one, two, three]), expected, atol=1e-6)
    np.testing.assert_allclose(stock([5, -2, 3, 9], [one, two, three]), expected, atol=1e-6)


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("size", [1.0, 1e-3])
def test_it_equals_the_formula_on_whole_vectors(n: int, size: float) -> None:
    generator = np.random.default_rng(n)
    deltas = size * (generator.standard_normal(500) + generator.standard_normal((n, 500)))
    base = generator.standard_normal(500)
    np.testing.assert_allclose(stock(base, list(deltas)), formula(deltas), atol=1e-11 * size + 1e-15)


@pytest.mark.parametrize("size", [1.0, 1e-4, 1e-12, 1e-30])
@pytest.mark.parametrize("n", [2, 3, 6])
def test_equal_differences_come_back_however_small(n: int, size: float) -> None:
    delta = size * np.random.default_rng(0).standard_normal(40)
    np.testing.assert_allclose(stock(np.zeros(40), [delta] * n), delta, rtol=1e-15)
    base = np.random.default_rng(1).standard_normal(40).astype(np.float32)
    tuned = {"w": base + delta.astype(np.float32)}
    assert np.array_equal(merge_state_dicts([tuned] * n, "model_stock", {"w": base})["w"], tuned["w"])


def test_the_size_of_the_differences_does_not_change_what_share_of_them_is_kept() -> None:
    deltas = np.random.default_rng(2).standard_normal((3, 40)) + 1
    whole = stock(np.zeros(40), list(deltas))
    for size in (1e-20, 2.0**-10, 1e10):
        np.testing.assert_allclose(stock(np.zeros(40), list(size * deltas)), size * whole, rtol=1e-13)


def test_the_lengths_of_single_differences_do_not_change_the_share_either() -> None:
    np.testing.assert_allclose(stock([0, 0], [[1, 0], [6e5, 8e5]]), 0.75 * np.array([300000.5, 4e5]), rtol=1e-12)


@pytest.mark.parametrize("deltas", [[[1, 0], [0, 1]], [[1, 0], [-0.6, 0.8]], [[1, 2], [-1, -2]]], ids=str)
def test_differences_at_right_angles_or_wider_give_the_base(deltas: list[list[float]]) -> None:
    assert stock([3, 4], deltas).tolist() == [0, 0]


def test_a_zero_difference_agrees_with_nobody() -> None:
    assert stock([3, 4], [[0, 0], [1, 1]]).tolist() == [0, 0]
    assert stock([3, 4], [[0, 0], [0, 0]]).tolist() == [0, 0]
    third = 3 * (1 / 3) / (1 + 2 / 3)  # one of three pairs has cosine 1, the others 0
    np.testing.assert_allclose(stock([0, 0], [[0, 0], [1, 1], [1, 1]]), np.full(2, third * 2 / 3), rtol=1e-14)


def test_one_fine_tune_comes_back() -> None:
    base, tuned = f32([0.1, 7]), f32([0.3, -2])
    assert np.array_equal(merge_state_dicts([{"w": tuned}], "model_stock", {"w": base})["w"], tuned)


def test_order_does_not_matter() -> None:
    deltas = list(np.random.default_rng(3).standard_normal((4, 30)) + 1)
    np.testing.assert_allclose(stock(np.zeros(30), deltas[::-1]), stock(np.zeros(30), deltas), rtol=1e-13)


def test_it_needs_a_base() -> None:
    with pytest.raises(SoupError, match="base"):
        merge_state_dicts([{"w": f32([1])}, {"w": f32([2])}], "model_stock")
