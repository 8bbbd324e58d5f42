"""What a selection decided, and on which numbers."""

from __future__ import annotations

from collections.abc import Mapping
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
class Point:
    """One value of a sweep, and the scores of the soup that it makes, by dataset."""

    value: float
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Curve:
    """A sweep: what was varied, what was chosen and by which rule, in words.

    default: the value without the sweep. points: by value; those of datasets that are only reported were measured
    after the choice.
    """

    parameter: str
    chosen: float
    default: float
    rule: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Trial:
    """One proposal of a search.

    values: by place in the recipe. scores: by dataset and metric, `validation accuracy`.
    feasible: keeps the constraint. front: no other feasible trial is as good in all objectives and better in one.
    """

    number: int
    values: Mapping[str, float | str]
    scores: Mapping[str, float]
    feasible: bool = True
    front: bool = False


@dataclass(frozen=True)
class Study:
    """A search: its objectives, the first of which decides, its constraint in words, and every trial.

    unusable: proposals that no soup can be made of, such as weights that sum to 0.
    """

    name: str
    sampler: str
    objectives: tuple[str, ...]
    constraint: str | None
    chosen: int
    trials: tuple[Trial, ...]
    unusable: int = 0


@dataclass(frozen=True)
class Selection:
    """The recipe that was chosen, and how.

    order: the rule that sorted the ingredients; tie: `>=` or `>`; steps: their turns, in a greedy selection.
    curve: of a sweep. study: of a search. learned: of learned weights.
    """

    recipe: Recipe
    strategy: str
    metric: str
    on: str
    tie: str = ""
    order: str = ""
    steps: tuple[Step, ...] = ()
    curve: Curve | None = None
    study: Study | None = None
    learned: Learned | None = None

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the ingredients in the soup, in the order in which they came in."""
        if not self.steps:
            return tuple(i.label for i in self.recipe.ingredients)
        return tuple(s.ingredient for s in self.steps if s.kept)

    @property
    def scored(self) -> int:
        """How many candidates were scored on the selection data: of a greedy soup each ingredient alone, then each
        soup tried; of a sweep or search every value."""
        if self.curve is not None:
            return len(self.curve.points)
        if self.study is not None:
            return len(self.study.trials)
        return max(0, 2 * len(self.steps) - 1)

    @property
    def is_single(self) -> bool:
        """Whether ingredients were left out until one remained, so that there is no soup."""
        return self.curve is None and self.study is None and len(self.kept) == 1

    def to_json(self) -> dict[str, Any]:
        """Plain data for the lock file, without the recipe."""
        content = asdict(self)
        content.pop("recipe")
        content["steps"] = [asdict(s) for s in self.steps]
        content["scored"] = self.scored
        own = ("curve", "study", "learned")  # what only one strategy has
        return {k: v for k, v in content.items() if k not in own or v is not None}
