"""Plain YAML: mappings, lists and scalars as people mean them, nothing that runs or expands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from hf_soups.errors import RecipeError

MAX_BYTES = 1_000_000  # recipes are written by hand; anything larger is not one
MAX_DEPTH = 30


def read_text(file: Path) -> str:
    """The text of a small file, or a RecipeError that names it."""
    try:
        if file.stat().st_size > MAX_BYTES:
            raise RecipeError(f"{file}: larger than {MAX_BYTES:,} bytes, so not a recipe")
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{file}: cannot be read: {error}") from error


def parse(text: str) -> Any:
    """The content of one YAML document.

    Differs from PyYAML's safe loader: no aliases, no key twice, string keys only, and YAML 1.2's
    scalars, so that `on:`, `no`, `1:30` and `2024-01-31` are texts, `5e-5` is a number and `0777` is 777.
    """
    try:
        return yaml.load(text, Loader=_StrictLoader)
    except yaml.YAMLError as error:
        raise RecipeError(f"not valid YAML: {error}") from error
    except RecursionError as error:
        raise RecipeError("nested too deeply") from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:  # from a scalar with a tag
        raise RecipeError(f"not valid YAML: a value is not what its tag says ({error})") from error


class _StrictLoader(yaml.SafeLoader):
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        mark: Any = event.start_mark if event else None
        if isinstance(event, yaml.AliasEvent):
            raise yaml.MarkedYAMLError(None, None, "aliases are not allowed", mark)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(None, None, "nested too deeply", mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = set()
        for key_node, _ in node.value:
            mark: Any = key_node.start_mark
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.MarkedYAMLError(None, None, f"key {key!r} is not a text", mark)
            if key in keys:
                raise yaml.MarkedYAMLError(None, None, f"key {key!r} twice", mark)
            keys.add(key)
        return super().construct_mapping(node, deep=deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        text = self.construct_scalar(node)
        if not INTEGER.match(text):
            raise yaml.MarkedYAMLError(None, None, f"{text!r} is not an integer", node.start_mark)
        return int(text, 0 if text[:2] in ("0o", "0x") else 10)


INTEGER = re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z")
_StrictLoader.add_constructor("tag:yaml.org,2002:int", _StrictLoader.construct_yaml_int)
REPLACED = ("bool", "float", "int", "timestamp")  # YAML 1.1's scalars that people do not mean
_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rsplit(":", 1)[1] not in REPLACED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")
)
_StrictLoader.add_implicit_resolver("tag:yaml.org,2002:int", INTEGER, list("-+0123456789"))
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"(?:[-+]?(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"),
    list("-+.0123456789"),
)

RESOLVERS = _StrictLoader.yaml_implicit_resolvers
"""What plain scalars are taken for, by their first character."""
