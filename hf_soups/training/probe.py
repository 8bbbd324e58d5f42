"""The shared head: a logistic regression on the frozen model's features, put in place of its last layer.

LP-FT (arXiv:2202.10054): runs that start from one competent head stay in one basin, so that their weights can be
averaged; a random head per run would make the average of the heads mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from hf_soups.errors import CheckpointError, EvaluationError
from hf_soups.training.batches import Batches

STRENGTH = 0.1  # C, for features of unit variance: strong enough a penalty for a few hundred examples
ITERATIONS = 2000  # far more than lbfgs needs on features of unit variance


def probe(
    model: nn.Module,
    batches: Batches,
    labels: Sequence[str],
    forward: Callable[[dict[str, torch.Tensor]], torch.Tensor],
    tick: Callable[[], None] = lambda: None,
) -> None:
    """Fit the model's last linear layer to the examples and leave everything before it as it is.

    In a head of several layers (RoBERTa, BART) those before the last one keep the weights that the model was loaded
    with; if the checkpoint has none, the features are what those random layers make of the pooled state.

    labels: names, for messages; every one needs an example.
    forward: inputs → logits, on the model's device and in the sweep's precision.
    tick: called after every batch.
    """
    y = batches.labels.numpy()
    absent = [name for i, name in enumerate(labels) if i not in y]
    if absent:
        raise EvaluationError(f"train: no example is labelled {', '.join(absent)}; add some or leave the label out")
    layer, x = features(model, batches, len(labels), forward, tick)
    weight, bias = fit(x, y, intercept=layer.bias is not None)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        if layer.bias is not None:
            layer.bias.copy_(torch.from_numpy(bias))


def fit(x: np.ndarray, y: np.ndarray, intercept: bool) -> tuple[np.ndarray, np.ndarray]:
    """Weights [labels, d] and biases [labels] whose softmax gives the probabilities of a logistic regression.

    x: features [n, d] of any scale; they are divided by their standard deviation for the fit, and the weights after it.
    y: label ids [n], every one of them present.
    """
    from sklearn.linear_model import LogisticRegression

    scale = x.std(axis=0)
    scale[scale == 0] = 1.0  # a feature that never changes
    center = x.mean(axis=0) if intercept else np.zeros_like(scale)
    found = LogisticRegression(C=STRENGTH, max_iter=ITERATIONS, fit_intercept=intercept).fit((x - center) / scale, y)
    weight = found.coef_ / scale  # [labels, d], or [1, d] for two labels
    bias = found.intercept_ - weight @ center
    if len(weight) == 1:  # one logit z → two with the difference z
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return weight, bias


@torch.no_grad()
def features(
    model: nn.Module,
    batches: Batches,
    outputs: int,
    forward: Callable[[dict[str, torch.Tensor]], torch.Tensor],
    tick: Callable[[], None] = lambda: None,
) -> tuple[nn.Linear, np.ndarray]:
    """The layer whose output is the logits, and its input for every example: float64 [n, d].

    One forward pass over the examples. A decoder applies the layer to every token and takes one of them: the input at
    that token is the feature.
    """
    called: dict[str, Any] = {}

    def remember(layer: nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        called.update(layer=layer, input=args[0], output=output)

    candidates = [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == outputs]
    hooks = [layer.register_forward_hook(remember) for layer in candidates]
    found: list[np.ndarray] = [np.empty(0)] * len(batches.inputs)
    model.eval()
    try:
        for rows, inputs in batches.in_order_of_length():
            called.clear()
            logits = forward(inputs)  # [b, outputs]
            for row, vector in zip(rows, _pooled(called, logits, type(model).__name__), strict=True):
                found[row] = vector
            tick()
    finally:
        for hook in hooks:
            hook.remove()
    return called["layer"], np.stack(found)


def _pooled(called: dict[str, Any], logits: torch.Tensor, architecture: str) -> np.ndarray:
    """The layer's input that led to each row of the logits: float64 [b, d]."""
    if called:
        x, y = called["input"], called["output"].to(logits.dtype)
        if y.ndim == 3:  # [b, tokens, outputs]
            token = (y == logits[:, None]).all(-1).int().argmax(1)
            row = torch.arange(len(y), device=y.device)
            x, y = x[row, token], y[row, token]
        if y.shape == logits.shape and torch.equal(y, logits):
            return np.asarray(x.double().cpu().numpy())
    raise CheckpointError(
        f"{architecture}: its logits are not the output of a linear layer, so there is nothing to probe; "
        "train a head with another tool and say `head: existing`"
    )
