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
from typing import Annotated, Any, Protocol, TypeAlias, get_args, get_origin, get_type_hints

import numpy as np

from hf_soups.errors import RecipeError, did_you_mean


@dataclass(frozen=True)
class Whole:
    """Marks a view of a tensor as a matrix, `[shape[0], everything else]`, of which the rule sees whole rows or all."""

    unit: str  # row | tensor


Vectors: TypeAlias = np.ndarray
"""`[n, d]`: one row per ingredient, any run of elements."""
Vector: TypeAlias = np.ndarray
"""`[d]`"""
Rows: TypeAlias = Annotated[np.ndarray, Whole("row")]
"""`[n, rows, columns]`: whole rows of the matrix view, as many as are handed over at once; 0-d and 1-d are one row."""
Matrices: TypeAlias = Annotated[np.ndarray, Whole("tensor")]
"""`[n, rows, columns]`: whole tensors as matrices; 0-d and 1-d are one row."""


@dataclass(frozen=True)
class Gram:
    """Inner products and squared distances of whole tensors, float64.

    products: `[n, n]`; distances: `[n, n]` squared Euclidean distances, summed from the differences, so that
    they are accurate relative to themselves even between nearly equal tensors.
    """

    products: np.ndarray
    distances: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """`[n]`: Euclidean norms."""
        return np.sqrt(np.diag(self.products))


class PerIngredient:
    """Marks a parameter that every ingredient may set for itself."""


Each: TypeAlias = Annotated[Any, PerIngredient()]
"""One number per ingredient, handed over as `[n, 1]`; a single number serves all."""


class Draws(Protocol):
    """Random numbers that depend on the recipe's seed, the tensor's name, the ingredient and the element alone."""

    def dropout(self, density: Each) -> Vectors:
        """`[n, d]` factors of inverted dropout: 1 / density with that probability, else 0; in tensors of fewer than
        32 elements, where that would be all or nothing, 1."""
        ...


@dataclass(frozen=True)
class Coefficients:
    """How much of each ingredient, `[n]`: the answer of a method that only looks at inner products."""

    values: np.ndarray


@dataclass(frozen=True)
class Between:
    """The closed interval that a parameter's values lie in."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class KthLargest:
    """Statistic: the magnitude of the last element kept when each ingredient keeps its largest `share`.

    share: name of the per-ingredient parameter that holds the share to keep, 0 to 1.
    unit: what is ranked together: each "row", each "tensor", or the "model" (all tensors with the same effective
        parameters). Elements that tie with the last one are kept too, so the result depends on neither
        order nor chunks.
    """

    share: str
    unit: str = "model"


@dataclass(frozen=True)
class Total:
    """Statistic: the sum of `of` over all elements of a unit, float64; one number per ingredient, or one for all.

    of: a function of the vectors, then of any hyperparameters and of statistics declared before this one, by
        name; gives `[n, d]` or `[d]`.
    unit: as for KthLargest.
    """

    of: Callable[..., np.ndarray]
    unit: str = "tensor"


Statistic: TypeAlias = KthLargest | Total


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
    `statistics` come from the engine, computed in the order declared; the others are hyperparameters.

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
        docs = _parameter_docs(function)
        asked = {p.name for p in rest}
        parameters = {
            p.name: _parameter(p, hints[p.name], docs.get(p.name, ""))
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
