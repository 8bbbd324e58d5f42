"""Slerp, multislerp and karcher: the methods that only look at lengths and directions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hf_soups import SoupError, merge_state_dicts
from hf_soups.method import Gram, get
from tests.models import f32

MEANS = ["karcher", "multislerp"]


def merged(method: str, ingredients: list[Any], **values: Any) -> np.ndarray:
    array: np.ndarray = merge_state_dicts([{"w": np.asarray(i)} for i in ingredients], method, **values)["w"]
    return array


def gram_of(vectors: np.ndarray) -> Gram:
    return Gram(vectors @ vectors.T, ((vectors[:, None] - vectors) ** 2).sum(-1))


def coefficients(method: str, vectors: Any, **arguments: Any) -> np.ndarray:
    array = np.asarray(vectors, dtype=np.float64)
    if "weight" in arguments:
        arguments["weight"] = np.array(arguments["weight"], dtype=np.float64)[:, None]
    return get(method).coefficients(len(array), arguments, gram_of(array))


def family(n: int, d: int, spread: float, seed: int) -> np.ndarray:
    """Fine-tunes of one base that lie `spread` of its length away from it."""
    generator = np.random.default_rng(seed)
    return generator.standard_normal(d) + spread * generator.standard_normal((n, d))


def slow_karcher(vectors: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The mean by steps on whole vectors."""
    p = weight / weight.sum()
    lengths = [np.linalg.norm(x) for x in vectors]
    units = [x / size for x, size in zip(vectors, lengths, strict=True)]
    mean = sum(a * u for a, u in zip(p, units, strict=True))
    mean = mean / np.linalg.norm(mean)
    for _ in range(500):
        tangent = np.zeros_like(mean)
        for a, u in zip(p, units, strict=True):
            angle = 2 * np.arcsin(np.linalg.norm(u - mean) / 2)
            if angle > 0:
                tangent += a * angle / np.sin(angle) * (u - np.cos(angle) * mean)
        mean = mean + tangent
        mean /= np.linalg.norm(mean)
    result: np.ndarray = (p @ lengths) * mean
    return result


def test_slerp_example_keeps_length_between_those_of_the_ends() -> None:
    a, b = f32([3, 0]), f32([0, 4])
    np.testing.assert_allclose(merged("slerp", [a, b]), [2.474874, 2.474874], atol=1e-6)
    quarter = merged("slerp", [a, b], t=0.25)
    np.testing.assert_allclose(quarter, [3.002608, 1.243721], atol=1e-6)
    assert np.isclose(np.linalg.norm(quarter), 0.75 * 3 + 0.25 * 4)


def test_slerp_refuses_opposite_directions_and_names_the_tensor() -> None:
    with pytest.raises(SoupError, match=r"w: slerp: .*opposite"):
        merged("slerp", [f32([1, 2]), f32([-1, -2])])


def test_slerp_of_a_zero_tensor_is_linear() -> None:
    assert coefficients("slerp", [[0, 0], [0, 4]], t=0.25).tolist() == [0.75, 0.25]


@pytest.mark.parametrize("ends", [[[3, 0], [0, 4]], [[3, 0], [3, 0]], [[3, 0], [-3, 0]], [[0.1, 0.7], [0, 0]]], ids=str)
def test_slerp_ends_are_exact(ends: list[list[float]]) -> None:
    assert coefficients("slerp", ends, t=0.0).tolist() == [1, 0]
    assert coefficients("slerp", ends, t=1.0).tolist() == [0, 1]


@pytest.mark.parametrize("angle", [1.0, 0.031622, 0.031624, 1e-2, 1e-4, 1e-6, 1e-8, 1e-10])
def test_slerp_follows_the_arc_at_every_angle(angle: float) -> None:
    """The point at t is at angle t W, also where others change to a line, at cosine 0.9995 (W = 0.031623)."""
    vectors = np.array([[1, 0], [2 * np.cos(angle), 2 * np.sin(angle)]])
    middle = coefficients("slerp", vectors, t=0.3) @ vectors
    expected = 1.3 * np.array([np.cos(0.3 * angle), np.sin(0.3 * angle)])
    np.testing.assert_allclose(middle, expected, rtol=1e-14 + 1e-15 / angle)


def test_slerp_of_parallel_tensors_is_the_line_between_them() -> None:
    vectors = np.array([[1.0, 2, 3], [3, 6, 9]])
    np.testing.assert_allclose(coefficients("slerp", vectors, t=0.3) @ vectors, [1.6, 3.2, 4.8], rtol=1e-14)


