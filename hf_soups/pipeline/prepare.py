"""Before anything large is read: pinned references, the base, the plan, the licence, the room on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_soups.align import Finding
from hf_soups.card import decide_license, sources
from hf_soups.engine import Device
from hf_soups.errors import EvaluationError, RecipeError, did_you_mean
from hf_soups.hub.ahead import BLOCK, KEEP
from hf_soups.hub.opening import Opener
from hf_soups.method import get
from hf_soups.pipeline.stream import remarks
from hf_soups.planning import Plan, describe
from hf_soups.recipe import Evaluate, Ingredient, Learning, Recipe
from hf_soups.selection import needs_base, outline
from hf_soups.soup import Soup

if TYPE_CHECKING:
    from hf_soups.evaluation.benchmarks import Benchmark
    from hf_soups.evaluation.metrics import Metric


def prepare(
    recipe: Recipe,
    opener: Opener,
    device: Device,
    *,
    stream: bool = False,
    uploads: bool = False,
    own: Mapping[str, Metric | Benchmark] | None = None,
) -> tuple[Recipe, Plan, Soup]:
    """The pinned recipe, the plan, and the soup of all ingredients as its headers tell it.

    own: metrics that the recipe only names.
    stream: the Hub's weights will be read by range; uploads: each finished file will go to the Hub.
    Raises AlignmentError with every reason why they do not fit together, and SoupError if their licences
    differ and the recipe names none.
    """
    _check_names(recipe.evaluate, own or {})
    pinned = opener.pin(recipe)
    if pinned.evaluate is not None and pinned.evaluate.baselines:
        others = opener.pin(Recipe(tuple(Ingredient(model) for model in pinned.evaluate.baselines))).ingredients
        known = tuple(str(other.model) for other in others)
        pinned = replace(pinned, evaluate=replace(pinned.evaluate, baselines=known))
    if pinned.base is None and needs_base(pinned):
        pinned = replace(pinned, base=_infer_base(pinned, opener))
    soup = Soup(outline(pinned), opener.headers, device=device)
    _check_local_names(soup)
    parts = [*pinned.ingredients, *([pinned.base] if pinned.base else [])]
    downloads = [opener.to_download(part, stream) for part in parts]
    _, warnings = decide_license(sources(soup), recipe.output.license)
    made = describe(soup, downloads, warnings, stream=stream, uploads=uploads)
    notes = tuple(
        Finding("note", remark) for remark in [*remarks(made.streamed > 0, uploads), *_learning(pinned, soup)]
    )
    ahead = KEEP * BLOCK * sum(origin.sha is not None for origin in sources(soup)) if made.streamed else 0
    return pinned, replace(made, findings=(*made.findings, *notes), memory=made.memory + ahead), soup


def _learning(recipe: Recipe, soup: Soup) -> list[str]:
    """What learning weights reads; how many steps it takes depends on data that are not here yet."""
    if recipe.select is None or recipe.select.strategy != "learned":
        return []
    options = recipe.select.options if isinstance(recipe.select.options, Learning) else Learning()
    each = f"{2 * soup.bytes_read:,} bytes"
    if options.linear:
        from hf_soups.selection.learned.linear import PASSES

        return [
            f"learning weights in the linearised model reads the ingredients at most {PASSES} times, "
            f"{PASSES * soup.bytes_read:,} bytes"
        ]
    return [
        f"each step of learning reads the ingredients twice, {each}; an epoch has a step for every "
        f"{options.batch_size} rows of role fit, and there are at most {options.epochs} epochs"
    ]


def _check_local_names(soup: Soup) -> None:
    """RecipeError if two local folders have one name: soup.yaml could not tell them apart."""
    found: dict[tuple[str, str | None], Path] = {}
    for origin in sources(soup):
        if origin.path is not None:
            key = (origin.name, origin.subfolder)
            if found.setdefault(key, origin.path) != origin.path:
                raise RecipeError(
                    f"two folders are called {origin.name}: {found[key]} and {origin.path}; rename one, since records "
                    "name local folders without their place"
                )


def _check_names(evaluate: Evaluate | None, own: Mapping[str, Any]) -> None:
    """A misspelt task or metric is found before anything is asked of the Hub."""
    _check_own(evaluate, own)
    if evaluate is None or not (evaluate.task or evaluate.metrics):
        return
    from hf_soups.evaluation import tasks
    from hf_soups.evaluation.lm_harness import PREFIX

    if evaluate.task is not None:
        known = tasks.named(evaluate.task).metrics
    else:
        known = {name: metric for task in tasks.TASKS for name, metric in tasks.named(task).metrics.items()}
    known = {**known, **own}
    for name in evaluate.metrics:
        if isinstance(name, str) and name not in known and not name.startswith(PREFIX):
            raise EvaluationError(f"evaluate: no metric {name!r}{did_you_mean(name, known)}")


def _check_own(evaluate: Evaluate | None, own: Mapping[str, Any]) -> None:
    """EvaluationError for a metric of the caller's that nobody asks for, or that does not say which way is up."""
    if not own:
        return
    from hf_soups.evaluation.benchmarks import Benchmark
    from hf_soups.evaluation.metrics import Metric

    asked = evaluate.metric_names if evaluate else ()
    for name, metric in own.items():
        if not isinstance(metric, Metric | Benchmark):
            raise EvaluationError(
                f"own: {name}: {type(metric).__name__} does not say which way is up; pass "
                "own_function(f, greater_is_better=...), or own_metric(...) for a metric of `evaluate`"
            )
        if name not in asked:
            raise EvaluationError(
                f"own: {name}: not in the recipe's `evaluate: metrics`; list it there, first if it is to decide"
            )


def _infer_base(recipe: Recipe, opener: Opener) -> Ingredient:
    """The base that the cards or configs of all ingredients name, if they agree on exactly one."""
    said = {i.label: opener.headers(i).origin.bases for i in recipe.ingredients if isinstance(i.model, str)}
    found = set(said.values())
    if len(found) != 1 or len(next(iter(found))) != 1:
        what = recipe.select.strategy if recipe.select and not get(recipe.method).needs_base else recipe.method
        listed = "; ".join(f"{name}: {', '.join(bases) or 'none'}" for name, bases in said.items())
        raise RecipeError(
            f"{what} needs a base, and the ingredients' cards do not agree on one ({listed}); name it "
            "with base: (--base)"
        )
    (base,) = next(iter(found))
    return opener.pin(Recipe(ingredients=(Ingredient(model=base),))).ingredients[0]
