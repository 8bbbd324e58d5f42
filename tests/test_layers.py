"""Imports point one way (the packages in order; a module imports only from its own layer's left)."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "hf_soups"
ORDER = [
    ["errors", "kernels"],
    ["checkpoint", "method", "ranks"],
    ["methods"],
    ["recipe"],
    ["align"],
    ["engine"],
    ["soup", "model", "offload"],
    ["memory", "placement", "planning"],
    ["evaluation"],
    ["selection", "training"],
    ["lock"],
    ["hub", "card"],
    ["pipeline"],
    ["cli"],
    ["__main__"],
]
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
UPWARD = {  # the lazy calls behind methods that people expect: load, save, push_to_hub
    ("soup", "model"),
    ("soup", "lock"),
    ("soup", "pipeline"),
}


def imports(file: Path) -> set[str]:
    """Top-level parts of the package that a file imports, type-checking blocks left out."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = node.module.split(".")
            if parts[0] == "hf_soups":
                found |= {parts[1]} if len(parts) > 1 else {a.name for a in node.names if a.name in RANK}
    return found


def test_imports_point_down() -> None:
    wrong = []
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] == "__init__":
            continue
        assert parts[0] in RANK, f"{file.name}: give it a place in ORDER"
        for other in imports(file):
            if other != parts[0] and RANK[other] >= RANK[parts[0]] and (parts[0], other) not in UPWARD:
                wrong.append(f"{'/'.join(parts)} imports {other}")
    assert wrong == []


def test_methods_see_nothing_but_vectors() -> None:
    for file in (PACKAGE / "methods").glob("*.py"):
        assert imports(file) <= {"method", "methods"}, file.name


def test_only_the_command_line_prints() -> None:
    for file in PACKAGE.rglob("*.py"):
        if "cli" in file.parts:
            continue
        calls = [n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Call)]
        assert not any(getattr(c.func, "id", "") == "print" for c in calls), file.name
