"""The main job for one recipe, from plan to push, as far as the recipe asks for it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_soups import card, lock
from hf_soups.align import check_tokenizers
from hf_soups.checkpoint import Checkpoint, check_free, new_folder
from hf_soups.errors import CheckpointError, SelectionError
from hf_soups.hub.opening import Opener
from hf_soups.hub.push import Pushed
from hf_soups.hub.push import push as push_folder
from hf_soups.pipeline.ask import Source, make_recipe
from hf_soups.pipeline.listener import Listener
from hf_soups.pipeline.prepare import check_room, prepare
from hf_soups.pipeline.taste import candidates_for, select, taste
from hf_soups.planning import Plan
from hf_soups.recipe import Ingredient, Recipe
from hf_soups.selection import Selection
from hf_soups.soup import Soup

if TYPE_CHECKING:
    from hf_soups.evaluation.results import Results


@dataclass(frozen=True)
class Outcome:
    """Everything that a merge found out and made."""

    soup: Soup
    plan: Plan
    selection: Selection | None = None
    results: Results | None = None
    out: Path | None = None
    pushed: Pushed | None = None


@dataclass(frozen=True)
class Options:
    """How a merge is carried out; what the soup *is* stands in the recipe.

    out: folder to write; None: nothing stays on disk.
    overwrite: replace a folder that is not empty.
    check: load the written folder with transformers and run it once; default: before a push.
    allow_single: write the best ingredient when no soup beats it.
    create_pr: publish as a pull request.
    local: folder in which `local:name` references are looked up.
    """

    out: Path | None = None
    overwrite: bool = False
    check: bool | None = None
    allow_single: bool = False
    create_pr: bool = False
    token: str | None = None
    local: Path | None = None
    listener: Listener = field(default_factory=Listener)


def run(recipe: Recipe, options: Options) -> Outcome:
    """The main job; `merge` and the command line are its two callers.

    Raises SelectionError, and writes nothing, if the greedy soup is a single ingredient.
    """
    listener = options.listener
    if options.out is not None:
        check_free(options.out, options.overwrite)
        _check_apart(options.out, recipe)
    opener = Opener(options.token, options.local)
    listener.tell("reading headers")
    pinned, plan, headers = prepare(recipe, opener)
    listener.planned(plan)
    if options.out is not None:
        check_room(options.out, plan)
    if plan.download:
        listener.tell("pulling")
    selection, results = None, None
    opened = opener.pull
    chosen = replace(pinned, select=None)
    if pinned.evaluate is not None:
        pinned, candidates = candidates_for(pinned, headers, opener, options.token)
        opened = candidates.open
        selection = select(pinned, candidates, listener)
        listener.tell("evaluating")
        results = taste(pinned, candidates, selection)
        listener.evaluated(results, selection)
        chosen = selection.recipe if selection else replace(pinned, select=None)
        if selection is not None and len(selection.kept) == 1 and not options.allow_single:
            raise SelectionError(f"no soup beat {selection.kept[0]} on {selection.on}; --allow-single writes it alone")
    soup = Soup(chosen, opened)
    check_tokenizers({i.label: c for i, c in zip(soup.recipe.ingredients, soup.ingredients, strict=True)})
    every = [(ingredient, opened(ingredient)) for ingredient in pinned.ingredients] if selection else []
    repo = recipe.output.hub
    if options.out is None and repo is None:
        return Outcome(soup, plan, selection, results)
    with tempfile.TemporaryDirectory() as temporary:
        out = options.out or Path(temporary) / "soup"
        _write(soup, out, options, selection, results, every, repo)
        pushed = _push(out, repo, recipe, options) if repo is not None else None
    return Outcome(soup, plan, selection, results, options.out, pushed)


def merge(
    source: Source,
    out: str | Path | None = None,
    *,
    overwrite: bool = False,
    check: bool | None = None,
    allow_single: bool = False,
    push_to_hub: str | None = None,
    create_pr: bool = False,
    token: str | None = None,
    local: str | Path | None = None,
    listener: Listener | None = None,
    **changes: Any,
) -> Soup:
    """Make a soup: the whole main job, as far as the recipe asks for it.

    source: a recipe, its file, or model references (Hub ids, folders), which are averaged.
    out: folder to write; default: nothing is written, and tensors are computed when asked for.
    push_to_hub: repository id to publish the finished folder under, as one commit.
    changes: as for `make_recipe`. The rest: as in `Options`.
    """
    options = Options(
        out=None if out is None else Path(out),
        overwrite=overwrite,
        check=check,
        allow_single=allow_single,
        create_pr=create_pr,
        token=token,
        local=Path(local) if local else None,
        listener=listener or Listener(),
    )
    return run(make_recipe(source, hub=push_to_hub, token=token, **changes), options).soup


def plan(source: Source, *, token: str | None = None, local: str | Path | None = None, **changes: Any) -> Plan:
    """What a merge would do, from headers alone; AlignmentError lists every reason why it would not.

    changes: as for `make_recipe`.
    """
    opener = Opener(token, Path(local) if local else None)
    return prepare(make_recipe(source, token=token, **changes), opener)[1]


def evaluate(source: Source, *, token: str | None = None, local: str | Path | None = None, **changes: Any) -> Results:
    """The table of base, every ingredient, the soup of all, and the ensemble; nothing is written.

    changes: as for `make_recipe`; `dataset` where the recipe has no evaluate section.
    """
    opener = Opener(token, Path(local) if local else None)
    pinned, _, headers = prepare(make_recipe(source, token=token, **changes), opener)
    pinned, candidates = candidates_for(pinned, headers, opener, token)
    return taste(pinned, candidates, None)


def push(
    folder: str | Path, repo: str, *, private: bool = False, create_pr: bool = False, token: str | None = None
) -> str:
    """Publish a finished soup folder as one commit (or pull request); its address."""
    return push_folder(Path(folder), repo, private=private, create_pr=create_pr, token=token).url


def push_soup(soup: Soup, repo: str, *, private: bool = False, create_pr: bool = False) -> str:
    """Write a soup to a temporary folder, with its card, check it and publish it; its address."""
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "soup"
        _write(soup, out, Options(out=out), None, None, [], repo)
        return push(out, repo, private=private, create_pr=create_pr)


def _write(
    soup: Soup,
    out: Path,
    options: Options,
    selection: Selection | None,
    results: Results | None,
    every: Sequence[tuple[Ingredient, Checkpoint]],
    repo: str | None,
) -> None:
    """The finished folder, in one rename: weights, assets, card and figure, records."""
    from hf_soups.model import check_folder

    listener = options.listener
    with new_folder(out, options.overwrite) as folder:
        listener.tell("merging")
        progress = listener.writing(sum(spec.nbytes for spec in soup.specs.values()))
        checksums = soup.write(folder, soup.recipe.output.max_shard_size, progress)
        lock.write_assets(soup, folder)
        if options.check or (options.check is None and repo is not None):
            listener.tell("checking that it loads")
            check_folder(folder)
        card.write(folder, soup, selection, results, every, soup.recipe.output.license, repo)
        evaluation = results.to_json() if results else None
        lock.write_records(soup, folder, checksums, selection.to_json() if selection else None, evaluation)


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
