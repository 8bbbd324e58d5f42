"""Does this set of ingredients fit together? Every reason why not, from headers and configs alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from hf_soups.align.batchnorm import check_statistics
from hf_soups.align.configs import check_tokenizers, compare_configs, config_of, find_labels, label_names
from hf_soups.align.finding import Finding
from hf_soups.align.names import in_words_of
from hf_soups.align.tensors import Treatment, compare_tensors
from hf_soups.checkpoint import Checkpoint, Lora, Spec
from hf_soups.errors import AlignmentError
from hf_soups.method import get
from hf_soups.recipe import Recipe

__all__ = ["Alignment", "Finding", "Treatment", "align", "check_tokenizers", "config_of", "label_names"]


@dataclass(frozen=True)
class Alignment:
    """Every output tensor, how it is made, and every finding.

    specs: shape and output dtype by name, in the first ingredient's order.
    labels: the head's output names, where the ingredients tell.
    ingredients, base: as given, or as views with the first one's names.
    """

    specs: Mapping[str, Spec]
    treatments: Mapping[str, Treatment]
    findings: tuple[Finding, ...]
    labels: tuple[str, ...] | None
    ingredients: tuple[Checkpoint, ...]
    base: Checkpoint | None

    @cached_property
    def errors(self) -> tuple[str, ...]:
        return tuple(f.message for f in self.findings if f.level == "error")

    def require(self) -> None:
        """Raise AlignmentError with all errors at once, if there are any."""
        if self.errors:
            raise AlignmentError("the ingredients do not fit together:\n" + "\n".join(f"  {e}" for e in self.errors))


def align(recipe: Recipe, ingredients: Sequence[Checkpoint], base: Checkpoint | None) -> Alignment:
    """Compare names, shapes, dtypes, architectures, configs and labels of all ingredients and the base."""
    names = [ingredient.label for ingredient in recipe.ingredients]
    parties = dict(zip(_unique(names), ingredients, strict=True))
    findings = [*_twice(recipe, names), *compare_configs(parties), *_adapters_of_one_base(parties)]
    if get(recipe.method).needs_base and base is None:
        findings.append(Finding("error", f"{recipe.method} works on differences from a base; add base: to the recipe"))
    first = ingredients[0]
    views = {}
    for name, party in parties.items():
        views[name], about = in_words_of(first, party, name)
        findings += about
    if base is not None:
        base, about = in_words_of(first, base, f"base {base.origin.name}")
        findings += about
    specs, treatments, found = compare_tensors(recipe, views, base)
    found += check_statistics(recipe, treatments)
    labels, about_labels = find_labels(recipe, parties)
    return Alignment(specs, treatments, (*findings, *found, *about_labels), labels, (*views.values(),), base)


def _twice(recipe: Recipe, names: Sequence[str]) -> list[Finding]:
    same = [(i.model, i.subfolder, i.base) for i in recipe.ingredients]
    repeated = {name: same.count(key) for name, key in zip(names, same, strict=True) if same.count(key) > 1}
    return [Finding("warning", f"{n}: listed {count} times, so it counts that often") for n, count in repeated.items()]


def _adapters_of_one_base(parties: Mapping[str, Checkpoint]) -> list[Finding]:
    adapters = {name: c.base.origin.reference for name, c in parties.items() if isinstance(c, Lora)}
    if len(set(adapters.values())) <= 1:
        return []
    listed = "; ".join(f"{name} on {reference}" for name, reference in adapters.items())
    return [Finding("error", f"adapters of different bases: {listed}; leave out those of another base")]


def _unique(names: Sequence[str]) -> list[str]:
    return [n if names.index(n) == i else f"{n} (#{i + 1})" for i, n in enumerate(names)]
