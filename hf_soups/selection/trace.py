"""What a selection decided, and on which numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from hf_soups.recipe import Recipe


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

    order: the rule that sorted the ingredients; tie: `>=` or `>`.
    """

    recipe: Recipe
    strategy: str
    metric: str
    on: str
    tie: str
    order: str
    steps: tuple[Step, ...]

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the ingredients in the soup, in the order in which they came in."""
        return tuple(s.ingredient for s in self.steps if s.kept)

    @property
    def scored(self) -> int:
        """How many candidates were scored on the selection data: each ingredient alone, then each soup tried."""
        return max(0, 2 * len(self.steps) - 1)

    def to_json(self) -> dict[str, Any]:
        """Plain data for the lock file, without the recipe."""
        content = asdict(self)
        content.pop("recipe")
        content["steps"] = [asdict(s) for s in self.steps]
        content["scored"] = self.scored
        return content
