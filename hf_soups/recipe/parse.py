"""YAML to Recipe, strictly: an unknown key is an error with a suggestion, never ignored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from hf_soups.errors import RecipeError
from hf_soups.method import get
from hf_soups.recipe import strict_yaml
from hf_soups.recipe.check import check
from hf_soups.recipe.parse_select import parse_select
from hf_soups.recipe.types import MEASURE, Data, Evaluate, Ingredient, Measure, Output, Override, Recipe
from hf_soups.recipe.values import boolean, integer, known, mapping, sequence, string, strings
from hf_soups.recipe.weights import read_weights

MAX_SIZE = 2.0**63  # bytes; the largest file that anything can address
UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def load(path: str | Path) -> Recipe:
    """The recipe in a file; local folders and files in it are relative to the file."""
    file = Path(path)
    text = strict_yaml.read_text(file)
    try:
        return loads(text, file.resolve().parent)
    except RecipeError as error:
        raise RecipeError(f"{file.name}: {error}") from error


def loads(text: str, folder: Path | None = None) -> Recipe:
    """The recipe in a YAML text; local paths in it are relative to `folder` (default: unchanged)."""
    content = strict_yaml.parse(text)
    return check(_recipe(content, "recipe", folder))


def parse_size(size: str | int, where: str = "max_shard_size") -> int:
    """Bytes in `5GB`, `200 MB` or a plain number; units are powers of 1,000."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?B?)\s*", str(size).upper())
    if not found or found[2] not in UNITS:
        raise RecipeError(f"{where}: {size!r} is not a size; write for instance 5GB or 200MB")
    size_in_bytes = float(found[1]) * UNITS[found[2]]
    if size_in_bytes > MAX_SIZE:
        raise RecipeError(f"{where}: {size!r} is more than any file can hold")
    return int(size_in_bytes)


def _recipe(content: Any, where: str, folder: Path | None) -> Recipe:
    values = mapping(content, where, Recipe)
    entries = values.get("ingredients")
    if not isinstance(entries, list):
        raise RecipeError(f"{where}: ingredients: a list of Hub ids or folders is needed")
    method = values.get("method", "average")
    get(str(method))
    made: dict[str, Any] = {
        "ingredients": tuple(
            _ingredient(entry, f"ingredients: #{number}", folder, str(method))
            for number, entry in enumerate(entries, 1)
        )
    }
    for key, value in values.items():
        if key == "ingredients" or value is None:
            continue
        elif key == "base":
            made[key] = _ingredient(value, "base", folder, None)
        elif key == "parameters":
            made[key] = mapping(value, key)
        elif key == "overrides":
            made[key] = tuple(_override(o, f"overrides: #{n}") for n, o in enumerate(sequence(value, key), 1))
        elif key == "select":
            made[key] = parse_select(value)
        elif key == "evaluate":
            made[key] = _evaluate(value, folder)
        elif key == "output":
            made[key] = _output(value)
        elif key == "weights":
            made[key] = read_weights((folder or Path.cwd()) / string(value, key))
        elif key == "seed":
            made[key] = integer(value, "seed")
        else:
            made[key] = string(value, key)
    return Recipe(**made)


def _ingredient(entry: Any, where: str, folder: Path | None, method: str | None) -> Ingredient:
    if isinstance(entry, str):
        return Ingredient(model=local(entry, folder))
    content = mapping(entry, where)
    if "ingredients" in content:
        return Ingredient(model=_recipe(content, where, folder))
    own = [f.name for f in fields(Ingredient) if f.name != "parameters"]
    each = [n for n, p in get(method).parameters.items() if p.each] if method else []
    known(content, [*own, *each], where)
    if "model" not in content:
        raise RecipeError(f"{where}: model: is missing; give a Hub id or a folder")
    made: dict[str, Any] = {"parameters": {k: v for k, v in content.items() if k in each}}
    for key, value in content.items():
        if key in each or value is None:
            continue
        elif key == "model" and isinstance(value, Mapping):
            made[key] = _recipe(value, f"{where}: model", folder)
        elif key in ("model", "base"):
            made[key] = local(string(value, f"{where}: {key}"), folder)
        elif key == "labels":
            made[key] = tuple(string(v, f"{where}: labels") for v in sequence(value, f"{where}: labels"))
        else:
            made[key] = string(value, f"{where}: {key}")
    return Ingredient(**made)


