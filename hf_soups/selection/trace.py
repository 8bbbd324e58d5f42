"""What a selection decided, and on which numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from hf_soups.recipe import Recipe
from hf_soups.selection.learned.trace import Learned


@dataclass(frozen=True)
class Step:
    """One ingredient's turn.

    alone: its own score; candidate: the score of the soup with it; best: the score to reach.
    """

    ingredient: str
    alone: float
    candidate: float
    best: float
    kept: bool


@dataclass(frozen=True)
class Selection:
    """The recipe that was chosen, and how.

    order: the rule that sorted the ingredients; tie: `>=` or `>`; steps: their turns, in a greedy selection.
    learned: of learned weights.
    """

    recipe: Recipe
    strategy: str
    metric: str
    on: str
    tie: str = ""
    order: str = ""
    steps: tuple[Step, ...] = ()
    learned: Learned | None = None

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the ingredients in the soup, in the order in which they came in."""
        if not self.steps:
            return tuple(i.label for i in self.recipe.ingredients)
        return tuple(s.ingredient for s in self.steps if s.kept)

    def to_json(self) -> dict[str, Any]:
        """Plain data for the lock file, without the recipe."""
        content = asdict(self)
        content.pop("recipe")
        content["steps"] = [asdict(s) for s in self.steps]
        return {k: v for k, v in content.items() if k != "learned" or v is not None}
