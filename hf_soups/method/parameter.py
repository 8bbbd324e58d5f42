"""Hyperparameters: what a signature and its docstring say about them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from numbers import Real
from typing import Annotated, Any, get_args, get_origin

from hf_soups.errors import RecipeError
from hf_soups.method.vectors import PerIngredient


@dataclass(frozen=True)
class Between:
    """The closed interval that a parameter's values lie in."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


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


def read_parameter(parameter: inspect.Parameter, hint: Any, doc: str) -> Parameter:
    metadata = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    bounds = [m for m in metadata if isinstance(m, Between)]
    return Parameter(
        name=parameter.name,
        default=parameter.default,
        each=any(isinstance(m, PerIngredient) for m in metadata),
        bounds=bounds[0] if bounds else None,
        doc=doc,
    )


def parameter_docs(function: Callable[..., Any]) -> dict[str, str]:
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
