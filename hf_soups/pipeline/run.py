"""The main job, put together: resolve, plan, pull, select, merge, check, evaluate, card, push."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_soups import lock
from hf_soups.align import label_names
from hf_soups.checkpoint import check_free, new_folder
from hf_soups.errors import CheckpointError, RecipeError, SelectionError
from hf_soups.hub.opening import Opener
from hf_soups.hub.push import Pushed
from hf_soups.hub.push import push as push_folder
from hf_soups.method import get
from hf_soups.planning import Plan, describe
from hf_soups.recipe import Evaluate, Ingredient, Recipe, Select, check, load, parse_size
from hf_soups.recipe.parse import local as local_path
from hf_soups.selection import Selection, greedy
from hf_soups.soup import Soup

if TYPE_CHECKING:
    from hf_soups.evaluation.results import Results
    from hf_soups.selection.candidates import Candidates

Source = str | Path | Recipe | Sequence[str]


class Listener:
    """What somebody who waits may want to hear; this one keeps silent."""

    def tell(self, text: str) -> None:
        """A step begins."""

    def planned(self, plan: Plan) -> None:
        """Everything fits together; nothing large was read yet."""

    def evaluated(self, results: Results, selection: Selection | None) -> None:
        """The table is known; nothing is written yet."""

    def writing(self, total: int) -> Callable[[int], None]:
        """Weights of `total` bytes begin to be written; the answer hears the bytes of each chunk."""
        return lambda count: None


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

    overwrite: replace a folder that is not empty.
    check: load the written folder with transformers and run it once; default: before a push.
    allow_single: write the best ingredient when no soup beats it.
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


def make_recipe(
    source: Source,
    *,
    method: str | None = None,
    parameters: Mapping[str, float] | None = None,
    base: str | None = None,
    dataset: str | None = None,
    token: str | None = None,
    seed: int | None = None,
    dtype: str | None = None,
    max_shard_size: str | int | None = None,
    hub: str | None = None,
    private: bool | None = None,
    license: str | None = None,
) -> Recipe:
    """A recipe from a file, from model references, or from a recipe, with some of it said anew.

    dataset: adds greedy selection on its labelled validation split and a report on its test split.
    Everything else replaces what the recipe says under that name.
    """
    recipe = _from(source, method)
    changed: dict[str, Any] = {"method": method, "seed": seed}
    if base is not None:
        changed["base"] = Ingredient(model=local_path(base, None))
    if parameters:
        changed["parameters"] = {**recipe.parameters, **parameters}
    if dataset is not None:
        from hf_soups.evaluation.inference import infer_splits

        changed["evaluate"] = Evaluate(datasets=infer_splits(local_path(dataset, None), token=token))
        changed["select"] = Select(on="validation", metric="accuracy")
    size = None if max_shard_size is None else parse_size(max_shard_size)
    output = {"dtype": dtype, "max_shard_size": size, "hub": hub, "private": private, "license": license}
    changed["output"] = replace(recipe.output, **{k: v for k, v in output.items() if v is not None})
    return check(replace(recipe, **{k: v for k, v in changed.items() if v is not None}))


def plan(source: Source, *, token: str | None = None, local: str | Path | None = None, **changes: Any) -> Plan:
    """What a merge would do, from headers alone; AlignmentError lists every reason why it would not.

    changes: as for `make_recipe`.
    """
    opener = Opener(token, Path(local) if local else None)
    return _plan(make_recipe(source, token=token, **changes), opener)[1]


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
    changes: as for `make_recipe`.
    """
    recipe = make_recipe(source, hub=push_to_hub, token=token, **changes)
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
    return run(recipe, options).soup


def evaluate(source: Source, *, token: str | None = None, local: str | Path | None = None, **changes: Any) -> Results:
    """The table of base, every ingredient, the soup without selection, and the ensemble; nothing is written.

    changes: as for `make_recipe`; `dataset` where the recipe has no evaluate section.
    """
    recipe = make_recipe(source, token=token, **changes)
    if recipe.evaluate is None:
        raise RecipeError("evaluate: no data; add evaluate: to the recipe or name a dataset")
    opener = Opener(token, Path(local) if local else None)
    pinned, _ = _plan(replace(recipe, select=None), opener)
    candidates, pinned = _candidates(pinned, opener, token)
    return _taste(pinned, candidates, None)


def push(
    folder: str | Path, repo: str, *, private: bool = False, create_pr: bool = False, token: str | None = None
) -> str:
    """Publish a finished soup folder as one commit (or pull request); its address."""
    return push_folder(Path(folder), repo, private=private, create_pr=create_pr, token=token).url


