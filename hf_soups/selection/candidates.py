"""Soups as candidates: built in memory, run on data, remembered by what they are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hf_soups.align.batchnorm import statistics
from hf_soups.checkpoint import Checkpoint
from hf_soups.engine import Device
from hf_soups.errors import SelectionError, SoupError
from hf_soups.evaluation import batchnorm
from hf_soups.evaluation.benchmarks import Measured
from hf_soups.evaluation.bounds import best_possible, difficulty
from hf_soups.evaluation.evaluator import Evaluator
from hf_soups.evaluation.examples import taken
from hf_soups.evaluation.outputs import Outputs
from hf_soups.evaluation.scores import Array
from hf_soups.evaluation.tasks.text_generation import TextGeneration
from hf_soups.placement import Memory, Placed, place
from hf_soups.recipe import Ingredient, Recipe, arguments
from hf_soups.selection.greedy import accepts, soup_of
from hf_soups.selection.trace import Tried
from hf_soups.selection.wishes import Ahead, Reach, Wish
from hf_soups.soup import Open, Soup
from hf_soups.soup.assets import SoupAssets

if TYPE_CHECKING:
    from hf_soups.evaluation.gradual import Answered, Question, Share

INPUT_FILES = (  # parts of the names of files that decide what a model is fed, and how it answers
    "tokeniz", "vocab", "merges", "special_tokens", "added_tokens", "spiece", "sentencepiece", "processor",
    ".model", ".spm", ".tiktoken",
    "generation", "modules.json", "_Pooling", "_Normalize", "sentence_bert",
)  # fmt: skip


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
        self._wishes: dict[tuple[str, Reach | None], Wish | None] = {}
        self._source = open
        self._opened: dict[tuple[Any, ...], Checkpoint] = {}
        self._max_memory = max_memory
        self._model: tuple[bytes, Placed] | None = None
        self._processor: tuple[str, Any] | None = None

    def open(self, ingredient: Ingredient) -> Checkpoint:
        key = (ingredient.model, ingredient.subfolder, ingredient.base)
        if isinstance(ingredient.model, Recipe):
            return Soup(ingredient.model, self.open, nested=True, device=self.device)
        if key not in self._opened:
            self._opened[key] = self._source(ingredient)
        return self._opened[key]

    def checkpoint(self, recipe: Recipe) -> Checkpoint:
        """The soup of a recipe; one ingredient alone is itself."""
        plain = recipe.method == "average" and not (recipe.overrides or recipe.weights or recipe.output.dtype)
        if plain and len(recipe.ingredients) == 1:
            return self.open(recipe.ingredients[0])
        soup = Soup(recipe, self.open, device=self.device)
        return _copied(soup) or soup

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
        return self.evaluator.measure(
            self.identity(checkpoint), lambda: self._load(checkpoint), benchmark, settings_of(checkpoint)
        )

    def attempt(
        self, recipe: Recipe, dataset: str, metric: str, best: float, tie: str, hardness: Array | None
    ) -> Tried:
        """The score of a candidate, unless it turns out on the way that it cannot be accepted.

        best, tie: what it has to reach. hardness: [n] of each row, as `hardness` gives it; hard batches come first, in
        the same company as always, so that answers are the same. None: all rows are run.
        Exactly the candidates are given up that a whole evaluation would reject: see `evaluation.bounds`.
        """
        checkpoint = self.checkpoint(recipe)
        self._wait(checkpoint, dataset)
        answered, bound = self._answered(checkpoint, dataset, Reach(metric, best, tie), hardness)
        if answered.complete:
            return Tried(self.evaluator.score(answered.whole(), dataset, metric), None, answered.n, answered.n)
        return Tried(None, bound, len(answered.rows), answered.n)

    def soon(self, recipes: Iterable[Recipe], datasets: Iterable[str], reach: Reach | None = None) -> None:
        """The answers of these soups are probably asked for next, in this order; whoever is `ahead` may begin.

        reach: what they have to reach to be accepted; then they are guesses, of which only the first few are read.
        """
        if self.ahead is not None:
            guesses = recipes if reach is None else islice(recipes, self.ahead.width)
            self.ahead.soon(list(self._wanted(guesses, list(datasets), reach)))

    def fulfil(self, wish: Wish, stopped: Callable[[], bool]) -> None:
        """Keep what a wish asks for, as far as it asks for it, or until it is stopped."""
        self._answered(self.checkpoint(wish.recipe), wish.dataset, wish.reach, wish.hardness, stopped=stopped)

    def _wanted(self, recipes: Iterable[Recipe], datasets: list[str], reach: Reach | None) -> Iterator[Wish]:
        """What of it is not known already."""
        try:
            for recipe in recipes:
                checkpoint = self.checkpoint(recipe)
                for dataset in datasets:
                    key = self.key(checkpoint, dataset)
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
        hardness = None if reach is None else self.hardness(recipe, dataset, reach.metric)
        try:
            self._answered(checkpoint, dataset, reach, hardness, load=_nothing)
        except _NotKept:
            return Wish(key, recipe, dataset, reach, hardness)
        return None

    def _wait(self, checkpoint: Checkpoint, dataset: str) -> None:
        if self.ahead is not None:
            self.ahead.wait(self.key(checkpoint, dataset))

    def _answered(
        self,
        checkpoint: Checkpoint,
        dataset: str,
        reach: Reach | None,
        hardness: Array | None,
        *,
        load: Callable[[], tuple[Any, Any]] | None = None,
        stopped: Callable[[], bool] | None = None,
    ) -> tuple[Answered, float | None]:
        """Answers until it is sure that they do not reach it, or until they are stopped, and the best still possible.

        load: gives the model, if it is needed; default: loads it.
        """
        evaluator, question = self.evaluator, self.question(checkpoint, dataset)
        references = evaluator.examples(dataset).references
        every = np.arange(len(references))
        bound: float | None = None

        def hopeless(rows: NDArray[np.int64], outputs: Outputs) -> bool:
            nonlocal bound
            if stopped is not None and stopped():
                return True
            if reach is None or hardness is None:
                return False
            how = evaluator.metrics[reach.metric]
            rest = np.setdiff1d(every, rows, assume_unique=True)
            bound = best_possible(how, outputs, taken(references, rows), taken(references, rest))
            sign = 1 if how.greater_is_better else -1
            return bound is not None and not accepts(bound, reach.best, reach.tie, sign)

        answered = evaluator.answered(
            question if load is None else replace(question, load=load),
            hardness=hardness,
            enough=None if hardness is None and stopped is None else hopeless,
        )
        return answered, bound

    def hardness(self, recipe: Recipe, dataset: str, metric: str) -> Array | None:
        """[n] what each row costs the ensemble of a candidate's ingredients; None where the metric has no bound.

        Only its own: what is hard for a bad model that is not in it says little. The ensemble is the best guess at a
        soup's answers that takes no forward pass; a wrong guess costs time, and changes no choice.
        """
        how, references = self.evaluator.metrics[metric], self.evaluator.examples(dataset).references
        alone = [self.checkpoint(soup_of(recipe, [index])) for index in range(len(recipe.ingredients))]
        together = self.evaluator.ensemble([self.outputs(one, [dataset])[dataset] for one in alone])
        if together is None or best_possible(how, together, references, taken(references, np.arange(0))) is None:
            return None
        return difficulty(how, together, references)

    def outputs(self, checkpoint: Checkpoint, datasets: Iterable[str] | None = None) -> Mapping[str, Outputs]:
        """Answers to the named datasets (default: all), from the cache where they were made before."""
        wanted = list(self.evaluator.datasets if datasets is None else datasets)
        for dataset in wanted:
            self._wait(checkpoint, dataset)
        return self.evaluator.outputs(
            self.identity(checkpoint),
            lambda: self._load(checkpoint),
            settings_of(checkpoint),
            datasets=wanted,
            name=checkpoint.origin.name,
            share=self._share(checkpoint),
        )

    def question(self, checkpoint: Checkpoint, dataset: str) -> Question:
        """What a model is asked about a dataset."""
        return self.evaluator.question(
            self.identity(checkpoint),
            lambda: self._load(checkpoint),
            settings_of(checkpoint),
            dataset,
            name=checkpoint.origin.name,
            share=self._share(checkpoint),
        )

    def _share(self, checkpoint: Checkpoint) -> Share | None:
        return None if self.peers is None else self.peers.sharing(self._recipe_of(checkpoint))

    def _recipe_of(self, checkpoint: Checkpoint) -> Recipe:
        """The recipe of a model that this object opened."""
        if isinstance(checkpoint, Soup):
            return Recipe((Ingredient(checkpoint.recipe),)) if checkpoint.nested else checkpoint.recipe
        for (model, subfolder, base), opened in self._opened.items():
            if opened is checkpoint:
                return Recipe((Ingredient(model, subfolder=subfolder, base=base),))
        raise SelectionError(f"{checkpoint.origin.name}: was not opened here, so no other process can open it")

    def ensemble(self, checkpoints: Sequence[Checkpoint], dataset: str) -> Outputs | None:
        """What several models answer together: the mean of their logits; None where that means nothing.

        From their own answers where these tell, else in a joint pass, once.
        """
        from hf_soups.evaluation.together import together

        evaluator = self.evaluator
        found = evaluator.ensemble([self.outputs(one, [dataset])[dataset] for one in checkpoints])
        task, way = evaluator.task, evaluator.way
        if found is not None or not isinstance(task, TextGeneration):
            return found

        def compute() -> Outputs:
            placed, processor = self._placed(checkpoints[0])
            return together(
                task,
                placed.model,
                [partial(placed.fill, one) for one in checkpoints],
                processor,
                evaluator.examples(dataset),
                max_length=way["max_length"],
                dtype=way["dtype"],
            )

        whose = " + ".join(self.identity(one) for one in checkpoints)
        about = {"task": task.name, "dataset": evaluator.examples(dataset).source.title, "model": "ensemble"}
        key = evaluator.key(f"ensemble of {whose}", dataset, settings_of(checkpoints[0]))
        return evaluator.cache.get_or_compute(key, compute, about)

    def known(self, checkpoint: Checkpoint, dataset: str) -> Outputs | None:
        """Answers to a dataset if all of them are kept; nothing is run."""
        return self.evaluator.cache.get(self.key(checkpoint, dataset))

    def key(self, checkpoint: Checkpoint, dataset: str) -> str:
        """Under which its answers to a dataset are kept."""
        return self.evaluator.key(self.identity(checkpoint), dataset, settings_of(checkpoint))

    def identity(self, checkpoint: Checkpoint) -> str:
        """What its answers are kept under: its weights, and how BatchNorm's statistics are estimated anew."""
        dataset = _recomputed(checkpoint)
        if dataset is None:
            return checkpoint.fingerprint()
        evaluator = self.evaluator
        way = [evaluator.examples(dataset).fingerprint, evaluator.way["batch_size"], evaluator.way["max_length"]]
        return f"{checkpoint.fingerprint()} batchnorm {batchnorm.WAY} {' '.join(map(str, way))}"

    def statistics(self, recipe: Recipe) -> Mapping[str, Array]:
        """BatchNorm's statistics of the soup of a recipe, as its answers were given with; empty where they are none."""
        from hf_soups.model import places

        checkpoint = self.checkpoint(recipe)
        if _recomputed(checkpoint) is None:
            return {}
        model, _ = self._load(checkpoint)
        return batchnorm.read(model, places(model, checkpoint), checkpoint)

    def _load(self, checkpoint: Checkpoint) -> tuple[Any, Any]:
        placed, processor = self._placed(checkpoint)
        return placed.model, processor

    def _placed(self, checkpoint: Checkpoint) -> tuple[Placed, Any]:
        """The one model, which holds these weights now, and its processor."""
        config = b"\0".join(checkpoint.assets.get(name, b"") for name in ("config.json", "generation_config.json"))
        if self._model is None or self._model[0] != config:
            self._model = None  # gone before the next one comes
            self._model = (config, place(checkpoint, self.evaluator.way["dtype"], self._max_memory))
        else:
            self._model[1].fill(checkpoint)
        placed = self._model[1]
        files = settings_of(checkpoint)["files"]
        if self._processor is None or self._processor[0] != files:
            self._processor = (files, self.evaluator.task.processor(checkpoint))
        if (dataset := _recomputed(checkpoint)) is not None:
            self._recompute(checkpoint, dataset, placed.model, self._processor[1])
        return placed, self._processor[1]

    def _recompute(self, checkpoint: Checkpoint, dataset: str, model: Any, processor: Any) -> None:
        """BatchNorm's statistics of the weights that the model holds, rounded as they will be written."""
        from hf_soups.model import fill_in, places

        evaluator, way = self.evaluator, self.evaluator.way
        batchnorm.estimate(
            evaluator.task,
            model,
            processor,
            evaluator.examples(dataset),
            batch_size=way["batch_size"],
            max_length=way["max_length"],
        )
        targets = places(model, checkpoint)
        found = batchnorm.read(model, targets, checkpoint)
        fill_in(model, ((targets[name], value) for name, value in found.items()))


