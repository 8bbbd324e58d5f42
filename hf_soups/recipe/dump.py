"""Recipe to plain data and YAML: what `parse` reads back as the same recipe."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import yaml

from hf_soups.recipe import strict_yaml
from hf_soups.recipe.types import Ingredient, Override, Recipe, Select
from hf_soups.recipe.weights import FILE, Weights


def to_dict(part: Any) -> Any:
    """Plain lists, mappings and scalars; whatever has its default value is left out."""
    if isinstance(part, Ingredient):
        content = _content(part, skip="parameters") | to_dict(part.parameters)
        return content["model"] if list(content) == ["model"] else content
    if isinstance(part, Override):
        content = {"match": part.match, "from": part.source} | _content(part, skip="match source")
        return {k: v for k, v in content.items() if v is not None}
    if isinstance(part, Select):
        return _content(part, skip="options") | to_dict(part.options or {})
    if isinstance(part, Weights):
        return FILE
    if isinstance(part, Recipe):
        content = _content(part)
        return {"method": part.method} | content
    if is_dataclass(part):
        return _content(part)
    if isinstance(part, tuple):
        return [to_dict(p) for p in part]
    if hasattr(part, "items"):
        return {k: to_dict(v) for k, v in part.items()}
    return part


def to_yaml(recipe: Recipe) -> str:
    """The recipe as YAML, in the order in which people write it."""
    return yaml.dump(to_dict(recipe), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _Dumper(yaml.SafeDumper):
    """Quotes every text that PyYAML or our own reader would take for something else."""


_Dumper.yaml_implicit_resolvers = {
    first: [
        *yaml.SafeDumper.yaml_implicit_resolvers.get(first, []),
        *strict_yaml.RESOLVERS.get(first, []),
    ]
    for first in {*yaml.SafeDumper.yaml_implicit_resolvers, *strict_yaml.RESOLVERS}
}


def _content(part: Any, skip: str = "") -> dict[str, Any]:
    content = {}
    for f in fields(part):
        value = getattr(part, f.name)
        default = f.default_factory() if callable(f.default_factory) else f.default
        if f.name not in skip.split() and value != default:
            content[f.name] = to_dict(value)
    return content
