"""The verb: a pure function over vectors whose signature is its configuration.

`@method` reads a function's signature once and derives what recipes may say, what `hf-soups methods`
prints and how the engine runs it. There is no second list.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from numbers import Real
from typing import Annotated, Any, TypeAlias, get_args, get_origin, get_type_hints

import numpy as np

from hf_soups.errors import RecipeError, did_you_mean

Vectors: TypeAlias = np.ndarray
"""`[n, d]`: one row per ingredient, any run of elements."""
Vector: TypeAlias = np.ndarray
"""`[d]`"""
Gram: TypeAlias = np.ndarray
"""`[n, n]` float64: inner products of whole tensors."""


@dataclass(frozen=True)
class Coefficients:
    """How much of each ingredient, `[n]`: the answer of a method that only looks at inner products."""

    values: np.ndarray


class PerIngredient:
    """Marks a parameter that every ingredient may set for itself."""


@dataclass(frozen=True)
class Between:
    """The closed interval that a parameter's values lie in."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


Each: TypeAlias = Annotated[Any, PerIngredient()]
"""One number per ingredient, handed over as `[n, 1]`; a single number serves all."""


@dataclass(frozen=True)
class KthLargest:
    """Statistic: the magnitude of the last element kept when each ingredient keeps its largest `share`.

    share: name of the per-ingredient parameter that holds the share to keep, 0 to 1.
    Counted over all tensors with the same effective parameters together. Elements that tie with the
    last one are kept too, so the result depends on neither order nor chunks.
    """

    share: str


@dataclass(frozen=True)
class Parameter:
    """One hyperparameter, as the signature declares it."""

    name: str
    default: float
    each: bool
    bounds: Between | None
    doc: str

    def check(self, value: Any, where: str) -> float:
        """`value` as a float, or a RecipeError that says what is wrong `where`."""
        if isinstance(value, bool) or not isinstance(value, Real):
            raise RecipeError(f"{where}: {self.name} must be a number, got {value!r}")
        try:
            finite = isfinite(value)
        except OverflowError:
            finite = False
        if not finite:
            raise RecipeError(f"{where}: {self.name} must be finite, and not larger than a float can be")
        if self.bounds and not self.bounds.low <= float(value) <= self.bounds.high:
            raise RecipeError(f"{where}: {self.name} must be {self.bounds}, got {value!r}")
        return float(value)


@dataclass(frozen=True)
class Method:
    """A merge rule and what its signature says.

    space: "thetas" (weights as stored) or "deltas" (differences from the base).
    kind: "linear", "gram" (coefficients from inner products) or "coordinatewise".
    """

    name: str
    title: str
    paper: str | None
    function: Callable[..., Any]
    space: str
    kind: str
    parameters: Mapping[str, Parameter]
    statistics: Mapping[str, KthLargest]
    ingredients: int | None

    @property
    def needs_base(self) -> bool:
        return self.space == "deltas"

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
    ingredients: int | None = None,
    statistics: Mapping[str, KthLargest] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a merge rule under its function's name.

    The first parameter's name says what the rule sees: `thetas` or `deltas` (`[n, d]`), or `gram`
    (`[n, n]`, then it returns Coefficients). Parameters named in `statistics` come from the engine; the
    others are hyperparameters.

    linear: the result is a fixed combination of the ingredients, whatever the vectors are.
    ingredients: the exact number the rule is defined for; default: one or more.
    """
    declared = dict(statistics or {})

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        first, *rest = inspect.signature(function).parameters.values()
        if first.name not in ("thetas", "deltas", "gram"):
            raise TypeError(f"{function.__name__}: the first parameter is thetas, deltas or gram")
        hints = get_type_hints(function, include_extras=True)
        docs = _parameter_docs(function)
        parameters = {
            p.name: _parameter(p, hints[p.name], docs.get(p.name, "")) for p in rest if p.name not in declared
        }
        name = function.__name__
        _registry[name] = Method(
            name=name,
            title=title,
            paper=paper,
            function=function,
            space="deltas" if first.name == "deltas" else "thetas",
            kind="gram" if first.name == "gram" else "linear" if linear else "coordinatewise",
            parameters=parameters,
            statistics=declared,
            ingredients=ingredients,
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


def _parameter(parameter: inspect.Parameter, hint: Any, doc: str) -> Parameter:
    metadata = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    bounds = [m for m in metadata if isinstance(m, Between)]
    return Parameter(
        name=parameter.name,
        default=parameter.default,
        each=any(isinstance(m, PerIngredient) for m in metadata),
        bounds=bounds[0] if bounds else None,
        doc=doc,
    )


def _parameter_docs(function: Callable[..., Any]) -> dict[str, str]:
    """`name: meaning` lines of a docstring; indented lines below one continue it."""
    docs: dict[str, str] = {}
    current = None
    for line in (inspect.getdoc(function) or "").splitlines():
        if found := re.match(r"(\w+): (.+)", line):
            current = found[1]
            docs[current] = found[2]
        elif current and line.startswith("    "):
            docs[current] += " " + line.strip()
        else:
            current = None
    return docs
