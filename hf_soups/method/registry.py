"""The verb: a pure function over vectors whose signature is its configuration.

`@method` reads a function's signature once and derives what recipes may say, what `hf-soups methods`
prints and how the engine runs it. There is no second list.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

import numpy as np

from hf_soups.errors import RecipeError, did_you_mean
from hf_soups.method.parameter import Parameter, parameter_docs, read_parameter
from hf_soups.method.statistics import Statistic
from hf_soups.method.vectors import Coefficients, Gram, Whole


@dataclass(frozen=True)
class Method:
    """A merge rule and what its signature says.

    space: "thetas" (weights as stored) or "deltas" (differences from the base).
    kind: "linear", "gram" (coefficients from inner products), "coordinatewise", "rows" or "matrix".
    sees_base, draws: whether it also asks for the base, and for random numbers.
    """

    name: str
    title: str
    paper: str | None
    function: Callable[..., Any]
    space: str
    kind: str
    parameters: Mapping[str, Parameter]
    statistics: Mapping[str, Statistic]
    ingredients: int | None
    sees_base: bool = False
    draws: bool = False

    @property
    def needs_base(self) -> bool:
        return self.space == "deltas" or self.sees_base

    @property
    def doc(self) -> str:
        return inspect.getdoc(self.function) or ""

    def coefficients(self, n: int, arguments: Mapping[str, Any], gram: Gram | None = None) -> np.ndarray:
        """`[n]` float64: the weight of each ingredient's vector in the result, in the method's space.

        A linear method's coefficients are what it does to the unit vectors.
        """
        if self.kind == "linear":
            return np.asarray(self.function(np.eye(n), **arguments), dtype=np.float64)
        result: Coefficients = self.function(gram, **arguments)
        return np.asarray(result.values, dtype=np.float64)


_registry: dict[str, Method] = {}


def method(
    *,
    title: str,
    paper: str | None = None,
    linear: bool = False,
    space: str = "thetas",
    ingredients: int | None = None,
    statistics: Mapping[str, Statistic] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a merge rule under its function's name.

    The first parameter's name says what the rule sees: `thetas`, `deltas` (differences from the base, which is
    added back), or their `gram`; then it returns Coefficients. Its type says how much at once: Vectors (any run
    of elements), Rows or Matrices. `base` asks for the base too, `rng` for Draws; parameters named in
    `statistics` come from the engine, computed in the order declared; the others are hyperparameters. On a GPU a
    rule over Vectors is called with torch tensors: write it against `array_api_compat.array_namespace`.

    linear: the result is a fixed combination of the ingredients, whatever the vectors are.
    space: "deltas" if a `gram` is to be of differences from the base.
    ingredients: the exact number the rule is defined for; default: one or more.
    """
    declared = dict(statistics or {})

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        first, *rest = inspect.signature(function).parameters.values()
        if first.name not in ("thetas", "deltas", "gram"):
            raise TypeError(f"{function.__name__}: the first parameter is thetas, deltas or gram")
        hints = get_type_hints(function, include_extras=True)
        docs = parameter_docs(function)
        asked = {p.name for p in rest}
        parameters = {
            p.name: read_parameter(p, hints[p.name], docs.get(p.name, ""))
            for p in rest
            if p.name not in {*declared, "base", "rng"}
        }
        whole = [m for m in get_args(hints[first.name])[1:] if isinstance(m, Whole)]
        kind = {"row": "rows", "tensor": "matrix"}[whole[0].unit] if whole else "coordinatewise"
        name = function.__name__
        _registry[name] = Method(
            name=name,
            title=title,
            paper=paper,
            function=function,
            space="deltas" if first.name == "deltas" else space,
            kind="gram" if first.name == "gram" else "linear" if linear else kind,
            parameters=parameters,
            statistics=declared,
            ingredients=ingredients,
            sees_base="base" in asked,
            draws="rng" in asked,
        )
        return function

    return register


def get(name: str) -> Method:
    """The method of that name; RecipeError with a suggestion if there is none."""
    if name not in _registry:
        raise RecipeError(f"unknown method {name!r}{did_you_mean(name, _registry)}")
    return _registry[name]


def names() -> list[str]:
    """Names of all methods, sorted."""
    return sorted(_registry)
