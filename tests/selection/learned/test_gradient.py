"""The streamed gradient is the gradient: against autograd through a functional model, all in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.func import functional_call

from hf_soups.recipe.learning import GRANULARITIES, SPACES
from hf_soups.selection.learned.fit import accumulate
from hf_soups.selection.learned.mixing import gradient, mixing_weights
from tests.selection.learned.parts import Rows, model_of, rows_for, states_of, streamed


def by_autograd(
    kind: str, states: list[dict[str, torch.Tensor]], groups: dict[str, str], z: Any, beta: Any, space: str, rows: Rows
) -> None:
    """Leave the gradients in z and beta: every ingredient in memory, every operation recorded."""
    names = list(dict.fromkeys(groups.values()))
    a = torch.softmax(z, dim=1) if space == "simplex" else z
    soup = {
        name: sum((a[names.index(group), i] * s[name] for i, s in enumerate(states)), torch.zeros(()))
        for name, group in groups.items()
    }
    logits = functional_call(model_of(kind).eval(), soup, args=(), kwargs=dict(rows.inputs), tie_weights=True).logits
    torch.nn.functional.cross_entropy(beta * logits, rows.labels).backward()


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("kind", ["linear", "tied", "bert"])
def test_streamed_gradients_are_those_of_autograd(kind: str, granularity: str, space: str) -> None:
    states, rows = states_of(kind, 4), rows_for(kind)
    soup = streamed(kind, states, granularity)
    start = np.random.default_rng(0).normal(size=(len(soup.names), 4)) * 0.3 + (0.25 if space == "free" else 0)
    expected_z = torch.from_numpy(start.copy()).requires_grad_()
    expected_beta = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    by_autograd(kind, states, dict(soup.groups), expected_z, expected_beta, space, rows)

    a = mixing_weights(start, space)
    beta = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    soup.fill(a)
    accumulate(soup.model, rows, np.arange(rows.n), beta)
    found = gradient(a, *soup.inner_products(), space)

    assert expected_z.grad is not None and expected_beta.grad is not None and beta.grad is not None
    expected = expected_z.grad.numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8 * float(np.abs(expected).max()))
    np.testing.assert_allclose(float(beta.grad), float(expected_beta.grad), rtol=1e-8)


def test_tied_tensors_are_one_and_counted_once() -> None:
    soup = streamed("tied", states_of("tied", 2), "tensor")
    assert [name for name in soup.names if "embeddings" in name or name == "score.weight"] == ["embeddings.weight"]
    weights = soup.weights(np.arange(2.0 * len(soup.names)).reshape(-1, 2))
    assert weights.tensors["score.weight"] == weights.tensors["embeddings.weight"]


def test_the_plain_product_would_have_lost_the_gradient_of_close_ingredients() -> None:
    """Fine-tunes that differ by 1e-9 of large weights: their differences still give 6 digits."""
    states = states_of("linear", 3, scale=1e-9)
    for state in states:
        state["score.weight"] += 1e3
    soup, rows = streamed("linear", states, "model"), rows_for("linear")
    a = np.full((1, 3), 1 / 3)
    soup.fill(a)
    accumulate(soup.model, rows, np.arange(rows.n), torch.ones((), dtype=torch.float64))
    found = gradient(a, *soup.inner_products(), "simplex")[0]
    grads: dict[str, Any] = {name: p.grad for name, p in soup.learned.items()}
    here = {name: p.detach() for name, p in soup.learned.items()}
    exact = [sum(float((g * (s[n] - here[n])).sum()) for n, g in grads.items()) / 3 for s in states]
    plain = np.array([sum(float((g * s[n]).sum()) for n, g in grads.items()) for s in states])
    np.testing.assert_allclose(found, exact, rtol=1e-6)
    assert np.abs(a[0] * (plain - plain.mean()) - found).max() > 1e-6 * np.abs(found).max()


def test_dropout_is_off_and_a_step_forgets_the_gradient_before_it() -> None:
    soup, rows = streamed("tied", states_of("tied", 2), "model"), rows_for("tied")
    products = []
    for _ in range(2):
        soup.fill(np.array([[0.4, 0.6]]))
        accumulate(soup.model, rows, np.arange(rows.n), torch.ones((), dtype=torch.float64))
        products.append(soup.inner_products()[0])
    np.testing.assert_array_equal(products[0], products[1])


def test_a_gradient_in_pieces_is_that_of_all_rows_at_once() -> None:
    found = []
    for size in (3, 12):
        soup, rows = streamed("bert", states_of("bert", 2), "model"), rows_for("bert")
        rows.size = size
        soup.fill(np.array([[0.4, 0.6]]))
        accumulate(soup.model, rows, np.arange(rows.n), torch.ones((), dtype=torch.float64))
        found.append(soup.inner_products()[0])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-10)
