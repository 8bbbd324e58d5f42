"""The logits near the uniform soup as a linear function of the mixing weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_soups.engine.blocks import chunks
from hf_soups.selection.learned.batches import Batch, Batches
from hf_soups.selection.learned.groups import members
from hf_soups.selection.learned.streamed import StreamedSoup

if TYPE_CHECKING:
    import torch

    from hf_soups.checkpoint import Checkpoint


@dataclass(frozen=True)
class Tangent:
    """f(x; theta_u + sum_gi a_gi (theta_i - theta_u)_g) to first order, for weights that sum to 1 in each group g.

    logits: `[rows, labels]` of the uniform soup theta_u. slopes: `[rows, labels, groups, n]`, one Jacobian-vector
    product for each row, group and ingredient. labels: `[rows]` ids. All in the order of the data's pieces.
    """

    logits: np.ndarray
    slopes: np.ndarray
    labels: np.ndarray

    def at(self, a: np.ndarray) -> np.ndarray:
        """`[rows, labels]` at mixing weights a `[groups, n]`."""
        return np.asarray(self.logits + np.tensordot(self.slopes, a, axes=2))


def tangent(soup: StreamedSoup, rows: Batches) -> Tangent:
    """Of the loaded model; it is the uniform soup afterwards.

    Beside the model, one difference theta_i - theta_u is in memory. Attention runs in its eager form meanwhile: the
    fused ones have no forward-mode derivative.
    """
    import torch
    from torch.func import functional_call, jvp

    soup.fill(np.full((len(soup.names), soup.n), 1 / soup.n))
    groups = members(soup.groups)
    model = soup.model
    device = next(model.parameters()).device
    with _eager(model), torch.no_grad():
        logits, labels = _forward(model, rows, device)
        slopes = np.empty((*logits.shape, len(groups), soup.n), logits.dtype)
        for i, ingredient in enumerate(soup.ingredients):
            direction = {name: _difference(ingredient, name, p) for name, p in soup.learned.items()}
            soup.bytes_read += sum(ingredient.specs[name].nbytes for name in direction)
            for g, names in enumerate(groups.values()):
                moving = {soup.places[name]: soup.learned[name].detach() for name in names}
                tangents = {soup.places[name]: direction[name] for name in names}
                begin = 0
                for batch in rows.pieces(np.arange(rows.n)):
                    inputs = batch.to(device).inputs

                    def output(parameters: Mapping[str, torch.Tensor], inputs: Any = inputs) -> Any:
                        return functional_call(model, dict(parameters), args=(), kwargs=dict(inputs)).logits

                    slope = jvp(output, (moving,), (tangents,))[1].cpu().numpy()  # [few, labels]
                    slopes[begin : begin + len(slope), :, g, i] = slope
                    begin += len(slope)
    return Tangent(logits, slopes, labels)


def real_logits(soup: StreamedSoup, rows: Batches, a: np.ndarray) -> np.ndarray:
    """`[rows, labels]` of the soup itself, in the order of the data's pieces."""
    import torch

    soup.fill(a)
    with torch.no_grad():
        return _forward(soup.model, rows, next(soup.model.parameters()).device)[0]


def _forward(model: Any, rows: Batches, device: Any) -> tuple[np.ndarray, np.ndarray]:
    def outputs() -> Iterator[tuple[np.ndarray, Batch]]:
        for batch in rows.pieces(np.arange(rows.n)):
            yield model(**batch.to(device).inputs).logits.cpu().numpy(), batch

    found = list(outputs())
    return np.concatenate([f for f, _ in found]), np.concatenate([b.labels.numpy() for _, b in found])


def _difference(ingredient: Checkpoint, name: str, parameter: torch.nn.Parameter) -> torch.Tensor:
    """theta_i - theta_u of one tensor, where the parameter holds theta_u; taken in float64."""
    import torch

    found = torch.empty_like(parameter).detach()
    for start, stop in chunks(parameter.numel()):
        here = parameter.detach().reshape(-1)[start:stop]
        theta = torch.from_numpy(ingredient.read(name, start, stop).astype(np.float64)).to(here.device)
        found.view(-1)[start:stop] = theta - here
    return found


@contextmanager
def _eager(model: Any) -> Iterator[None]:
    before = getattr(getattr(model, "config", None), "_attn_implementation", None)
    if before in (None, "eager"):
        yield
        return
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)