def push_soup(soup: Soup, repo: str, *, private: bool = False, create_pr: bool = False) -> str:
    """Write a soup to a temporary folder, with its card, and publish it."""
    from hf_soups.card import decide_license

    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "soup"
        license_, _ = decide_license([c.origin for c in soup.ingredients], soup.recipe.output.license)
        _write(soup, out, Options(out=out), None, None, [], license_, repo)
        return push_folder(out, repo, private=private, create_pr=create_pr).url


def run(recipe: Recipe, options: Options) -> Outcome:
    """The main job for one recipe; `merge` and the command line are its two callers."""
    listener = options.listener
    if options.out is not None:
        check_free(options.out, options.overwrite)
    opener = Opener(options.token, options.local)
    listener.tell("reading headers")
    pinned, planned = _plan(recipe, opener)
    listener.planned(planned)
    license_ = _license(pinned, opener)
    if options.out is not None:
        _check_room(options.out, planned)
    if planned.download:
        listener.tell("pulling")
    if pinned.evaluate is None:
        soup = Soup(replace(pinned, select=None), opener.pull)
        selection, results = None, None
    else:
        candidates, pinned = _candidates(pinned, opener, options.token)
        selection = _select(pinned, candidates, listener)
        listener.tell("evaluating")
        results = _taste(pinned, candidates, selection)
        listener.evaluated(results, selection)
        chosen = selection.recipe if selection else replace(pinned, select=None)
        soup = Soup(chosen, candidates.open)
        if selection is not None and len(selection.kept) == 1 and not options.allow_single:
            raise SelectionError(f"no soup beat {selection.kept[0]} on {selection.on}; --allow-single writes it alone")
    repo = recipe.output.hub
    if options.out is None and repo is None:
        return Outcome(soup, planned, selection, results)
    with tempfile.TemporaryDirectory() as temporary:
        out = options.out or Path(temporary) / "soup"
        every = [(i, candidates_open(i)) for candidates_open in [opener.headers] for i in pinned.ingredients]
        _write(soup, out, options, selection, results, every, license_, repo)
        pushed = None
        if repo is not None:
            listener.tell(f"pushing to {repo}")
            pushed = push_folder(
                out, repo, private=recipe.output.private, create_pr=options.create_pr, token=options.token,
                tell=listener.tell,
            )  # fmt: skip
    return Outcome(soup, planned, selection, results, options.out, pushed)


def _from(source: Source, method: str | None) -> Recipe:
    if isinstance(source, Recipe):
        return source
    if isinstance(source, Path) or (isinstance(source, str) and source.endswith((".yaml", ".yml"))):
        return load(source)
    models = [source] if isinstance(source, str) else list(source)
    ingredients = tuple(Ingredient(model=local_path(m, None)) for m in models)
    return Recipe(ingredients=ingredients, method=method or "average")


def _plan(recipe: Recipe, opener: Opener) -> tuple[Recipe, Plan]:
    """The pinned recipe, its base found where all ingredients agree on one, and the plan."""
    pinned = opener.pin(recipe)
    if pinned.base is None and get(pinned.method).needs_base:
        pinned = replace(pinned, base=_infer_base(pinned, opener))
    soup = Soup(replace(pinned, select=None), opener.headers)
    parts = [*pinned.ingredients, *([pinned.base] if pinned.base else [])]
    downloads = [0 if isinstance(p.model, Recipe) else opener.to_download(p) for p in parts]
    return pinned, describe(soup, downloads)


def _infer_base(recipe: Recipe, opener: Opener) -> Ingredient:
    said = {i.label: opener.headers(i).origin.bases for i in recipe.ingredients if isinstance(i.model, str)}
    found = set(said.values())
    if len(found) != 1 or len(next(iter(found))) != 1:
        listed = "; ".join(f"{name}: {', '.join(bases) or 'none'}" for name, bases in said.items())
        raise RecipeError(
            f"{recipe.method} needs a base, and the ingredients' cards do not agree on one ({listed}); name it with "
            "base: (--base)"
        )
    (base,) = next(iter(found))
    pinned = opener.pin(Recipe(ingredients=(Ingredient(model=base),)))
    return pinned.ingredients[0]


def _license(recipe: Recipe, opener: Opener) -> str | None:
    """Decided before anything is computed, since a disagreement needs the user's word."""
    from hf_soups.card import decide_license

    origins = [opener.headers(i).origin for i in recipe.ingredients if isinstance(i.model, str)]
    license_, _ = decide_license(origins, recipe.output.license)
    return license_


def _check_room(out: Path, planned: Plan) -> None:
    folder = next(p for p in [out.absolute(), *out.absolute().parents] if p.exists())
    free = shutil.disk_usage(folder).free
    if planned.disk > free:
        raise CheckpointError(f"{out}: needs {planned.disk:,} bytes, and the disk has {free:,} left")


