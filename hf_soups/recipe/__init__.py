"""The sentence that says which soup: strict YAML in, frozen dataclasses, plain YAML out."""

from hf_soups.recipe.arguments import arguments, override_for
from hf_soups.recipe.check import check
from hf_soups.recipe.dump import to_dict, to_yaml
from hf_soups.recipe.learning import Learning
from hf_soups.recipe.parse import load, loads, parse_size
from hf_soups.recipe.places import assign
from hf_soups.recipe.strategies import Constraint, Range, Search, Sweep, Target
from hf_soups.recipe.types import Data, Evaluate, Ingredient, Measure, Output, Override, Recipe, Select
from hf_soups.recipe.weights import FILE, Weights, parse_weights, read_weights

__all__ = [
    "FILE",
    "Constraint",
    "Data",
    "Evaluate",
    "Ingredient",
    "Learning",
    "Measure",
    "Output",
    "Override",
    "Range",
    "Recipe",
    "Search",
    "Select",
    "Sweep",
    "Target",
    "Weights",
    "arguments",
    "assign",
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