def _override(entry: Any, where: str) -> Override:
    content = mapping(entry, where)
    known(content, ["match", "from", "parameters", "ingredients"], where)
    if "match" not in content:
        raise RecipeError(f"{where}: match: is missing; give a tensor name or a glob such as '*.bias'")
    parts = mapping(content.get("ingredients") or {}, f"{where}: ingredients")
    return Override(
        match=string(content["match"], f"{where}: match"),
        source=None if content.get("from") is None else string(content["from"], f"{where}: from"),
        parameters=mapping(content.get("parameters") or {}, f"{where}: parameters"),
        ingredients={k: mapping(v, f"{where}: ingredients: {k}") for k, v in parts.items()},
    )


def _evaluate(value: Any, folder: Path | None) -> Evaluate:
    content = dict(mapping(value, "evaluate", Evaluate))
    datasets = mapping(content.pop("datasets", None) or {}, "evaluate: datasets")
    made: dict[str, Any] = {"datasets": {n: _data(d, f"evaluate: datasets: {n}", folder) for n, d in datasets.items()}}
    for key, entry in content.items():
        if entry is None:
            continue
        elif key == "metrics":
            made[key] = tuple(_metric(m, folder) for m in sequence(entry, "evaluate: metrics"))
        elif key == "baselines":
            named = sequence(entry, "evaluate: baselines")
            made[key] = tuple(local(string(one, "evaluate: baselines"), folder) for one in named)
        elif key == "options":
            made[key] = mapping(entry, "evaluate: options")
        elif key in ("max_length", "batch_size"):
            made[key] = integer(entry, f"evaluate: {key}")
        elif key == "allow_overlap":
            made[key] = boolean(entry, f"evaluate: {key}")
        else:
            made[key] = string(entry, f"evaluate: {key}")
    return Evaluate(**made)


def _metric(entry: Any, folder: Path | None) -> str | Measure:
    """The name of a built-in metric, or one that brings its own code; a path of its script is made absolute."""
    where = "evaluate: metrics"
    if isinstance(entry, str):
        return string(entry, where)
    content = mapping(entry, where, Measure)
    for key in ("name", "greater_is_better"):
        if content.get(key) is None:
            raise RecipeError(f"{where}: {key}: is missing")
    greater_is_better = boolean(content["greater_is_better"], f"{where}: greater_is_better")
    texts = strings({k: v for k, v in content.items() if k != "greater_is_better"}, where)
    place = texts["name"].removeprefix(MEASURE)
    if place.startswith((".", "~", "/")):  # nothing else is looked up on this disk, whatever folders there are
        texts["name"] = MEASURE + local(place, folder)
    return Measure(greater_is_better=greater_is_better, **texts)


def _data(value: Any, where: str, folder: Path | None) -> Data:
    content = mapping(value, where, Data)
    made: dict[str, Any] = {}
    for key, entry in content.items():
        if entry is None:
            continue
        elif key == "text":
            columns = [entry] if isinstance(entry, str) else sequence(entry, f"{where}: text")
            made[key] = tuple(string(c, f"{where}: text") for c in columns)
        elif key == "limit":
            made[key] = integer(entry, f"{where}: limit")
        elif key == "columns":
            made[key] = strings(mapping(entry, f"{where}: columns"), f"{where}: columns")
        elif key == "path":
            made[key] = local(string(entry, f"{where}: path"), folder)
        else:
            made[key] = string(entry, f"{where}: {key}")
    for key in ("path", "role"):
        if key not in made:
            raise RecipeError(f"{where}: {key}: is missing")
    return Data(**made)


def _output(value: Any) -> Output:
    content = dict(mapping(value, "output", Output))
    made: dict[str, Any] = {}
    for key, entry in content.items():
        if entry is None:
            continue
        elif key == "max_shard_size":
            made[key] = parse_size(entry, "output: max_shard_size")
        elif key == "private":
            made[key] = boolean(entry, "output: private")
        else:
            made[key] = string(entry, f"output: {key}")
    return Output(**made)


def local(reference: str, folder: Path | None) -> str:
    """An absolute path where the reference names something on this disk, else the reference itself."""
    if not reference:
        raise RecipeError("an empty text is neither a Hub id nor a folder")
    looks_local = reference.startswith((".", "~", "/"))
    try:
        path = Path(reference).expanduser()
    except RuntimeError as error:
        raise RecipeError(f"{reference}: {error}") from error
    if not path.is_absolute():
        path = (folder or Path.cwd()) / path
    return str(path.resolve()) if looks_local or path.exists() else reference
