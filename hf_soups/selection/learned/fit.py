"""Gradient descent on the mixing weights: the learned soup itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from hf_soups.errors import SelectionError
from hf_soups.recipe import Learning
from hf_soups.selection.learned.batches import Batches
from hf_soups.selection.learned.loss import loss
from hf_soups.selection.learned.mixing import gradient, mixing_weights, start
from hf_soups.selection.learned.streamed import StreamedSoup
from hf_soups.selection.learned.trace import Epoch

PATIENCE = 2  # epochs without a better soup: one may be bad luck


@dataclass(frozen=True)
class Fitted:
    """The soup of the epoch that was best on calibration data.

    a: `[groups, n]` mixing weights. beta: factor of the logits. steps: of the optimiser, all epochs together.
    """

    a: np.ndarray
    beta: float
    best: int
    epochs: tuple[Epoch, ...]
    steps: int


def fit(
    soup: StreamedSoup,
    rows: Batches,
    calibrate: Batches,
    options: Learning,
    seed: int = 0,
    tell: Callable[[str], None] = lambda text: None,
) -> Fitted:
    """Learn on `rows`, stop on `calibrate`; the model is left as any soup.

    seed: of the order of rows.

    Source: learned soup, Wortsman et al. (2022), Model soups: minimise the loss of beta f(x; sum_i a_i theta_i).
    Raises SelectionError if the loss is not finite.
    """
    import torch

    z = torch.from_numpy(start(len(soup.names), soup.n, options.space)).requires_grad_()
    beta = torch.ones((), dtype=torch.float64, requires_grad=options.beta)
    optimiser = torch.optim.AdamW(
        [z, beta] if options.beta else [z], lr=options.lr, betas=(0.9, 0.999), weight_decay=0.0
    )
    random = np.random.default_rng(seed)
    a = mixing_weights(z.detach().numpy(), options.space)
    soup.fill(a)
    epochs = [Epoch(0, None, mean_loss(soup.model, calibrate), 1.0)]
    best, kept, steps = 0, (a, 1.0), 0
    for number in range(1, options.epochs + 1):
        total = 0.0
        for few in _steps(rows.n, options.batch_size, random):
            total += accumulate(soup.model, rows, few, beta)
            inner, own = soup.inner_products()
            z.grad = torch.from_numpy(gradient(a, inner, own, options.space))
            optimiser.step()
            optimiser.zero_grad()
            a = mixing_weights(z.detach().numpy(), options.space)
            if not np.isfinite([total, a.sum()]).all():
                raise SelectionError(f"select: learned: the loss is not finite in epoch {number}; lower lr")
            soup.fill(a)
            steps += 1
        held_out = mean_loss(soup.model, calibrate, beta.item())
        tell(f"epoch {number}: loss {total / rows.n:.4f} while fitting, {held_out:.4f} on calibration data")
        epochs.append(Epoch(number, total / rows.n, held_out, beta.item()))
        if held_out < epochs[best].calibrate:
            best, kept = number, (a, beta.item())
        elif number - best >= PATIENCE:
            break
    return Fitted(*kept, best, tuple(epochs), steps)


def accumulate(model: Any, rows: Batches, few: np.ndarray, beta: Any) -> float:
    """Add the gradient of the mean loss over some rows to that of the parameters and beta; the sum of the losses."""
    total = 0.0
    device = next(model.parameters()).device
    for batch in rows.pieces(few):
        on = batch.to(device)
        value = loss(beta * model(**on.inputs).logits, on.labels)
        (value / len(few)).backward()
        total += float(value.detach())
    return total


def mean_loss(model: Any, rows: Batches, beta: float = 1.0) -> float:
    """Of all rows, without a gradient."""
    import torch

    device = next(model.parameters()).device
    total = 0.0
    with torch.inference_mode():
        for batch in rows.pieces(np.arange(rows.n)):
            on = batch.to(device)
            total += float(loss(beta * model(**on.inputs).logits, on.labels))
    return total / rows.n


def _steps(n: int, size: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Every row once, in random order, `size` at a time."""
    order = random.permutation(n)
    for begin in range(0, n, size):
        yield order[begin : begin + size]
