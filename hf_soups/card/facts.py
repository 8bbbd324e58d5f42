"""Everything that a card tells, gathered from a soup, its selection and its evaluation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from hf_soups import lock
from hf_soups.align import Finding
from hf_soups.card.license import decide_license
from hf_soups.card.task import pipeline_tag
from hf_soups.checkpoint import Checkpoint, Lora, Origin, renamed
from hf_soups.evaluation.findings import findings as admitted
from hf_soups.evaluation.results import Results
from hf_soups.method import Method
from hf_soups.recipe import Ingredient, arguments, to_yaml
from hf_soups.selection import Selection, Step
from hf_soups.soup import Soup

T = TypeVar("T")


@dataclass(frozen=True)
class Candidate:
    """A model that was in the soup or could have been.

    name: as the recipe calls it; kind: "full model", "adapter" or "soup".
    weight: its share in the soup, for methods that give it one number.
    step: its turn in the selection.
    """

    name: str
    origin: Origin
    kind: str
    kept: bool
    weight: float | None = None
    step: Step | None = None


@dataclass(frozen=True)
class Facts:
    """What `render` needs to know, and nothing of this machine.

    repo_id: where it will be published. soup_yaml: the recipe that makes it again.
    settings: values of the method's parameters, but for weights, that are the same for all ingredients.
    base: what the method takes differences from, or tensors are copied from.
    parents: every checkpoint whose weights are in the soup, those of inner soups included, without base.
    local: names of the models in the recipe that are not on the Hub.
    candidates: all that were considered, best first if they were ranked.
    noticed: findings about the ingredients and the licence.
    languages, datasets: of the ingredients' cards, as far as known.
    figure, robustness_figure, sweep_figure, weights_figure, greedy_figure: whether there is a
        `figures/id-versus-ood.png`, a `figures/effective-robustness.png`, a `figures/sweep.png`, a
        `figures/learned-weights.png` and a `figures/greedy.png`.
    """

    method: Method
    candidates: tuple[Candidate, ...]
    soup_yaml: str
    repo_id: str | None = None
    settings: Mapping[str, float] = field(default_factory=dict)
    base: Origin | None = None
    parents: tuple[Origin, ...] = ()
    local: tuple[str, ...] = ()
    selection: Selection | None = None
    results: Results | None = None
    license: str | None = None
    noticed: tuple[Finding, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    pipeline_tag: str | None = None
    library_name: str | None = None
    languages: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    overridden: bool = False
    figure: bool = False
    robustness_figure: bool = False
    sweep_figure: bool = False
    weights_figure: bool = False
    greedy_figure: bool = False

    @property
    def kept(self) -> tuple[Candidate, ...]:
        return tuple(c for c in self.candidates if c.kept)

    @property
    def single(self) -> bool:
        """Whether selection kept only one ingredient, which then is not merged with anything."""
        return self.selection is not None and len(self.kept) == 1 and self.base is None


def gather(
    soup: Soup,
    selection: Selection | None = None,
    results: Results | None = None,
    candidates: Sequence[tuple[Ingredient, Checkpoint]] = (),
    license: str | None = None,
    repo_id: str | None = None,
    versions: Mapping[str, str] | None = None,
    figure: bool = False,
    robustness_figure: bool = False,
    sweep_figure: bool = False,
    weights_figure: bool = False,
    remarks: Sequence[str] = (),
    greedy_figure: bool = False,
) -> Facts:
    """The facts of a soup.

    candidates: all models that were considered, opened; default: those in the soup.
    license: the user's word; needed only where `decide_license` asks for it.
    remarks: what else its users should know about how it was made.
    """
    own = list(zip(soup.recipe.ingredients, soup.ingredients, strict=True))
    base = soup.base if soup.reads_base else None
    decided, warnings = decide_license(sources(soup), license)
    findings = [
        *soup.alignment.findings,
        *(Finding("warning", warning) for warning in warnings),
        *(Finding("note", remark) for remark in [*_measured(soup), *remarks]),
        *(f for f in (admitted(results) if results else ()) if f.level == "warning"),
    ]
    return Facts(
        method=soup.method,
        candidates=_candidates(soup, selection, list(candidates) or own),
        soup_yaml=to_yaml(lock.portable(soup.recipe, soup)),
        repo_id=repo_id,
        settings=_settings(soup),
        base=base.origin if base is not None else None,
        parents=_unique([c.origin for i in soup.ingredients for c in _leaves(i)]),
        local=_local(soup),
        selection=selection,
        results=results,
        license=decided,
        noticed=tuple(_without_paths(f, soup) for f in findings),
        versions=lock.versions() if versions is None else versions,
        pipeline_tag=pipeline_tag(soup.assets),
        library_name="transformers" if "config.json" in soup.assets else None,
        overridden=bool(soup.recipe.overrides),
        figure=figure,
        robustness_figure=robustness_figure,
        sweep_figure=sweep_figure,
        weights_figure=weights_figure,
        greedy_figure=greedy_figure,
    )


def _measured(soup: Soup) -> list[str]:
    """Which tensors data decided, beside the choice."""
    if not soup.statistics:
        return []
    return [
        f"BatchNorm's running statistics ({len(soup.statistics)} tensors) are not averages: they were estimated anew "
        f"with the soup's weights, by a forward pass over {soup.recipe.recompute_batchnorm}"
    ]


def sources(soup: Soup) -> tuple[Origin, ...]:
    """Everything whose weights are in the soup, whose licences therefore count: bases of adapters and deltas too."""
    leaves = [leaf for i in soup.ingredients for leaf in _leaves(i, bases=True)]
    base = [soup.base] if soup.base is not None and soup.reads_base else []
    return _unique([leaf.origin for leaf in [*leaves, *base]])


def _leaves(checkpoint: Checkpoint, bases: bool = False) -> list[Checkpoint]:
    """The checkpoint itself, or what an inner soup is made of; with `bases`, also what adapters sit on."""
    checkpoint = renamed.opened(checkpoint)
    if isinstance(checkpoint, Soup):
        inner = [*checkpoint.ingredients, *([checkpoint.base] if checkpoint.base and checkpoint.reads_base else [])]
        return [leaf for c in inner for leaf in _leaves(c, bases)]
    return [checkpoint, checkpoint.base] if bases and isinstance(checkpoint, Lora) else [checkpoint]


def _candidates(
    soup: Soup, selection: Selection | None, opened: Sequence[tuple[Ingredient, Checkpoint]]
) -> tuple[Candidate, ...]:
    """In the order of the selection, if there was one. The same model twice is two candidates with two turns."""
    weights = _queues(zip((i.label for i in soup.recipe.ingredients), _weights(soup), strict=True))
    steps = _queues((s.ingredient, s) for s in (selection.steps if selection else ()))
    turns = [step.ingredient for step in selection.steps] if selection else []
    found = []
    for ingredient, checkpoint in opened:
        step = steps[ingredient.label].pop(0) if steps[ingredient.label] else None
        kept = step.kept if step else bool(weights[ingredient.label])
        weight = weights[ingredient.label].pop(0) if kept and weights[ingredient.label] else None
        found.append(Candidate(ingredient.label, checkpoint.origin, _kind(checkpoint), kept, weight, step))
    return tuple(sorted(found, key=lambda c: turns.index(c.name) if c.name in turns else len(turns)))


def _kind(checkpoint: Checkpoint) -> str:
    checkpoint = renamed.opened(checkpoint)
    return "adapter" if isinstance(checkpoint, Lora) else "soup" if isinstance(checkpoint, Soup) else "full model"


def _weights(soup: Soup) -> list[float | None]:
    """Share of each ingredient, where one number says it for every tensor."""
    if soup.recipe.weights is not None:
        rows = np.array(list(soup.recipe.weights.tensors.values()))  # [tensors, n]
        return [float(column[0]) if np.ptp(column) == 0 else None for column in rows.T]
    values = arguments(soup.recipe)
    n = len(soup.ingredients)
    if soup.method.kind == "linear":
        return [float(c) for c in soup.method.coefficients(n, values)]
    return [float(row[0]) for row in values["weight"]] if "weight" in values else [None] * n


def _settings(soup: Soup) -> dict[str, float]:
    values = {name: np.unique(value) for name, value in arguments(soup.recipe).items() if name != "weight"}
    return {name: float(value[0]) for name, value in values.items() if value.size == 1}


def _queues(pairs: Iterable[tuple[str, T]]) -> defaultdict[str, list[T]]:
    queues: defaultdict[str, list[T]] = defaultdict(list)
    for name, value in pairs:
        queues[name].append(value)
    return queues


def _local(soup: Soup) -> tuple[str, ...]:
    everything = [*sources(soup), *([soup.base.origin] if soup.base is not None else [])]
    return tuple(dict.fromkeys(origin.name for origin in everything if origin.sha is None))


def _without_paths(finding: Finding, soup: Soup) -> Finding:
    """Names instead of folders of this machine, should a message have one."""
    message = finding.message
    everything = [*soup.ingredients, *([soup.base] if soup.base is not None else [])]
    for leaf in [leaf for c in everything for leaf in _leaves(c, bases=True)]:
        if leaf.origin.path is not None:
            message = message.replace(str(leaf.origin.path), leaf.origin.name)
    return Finding(finding.level, message)


def _unique(origins: Sequence[Origin]) -> tuple[Origin, ...]:
    return tuple(dict.fromkeys(origins))
