"""The sentence that says which soup: strict YAML in, frozen dataclasses, plain YAML out."""

from hf_soups.recipe.arguments import arguments, override_for
from hf_soups.recipe.check import check
from hf_soups.recipe.dump import to_dict, to_yaml
from hf_soups.recipe.learning import Learning
from hf_soups.recipe.parse import load, loads, parse_size
from hf_soups.recipe.types import Data, Evaluate, Ingredient, Output, Override, Recipe, Select
from hf_soups.recipe.weights import FILE, Weights, parse_weights, read_weights

__all__ = [
    "FILE",
    "Data",
    "Evaluate",
    "Ingredient",
    "Learning",
    "Output",
    "Override",
    "Recipe",
    "Select",
    "Weights",
    "arguments",
    "check",
    "load",
    "loads",
    "override_for",
    "parse_size",
    "parse_weights",
    "read_weights",
    "to_dict",
    "to_yaml",
]
