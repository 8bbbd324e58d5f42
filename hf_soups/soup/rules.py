"""From a recipe to how each tensor is made; what has to be measured first is measured here, once."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_soups import engine
from hf_soups.align import Treatment
from hf_soups.checkpoint import Checkpoint, simplify
from hf_soups.engine import Desk, Field, Mixture, Rule
from hf_soups.errors import SoupError
from hf_soups.method import KthLargest, Method
from hf_soups.recipe import Override, arguments
from hf_soups.soup.given import given_weights

if TYPE_CHECKING:
    from hf_soups.soup.soup import Soup

KEPT = 8  # rules at hand at once: more than there are tensors in work; those over adapters hold factors


class Rules(Mapping[str, Rule]):
    """A soup's tensors → how they are made."""

    def __init__(self, soup: Soup, desk: Callable[[], Desk]) -> None:
        self._soup = soup
        self._desk = desk
        self._coefficients = given_weights(soup.recipe, soup.alignment.treatments)
        self._mixtures: dict[str, Mixture] = {}
        self._lock = RLock()
        self._make = lru_cache(maxsize=KEPT)(self._find)

    def __getitem__(self, name: str) -> Rule:
        with self._lock:
            return self._make(name)

    def __iter__(self) -> Any:
        return iter(self._soup.specs)

    def __len__(self) -> int:
        return len(self._soup.specs)

    def prepare(self, progress: Callable[[int], None], wanted: Collection[str]) -> None:
        """Measure everything that the method needs for some tensors, each pass over all of them at once.

        progress: hears of the bytes read. Statistics take in every tensor of a group, wanted or not.
        """
        names = [n for n, t in self._soup.alignment.treatments.items() if t.rule == "method" and n in wanted]
        with self._lock:
            if self._method.kind == "gram":
                self._measure_grams(names, progress)
            elif self._method.statistics:
                for name in names:
                    self._mixture(name, progress)

    @property
    def measures_each(self) -> bool:
        """Whether what is measured of a tensor needs that tensor alone."""
        return self._method.kind == "gram"

    @property
    def measuring_passes(self) -> int:
        """How often `prepare` reads the ingredients, as a rule."""
        if self._method.kind == "gram":
            return 1
        names = [n for n, t in self._soup.alignment.treatments.items() if t.rule == "method"]
        ranking = engine.ranking_passes(self._field(names))
        return sum(ranking if isinstance(s, KthLargest) else 1 for s in self._method.statistics.values())

    @property
    def _method(self) -> Method:
        return self._soup.method

    def _find(self, name: str) -> Rule:
        soup, ingredients = self._soup, self._soup.ingredients
        treatment = soup.alignment.treatments[name]
        labels = [i.label for i in soup.recipe.ingredients]
        if name in soup.statistics:
            return engine.Copy(name, soup.statistics)
        if treatment.rule == "copy":
            return engine.Copy(name, self._source(treatment))
        if treatment.rule == "equal":
            return engine.Equal(name, ingredients, labels)
        if treatment.rule == "maximum":
            return engine.Maximum(name, ingredients)
        if treatment.rule == "mean":
            return engine.Combination(name, simplify(name, *self._mean(treatment.override)))
        if self._method.kind in ("linear", "gram"):
            return engine.Combination(name, simplify(name, self._span, self._find_coefficients(name)))
        mixture = self._mixture(name, _silent)
        base = soup.required_base if self._method.needs_base else None
        if self._method.kind == "coordinatewise":
            return engine.Elementwise(mixture, base, ingredients)
        unit = mixture.columns if self._method.kind == "rows" else max(1, mixture.size)
        return engine.WholeRows(mixture, base, ingredients, unit)

    def _source(self, treatment: Treatment) -> Checkpoint:
        if treatment.source == "base" and self._soup.base is not None:
            return self._soup.base
        return self._soup.ingredients[[i.label for i in self._soup.recipe.ingredients].index(str(treatment.source))]

    def _arguments(self, override: Override | None) -> dict[str, Any]:
        return arguments(self._soup.recipe, override)

    def _mean(self, override: Override | None) -> tuple[list[Checkpoint], np.ndarray]:
        """What running statistics are the mean of, and with which weights, which sum to 1.

        The method's own coefficients where none is negative, so that both ends of an interpolation stay
        exact; else the ingredients' weights, since a variance may not become negative.
        """
        ingredients = self._soup.ingredients
        if self._method.kind == "linear":
            weights = self._spread(self._method.coefficients(len(ingredients), self._arguments(override)))
            if weights.min() >= 0 and weights.sum() > 0:
                return self._span, weights / weights.sum()
        given = self._arguments(override)
        if "t" in given:
            return ingredients, np.array([1 - given["t"], given["t"]])
        weights = np.clip(given["weight"][:, 0], 0, None) if "weight" in given else np.ones(len(ingredients))
        if weights.sum() == 0:
            weights = np.ones(len(ingredients))
        return ingredients, weights / weights.sum()

    @property
    def _span(self) -> list[Checkpoint]:
        """What a combination is made of: the ingredients, after the base for methods on differences."""
        soup = self._soup
        return [soup.required_base, *soup.ingredients] if self._method.needs_base else soup.ingredients

    def _spread(self, coefficients: np.ndarray) -> np.ndarray:
        """Coefficients of `_span`: base + sum c (x - base) = (1 - sum c) base + sum c x."""
        if not self._method.needs_base:
            return coefficients
        return np.concatenate([[1 - coefficients.sum()], coefficients])

    def _find_coefficients(self, name: str) -> np.ndarray:
        if name not in self._coefficients:
            if self._method.kind == "gram":
                self._measure_grams([name], _silent)
            else:
                self._coefficients[name] = self._ask(name, None)
        return self._coefficients[name]

    def _measure_grams(self, names: list[str], progress: Callable[[int], None]) -> None:
        sizes = {n: self._soup.specs[n].size for n in names if n not in self._coefficients}
        for name, raw in engine.grams(self._reader(progress), self._span, sizes, self._method.needs_base).items():
            gram = engine.of_deltas(raw) if self._method.needs_base else engine.of_thetas(raw)
            self._coefficients[name] = self._ask(name, gram)

    def _ask(self, name: str, gram: Any) -> np.ndarray:
        given = self._arguments(self._soup.alignment.treatments[name].override)
        try:
            return self._spread(self._method.coefficients(len(self._soup.ingredients), given, gram))
        except ValueError as error:
            raise SoupError(f"{name}: {self._method.name}: {error}") from error

    def _mixture(self, name: str, progress: Callable[[int], None]) -> Mixture:
        """With its statistics, over all tensors with the same effective parameters at once."""
        if name in self._mixtures:
            return self._mixtures[name]
        soup = self._soup
        treatments = soup.alignment.treatments
        group = _same_parameters(treatments[name].override)
        names = [n for n, t in treatments.items() if t.rule == "method" and _same_parameters(t.override) == group]
        given = self._arguments(treatments[name].override)
        whose = engine.identities(soup.ingredients)
        mixtures = {
            n: Mixture(n, self._method, given, {}, engine.keys(soup.recipe.seed, n, whose), soup.specs[n].shape)
            for n in names
        }
        self._mixtures.update(engine.measure(self._reader(progress), self._field(names), mixtures))
        return self._mixtures[name]

    def _reader(self, progress: Callable[[int], None]) -> engine.Reader:
        return engine.Reader(self._soup.device, self._desk, progress)

    def _field(self, names: Sequence[str]) -> Field:
        """The numbers that a method on differences, or on the weights themselves, sees of some tensors."""
        soup = self._soup
        base = soup.required_base if self._method.space == "deltas" else None
        sizes = {n: soup.specs[n].size for n in names}
        return Field(base, soup.ingredients, sizes, {n: soup.wide(n) for n in names})


def _silent(count: int) -> None:
    """Nobody waits to hear of it."""


def _same_parameters(override: Override | None) -> str | None:
    """Overrides that differ only in what they match form one group of tensors."""
    if override is None or not (override.parameters or override.ingredients):
        return None
    return json.dumps([override.parameters, override.ingredients], sort_keys=True)
