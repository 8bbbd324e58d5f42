"""The main job for one recipe, from plan to push, as far as the recipe asks for it."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hf_soups.align import check_tokenizers
from hf_soups.checkpoint import check_free, check_room
from hf_soups.errors import CheckpointError, SelectionError
from hf_soups.evaluation.measures import refuse_untrusted
from hf_soups.hub.opening import Opener
from hf_soups.hub.predictions import dataset_of, predictions
from hf_soups.hub.push import Pushed
from hf_soups.hub.push import push as push_folder
from hf_soups.kernels import have_to_compile
from hf_soups.pipeline.candidates import candidates_for
from hf_soups.pipeline.choose import select, select_without_data
from hf_soups.pipeline.cluster import check_on, on_cluster
from hf_soups.pipeline.options import Options
from hf_soups.pipeline.prepare import prepare
from hf_soups.pipeline.share import Share, check_together, invite, own_device, with_idle
from hf_soups.pipeline.stream import check_stream, remarks
from hf_soups.pipeline.taste import taste
from hf_soups.pipeline.write import Made, upload, write
from hf_soups.planning import Plan
from hf_soups.recipe import Measure, Recipe
from hf_soups.selection import Selection
from hf_soups.soup import Soup

if TYPE_CHECKING:
    from hf_soups.evaluation.results import Results


@dataclass(frozen=True)
class Outcome:
    """Everything that a merge found out and made.

    checked: whether the written soup was loaded with transformers and run once.
    written: which process wrote which weight files.
    """

    soup: Soup
    plan: Plan
    selection: Selection | None = None
    results: Results | None = None
    out: Path | None = None
    pushed: Pushed | None = None
    checked: bool = False
    written: Sequence[Share] = ()


def run(recipe: Recipe, options: Options) -> Outcome:
    """The main job; `merge` and the command line are its two callers.

    Raises SelectionError, and writes nothing, if the greedy soup is a single ingredient.
    """
    listener, repo = options.listener, recipe.output.hub
    refuse_untrusted(recipe.evaluate, options.trust_remote_code)
    dataset_of(options.cache)  # said wrongly it is an error at once
    check_on(options.on, recipe, options.ranks)
    device = own_device(options.device, options.ranks)
    uploads = options.stream and options.out is None and repo is not None
    check_together(options.ranks, uploads)
    if options.stream:
        check_stream(recipe, uploads=uploads, check=options.check)
    if options.out is not None:
        check_free(options.out, options.overwrite)
        _check_apart(options.out, recipe)
    opener = Opener(options.token, options.local)
    listener.tell("reading headers")
    pinned, plan, headers = prepare(recipe, opener, device, stream=options.stream, uploads=uploads, own=options.own)
    writes = options.out is not None or repo is not None
    if writes:
        plan = with_idle(plan, options.ranks)
    listener.planned(plan)
    if writes:
        check_room(options.out or Path(tempfile.gettempdir()), plan.disk)
    if (writes or pinned.evaluate is not None) and have_to_compile():
        listener.tell("compiling the loops, once on this machine, which takes ten seconds or so")
    if plan.download and not options.stream:
        listener.tell("pulling")
    selection, results, statistics = None, None, None
    opened = opener.pull
    if pinned.evaluate is None:
        selection = select_without_data(pinned, headers)
    else:
        with predictions(options.cache, options.token, listener.tell) as cache:
            pinned, candidates = candidates_for(pinned, headers, opener, options, cache)
            opened = candidates.open
            listener.loaded(list(candidates.evaluator.reports.values()))
            with on_cluster(options, candidates, pinned):
                selection = select(pinned, candidates, listener)
                listener.tell("evaluating")
                results = taste(pinned, candidates, selection)
                if selection is not None and selection.strategy == "greedy":
                    from hf_soups.selection.growth import grown

                    selection = grown(pinned, selection, candidates)
        listener.evaluated(results, selection)
        if selection is not None and selection.is_single and not options.allow_single:
            where = selection.on or selection.metric
            raise SelectionError(f"no soup beat {selection.kept[0]} on {where}; --allow-single writes it alone")
    chosen = selection.recipe if selection else replace(pinned, select=None)
    if pinned.evaluate is not None and pinned.recompute_batchnorm is not None:
        listener.tell(f"estimating BatchNorm statistics on {pinned.recompute_batchnorm}")
        statistics = candidates.statistics(chosen)
    soup = (
        headers
        if options.stream
        else Soup(_repeatable(chosen, options.own), opened, device=device, statistics=statistics)
    )
    check_tokenizers({i.label: c for i, c in zip(soup.recipe.ingredients, soup.ingredients, strict=True)})
    ranked = selection is not None and selection.curve is None and selection.study is None
    every = [(ingredient, opened(ingredient)) for ingredient in pinned.ingredients] if ranked else []
    made = Made(soup, selection, results, every, repo, remarks(plan.streamed > 0, uploads), plan.streamed)
    opener.reading.ahead = options.stream
    invite(soup, options, options.ranks, writes)
    if not writes:
        return Outcome(soup, plan, selection, results)
    if plan.streamed:
        opener.reading.heard = listener.reading(plan.streamed)
    check = not uploads and (options.check if options.check is not None else repo is not None)
    try:
        published, written = _publish(made, recipe, options, uploads, check)
    finally:
        opener.reading.ahead = False  # what was asked for in advance is wanted no more
    return Outcome(soup, plan, selection, results, options.out, published, check, written)


def _repeatable(recipe: Recipe, own: Collection[str]) -> Recipe:
    """Without the caller's metrics, which no file can name: they have chosen already."""
    if recipe.evaluate is None:
        return recipe
    metrics = tuple(m for m in recipe.evaluate.metrics if isinstance(m, Measure) or m not in own)
    return replace(recipe, evaluate=replace(recipe.evaluate, metrics=metrics))


def _publish(
    made: Made, recipe: Recipe, options: Options, uploads: bool, check: bool
) -> tuple[Pushed | None, Sequence[Share]]:
    """Write the soup and push it, as far as asked; where it was pushed to, and who wrote which weights."""
    listener, repo = options.listener, recipe.output.hub
    if uploads and repo is not None:
        return upload(made, repo, create_pr=options.create_pr, token=options.token, listener=listener), ()
    with tempfile.TemporaryDirectory() as temporary:
        out = options.out or Path(temporary) / "soup"
        written = write(made, out, overwrite=options.overwrite, check=check, listener=listener, ranks=options.ranks)
        return _push(out, repo, recipe, options) if repo is not None else None, written


def _check_apart(out: Path, recipe: Recipe) -> None:
    """CheckpointError if the output would take the place of something that the soup is made from."""
    for ingredient in [*recipe.ingredients, *([recipe.base] if recipe.base else [])]:
        if isinstance(ingredient.model, Recipe):
            _check_apart(out, ingredient.model)
            continue
        path = Path(ingredient.model)
        if path.is_absolute() and (out.resolve() == path.resolve() or out.resolve() in path.resolve().parents):
            raise CheckpointError(f"{out}: is or holds the ingredient {path.name}; choose another output folder")


def _push(out: Path, repo: str, recipe: Recipe, options: Options) -> Pushed:
    options.listener.tell(f"pushing to {repo}")
    return push_folder(
        out,
        repo,
        private=recipe.output.private,
        create_pr=options.create_pr,
        token=options.token,
        tell=options.listener.tell,
    )
