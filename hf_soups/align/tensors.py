"""Names, shapes and dtypes: which tensors the soup has, and how each of them is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hf_soups.align.finding import SHOWN, Finding, listed
from hf_soups.checkpoint import Checkpoint, Spec
from hf_soups.method import get
from hf_soups.recipe import Override, Recipe, override_for
from hf_soups.recipe.check import DTYPES


@dataclass(frozen=True)
class Treatment:
    """How one output tensor is made.

    rule: "method"; "copy" (of `source`); "equal" (integers: all the same, copied); "mean" (BatchNorm's
    running statistics); "maximum" (its counter).
    """

    rule: str
    override: Override | None = None
    source: str | None = None


def compare_tensors(
    recipe: Recipe, parties: Mapping[str, Checkpoint], base: Checkpoint | None
) -> tuple[dict[str, Spec], dict[str, Treatment], list[Finding]]:
    """Output specs, treatments, and every mismatch.

    A tensor that is copied from one place is compared with no other, so a copy is the way around a mismatch.
    """
    first = next(iter(parties.values()))
    names = dict.fromkeys(n for party in parties.values() for n in party.specs)
    treatments: dict[str, Treatment] = {}
    specs: dict[str, Spec] = {}
    missing: dict[str, list[str]] = {}
    mismatches: dict[str, list[Finding]] = {}
    notes: dict[str, list[str]] = {}
    for name in names:
        override = override_for(recipe, name)
        readers = _readers(recipe, parties, base, override)
        for reader, checkpoint in readers.items():
            if name not in checkpoint.specs:
                missing.setdefault(reader, []).append(name)
        holding = {r: c.specs[name] for r, c in readers.items() if name in c.specs}
        if not holding:
            continue
        (leader, spec), *others = holding.items()
        for reader, other in others:
            if wrong := _mismatch(name, leader, spec, reader, other):
                mismatches.setdefault(reader, []).append(Finding("error", wrong))
            elif other.dtype != spec.dtype:
                notes.setdefault(f"{reader} is {other.dtype} where {leader} is {spec.dtype}", []).append(name)
        treatments[name] = _treatment(name, spec, override)
        specs[name] = Spec(spec.shape, _output_dtype(recipe, name, spec, holding, base))
    findings = _quantised(parties)
    for reader, lost in missing.items():
        hint = f"overrides: [{{match: '{lost[0]}', from: …}}] takes it from one that has it"
        findings.append(Finding("error", f"{reader}: lacks {listed(lost)}; leave it out, or {hint}"))
    for reader, found in mismatches.items():
        findings += found[:SHOWN]
        if len(found) > SHOWN:
            findings.append(Finding("error", f"{reader}: {len(found) - SHOWN} more tensors do not fit"))
    findings += [Finding("note", f"{about}: {listed(which)}") for about, which in notes.items()]
    if base is not None and get(recipe.method).needs_base:
        unused = [n for n in base.specs if n not in names]
        if unused:
            findings.append(Finding("note", f"base {base.origin.name}: {listed(unused)} unused, no ingredient has it"))
    ordered = [n for n in first.specs if n in specs] + [n for n in specs if n not in first.specs]
    return {n: specs[n] for n in ordered}, {n: treatments[n] for n in ordered}, findings


def _readers(
    recipe: Recipe, parties: Mapping[str, Checkpoint], base: Checkpoint | None, override: Override | None
) -> dict[str, Checkpoint]:
    """Everything that one tensor is made from, by the name that messages give it."""
    based = {} if base is None else {f"base {base.origin.name}": base}
    if override is not None and override.source is not None:
        return based if override.source == "base" else {override.source: parties[override.source]}
    return {**parties, **based} if get(recipe.method).needs_base else dict(parties)


def _mismatch(name: str, leader: str, spec: Spec, reader: str, other: Spec) -> str | None:
    if other.shape != spec.shape:
        hint = f"leave one out or take it from one with an override, from: {leader}"
        return f"{name}: {leader} is {spec.shape}, {reader} is {other.shape}; {hint}"
    if other.dtype != spec.dtype and not (other.is_float and spec.is_float):
        return f"{name}: {leader} is {spec.dtype}, {reader} is {other.dtype}, and only floats are converted"
    return None


def _treatment(name: str, spec: Spec, override: Override | None) -> Treatment:
    if override is not None and override.source is not None:
        return Treatment("copy", override, override.source)
    if name.endswith("num_batches_tracked"):
        return Treatment("maximum")
    if not spec.is_float:
        return Treatment("equal")
    if name.endswith(("running_mean", "running_var")):
        return Treatment("mean", override)
    return Treatment("method", override)


def _output_dtype(
    recipe: Recipe, name: str, spec: Spec, holding: Mapping[str, Spec], base: Checkpoint | None
) -> np.dtype:
    if not spec.is_float:
        return spec.dtype
    if recipe.output.dtype is not None:
        return DTYPES[recipe.output.dtype]
    mixed = any(other.dtype != spec.dtype for other in holding.values())
    if mixed and base is not None and name in base.specs:
        return base.specs[name].dtype
    return spec.dtype


def _quantised(parties: Mapping[str, Checkpoint]) -> list[Finding]:
    from hf_soups.align.configs import config_of

    return [
        Finding("error", f"{name}: its weights are quantised; dequantise it first")
        for name, party in parties.items()
        if config_of(party).get("quantization_config")
    ]
