"""What a selection decided, and on which numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hf_soups.recipe import Recipe
from hf_soups.selection.learned.trace import Learned


@dataclass(frozen=True)
class Tried:
    """What is known of a candidate: its score, or that it cannot reach what it had to.

    bound: the best score that was still possible when it was given up; None if it was scored.
    rows, of: on how many rows of the selection data it was run to know that, and how many there are; 0 where only
        scores are known.
    """

    score: float | None
    bound: float | None = None
    rows: int = 0
    of: int = 0


@dataclass(frozen=True)
class Step:
    """One ingredient's turn.

    alone: its own score; candidate: the score of the soup with it (backward: without it), None if that was given up;
    best: the score to reach; kept: whether it is in the soup. bound, rows, of: as in `Tried`.
    """

    ingredient: str
    alone: float
    candidate: float | None
    best: float
    kept: bool
    bound: float | None = None
    rows: int = 0
    of: int = 0


@dataclass(frozen=True)
class Growth:
    """Scores on the selection data for the k best ingredients, k = 1 … n: the paper's figure.

    best: the best of all, alone; greedy: the greedy soup of them; ensemble: the mean of their answers, empty where
    answers have no mean; uniform: the soup of them all, None where it was not run.
    """

    best: float
    greedy: tuple[float, ...]
    ensemble: tuple[float, ...] = ()
    uniform: tuple[float | None, ...] = ()


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
    direction: `forward` adds them, `backward` takes them out of the soup of all, which has the score `start`.
    on: the dataset that decided; "" where none did, such as for a benchmark of whole models.
    curve: of a sweep. study: of a search. learned: of learned weights.
    """

    recipe: Recipe
    strategy: str
    metric: str
    on: str
    tie: str = ""
    order: str = ""
    steps: tuple[Step, ...] = ()
    direction: str = "forward"
    start: Tried | None = None
    growth: Growth | None = None
    curve: Curve | None = None
    study: Study | None = None
    learned: Learned | None = None

    @property
    def goal(self) -> str:
        """`validation accuracy`, or the benchmark that asks no dataset."""
        return f"{self.on} {self.metric}".strip()

    @property
    def kept(self) -> tuple[str, ...]:
        """Names of the ingredients in the soup, in its order: forward, that in which they came in."""
        return tuple(i.label for i in self.recipe.ingredients)

    @property
    def sorted(self) -> bool:
        """Whether the held-out score decided whose turn came first."""
        return not self.order.startswith("random")

    @property
    def first_alone(self) -> Step | None:
        """The turn of the ingredient that a forward selection begins with, which has nothing to be compared with."""
        return self.steps[0] if self.direction == "forward" and self.steps else None

    @property
    def cost(self) -> tuple[int, int, int]:
        """Rows that candidates were run on, rows that running each wholly would have taken, rows of the singles."""
        tried: list[Step | Tried] = [*self.steps, *([self.start] if self.start else [])]
        each = max((step.of for step in tried), default=0)
        return sum(step.rows for step in tried), sum(step.of for step in tried), each * len(self.steps)

    @property
    def scored(self) -> int:
        """How many candidates were scored on the selection data: of a greedy soup each ingredient alone, then each
        soup tried; of a sweep or search every value; of learned weights the soups that calibration data compared."""
        if self.learned is not None:
            return len(self.learned.epochs) + len(self.learned.confirmed)
        if self.curve is not None:
            return len(self.curve.points) if self.on else 0
        if self.study is not None:
            return len(self.study.trials)
        if self.start is not None:  # the soup of all, then as many without one ingredient as were tried
            return len(self.steps) + 1 + sum(step.candidate is None or step.rows > 0 for step in self.steps)
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
        rows, exhaustive, singles = self.cost
        content["cost"] = {"rows": rows, "exhaustive": exhaustive, "singles": singles}
        own = ("curve", "study", "learned")  # what only one strategy has
        return {k: v for k, v in content.items() if k not in own or v is not None}
