"""Which tensors share their mixing weights: all, those of a block, or each its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_LAYER = re.compile(r"(?:.*?\.)?\d+(?=\.)")  # as far as the first number: `bert.encoder.layer.3`


def find_groups(names: Iterable[str], granularity: str) -> dict[str, str]:
    """Tensor → name of its group; groups in the order of their first tensors.

    granularity: `model` (one group), `block` (a transformer layer; embeddings, pooler, head and every other module
        beside the layers) or `tensor`.
    """
    listed = list(names)
    if granularity == "model":
        return {name: "model" for name in listed}
    if granularity == "tensor":
        return {name: name for name in listed}
    layers = {name: found[0] for name in listed if (found := _LAYER.match(name))}
    backbones = {layer.split(".")[0] for layer in layers.values()}
    return {name: layers.get(name) or _module(name, backbones) for name in listed}


def members(groups: Mapping[str, str]) -> dict[str, list[str]]:
    """Group → its tensors."""
    found: dict[str, list[str]] = {}
    for name, group in groups.items():
        found.setdefault(group, []).append(name)
    return found


def _module(name: str, backbones: set[str]) -> str:
    """`bert.embeddings`, `classifier`: the module right below the backbone, or below the whole model."""
    parts = name.split(".")
    depth = 2 if parts[0] in backbones else 1
    return ".".join(parts[: max(1, min(depth, len(parts) - 1))])
