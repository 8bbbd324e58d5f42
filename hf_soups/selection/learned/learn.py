"""From a recipe and labelled examples to the recipe with learned weights."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_soups.engine import Device
from hf_soups.errors import RecipeError
from hf_soups.evaluation.examples import Examples
from hf_soups.recipe import Learning, Recipe, Weights, check
from hf_soups.recipe.learning import check_learning
from hf_soups.selection.learned.batches import TaskBatches
from hf_soups.selection.learned.fit import Fitted, fit
from hf_soups.selection.learned.head import logit_layer
from hf_soups.selection.learned.linear import Linearised, fit_linear
from hf_soups.selection.learned.streamed import StreamedSoup
from hf_soups.selection.learned.trace import Confirmed, Epoch, Learned
from hf_soups.selection.trace import Selection
from hf_soups.soup import Open, Soup

if TYPE_CHECKING:
    from hf_soups.evaluation.tasks.base import Task
    from hf_soups.recipe import Evaluate

TASKS = ("text-classification", "image-classification")  # whose loss is the cross-entropy of one label a row


def learned(
    recipe: Recipe,
    open: Open,
    task: Task,
    data: Mapping[str, Examples],
    *,
    device: Device | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Selection:
    """The recipe with the weights that its `select` section asks for, and their trace.

    open: gives the checkpoint of an ingredient. task: with one label a row. data: of the recipe's datasets, by name;
        only those of the roles fit and calibrate are looked at.
    device: what computes soups; the model runs on the same, in float32.
    Ingredients that get no weight anywhere are left out.
    Raises RecipeError if there is no data of these roles, SelectionError if the loss is not finite.
    """
    from hf_soups.model import load_model

    asked = recipe.select.options if recipe.select else None
    options = asked if isinstance(asked, Learning) else Learning()
    check_learning(check(recipe), options)
    if task.name not in TASKS:
        raise RecipeError(f"select: learned weights minimise the loss of {' or '.join(TASKS)}, not of {task.name}")
    evaluate: Any = recipe.evaluate
    names = {role: _named(evaluate, role) for role in ("fit", "calibrate")}
    uniform = Soup(replace(recipe, select=None), open, device=device)
    model, processor = load_model(uniform), task.processor(uniform)
    model.to(_place(device))
    rows, calibrate = (
        TaskBatches(task, data[names[role]], model, processor, evaluate.batch_size, evaluate.max_length)
        for role in names
    )
    soup = StreamedSoup(recipe, open, model, options.granularity, device=device)
    if options.linear:
        found: Fitted | Linearised = fit_linear(soup, rows, calibrate, options, tell)
    else:
        steps = options.epochs * math.ceil(rows.n / options.batch_size)
        each = 2 * uniform.bytes_read
        tell(f"learning in at most {steps} steps, each of which reads {each:,} bytes of the ingredients")
        found = fit(soup, rows, calibrate, options, recipe.seed, tell)
    if isinstance(found, Fitted) and found.best == 0:
        tell(f"no epoch was better on {names['calibrate']} than the uniform soup, which is therefore taken")
    folded = logit_layer(soup.model, soup.learned, rows) if found.beta != 1 else ()
    weights = soup.weights(found.a, dict.fromkeys(folded, found.beta))
    stages: Sequence[Epoch | Confirmed] = found.epochs if isinstance(found, Fitted) else found.confirmed
    trace = Learned(
        fit=names["fit"],
        calibrate=names["calibrate"],
        granularity=options.granularity,
        space=options.space,
        ingredients=weights.ingredients,
        groups=dict(zip(soup.names, (tuple(row) for row in found.a.tolist()), strict=True)),
        beta=found.beta,
        folded=folded,
        uniform=stages[0].calibrate,
        loss=stages[found.best].calibrate,
        best=found.best,
        epochs=found.epochs if isinstance(found, Fitted) else (),
        confirmed=found.confirmed if isinstance(found, Linearised) else (),
        steps=found.steps if isinstance(found, Fitted) else 0,
        bytes_read=soup.bytes_read,
    )
    return Selection(
        only_used(recipe, weights, np.asarray(found.a.any(axis=0))), "learned", "log_loss", names["fit"], learned=trace
    )


def only_used(recipe: Recipe, weights: Weights, used: np.ndarray) -> Recipe:
    """The recipe with these weights and only the ingredients that are used, `[n]` bool."""
    fewer = Weights(
        tuple(compress(weights.ingredients, used)),
        {name: tuple(compress(row, used)) for name, row in weights.tensors.items()},
    )
    ingredients = tuple(compress(recipe.ingredients, used))
    return check(replace(recipe, ingredients=ingredients, select=None, weights=fewer))


def _named(evaluate: Evaluate, role: str) -> str:
    return next(name for name, data in evaluate.datasets.items() if data.role == role)


def _place(device: Device | None) -> str:
    """What torch calls the kind of device that computes soups: cpu, cuda or mps."""
    return "cpu" if device is None else re.split(r"\W", device.name)[0]
