"""Which of many models fit each other, and how those that do not differ from those that do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hf_soups.align import align
from hf_soups.align.configs import compare_configs, find_labels
from hf_soups.align.finding import Finding
from hf_soups.checkpoint import Checkpoint, Spec
from hf_soups.recipe import Ingredient, Recipe

Party = tuple[Ingredient, Checkpoint]
Shapes = Mapping[str, tuple[int, ...]]


def group(parties: Sequence[Party]) -> list[list[Party]]:
    """The parties in groups that each could be averaged, in order of their first members.

    Each joins the first group that it fits, so with the most trusted first a group is named after one of those.
    """
    buckets: dict[frozenset[tuple[str, ...]], list[list[Party]]] = {}
    groups: list[list[Party]] = []
    for party in parties:
        # what `align` would call a mismatch of tensors, without comparing every two models
        alike = buckets.setdefault(frozenset(_kind(n, spec) for n, spec in party[1].specs.items()), [])
        joined = next((members for members in alike if _agree([*members, party])), None)
        if joined is None:
            alike.append([party])
            groups.append(alike[-1])
        else:
            joined.append(party)
    return groups


def why_not(members: Sequence[Party], party: Party) -> tuple[str, ...]:
    """Every reason why the party does not fit a group: beside its first member, else beside all, else the doubts."""
    two = align_all([members[0], party])
    return _said(two, "error") or _said(align_all([*members, party]), "error") or _said(two, "warning")


def _said(findings: Sequence[Finding], level: str) -> tuple[str, ...]:
    return tuple(f.message for f in findings if f.level == level)


def align_all(parties: Sequence[Party]) -> tuple[Finding, ...]:
    """What aligning them for an average finds."""
    recipe = Recipe(ingredients=tuple(ingredient for ingredient, _ in parties))
    return align(recipe, [checkpoint for _, checkpoint in parties], None).findings


def backbone(checkpoint: Checkpoint) -> Shapes:
    """Shapes of the tensors beside the heads.

    A head is what stands beside the module with the numbered layers: `classifier` beside `bert`, `lm_head` beside
    `model`.
    """
    layered = {n.split(".")[0] for n in checkpoint.specs if any(part.isdecimal() for part in n.split("."))}
    return {n: spec.shape for n, spec in checkpoint.specs.items() if n.split(".")[0] in layered}


def heads(checkpoint: Checkpoint) -> Shapes:
    """Shapes of the tensors that are not of the backbone."""
    body = backbone(checkpoint)
    return {n: spec.shape for n, spec in checkpoint.specs.items() if n not in body}


def is_kin(checkpoint: Checkpoint, base: Checkpoint) -> bool:
    """Whether the backbone has tensors of the base, and each of those its shape there."""
    common = {n: shape for n, shape in backbone(checkpoint).items() if n in base.specs}
    return bool(common) and all(base.specs[n].shape == shape for n, shape in common.items())


def _agree(parties: Sequence[Party]) -> bool:
    """Whether configs and labels are those of one model."""
    named = {f"{i} {ingredient.label}": checkpoint for i, (ingredient, checkpoint) in enumerate(parties)}
    recipe = Recipe(ingredients=tuple(ingredient for ingredient, _ in parties))
    labels, about_labels = find_labels(recipe, named)
    if labels is not None and about_labels:
        return False  # others, or names beside placeholders, which may mean another order
    return all(finding.level != "error" for finding in compare_configs(named))


def _kind(name: str, spec: Spec) -> tuple[str, ...]:
    return (name, str(spec.shape), "" if spec.is_float else str(spec.dtype))
