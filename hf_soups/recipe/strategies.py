"""What the strategies of `select` that try values are told: a line for sweeps, a space for searches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Sweep:
    """Try one parameter's values, keep one.

    parameter: of the recipe's method, or `alpha`: the soup's share on the line from the base to it (WiSE-FT), or
        `slope`: by how much `scale` grows from the first layer to the last (LiNeS).
    values: to be tried; may be left out for alpha: 0 to 1 in steps of 0.05, the paper's grid.
    rule: `best` on the selection data (without any: the default), or a value that is fixed beforehand.
    """

    parameter: str
    values: tuple[float, ...] = ()
    rule: str | float = "best"


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; log: drawn evenly in their logarithms."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Target:
    """A score: metric on a dataset of role select; default: those that decide."""

    on: str | None = None
    metric: str | None = None


@dataclass(frozen=True)
class Constraint:
    """A bound that a score must keep; exactly one of at_least and at_most is given."""

    on: str | None = None
    metric: str | None = None
    at_least: float | None = None
    at_most: float | None = None


@dataclass(frozen=True)
class Search:
    """Let Optuna propose values of several parameters, keep the best trial.

    space: where in the recipe (see `assign`) → a range of numbers, or options to choose from.
    trials: how many the study shall have in the end, those of earlier runs and other processes included.
    sampler: tpe or cmaes.
    study: its name in the storage; default: made from the recipe and its inputs.
    objectives: the first one decides among the trials that keep the constraint.
    """

    space: Mapping[str, Range | tuple[float | str, ...]]
    trials: int
    sampler: str = "tpe"
    study: str | None = None
    objectives: tuple[Target, ...] = ()
    constraint: Constraint | None = None

    @property
    def methods(self) -> tuple[str, ...]:
        """The merge methods to choose from; none if only numbers are searched."""
        options = self.space.get("method", ())
        return () if isinstance(options, Range) else tuple(map(str, options))
