"""Soups as candidates: built in memory, run on data, remembered by what they are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from hf_soups.checkpoint import Checkpoint
from hf_soups.engine import Device
from hf_soups.evaluation.benchmarks import Measured
from hf_soups.evaluation.evaluator import Evaluator
from hf_soups.evaluation.outputs import Outputs
from hf_soups.evaluation.scores import Array
from hf_soups.placement import Memory
from hf_soups.recipe import Ingredient, Recipe
from hf_soups.selection import recomputed
from hf_soups.selection.checkpoints import Checkpoints
from hf_soups.selection.greedy import soup_of
from hf_soups.selection.guesses import Guesses
from hf_soups.selection.joint import joint
from hf_soups.selection.rejection import answered_until, row_hardness
from hf_soups.selection.settings import settings_of
from hf_soups.selection.trace import Tried
from hf_soups.selection.warm import WarmModel
from hf_soups.selection.wishes import Ahead, Reach, Wish
from hf_soups.soup import Open, Soup

if TYPE_CHECKING:
    from hf_soups.evaluation.gradual import Question, Share


LONG = 60  # letters of the ingredients' names, for people


class Peers(Protocol):
    """Other processes that open the same models and data."""

    def sharing(self, recipe: Recipe) -> Share:
        """What deals parts of batches out, to be answered by the model of a recipe."""


class Candidates:
    """Scores recipes without writing them.

    open: gives the checkpoint of an ingredient; each is opened once.
    device: what computes the soups; default: this machine's processors.
    peers: other processes that answer their share of each question; default: there are none.
    max_memory: what the model may take where; see `hf_soups.placement.place`.
    ahead: who may answer before this does; what is chosen is the same with anybody, and with nobody.
    Only one model is in memory, and refilled for each candidate whose predictions are not known yet.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        open: Open,
        device: Device | None = None,
        *,
        peers: Peers | None = None,
        max_memory: Memory | None = None,
        ahead: Ahead | None = None,
    ) -> None:
        self.evaluator = evaluator
        self.device = device
        self.peers = peers
        self.ahead = ahead
        self._checkpoints = Checkpoints(open, device)
        self._warm = WarmModel(evaluator, max_memory)
        self._guesses = Guesses(self)

    def open(self, ingredient: Ingredient) -> Checkpoint:
        return self._checkpoints.open(ingredient)

    def checkpoint(self, recipe: Recipe) -> Checkpoint:
        """The soup of a recipe; one ingredient alone is itself."""
        return self._checkpoints.of(recipe)

    def score(self, recipe: Recipe, dataset: str, metric: str) -> float:
        """Held-out score of the soup that a recipe describes."""
        return self.value(self.checkpoint(recipe), dataset, metric)

    def value(self, checkpoint: Checkpoint, dataset: str, metric: str) -> float:
        """A metric of its answers to a dataset; of a benchmark what that makes of the model, whatever the dataset."""
        if metric in self.evaluator.benchmarks:
            return self.measure(checkpoint, metric).value
        return self.evaluator.score(self.outputs(checkpoint, [dataset])[dataset], dataset, metric)

    def measure(self, checkpoint: Checkpoint, benchmark: str) -> Measured:
        """What a benchmark of the evaluation makes of a model, from the cache where that was done before."""
        load, settings = partial(self._warm.load, checkpoint), settings_of(checkpoint.assets)
        return self.evaluator.measure(self.identity(checkpoint), load, benchmark, settings)

    def attempt(
        self, recipe: Recipe, dataset: str, metric: str, best: float, tie: str, hardness: Array | None
    ) -> Tried:
        """The score of a candidate, unless it turns out on the way that it cannot be accepted.

        best, tie: what it has to reach. hardness: [n] of each row, as `hardness` gives it; hard rows come first,
        without the rest of their batch where that gives the same bits. None: all rows are run.
        Exactly the candidates are given up that a whole evaluation would reject: see `evaluation.bounds`.
        """
        checkpoint = self.checkpoint(recipe)
        self._wait(checkpoint, dataset)
        question = self.question(checkpoint, dataset)
        answered, bound = answered_until(self.evaluator, question, Reach(metric, best, tie), hardness)
        if answered.complete:
            return Tried(self.evaluator.score(answered.whole(), dataset, metric), None, answered.n, answered.n)
        return Tried(None, bound, len(answered.rows), answered.n)

    def hardness(self, recipe: Recipe, dataset: str, metric: str) -> Array | None:
        """[n] what each row costs the ensemble of a candidate's ingredients; None where the metric has no bound.

        Only its own: what is hard for a bad model that is not in it says little. The ensemble is the best guess at a
        soup's answers that takes no forward pass; a wrong guess costs time, and changes no choice.
        """
        alone = [self.checkpoint(soup_of(recipe, [index])) for index in range(len(recipe.ingredients))]
        answers = [self.outputs(one, [dataset])[dataset] for one in alone]
        return row_hardness(self.evaluator, answers, dataset, metric)

    def soon(self, recipes: Iterable[Recipe], datasets: Iterable[str], reach: Reach | None = None) -> None:
        """The answers of these soups are probably asked for next, in this order; whoever is `ahead` may begin.

        reach: what they have to reach to be accepted; then they are guesses, of which only the first few are read.
        """
        if self.ahead is not None:
            guesses = recipes if reach is None else islice(recipes, self.ahead.width)
            self.ahead.soon(list(self._guesses.wanted(guesses, list(datasets), reach)))

    def fulfil(self, wish: Wish, stopped: Callable[[], bool]) -> None:
        """Keep what a wish asks for, as far as it asks for it, or until it is stopped."""
        question = self.question(self.checkpoint(wish.recipe), wish.dataset)
        answered_until(self.evaluator, question, wish.reach, wish.hardness, stopped)

    def outputs(self, checkpoint: Checkpoint, datasets: Iterable[str] | None = None) -> Mapping[str, Outputs]:
        """Answers to the named datasets (default: all), from the cache where they were made before."""
        wanted = list(self.evaluator.datasets if datasets is None else datasets)
        for dataset in wanted:
            self._wait(checkpoint, dataset)
        return self.evaluator.outputs(
            self.identity(checkpoint),
            partial(self._warm.load, checkpoint),
            settings_of(checkpoint.assets),
            datasets=wanted,
            name=_said(checkpoint),
            share=self._share(checkpoint),
        )

    def question(self, checkpoint: Checkpoint, dataset: str) -> Question:
        """What a model is asked about a dataset."""
        return self.evaluator.question(
            self.identity(checkpoint),
            partial(self._warm.load, checkpoint),
            settings_of(checkpoint.assets),
            dataset,
            name=_said(checkpoint),
            share=self._share(checkpoint),
        )

    def ensemble(self, checkpoints: Sequence[Checkpoint], dataset: str) -> Outputs | None:
        """What several models answer together: the mean of their logits; None where that means nothing.

        From their own answers where these tell, else in a joint pass, once.
        """
        found = self.evaluator.ensemble([self.outputs(one, [dataset])[dataset] for one in checkpoints])
        return found if found is not None else joint(checkpoints, dataset, self.evaluator, self._warm)

    def known(self, checkpoint: Checkpoint, dataset: str) -> Outputs | None:
        """Answers to a dataset if all of them are kept; nothing is run."""
        return self.evaluator.cache.get(self.key(checkpoint, dataset))

    def key(self, checkpoint: Checkpoint, dataset: str) -> str:
        """Under which its answers to a dataset are kept."""
        return self.evaluator.key(self.identity(checkpoint), dataset, settings_of(checkpoint.assets))

    def identity(self, checkpoint: Checkpoint) -> str:
        """What its answers are kept under: its weights, and how BatchNorm's statistics are estimated anew."""
        return recomputed.identity(checkpoint, self.evaluator)

    def statistics(self, recipe: Recipe) -> Mapping[str, Array]:
        """BatchNorm's statistics of the soup of a recipe, as its answers were given with; empty where they are none."""
        checkpoint = self.checkpoint(recipe)
        if recomputed.recomputed_on(checkpoint) is None:
            return {}
        model, _ = self._warm.load(checkpoint)
        return recomputed.read(checkpoint, model)

    def _wait(self, checkpoint: Checkpoint, dataset: str) -> None:
        if self.ahead is not None:
            self.ahead.wait(self.key(checkpoint, dataset))

    def _share(self, checkpoint: Checkpoint) -> Share | None:
        return None if self.peers is None else self.peers.sharing(self._checkpoints.recipe_of(checkpoint))


def _said(checkpoint: Checkpoint) -> str:
    """`average of run-1 + run-2`, for people who look into the cache or read what failed."""
    if not isinstance(checkpoint, Soup):
        return checkpoint.origin.name
    labels = " + ".join(ingredient.label for ingredient in checkpoint.recipe.ingredients)
    return f"{checkpoint.recipe.method} of {labels if len(labels) <= LONG else f'{labels[: LONG - 1]}…'}"
