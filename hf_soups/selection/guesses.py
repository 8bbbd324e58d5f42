"""Guesses at what is asked next, as wishes for whoever may answer ahead of time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hf_soups.checkpoint import Checkpoint
from hf_soups.errors import SoupError
from hf_soups.recipe import Recipe
from hf_soups.selection.rejection import answered_until
from hf_soups.selection.wishes import Reach, Wish

if TYPE_CHECKING:
    from hf_soups.selection.candidates import Candidates


class Guesses:
    """Remembers which answers are kept already, so that nobody is asked for them."""

    def __init__(self, candidates: Candidates) -> None:
        self._candidates = candidates
        self._wishes: dict[tuple[str, Reach | None], Wish | None] = {}

    def wanted(self, recipes: Iterable[Recipe], datasets: list[str], reach: Reach | None) -> Iterator[Wish]:
        """What of these soups' answers is not known already.

        reach: what they have to reach; then the recipes are guesses, and follow the one whose turn it is.
        """
        candidates = self._candidates
        try:
            for recipe in recipes:
                checkpoint = candidates.checkpoint(recipe)
                for dataset in datasets:
                    key = candidates.key(checkpoint, dataset)
                    if (key, reach) not in self._wishes:
                        self._wishes[key, reach] = self._wish(key, recipe, checkpoint, dataset, reach)
                    if (wish := self._wishes[key, reach]) is not None:
                        yield wish
                    elif reach is not None:
                        return  # the one in turn is kept from another run: its score comes before any guess
        except SoupError:
            return  # a guess that makes no soup; if it is asked for, whoever asks is told

    def _wish(self, key: str, recipe: Recipe, checkpoint: Checkpoint, dataset: str, reach: Reach | None) -> Wish | None:
        """None where what is kept suffices."""
        candidates = self._candidates
        hardness = None if reach is None else candidates.hardness(recipe, dataset, reach.metric)
        question = replace(candidates.question(checkpoint, dataset), load=_nothing)
        try:
            answered_until(candidates.evaluator, question, reach, hardness)
        except _NotKept:
            return Wish(key, recipe, dataset, reach, hardness)
        return None


class _NotKept(Exception):
    """Some answers are not kept yet."""


def _nothing() -> tuple[Any, Any]:
    """In place of a model: what is kept has to suffice."""
    raise _NotKept
