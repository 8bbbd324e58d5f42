"""A soup in one model's memory, and one gradient, whatever the number of ingredients: these are read piece by piece."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_soups.checkpoint import Checkpoint
from hf_soups.engine.blocks import chunks
from hf_soups.errors import RecipeError
from hf_soups.model import fill, places
from hf_soups.recipe import Output, Recipe, Weights
from hf_soups.selection.learned.groups import find_groups
from hf_soups.soup import Open, Soup

if TYPE_CHECKING:
    import torch

    from hf_soups.engine import Device


class StreamedSoup:
    """The average of a recipe's ingredients, with weights that change, in a model.

    open: gives the checkpoint of an ingredient.
    model: is filled with the soup, and runs in evaluation mode; its dtype is that of the arithmetic.
    granularity: see `find_groups`.
    device: what computes the soup.
    places: tensor → its name in the model.
    Buffers, and tensors that the recipe takes from one place, are not learned. Tensors that the model ties are one.
    """

    def __init__(
        self, recipe: Recipe, open: Open, model: Any, granularity: str, *, device: Device | None = None
    ) -> None:
        if recipe.method != "average":
            raise RecipeError(f"select: learned weights are those of method average, not of {recipe.method}")
        parameters = dict(model.named_parameters(remove_duplicate=False))
        dtype = str(next(iter(parameters.values())).dtype).removeprefix("torch.")
        plain = replace(recipe, select=None, evaluate=None, recompute_batchnorm=None)
        self.recipe = replace(plain, output=Output(dtype=dtype))
        self.model = model.eval()
        self.bytes_read = 0
        self._open = open
        self._device = device
        soup = Soup(self.recipe, open, device=device)
        self._ingredients = soup.ingredients
        self._once = soup.bytes_read
        self._mixed = [name for name, treatment in soup.alignment.treatments.items() if treatment.rule == "method"]
        self.places = places(model, soup)
        first: dict[int, str] = {}  # parameter → the first tensor that it holds
        self._learned: dict[str, torch.nn.Parameter] = {}
        self._same: dict[str, str] = {}
        for name in self._mixed:
            parameter = parameters.get(self.places[name])
            if parameter is not None:
                self._same[name] = first.setdefault(id(parameter), name)
                self._learned.setdefault(first[id(parameter)], parameter)
        self.groups = find_groups(self._learned, granularity)
        self.names = list(dict.fromkeys(self.groups.values()))
        learned = {id(parameter) for parameter in self._learned.values()}
        for parameter in parameters.values():
            parameter.requires_grad_(id(parameter) in learned)

    @property
    def n(self) -> int:
        """Number of ingredients."""
        return len(self._ingredients)

    @property
    def learned(self) -> Mapping[str, torch.nn.Parameter]:
        """Tensor → the parameter that holds it; tied ones once."""
        return self._learned

    @property
    def ingredients(self) -> list[Checkpoint]:
        return self._ingredients

    def fill(self, a: np.ndarray) -> None:
        """Make the model the soup with mixing weights a `[groups, n]`, and forget its gradient."""
        self.model.zero_grad(set_to_none=True)
        fill(self.model, Soup(replace(self.recipe, weights=self.weights(a)), self._open, device=self._device))
        self.bytes_read += self._once

    def weights(self, a: np.ndarray, scale: Mapping[str, float] | None = None) -> Weights:
        """Of every tensor, for a recipe; where they are not learned, equal ones for all ingredients that are used.

        scale: factors of some tensors besides.
        """
        rows = dict(zip(self.names, a, strict=True))
        used = a.any(axis=0)
        uniform = used / used.sum()
        tensors = {}
        for name in self._mixed:
            row = rows[self.groups[self._same[name]]] if name in self._same else uniform
            tensors[name] = tuple((row * (scale or {}).get(name, 1.0)).tolist())
        return Weights(tuple(i.label for i in self.recipe.ingredients), tensors)

    def inner_products(self) -> tuple[np.ndarray, np.ndarray]:
        """<g, theta_i - theta_soup> `[groups, n]` and <g, theta_soup> `[groups]` by the model's gradient g, float64.

        One pass over the ingredients, in pieces.
        """
        inner, own = np.zeros((len(self.names), self.n)), np.zeros(len(self.names))
        for name, parameter in self._learned.items():
            if parameter.grad is None:
                continue
            row = self.names.index(self.groups[name])
            for start, stop in chunks(parameter.numel()):
                g = _numbers(parameter.grad, start, stop)
                soup = _numbers(parameter.detach(), start, stop)
                own[row] += g @ soup
                for i, ingredient in enumerate(self._ingredients):
                    theta = ingredient.read(name, start, stop)
                    self.bytes_read += theta.nbytes
                    inner[row, i] += g @ (theta.astype(np.float64) - soup)
        return inner, own


def _numbers(tensor: torch.Tensor, start: int, stop: int) -> np.ndarray:
    """Elements [start, stop), float64."""
    import torch

    found: np.ndarray = tensor.reshape(-1)[start:stop].to("cpu", torch.float64).numpy()
    return found
