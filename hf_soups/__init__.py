"""Model soups for the Hugging Face Hub: pull, align, average, choose, evaluate, push back."""

from hf_soups.checkpoint import Checkpoint
from hf_soups.errors import (
    AlignmentError,
    CheckpointError,
    EvaluationError,
    HubError,
    RecipeError,
    SelectionError,
    SoupError,
)
from hf_soups.hub.find import find
from hf_soups.memory import merge_state_dicts
from hf_soups.pipeline import evaluate, merge, plan, push
from hf_soups.recipe import (
    Data,
    Evaluate,
    Ingredient,
    Learning,
    Measure,
    Output,
    Override,
    Recipe,
    Search,
    Select,
    Sweep,
)
from hf_soups.selection import greedy
from hf_soups.soup import Soup

__version__ = "0.1.0"

__all__ = [
    "AlignmentError",
    "Checkpoint",
    "CheckpointError",
    "Data",
    "Evaluate",
    "EvaluationError",
    "HubError",
    "Ingredient",
    "Learning",
    "Measure",
    "Output",
    "Override",
    "Recipe",
    "RecipeError",
    "Search",
    "Select",
    "SelectionError",
    "Soup",
    "SoupError",
    "Sweep",
    "evaluate",
    "find",
    "greedy",
    "merge",
    "merge_state_dicts",
    "plan",
    "push",
]
