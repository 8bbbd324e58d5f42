"""Does this set of ingredients fit together? Every reason why not, from headers and configs alone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hf_soups.checkpoint import Checkpoint, Lora, Spec
from hf_soups.errors import AlignmentError, CheckpointError
from hf_soups.method import get
from hf_soups.recipe import Override, Recipe, override_for
from hf_soups.recipe.check import DTYPES

SHOWN = 40  # tensors listed by name for one ingredient and one kind of mismatch, before a count
PLACEHOLDER = re.compile(r"LABEL_\d+")


@dataclass(frozen=True)
class Finding:
    """One thing that was seen; an error means that there will be no soup."""

    level: str  # error | warning | note
    message: str


@dataclass(frozen=True)
class Treatment:
    """How one output tensor is made.

    rule: "method"; "copy" (of `source`); "equal" (integers: all the same, copied); "mean" (BatchNorm's
    running statistics); "maximum" (its counter).
    """

    rule: str
    override: Override | None = None
    source: str | None = None


@dataclass(frozen=True)
class Alignment:
    """Every output tensor, how it is made, and every finding.

    specs: shape and output dtype by name, in the first ingredient's order.
    labels: the head's output names, where the ingredients tell.
    """

    specs: Mapping[str, Spec]
    treatments: Mapping[str, Treatment]
    findings: tuple[Finding, ...]
    labels: tuple[str, ...] | None

    @cached_property
    def errors(self) -> tuple[str, ...]:
        return tuple(f.message for f in self.findings if f.level == "error")

    def require(self) -> None:
        """Raise AlignmentError with all errors at once, if there are any."""
        if self.errors:
            raise AlignmentError("the ingredients do not fit together:\n" + "\n".join(f"  {e}" for e in self.errors))


def align(recipe: Recipe, ingredients: Sequence[Checkpoint], base: Checkpoint | None) -> Alignment:
    """Compare names, shapes, dtypes, architectures and labels of all ingredients and the base."""
    names = [ingredient.label for ingredient in recipe.ingredients]
    parties = dict(zip(_unique(names), ingredients, strict=True))
    findings = [*_duplicates(names), *_architectures(parties), *_bases(parties, base, recipe)]
    findings += _compare(parties, base, recipe)
    labels, label_findings = _labels(recipe, parties)
    findings += label_findings
    if recipe.method and get(recipe.method).needs_base and base is None:
        findings.append(Finding("error", f"{recipe.method} works on differences from a base; add base: to the recipe"))
    first = ingredients[0]
    treatments = {name: _treatment(recipe, name, spec) for name, spec in first.specs.items()}
    specs = {
        name: Spec(spec.shape, _output_dtype(recipe, name, ingredients, base)) for name, spec in first.specs.items()
    }
    return Alignment(specs, treatments, tuple(findings), labels)


def _compare(parties: Mapping[str, Checkpoint], base: Checkpoint | None, recipe: Recipe) -> list[Finding]:
    (first_name, first), *others = parties.items()
    findings: list[Finding] = []
    needed = dict(first.specs)
    for _, other in others:
        needed |= {n: s for n, s in other.specs.items() if n not in needed}
    for name, party in parties.items():
        missing = [n for n in needed if n not in party.specs]
        if missing:
            holders = [p for p, c in parties.items() if any(n in c.specs for n in missing)]
            findings.append(
                Finding("error", f"{name}: lacks {_listed(missing)} of {', '.join(holders)}; leave one of them out")
            )
    compared = list(parties.items())
    if base is not None and get(recipe.method).needs_base:
        lacking = [n for n in first.specs if n not in base.specs and _uses_base(recipe, n)]
        if lacking:
            hint = f"overrides: [{{match: '{lacking[0]}', from: {first_name}}}] takes it from an ingredient"
            findings.append(Finding("error", f"base {base.origin.name}: lacks {_listed(lacking)}; {hint}"))
        extra = [n for n in base.specs if n not in first.specs]
        if extra:
            findings.append(Finding("note", f"base {base.origin.name}: {_listed(extra)} unused, no ingredient has it"))
        compared.append((f"base {base.origin.name}", base))
    for name, party in compared[1:]:
        findings += _shapes(first_name, first, name, party)
    for name, party in compared:
        if "quantization_config" in _config(party):
            findings.append(Finding("error", f"{name}: its weights are quantised; dequantise it first"))
    return findings


def _shapes(first_name: str, first: Checkpoint, name: str, party: Checkpoint) -> list[Finding]:
    findings = []
    differing = []
    for tensor, spec in first.specs.items():
        other = party.specs.get(tensor)
        if other is None:
            continue
        if other.shape != spec.shape:
            findings.append(
                Finding(
                    "error",
                    f"{tensor}: {first_name} is {spec.shape}, {name} is {other.shape}; leave {name} out or take the "
                    "tensor from one of them with an override",
                )
            )
        elif other.is_float != spec.is_float:
            findings.append(Finding("error", f"{tensor}: {first_name} is {spec.dtype}, {name} is {other.dtype}"))
        elif other.dtype != spec.dtype:
            differing.append((tensor, other.dtype, spec.dtype))
    if differing:
        _, theirs, ours = differing[0]
        findings.append(Finding("note", f"{name}: {len(differing)} tensors are {theirs} where {first_name} has {ours}"))
    if len(findings) > SHOWN:
        findings[SHOWN:] = [Finding("error", f"{name}: {len(findings) - SHOWN} more tensors differ in shape")]
    return findings


def _treatment(recipe: Recipe, name: str, spec: Spec) -> Treatment:
    override = override_for(recipe, name)
    if override is not None and override.source is not None:
        return Treatment("copy", override, override.source)
    if name.endswith("num_batches_tracked"):
        return Treatment("maximum")
    if not spec.is_float:
        return Treatment("equal")
    if name.endswith(("running_mean", "running_var")):
        return Treatment("mean", override)
    return Treatment("method", override)


def _uses_base(recipe: Recipe, name: str) -> bool:
    override = override_for(recipe, name)
    return override is None or override.source in (None, "base")


def _output_dtype(recipe: Recipe, name: str, ingredients: Sequence[Checkpoint], base: Checkpoint | None) -> np.dtype:
    stored = [c.specs[name].dtype for c in ingredients if name in c.specs]
    if not ingredients[0].specs[name].is_float:
        return stored[0]
    if recipe.output.dtype is not None:
        return DTYPES[recipe.output.dtype]
    if any(dtype != stored[0] for dtype in stored) and base is not None and name in base.specs:
        return base.specs[name].dtype
    return stored[0]


def _architectures(parties: Mapping[str, Checkpoint]) -> list[Finding]:
    kinds = {name: (_config(c).get("model_type"), *_config(c).get("architectures", [])) for name, c in parties.items()}
    known = {name: kind for name, kind in kinds.items() if kind[0]}
    if len(set(known.values())) <= 1:
        return []
    listed = "; ".join(f"{name}: {' '.join(map(str, kind))}" for name, kind in known.items())
    return [Finding("error", f"different architectures: {listed}; a soup needs fine-tunes of one model")]


def _bases(parties: Mapping[str, Checkpoint], base: Checkpoint | None, recipe: Recipe) -> list[Finding]:
    adapters = {name: c.base.origin.reference for name, c in parties.items() if isinstance(c, Lora)}
    if len(set(adapters.values())) <= 1:
        return []
    listed = "; ".join(f"{name} on {reference}" for name, reference in adapters.items())
    return [Finding("error", f"adapters of different bases: {listed}; leave out those of another base")]


def _labels(recipe: Recipe, parties: Mapping[str, Checkpoint]) -> tuple[tuple[str, ...] | None, list[Finding]]:
    """The one list of labels that all agree on, by position; it is an error if they do not."""
    said: dict[str, tuple[str, ...]] = {}
    unproven = []
    for ingredient, (name, party) in zip(recipe.ingredients, parties.items(), strict=True):
        labels = ingredient.labels or label_names(_config(party))
        if labels is None:
            continue
        if all(PLACEHOLDER.fullmatch(label) for label in labels):
            unproven.append(name)
        else:
            said[name] = labels
    findings = []
    if len({tuple(label.lower() for label in labels) for labels in said.values()}) > 1:
        listed = "; ".join(f"{name}: {', '.join(labels)}" for name, labels in said.items())
        findings.append(Finding("error", f"different labels or another order of them: {listed}"))
    if unproven and len(parties) > 1:
        names = ", ".join(unproven)
        findings.append(
            Finding("warning", f"labels unproven: {names} only say LABEL_0, …; settle it with labels: on them")
        )
    return (next(iter(said.values())) if said else None), findings


def label_names(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The head's output names in the order of their ids, from a config's id2label."""
    mapping = config.get("id2label")
    if not isinstance(mapping, dict) or not mapping:
        return None
    try:
        ordered = {int(i): str(label) for i, label in mapping.items()}
        return tuple(ordered[i] for i in range(len(ordered)))
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"config.json: id2label does not number its labels from 0: {mapping}") from error


def _config(checkpoint: Checkpoint) -> dict[str, Any]:
    text = checkpoint.assets.get("config.json")
    try:
        content = json.loads(text) if text else {}
    except ValueError as error:
        raise CheckpointError(f"{checkpoint.origin.name}: config.json is not valid JSON: {error}") from error
    return content if isinstance(content, dict) else {}


def _duplicates(names: Sequence[str]) -> list[Finding]:
    repeated = sorted({n for n in names if names.count(n) > 1})
    return [Finding("warning", f"{n}: listed {names.count(n)} times, so it counts that often") for n in repeated]


def _unique(names: Sequence[str]) -> list[str]:
    return [n if names.index(n) == i else f"{n} (#{i + 1})" for i, n in enumerate(names)]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    return f"{len(names)} tensors ({shown})" if len(names) > 1 else names[0]
