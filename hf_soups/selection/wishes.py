"""Answers that will probably be asked for, and who may give them ahead of time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from hf_soups.evaluation.scores import Array
from hf_soups.recipe import Recipe


@dataclass(frozen=True)
class Reach:
    """What a candidate has to reach to be accepted: `best` in a metric, under the tie rule `>=` or `>`."""

    metric: str
    best: float
    tie: str


@dataclass(frozen=True, eq=False)
class Wish:
    """One soup's answers to one dataset.

    key: under which they are kept.
    reach: what they have to reach; as many are wanted as show that they cannot. Default: all.
    hardness: [n] of each row, the hard ones first; see `Candidates.hardness`.
    """

    key: str
    recipe: Recipe
    dataset: str
    reach: Reach | None = None
    hardness: Array | None = None

    @property
    def label(self) -> str:
        """`run-1 + run-2 on validation`"""
        return f"{' + '.join(i.label for i in self.recipe.ingredients)} on {self.dataset}"


class Ahead(Protocol):
    """Fills the cache of predictions before somebody looks into it; it decides nothing."""

    @property
    def width(self) -> int:
        """How many guesses are worth its while."""
        ...

    def soon(self, wishes: Iterable[Wish]) -> None:
        """These are asked next, probably and in this order; whatever else is under way is wanted no more."""
        ...

    def wait(self, key: str) -> None:
        """Until the answers under a key are kept, where they are wished for; SoupError if they could not be made."""
        ...
