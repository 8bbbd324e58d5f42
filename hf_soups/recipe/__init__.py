"""The sentence that says which soup: strict YAML in, frozen dataclasses, plain YAML out."""

from hf_soups.recipe.arguments import arguments, override_for
from hf_soups.recipe.check import check
from hf_soups.recipe.dump import to_dict, to_yaml
from hf_soups.recipe.parse import load, loads, parse_size
from hf_soups.recipe.places import assign
from hf_soups.recipe.strategies import Constraint, Range, Search, Sweep, Target
from hf_soups.recipe.types import Data, Evaluate, Ingredient, Output, Override, Recipe, Select

__all__ = [
    "Constraint",
    "Data",
    "Evaluate",
    "Ingredient",
    "Output",
    "Override",
    "Range",
    "Recipe",
    "Search",
    "Select",
    "Sweep",
    "Target",
    "arguments",
    "assign",
    "check",
    "load",
    "loads",
    "override_for",
    "parse_size",
    "to_dict",
    "to_yaml",
]
