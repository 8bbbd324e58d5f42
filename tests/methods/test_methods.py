"""Every method against its definition, on every shape, and against the hand-checked examples."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from hf_soups import merge_state_dicts
from hf_soups.method import get, names
from tests.models import f32

SHAPES = [(), (0,), (1,), (2,), (3,), (7, 5), (2, 3, 4), (1, 1), (300, 1001)]
DTYPES = [np.float32, np.float16, ml_dtypes.bfloat16]
# parameters with which a method's definition gives identical ingredients back
IDENTITY: dict[str, dict[str, Any]] = {
    "average": {"weight": [0.3, 0.3]},
    "dare_ties": {"density": 1.0},
    "interpolate": {"alpha": 1.0},
    "karcher": {"weight": [0.3, 0.3]},
    "model_stock": {},
    "multislerp": {"weight": [0.3, 0.3]},
    "slerp": {"t": 0.3},
    "task_arithmetic": {"weight": 0.5},
    "ties": {"density": 1.0},
}


def tensor(shape: tuple[int, ...], dtype: Any, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32).astype(dtype)


def bits(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def merged(method: str, ingredients: list[Any], base: Any = None, **values: Any) -> np.ndarray:
    state_dicts = [{"w": np.asarray(i)} for i in ingredients]
    result = merge_state_dicts(state_dicts, method, None if base is None else {"w": np.asarray(base)}, **values)
    array: np.ndarray = result["w"]
    return array


def test_every_method_says_how_identical_ingredients_come_back() -> None:
    assert sorted(IDENTITY) == names()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
@pytest.mark.parametrize("method", names())
def test_identical_ingredients_give_that_ingredient_back(method: str, dtype: Any, shape: tuple[int, ...]) -> None:
    n = get(method).ingredients or 2
    x = tensor(shape, dtype, 1)
    result = merged(method, [x] * n, tensor(shape, dtype, 2), **IDENTITY[method])
    assert result.shape == shape and result.dtype == x.dtype
    if method in (
        "task_arithmetic",
        "ties",
        "dare_ties",
    ):  # base + (x - base) is x up to rounding at the larger's scale
        places = {4: 1e-6, 2: 1e-2}[x.dtype.itemsize]
        np.testing.assert_allclose(result.astype(np.float64), x.astype(np.float64), rtol=places, atol=1e-6)
    else:
        assert np.array_equal(bits(result), bits(x))


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
def test_interpolation_ends_are_the_base_and_the_fine_tune_bit_for_bit(dtype: Any) -> None:
    base, tuned = tensor((40, 30), dtype, 1), tensor((40, 30), dtype, 2)
    base.reshape(-1)[0] = -0.0
    tuned.reshape(-1)[1] = -0.0
    assert np.array_equal(bits(merged("interpolate", [tuned], base, alpha=0.0)), bits(base))
    assert np.array_equal(bits(merged("interpolate", [tuned], base, alpha=1.0)), bits(tuned))


def test_average_example() -> None:
    a, b = f32([1, 2, -1, 4]), f32([3, 0, 1, -2])
    assert merged("average", [a, b]).tolist() == [2, 1, 0, 1]
    assert merged("average", [a, b], weight=[3, 1]).tolist() == [1.5, 1.5, -0.5, 2.5]


def test_interpolate_example() -> None:
    result = merged("interpolate", [f32([1, 2, -1, 4])], f32([1, 1, 0, 0]), alpha=0.25)
    assert result.tolist() == [1, 1.25, -0.25, 1]


def test_interpolate_of_several_is_the_line_from_the_base_to_their_average() -> None:
    tuned, base = [f32([5, 0]), f32([1, 8])], f32([1, 0])
    assert merged("interpolate", tuned, base, alpha=0.5, weight=[3, 1]).tolist() == [2.5, 1]  # their average is [4, 2]
    assert np.array_equal(merged("interpolate", tuned, base, alpha=0.0), base)
    assert np.array_equal(merged("interpolate", tuned, base, alpha=1.0), merged("average", tuned))


def test_task_arithmetic_example() -> None:
    base = np.ones(4, np.float32)
    ingredients = [base + f32([0.4, -0.2, 0.1, 0]), base + f32([-0.1, -0.3, 0.2, 0.05])]
    np.testing.assert_allclose(
        merged("task_arithmetic", ingredients, base, scale=0.3), [1.09, 0.85, 1.09, 1.015], rtol=1e-6
    )


def test_task_arithmetic_with_a_negative_weight_forgets() -> None:
    base, tuned = f32([1, 1]), f32([2, 0])
    assert merged("task_arithmetic", [tuned], base, weight=-1.0).tolist() == [0, 2]


def test_ties_example_votes_without_weights_and_averages_with_them() -> None:
    deltas = [f32([0.6, -0.2, 0.1, 0.3]), f32([-0.5, -0.4, 0.2, 0.1])]
    zero = np.zeros(4, np.float32)
    for weight in ([1, 1], [1, 3]):
        result = merged("ties", deltas, zero, density=0.5, weight=weight)
        np.testing.assert_allclose(result, [0.6, -0.4, 0, 0.3], atol=1e-7)


def slow_ties(deltas: np.ndarray, density: float, weight: np.ndarray, scale: float) -> np.ndarray:
    """Algorithm 1 of the paper by loops, in float64, trimming by a full sort."""
    n, d = deltas.shape
    trimmed = deltas.copy()
    for row in trimmed:
        order = sorted((abs(x) for x in row), reverse=True)
        smallest = order[max(1, int(density * d + 1e-9)) - 1]
        row[np.abs(row) < smallest] = 0
    out = np.zeros(d)
    for p in range(d):
        sign = -1 if sum(trimmed[:, p]) < 0 else 1
        agreeing = [i for i in range(n) if trimmed[i, p] * sign > 0]
        if agreeing:
            out[p] = sum(weight[i] * trimmed[i, p] for i in agreeing) / sum(weight[i] for i in agreeing)
    return scale * out


@pytest.mark.parametrize("density", [0.01, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_ties_equals_the_paper_by_loops(density: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    base = generator.standard_normal(997)
    deltas = generator.standard_normal((4, 997)) * 0.01
    deltas[1, ::3] = deltas[1, 0]  # magnitudes that tie
    weight = np.array([1.0, 2.0, 0.5, 1.0])
    ingredients = [{"a": (base + d)[:400], "b": (base + d)[400:].reshape(3, 199)} for d in deltas]
    bases = {"a": base[:400], "b": base[400:].reshape(3, 199)}
    result = merge_state_dicts(ingredients, "ties", bases, density=density, weight=weight.tolist(), scale=0.7)
    flat = np.concatenate([result["a"], result["b"].reshape(-1)])
    seen = np.stack([np.concatenate([i["a"], i["b"].reshape(-1)]) for i in ingredients]) - base
    np.testing.assert_allclose(flat, base + slow_ties(seen, density, weight, 0.7), rtol=1e-12, atol=1e-12)


def test_ties_at_density_zero_is_the_base() -> None:
    base, tuned = f32([1, 2, 3]), f32([4, 5, 6])
    assert merged("ties", [tuned, tuned], base, density=0.0).tolist() == [1, 2, 3]


def test_average_ignores_the_order_of_ingredients_up_to_rounding_and_the_scale_of_weights() -> None:
    xs = [tensor((50,), np.float32, s) for s in range(4)]
    weights = [1.0, 2.0, 0.0, 4.0]
    result = merged("average", xs, weight=weights)
    np.testing.assert_allclose(result, merged("average", xs[::-1], weight=weights[::-1]), rtol=1e-6)
    assert np.array_equal(result, merged("average", xs, weight=[8 * w for w in weights]))


def test_the_same_model_twice_counts_twice() -> None:
    a, b = f32([3.0]), f32([0.0])
    assert merged("average", [a, a, b]).tolist() == [2.0]


def test_sixteen_bit_averages_are_off_by_no_more_than_the_one_rounding() -> None:
    xs = [np.abs(tensor((10_000,), ml_dtypes.bfloat16, s)) for s in range(5)]
    exact = np.mean([x.astype(np.float64) for x in xs], axis=0)
    place = 2.0 ** (np.floor(np.log2(exact)) - 7)  # bfloat16 has 8 bits of precision
    assert (np.abs(merged("average", xs).astype(np.float64) - exact) <= 0.5001 * place).all()


def test_linear_methods_equal_their_function_on_the_vectors_themselves() -> None:
    """The engine uses what the function does to unit vectors; the function stays the definition."""
    vectors = np.random.default_rng(0).standard_normal((3, 64))
    weight = np.array([[0.2], [1.0], [-0.4]])
    cases: dict[str, dict[str, Any]] = {
        "average": {"weight": weight},
        "task_arithmetic": {"weight": weight, "scale": 0.3},
    }
    for name, arguments in cases.items():
        method = get(name)
        np.testing.assert_allclose(
            method.coefficients(3, arguments) @ vectors, method.function(vectors, **arguments), rtol=1e-12
        )


def test_torch_tensors_come_back_as_torch_tensors() -> None:
    import torch

    given = [{"w": torch.full((2, 3), float(v), dtype=torch.bfloat16)} for v in (1, 2)]
    result = merge_state_dicts(given)["w"]
    assert isinstance(result, torch.Tensor) and result.dtype == torch.bfloat16
    assert result.tolist() == [[1.5] * 3] * 2
