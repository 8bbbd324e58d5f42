"""Learned weights: as good as with everything in memory, stopped in time, reproducible."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.func import functional_call

from hf_soups import Learning, SelectionError
from hf_soups.selection.learned.fit import PATIENCE, fit, mean_loss
from hf_soups.selection.learned.head import logit_layer
from tests.selection.learned.parts import Rows, model_of, rows_for, states_of, streamed


def solvable(kind: str, states: list[dict[str, torch.Tensor]], n: int = 60, seed: int = 1) -> Rows:
    """Rows whose labels come from a lopsided soup, so that there is something to find."""
    rows = rows_for(kind, n, seed)
    truth = np.linspace(1, 0, len(states)) ** 2
    weights = torch.from_numpy(truth / truth.sum())
    model = model_of(kind).eval()
    model.load_state_dict({k: sum(w * s[k] for w, s in zip(weights, states, strict=True)) for k in states[0]})
    with torch.no_grad():
        rows.labels = model(**rows.inputs).logits.argmax(1)
    return rows


def in_memory(kind: str, states: list[dict[str, torch.Tensor]], rows: Rows, epochs: int, batch: int) -> float:
    """The loss at the end of the plain way: all ingredients in memory, autograd through their sum."""
    z = torch.zeros(1, len(states), dtype=torch.float64, requires_grad=True)
    beta = torch.ones((), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.AdamW([z, beta], lr=0.05, weight_decay=0)
    random = np.random.default_rng(0)
    model = model_of(kind).eval()

    def value(few: Any) -> Any:
        a = torch.softmax(z, dim=1)[0]
        soup = {name: sum((a[i] * s[name] for i, s in enumerate(states)), torch.zeros(())) for name in states[0]}
        inputs = {key: tensor[few] for key, tensor in rows.inputs.items()}
        logits = functional_call(model, soup, args=(), kwargs=inputs).logits
        return torch.nn.functional.cross_entropy(beta * logits, rows.labels[few])

    for _ in range(epochs):
        order = random.permutation(rows.n)
        for start in range(0, rows.n, batch):
            optimiser.zero_grad()
            value(torch.from_numpy(order[start : start + batch])).backward()
            optimiser.step()
    return float(value(torch.arange(rows.n)).detach())


def test_four_ingredients_reach_the_objective_of_the_version_in_memory() -> None:
    states = states_of("bert", 4)
    rows = solvable("bert", states)
    expected = in_memory("bert", states, rows, epochs=5, batch=16)
    soup = streamed("bert", states, "model")
    found = fit(soup, rows, rows, Learning(epochs=5, batch_size=16))
    assert found.best == 5 and found.steps == 20
    soup.fill(found.a)
    assert mean_loss(soup.model, rows, found.beta) == pytest.approx(expected, abs=1e-4)
    assert expected < found.epochs[0].calibrate - 0.01  # there was something to learn


def test_the_lopsided_truth_is_found_by_each_granularity() -> None:
    states = states_of("linear", 3)
    rows = solvable("linear", states, n=200)
    for granularity in ("model", "block", "tensor"):
        found = fit(streamed("linear", states, granularity), rows, rows, Learning(epochs=20, batch_size=50))
        assert (found.a[0].argsort()[::-1] == [0, 1, 2]).all(), granularity


def test_fitting_stops_when_calibration_data_do_not_gain_and_keeps_their_best_epoch() -> None:
    states = states_of("linear", 3)
    rows = solvable("linear", states)
    against = Rows(rows.inputs, (rows.labels + 1) % 3)  # whatever helps one hurts the other
    found = fit(streamed("linear", states, "model"), rows, against, Learning(epochs=50))
    assert found.best == 0 and len(found.epochs) == 1 + PATIENCE
    np.testing.assert_array_equal(found.a, np.full((1, 3), 1 / 3))
    assert found.beta == 1.0


def test_the_same_seed_gives_the_same_weights_and_another_order_other_ones() -> None:
    states, rows = states_of("bert", 2), rows_for("bert")
    a, b, c = (
        fit(streamed("bert", states, "block"), rows, rows, Learning(epochs=2, batch_size=4), seed).a
        for seed in (0, 0, 1)
    )
    assert (a == b).all() and (a != c).any()


def test_a_loss_that_is_not_finite_is_an_error() -> None:
    states = states_of("linear", 2)
    rows = rows_for("linear")
    rows.inputs["x"][:] = 1e200
    with pytest.raises(SelectionError, match="not finite in epoch 1; lower lr"):
        fit(streamed("linear", states, "model"), rows, rows, Learning(space="free", lr=1e200))


def test_the_logit_layer_is_found_by_what_it_does() -> None:
    soup = streamed("bert", states_of("bert", 2), "model")
    rows = rows_for("bert")
    soup.fill(np.array([[0.5, 0.5]]))
    before = soup.model(**rows.inputs).logits.detach()
    names = logit_layer(soup.model, soup.learned, rows)
    assert names == ("classifier.weight", "classifier.bias")
    assert torch.equal(soup.model(**rows.inputs).logits.detach(), before)  # it is left as it was
    for name in names:
        soup.learned[name].data *= 1.7
    torch.testing.assert_close(soup.model(**rows.inputs).logits.detach(), 1.7 * before)


@pytest.mark.parametrize("scaled_away", [False, True])
def test_a_head_that_shares_its_weight_keeps_no_factor(scaled_away: bool) -> None:
    """Not even where the other use does not feel that the weight is doubled: it would feel other factors."""
    soup = streamed("tied", states_of("tied", 2), "model")
    soup.fill(np.array([[0.5, 0.5]]))
    if scaled_away:
        soup.model.embeddings.register_forward_hook(lambda layer, inputs, output: output / layer.weight.abs().max())
    assert logit_layer(soup.model, soup.learned, rows_for("tied")) == ()


def test_weights_for_a_recipe_carry_the_factor_and_leave_buffers_uniform() -> None:
    soup = streamed("bert", states_of("bert", 2), "block")
    a = np.tile([0.25, 0.75], (len(soup.names), 1))
    weights = soup.weights(a, {"classifier.bias": 2.0})
    assert weights.tensors["classifier.bias"] == (0.5, 1.5) and weights.tensors["classifier.weight"] == (0.25, 0.75)