@pytest.mark.parametrize("method", ["slerp", *MEANS])
def test_lengths_of_very_different_size_leave_directions_alone(method: str) -> None:
    vectors = np.array([[0.3, 0.1], [-1.1e8, 3.3e8]])  # at right angles
    lengths = np.linalg.norm(vectors, axis=1)
    found = coefficients(method, vectors, **({} if method == "slerp" else {"weight": [1, 1]}))
    np.testing.assert_allclose(found * lengths, np.sqrt(0.5) * lengths.mean(), rtol=1e-12)


def test_multislerp_examples() -> None:
    a, b, c = f32([1, 0, 0]), f32([0, 1, 0]), f32([0.6, 0.8, 0])
    np.testing.assert_allclose(merged("multislerp", [a, b, c]), [0.664364, 0.747409, 0], atol=1e-6)
    np.testing.assert_allclose(merged("multislerp", [a, b], weight=[3, 1]), [0.948683, 0.316228, 0], atol=1e-6)


def test_karcher_examples() -> None:
    a, b, c = f32([1, 0, 0]), f32([0, 1, 0]), f32([0.6, 0.8, 0])
    np.testing.assert_allclose(merged("karcher", [a, b, c]), [0.672883, 0.739749, 0], atol=1e-6)
    np.testing.assert_allclose(merged("karcher", [a, b], weight=[0.75, 0.25]), [0.92388, 0.382683, 0], atol=1e-6)
    np.testing.assert_allclose(merged("karcher", [3 * a, 4 * b]), [2.474874, 2.474874, 0], atol=1e-6)


@pytest.mark.parametrize("spread", [3.0, 1e-1, 1e-3, 1e-6])
@pytest.mark.parametrize("seed", range(3))
def test_multislerp_equals_its_formula_on_whole_vectors(spread: float, seed: int) -> None:
    vectors = family(5, 300, spread, seed)
    p = np.array([0.1, 0.3, 0.2, 0.35, 0.05])
    lengths = np.linalg.norm(vectors, axis=1)
    direction = p @ (vectors / lengths[:, None])
    expected = direction / np.linalg.norm(direction) * (p @ lengths)
    np.testing.assert_allclose(coefficients("multislerp", vectors, weight=7 * p) @ vectors, expected, atol=1e-13)


