"""Weights tensor by tensor, as a learned soup finds them: a file beside the recipe."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_soups.errors import RecipeError

FILE = "soup.weights.json"


@dataclass(frozen=True)
class Weights:
    """How much of each ingredient goes into each tensor.

    ingredients: what the recipe calls them, in its order.
    tensors: name → one finite number per ingredient. They are used as they are, whatever their sum.
    """

    ingredients: tuple[str, ...]
    tensors: Mapping[str, tuple[float, ...]]

    def to_json(self) -> str:
        """The file's text; reading it gives the same numbers, bit by bit."""
        rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(list(row))}" for name, row in self.tensors.items())
        return f'{{"format": 1, "ingredients": {json.dumps(list(self.ingredients))}, "tensors": {{\n{rows}\n}}}}\n'

    def check_ingredients(self, labels: list[str]) -> None:
        """RecipeError unless they are those of a recipe, in its order; local ones by name, wherever they lie."""
        own, given = _plain(self.ingredients), _plain(labels)
        if own != given:
            raise RecipeError(
                f"weights: {FILE} is for the ingredients {', '.join(own)}, in this order, and the recipe has "
                f"{', '.join(given)}; use the recipe that came with it"
            )


def read_weights(file: Path) -> Weights:
    """The weights in a file; RecipeError that names it if they are not ones."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RecipeError(
            f"weights: {file.name}: cannot be read: {reason}; it is kept beside the soup.yaml that names it"
        ) from error
    return parse_weights(text, file.name)


def parse_weights(text: str, where: str = FILE) -> Weights:
    """What `Weights.to_json` gave, again; RecipeError for anything else."""
    try:
        content = json.loads(text)
        names, tensors = content["ingredients"], content["tensors"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise RecipeError(f"weights: {where}: not weights of tensors; use the file that a merge wrote") from error
    if not isinstance(tensors, dict) or not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise RecipeError(f"weights: {where}: holds no tensors and ingredients; use the file that a merge wrote")
    for name, row in tensors.items():
        if not isinstance(row, list) or len(row) != len(names) or not all(map(_is_number, row)):
            raise RecipeError(f"weights: {where}: {name}: {len(names)} finite numbers are needed, one an ingredient")
    return Weights(tuple(names), {name: tuple(map(float, row)) for name, row in tensors.items()})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _plain(labels: list[str] | tuple[str, ...]) -> list[str]:
    return [label.replace("local:", "") for label in labels]