def _candidates(recipe: Recipe, opener: Opener, token: str | None) -> tuple[Candidates, Recipe]:
    """What scores soups of this recipe, and the recipe with its datasets pinned."""
    import json

    from hf_soups.evaluation.evaluator import Evaluator
    from hf_soups.selection.candidates import Candidates

    if recipe.evaluate is None:
        raise RecipeError("evaluate: is missing")
    soup = Soup(replace(recipe, select=None), opener.headers)
    config = json.loads(soup.assets["config.json"]) if "config.json" in soup.assets else {}
    architecture = (config.get("architectures") or ["an unknown architecture"])[0]
    if not architecture.endswith("ForSequenceClassification"):
        raise RecipeError(f"evaluate: {recipe.evaluate.task} needs a sequence classifier, and this is {architecture}")
    labels = soup.alignment.labels or label_names(config) or ()
    evaluator = Evaluator(recipe.evaluate, labels, token=token, seed=recipe.seed)
    datasets = {
        name: replace(data, revision=evaluator.reports[name].source.revision or data.revision)
        for name, data in recipe.evaluate.datasets.items()
    }
    pinned = replace(recipe, evaluate=replace(recipe.evaluate, datasets=datasets))
    return Candidates(evaluator, opener.pull), pinned


def _select(recipe: Recipe, candidates: Candidates, listener: Listener) -> Selection | None:
    """The greedy soup, where the recipe asks for one."""
    if recipe.select is None or recipe.select.strategy == "uniform":
        return None
    on, metric = _selection_target(recipe, candidates)
    select = replace(recipe.select, on=on, metric=metric)
    sign = 1 if candidates.evaluator.metrics[metric].greater_is_better else -1

    def score(candidate: Recipe) -> float:
        listener.tell("scoring " + " + ".join(i.label for i in candidate.ingredients))
        return candidates.score(candidate, on, metric)

    return greedy(recipe, score, select, sign)


def _selection_target(recipe: Recipe, candidates: Candidates) -> tuple[str, str]:
    """The dataset and metric that decide, said or the only ones."""
    select = recipe.select or Select()
    names = candidates.evaluator.names("select")
    return select.on or names[0], select.metric or next(iter(candidates.evaluator.metrics))


def _taste(recipe: Recipe, candidates: Candidates, selection: Selection | None) -> Results:
    """Every row of the table: base, ingredients, uniform, the chosen soup, ensemble."""
    evaluator = candidates.evaluator
    logits = [candidates.logits(candidates.open(i)) for i in recipe.ingredients]
    best = None
    if evaluator.names("select"):
        on, metric = _selection_target(recipe, candidates)
        sign = 1 if evaluator.metrics[metric].greater_is_better else -1
        scores = [sign * evaluator.score(one[on], on, metric) for one in logits]
        best = logits[scores.index(max(scores))]
    rows = []
    if recipe.base is not None:
        base = candidates.open(recipe.base)
        if set(base.specs) == set(candidates.open(recipe.ingredients[0]).specs):  # it has the head
            rows.append(evaluator.row(recipe.base.label, "base", candidates.logits(base), best))
    for ingredient, one in zip(recipe.ingredients, logits, strict=True):
        rows.append(evaluator.row(ingredient.label, "ingredient", one, best))
    everything = candidates.checkpoint(replace(recipe, select=None))
    uniform = selection is not None and recipe.method == "average"
    name, kind = ("uniform soup", "uniform") if uniform else (f"{recipe.method} of all", "soup")
    if len(recipe.ingredients) > 1 or recipe.method != "average":
        rows.append(evaluator.row(name, kind, candidates.logits(everything), best))  # type: ignore[arg-type]
    if selection is not None:
        chosen = candidates.logits(candidates.checkpoint(selection.recipe))
        rows.append(evaluator.row("greedy soup", "greedy", chosen, best))
    if len(logits) > 1:
        together = {d: evaluator.ensemble([one[d] for one in logits]) for d in logits[0]}
        rows.append(evaluator.row("ensemble", "ensemble", together, best))
    return evaluator.results(rows)


def _write(
    soup: Soup,
    out: Path,
    options: Options,
    selection: Selection | None,
    results: Results | None,
    every: Sequence[Any],
    license_: str | None,
    repo: str | None,
) -> None:
    """The finished folder, in one rename: weights, assets, card and figure, records."""
    from hf_soups import card
    from hf_soups.model import check_folder

    listener = options.listener
    with new_folder(out, options.overwrite) as folder:
        listener.tell("merging")
        checksums = soup.write(
            folder, soup.recipe.output.max_shard_size, listener.writing(sum(s.nbytes for s in soup.specs.values()))
        )
        lock.write_assets(soup, folder)
        if options.check or (options.check is None and repo is not None):
            listener.tell("checking that it loads")
            check_folder(folder)
        card.write(folder, soup, selection, results, every, license_, repo)
        lock.write_records(
            soup,
            folder,
            checksums,
            selection.to_json() if selection else None,
            results.to_json() if results else None,
        )
