"""The linearised version: exact where the model is linear, the optimum of its convex problem, honest about the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize  # type: ignore[import-untyped]

from hf_soups import Learning
from hf_soups.selection.learned.convex import GAP, cross_entropy, descend, minimise, project
from hf_soups.selection.learned.fit import fit
from hf_soups.selection.learned.linear import fit_linear
from hf_soups.selection.learned.subsets import screen
from hf_soups.selection.learned.tangent import Tangent, real_logits, tangent
from tests.selection.learned.parts import rows_for, states_of, streamed
from tests.selection.learned.test_fit import solvable


def random_tangent(groups: int, n: int, rows: int = 40, labels: int = 3, seed: int = 0) -> Tangent:
    generator = np.random.default_rng(seed)
    slopes = generator.normal(size=(rows, labels, groups, n))
    slopes -= slopes.mean(axis=3, keepdims=True)  # differences from the uniform soup
    return Tangent(generator.normal(size=(rows, labels)), slopes, generator.integers(0, labels, rows))


def by_scipy(model: Tangent, beta: bool) -> float:
    """The least loss that sequential quadratic programming finds."""
    groups, n = model.slopes.shape[2:]
    sums = {"type": "eq", "fun": lambda x: x[:-1].reshape(groups, n).sum(axis=1) - 1}

    def value(x: np.ndarray) -> float:
        return float(cross_entropy(x[-1] * model.at(x[:-1].reshape(groups, n)), model.labels))

    begin = np.append(np.full(groups * n, 1 / n), 1.0)
    bounds = [(0, 1)] * (groups * n) + [(0.05, 20) if beta else (1, 1)]
    found = minimize(
        value, begin, bounds=bounds, constraints=[sums], method="SLSQP", options={"ftol": 1e-12, "maxiter": 1000}
    )
    assert found.success
    return float(found.fun)


@pytest.mark.parametrize("beta", [False, True])
@pytest.mark.parametrize(("groups", "n"), [(1, 2), (1, 6), (4, 3)])
def test_the_convex_fit_is_scipys_optimum(groups: int, n: int, beta: bool) -> None:
    model = random_tangent(groups, n, seed=groups + n)
    a, scale, value = minimise(model, beta)
    assert value == pytest.approx(by_scipy(model, beta), abs=10 * GAP)
    np.testing.assert_allclose(a.sum(axis=1), 1, atol=1e-12)
    assert a.min() >= 0 and (beta or scale == 1.0)


def test_an_ingredient_that_only_hurts_gets_exactly_nothing() -> None:
    model = random_tangent(1, 3)
    wanted = np.eye(3)[model.labels] - 1 / 3
    slopes = np.stack([wanted, 0.5 * wanted, -1.5 * wanted], axis=2)[:, :, None, :]  # [rows, labels, 1, 3]
    a = descend(Tangent(model.logits, slopes, model.labels), np.full((1, 3), 1 / 3))
    np.testing.assert_allclose(a, [[1, 0, 0]], atol=1e-6)


def test_projection_is_the_nearest_point_of_the_simplex() -> None:
    x = np.random.default_rng(0).normal(size=(5, 4))
    nearest = project(x)
    np.testing.assert_allclose(nearest.sum(axis=1), 1)
    for other in np.random.default_rng(1).dirichlet(np.full(4, 0.5), size=500):
        assert (((x - nearest) ** 2).sum(axis=1) <= ((x - other) ** 2).sum(axis=1) + 1e-12).all()
    np.testing.assert_allclose(project(nearest), nearest, atol=1e-15)


@pytest.mark.parametrize("granularity", ["model", "tensor"])
def test_a_linear_model_is_exactly_linear(granularity: str) -> None:
    soup, rows = streamed("linear", states_of("linear", 3), granularity), rows_for("linear")
    model = tangent(soup, rows)
    a = np.random.default_rng(0).dirichlet(np.ones(3), size=len(soup.names))
    np.testing.assert_allclose(model.at(a), real_logits(soup, rows, a), rtol=1e-12, atol=1e-12)


def test_the_linearised_fit_of_a_linear_model_is_the_full_fit() -> None:
    states = states_of("linear", 3)
    rows = solvable("linear", states, n=80)
    linear = fit_linear(streamed("linear", states, "model"), rows, rows, Learning(beta=False))
    full = fit(
        streamed("linear", states, "model"),
        rows,
        rows,
        Learning(beta=False, epochs=200, batch_size=80, lr=0.5),
    )
    convex = linear.confirmed[1]
    assert convex.name == "convex" and convex.error < 1e-12 and convex.flipped == 0
    assert convex.linear == pytest.approx(convex.fit, abs=1e-12)
    assert convex.calibrate == pytest.approx(full.epochs[full.best].calibrate, abs=1e-4)


@pytest.mark.parametrize("kind", ["tied", "bert"])
def test_slopes_are_the_derivatives_of_the_real_logits(kind: str) -> None:
    soup, rows = streamed(kind, states_of(kind, 3), "block"), rows_for(kind)
    model = tangent(soup, rows)
    uniform, step = np.full((len(soup.names), 3), 1 / 3), 1e-5
    np.testing.assert_allclose(real_logits(soup, rows, uniform), model.logits, rtol=1e-9, atol=1e-12)
    for g in range(len(soup.names)):
        for i in range(3):
            ends = []
            for sign in (1, -1):
                a = uniform.copy()
                a[g] += sign * step * (np.eye(3)[i] - 1 / 3)  # towards ingredient i
                ends.append(real_logits(soup, rows, a))
            np.testing.assert_allclose(
                (ends[0] - ends[1]) / (2 * step), model.slopes[:, :, g, i], rtol=1e-5, atol=1e-7, err_msg=soup.names[g]
            )


def test_attention_is_fused_again_afterwards() -> None:
    soup = streamed("bert", states_of("bert", 2), "model")
    soup.model.set_attn_implementation("sdpa")
    tangent(soup, rows_for("bert"))
    assert soup.model.config._attn_implementation == "sdpa"


def test_screening_ranks_all_subsets_by_the_loss_of_their_uniform_soup() -> None:
    model = random_tangent(2, 5)
    found = screen(model, 31)
    assert len({subset for subset, _ in found}) == 31
    for subset, value in found:
        a = np.zeros((2, 5))
        a[:, list(subset)] = 1 / len(subset)
        assert value == pytest.approx(float(cross_entropy(model.at(a), model.labels)))
    values = [value for _, value in found]
    assert values == sorted(values)


def test_more_than_sixteen_ingredients_are_not_screened() -> None:
    assert screen(random_tangent(1, 17, rows=2), 3) == []


def test_a_curved_model_is_reported_as_such_and_the_choice_rests_on_real_soups() -> None:
    states = states_of("bert", 4, scale=1.0)
    rows = solvable("bert", states)
    soup = streamed("bert", states, "model")
    found = fit_linear(soup, rows, rows, Learning())
    by_name: dict[str, Any] = {c.name: c for c in found.confirmed}
    assert by_name["uniform"].error == 0 and by_name["convex"].error > 0.01
    assert found.confirmed[found.best].calibrate == min(c.calibrate for c in found.confirmed)
    real = real_logits(soup, rows, found.a)
    labels = np.concatenate([b.labels.numpy() for b in rows.pieces(np.arange(rows.n))])
    value = torch.nn.functional.cross_entropy(torch.from_numpy(found.beta * real), torch.from_numpy(labels))
    assert float(value) == pytest.approx(found.confirmed[found.best].fit)