@pytest.mark.parametrize("spread", [3.0, 1e-1, 1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("seed", range(3))
def test_karcher_equals_steps_on_whole_vectors(spread: float, seed: int) -> None:
    """Compared by what they differ from the base, so that near ones are not equal for being near."""
    vectors = family(5, 300, spread, seed)
    weight = np.array([1.0, 3, 2, 3.5, 0.5])
    result = coefficients("karcher", vectors, weight=weight) @ vectors
    error = np.abs(result - slow_karcher(vectors, weight)).max() / spread
    assert error < 1e-8 + 1e-14 / spread


def test_karcher_takes_many_unrelated_ingredients() -> None:
    vectors = family(100, 1000, 1e6, 0)
    weight = np.random.default_rng(1).random(100)
    expected = slow_karcher(vectors, weight)
    result = coefficients("karcher", vectors, weight=weight) @ vectors
    np.testing.assert_allclose(result, expected, atol=1e-8 * np.abs(expected).max())


def test_karcher_takes_more_ingredients_than_the_tensor_has_elements() -> None:
    for seed in range(10):
        vectors = family(8, 2, 0.3, seed)
        vectors /= np.sign(vectors @ vectors[0])[:, None]  # half a plane
        weight = np.random.default_rng(seed).random(8)
        result = coefficients("karcher", vectors, weight=weight) @ vectors
        np.testing.assert_allclose(result, slow_karcher(vectors, weight), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("spread", [1.0, 1e-3, 1e-6])
@pytest.mark.parametrize("weight", [[1, 1], [3, 1], [0.2, 5], [1, 0]], ids=str)
def test_karcher_of_two_is_slerp(spread: float, weight: list[float]) -> None:
    vectors = family(2, 50, spread, 4)
    along = coefficients("slerp", vectors, t=weight[1] / sum(weight))
    np.testing.assert_allclose(coefficients("karcher", vectors, weight=weight), along, rtol=1e-8, atol=1e-12)


def test_karcher_of_two_is_slerp_however_wide_the_angle() -> None:
    for degrees in (91, 120, 150, 170):
        angle = np.deg2rad(degrees)
        vectors = [[1, 0], [2 * np.cos(angle), 2 * np.sin(angle)]]
        along = coefficients("slerp", vectors, t=0.25)
        np.testing.assert_allclose(coefficients("karcher", vectors, weight=[3, 1]), along, rtol=1e-7)


@pytest.mark.parametrize("method", MEANS)
def test_order_moves_coefficients_along_and_only_ratios_of_weights_matter(method: str) -> None:
    vectors, weight, order = family(4, 60, 2.0, 1), np.array([1.0, 2, 0, 4]), [2, 0, 3, 1]
    straight = coefficients(method, vectors, weight=weight)
    np.testing.assert_allclose(coefficients(method, vectors[order], weight=weight[order]), straight[order], rtol=1e-9)
    np.testing.assert_allclose(coefficients(method, vectors, weight=1e-12 * weight), straight, rtol=1e-12)
    assert straight[2] == 0


@pytest.mark.parametrize("method", MEANS)
def test_one_ingredient_and_one_with_all_the_weight_are_exact(method: str) -> None:
    vectors = family(3, 7, 1.0, 2)
    assert coefficients(method, vectors[:1], weight=[0.3]).tolist() == [1]
    assert coefficients(method, vectors, weight=[0, 0.3, 0]).tolist() == [0, 1, 0]
    assert merged(method, [f32([0.1, -0.7])]).tolist() == f32([0.1, -0.7]).tolist()


@pytest.mark.parametrize("method", MEANS)
@pytest.mark.parametrize("n", [2, 3, 7])
def test_coefficients_of_equal_ingredients_are_their_shares(method: str, n: int) -> None:
    weight = np.arange(1.0, n + 1)
    found = coefficients(method, np.tile(family(1, 33, 1.0, 3), (n, 1)), weight=weight)
    np.testing.assert_allclose(found, weight / weight.sum(), rtol=1e-15)


@pytest.mark.parametrize("method", MEANS)
def test_the_result_is_as_long_as_the_ingredients_in_the_mean(method: str) -> None:
    vectors, weight = family(4, 60, 2.0, 1), np.array([0.1, 0.2, 0.3, 0.4])
    result = coefficients(method, vectors, weight=weight) @ vectors
    assert np.isclose(np.linalg.norm(result), weight @ np.linalg.norm(vectors, axis=1), rtol=1e-12)


@pytest.mark.parametrize("method", MEANS)
def test_zero_tensors_shorten_the_result_and_leave_its_direction(method: str) -> None:
    a, b, zero = f32([3, 0]), f32([0, 4]), f32([0, 0])
    with_zero = merged(method, [a, zero, b], weight=[1, 2, 1])
    np.testing.assert_allclose(with_zero, merged(method, [a, b]) / 2, rtol=1e-6)
    heavy = coefficients(method, [[3, 0], [0, 0], [0, 4]], weight=[1, 1e6, 1])
    np.testing.assert_allclose(heavy / heavy[0], [1, 0, 0.75], rtol=1e-9)
    assert merged(method, [zero, zero]).tolist() == [0, 0]
    assert merged(method, [a, zero], weight=[0, 1]).tolist() == [0, 0]
    assert coefficients(method, np.zeros((2, 3)), weight=[1, 3]).tolist() == [0.25, 0.75]


@pytest.mark.parametrize(("weight", "reason"), [([1, 1], "directions .* cancel"), ([3, 1], "points away")], ids=str)
def test_karcher_refuses_opposite_directions_and_names_the_tensor(weight: list[float], reason: str) -> None:
    with pytest.raises(SoupError, match=f"w: karcher: .*{reason}"):
        merged("karcher", [f32([1, 2]), f32([-1, -2])], weight=weight)


def test_an_opposite_direction_without_weight_is_no_hindrance() -> None:
    assert coefficients("karcher", [[1, 2], [-1, -2], [1, 2]], weight=[1, 0, 1]).tolist() == [0.5, 0, 0.5]


@pytest.mark.parametrize("method", MEANS)
def test_three_directions_that_cancel_are_refused(method: str) -> None:
    star = [[np.cos(a), np.sin(a)] for a in np.deg2rad([0, 120, 240])]
    with pytest.raises(ValueError, match="cancel"):
        coefficients(method, star, weight=[1, 1, 1])


def test_karcher_refuses_directions_that_spread_around_the_whole_circle() -> None:
    fan = [[np.cos(a), np.sin(a)] for a in np.deg2rad([0, 0, 130, -130])]
    with pytest.raises(ValueError, match="no mean direction after"):
        coefficients("karcher", fan, weight=[1, 1, 1, 1])


def test_multislerp_averages_two_opposite_tensors() -> None:
    assert merged("multislerp", [f32([1, 2]), f32([-3, -6])]).tolist() == [-1, -2]


@pytest.mark.parametrize("method", MEANS)
def test_weights_that_are_all_zero_are_refused(method: str) -> None:
    with pytest.raises(SoupError, match=f"w: {method}: the weights sum to 0"):
        merged(method, [f32([1, 2]), f32([2, 1])], weight=[0, 0])


@pytest.mark.parametrize("method", MEANS)
def test_negative_weights_are_refused(method: str) -> None:
    with pytest.raises(SoupError, match="weight must be 0 to inf"):
        merged(method, [f32([1, 2]), f32([2, 1])], weight=[1, -1])
