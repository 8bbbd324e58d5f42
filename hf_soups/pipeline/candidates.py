"""What scores soups of a recipe: its data read and pinned, its task as the models' configs say."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hf_soups.align import config_of, label_names
from hf_soups.errors import RecipeError
from hf_soups.hub.opening import Opener
from hf_soups.pipeline.peers import invite_to_evaluate, own_memory
from hf_soups.pipeline.share import kind
from hf_soups.recipe import Recipe
from hf_soups.recipe.check_select import named_metrics
from hf_soups.soup import Soup

if TYPE_CHECKING:
    from hf_soups.evaluation.cache import Predictions
    from hf_soups.pipeline.options import Options
    from hf_soups.selection.candidates import Candidates


def candidates_for(
    recipe: Recipe,
    soup: Soup,
    opener: Opener,
    options: Options,
    cache: Predictions | None = None,
) -> tuple[Recipe, Candidates]:
    """The recipe with its datasets pinned, and what scores soups of it.

    soup: of all ingredients, from headers: its config says which task and labels these models have; its device
        computes the others too.
    options: how it is carried out. cache: where predictions are kept; default: the user's own.
    """
    from hf_soups.evaluation import tasks
    from hf_soups.evaluation.evaluator import Evaluator
    from hf_soups.selection.candidates import Candidates

    if recipe.evaluate is None:
        raise RecipeError("evaluate: no data; add evaluate: to the recipe, or name a dataset (--dataset)")
    config = config_of(soup)
    task = recipe.evaluate.task or tasks.infer(config)
    tasks.check(task, config)
    labels = soup.alignment.labels or label_names(config) or ()
    settled = {name: replace(data, path=opener.settle(data.path)) for name, data in recipe.evaluate.datasets.items()}
    asked = replace(recipe.evaluate, task=task, datasets=settled)
    if not asked.metrics and recipe.select is not None:
        usual = next(iter(tasks.named(task).metrics))
        asked = replace(asked, metrics=tuple(dict.fromkeys(m or usual for m in named_metrics(recipe, recipe.select))))
    evaluator = Evaluator(
        asked,
        labels,
        cache,
        token=options.token,
        seed=recipe.seed,
        own=options.own,
        trust_remote_code=options.trust_remote_code,
    )
    datasets = {
        name: replace(data, revision=evaluator.reports[name].source.revision or data.revision)
        for name, data in settled.items()
    }
    pinned = replace(recipe, evaluate=replace(asked, metrics=asked.metrics or evaluator.asked, datasets=datasets))
    peers = invite_to_evaluate(pinned, labels, kind(soup.device), options.ranks)
    return pinned, Candidates(evaluator, opener.pull, soup.device, peers=peers, max_memory=own_memory(options))