def _recomputed(checkpoint: Checkpoint) -> str | None:
    """The dataset that BatchNorm's statistics are estimated on; None where there are none, and for ingredients."""
    if not isinstance(checkpoint, Soup) or not statistics(checkpoint.specs):
        return None
    return checkpoint.recipe.recompute_batchnorm


class _NotKept(Exception):
    """Some answers are not kept yet."""


def _nothing() -> tuple[Any, Any]:
    """In place of a model: what is kept has to suffice."""
    raise _NotKept


def _copied(soup: Soup) -> Checkpoint | None:
    """The one model that a soup is a copy of, such as the base at alpha 0, so that it is not run again."""
    recipe, parts = soup.recipe, soup.ingredients
    if soup.method.kind != "linear" or recipe.overrides or recipe.weights is not None:
        return None
    weights = soup.method.coefficients(len(parts), arguments(recipe))
    if soup.method.needs_base:
        parts, weights = [soup.required_base, *parts], np.concatenate([[1 - weights.sum()], weights])
    used = [(part, weight) for part, weight in zip(parts, weights, strict=True) if weight != 0]
    if len(used) != 1 or used[0][1] != 1 or dict(used[0][0].specs) != dict(soup.specs):
        return None
    same = SoupAssets(used[0][0].assets, soup.specs, soup.alignment.labels)
    return used[0][0] if _files(same) == _files(soup.assets) else None


def settings_of(checkpoint: Checkpoint) -> dict[str, str]:
    """What, beside the weights, decides the answers and is known without a model."""
    return _files(checkpoint.assets)


def _files(assets: Mapping[str, bytes]) -> dict[str, str]:
    """What, beside the weights, decides the answers and is known without a model."""
    digest = hashlib.sha256()
    for name in sorted(assets):
        if name == "config.json" or any(part in name for part in INPUT_FILES):
            digest.update(name.encode() + b"\0" + assets[name])
    return {"files": digest.hexdigest()}
