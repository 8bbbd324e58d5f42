"""The files that say what a soup was made of: soup.yaml to make it again, soup.lock.json to prove it."""

from __future__ import annotations

import hashlib
import json
import platform
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import hf_soups
from hf_soups.align import Finding
from hf_soups.checkpoint import (
    Checkpoint,
    LocalFiles,
    Lora,
    Stored,
    check_room,
    new_folder,
    opened,
    write_bytes,
    write_text,
)
from hf_soups.recipe import FILE, Data, Evaluate, Ingredient, Output, Recipe, to_yaml
from hf_soups.soup import Soup

LIBRARIES = (
    "numpy",
    "numba",
    "ml_dtypes",
    "safetensors",
    "torch",
    "transformers",
    "datasets",
    "evaluate",
    "scikit-learn",
)


TOLERANCE = 1e-3  # of a forward pass's numbers, relative: what GPUs with TF32 keep of a product


def portable(recipe: Recipe, soup: Soup) -> Recipe:
    """The recipe that makes this soup again elsewhere: selection made, no push target, no path of this machine."""
    ingredients = tuple(_portable_ingredient(i, c) for i, c in zip(recipe.ingredients, soup.ingredients, strict=True))
    base = _portable_ingredient(recipe.base, soup.base) if recipe.base and soup.base else None
    output: Output = replace(recipe.output, hub=None)
    evaluate = _portable_evaluate(recipe.evaluate) if recipe.evaluate else None
    return replace(recipe, ingredients=ingredients, base=base, select=None, output=output, evaluate=evaluate)


def save(soup: Soup, out: Path, *, overwrite: bool = False) -> Path:
    """Weights, assets, soup.yaml and soup.lock.json in a folder that appears whole or not at all."""
    check_room(out, soup.nbytes)
    with new_folder(out, overwrite) as folder:
        checksums = soup.write(folder, soup.recipe.output.max_shard_size)
        write_assets(soup, folder)
        write_records(soup, folder, checksums)
    return out


def write_assets(soup: Soup, folder: Path) -> None:
    """Config, tokenizer and the other files beside the weights."""
    for name in soup.assets:
        write_bytes(folder / name, soup.assets[name])


def write_records(
    soup: Soup,
    folder: Path,
    checksums: Mapping[str, str],
    selection: Mapping[str, Any] | None = None,
    evaluation: Mapping[str, Any] | None = None,
    checked: bool = False,
    uploaded: Mapping[str, int] | None = None,
    findings: Sequence[Finding] = (),
) -> None:
    """soup.yaml and its weights, then soup.lock.json, the last file of a finished folder.

    checked: whether the folder was loaded and run once.
    uploaded: bytes of weight files that are on the Hub already and in the folder no more.
    findings: besides those about how the ingredients fit.
    """
    write_text(folder / "soup.yaml", to_yaml(portable(soup.recipe, soup)))
    weights = soup.recipe.weights.to_json() if soup.recipe.weights else None
    if weights is not None:
        write_text(folder / FILE, weights)
    outputs = {n: {"bytes": count, "checksum": checksums[n]} for n, count in (uploaded or {}).items()}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        checksum = checksums.get(name) or f"crc32:{zlib.crc32(path.read_bytes()):08x}"
        outputs[name] = {"bytes": path.stat().st_size, "checksum": checksum}
    content = {
        "format": 1,
        "reproducible": "tolerance" if soup.statistics else "bits",
        "recomputed": _recomputed(soup) if soup.statistics else None,
        "seed": soup.recipe.seed,
        "device": soup.device.name,
        "versions": versions(),
        "inputs": inputs(soup),
        "outputs": dict(sorted(outputs.items())),
        "weights": {"file": FILE, "sha256": hashlib.sha256(weights.encode()).hexdigest()} if weights else None,
        "checked": checked,
        "findings": [vars(f) for f in (*soup.alignment.findings, *findings)],
        "selection": selection,
        "evaluation": evaluation,
    }
    write_text(folder / "soup.lock.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def inputs(soup: Soup) -> list[dict[str, Any]]:
    """Each ingredient, then the base: reference, and sizes and hashes of its weight files."""
    found = [_input("ingredient", i, c) for i, c in zip(soup.recipe.ingredients, soup.ingredients, strict=True)]
    return found + ([_input("base", soup.recipe.base, soup.base)] if soup.recipe.base and soup.base else [])


def _recomputed(soup: Soup) -> dict[str, Any]:
    """Tensors that a forward pass over data decided: their last bits are the processor's and the libraries'."""
    return {
        "tensors": list(soup.statistics),
        "dataset": soup.recipe.recompute_batchnorm,
        "fingerprint": soup.statistics.fingerprint(),
        "bound": TOLERANCE,
    }


@cache
def versions() -> Mapping[str, str]:
    """hf_soups, Python and the libraries whose versions can change a number."""
    return {"hf_soups": hf_soups.__version__, "python": platform.python_version()} | {
        library: version(library) for library in LIBRARIES
    }


def _input(role: str, ingredient: Ingredient, checkpoint: Checkpoint) -> dict[str, Any]:
    content: dict[str, Any] = {
        "role": role,
        "name": ingredient.label,
        "reference": checkpoint.origin.reference,
        "subfolder": checkpoint.origin.subfolder,
        "license": checkpoint.origin.license,
    }
    checkpoint = opened(checkpoint)
    if isinstance(checkpoint, Lora):
        content["adapter_of"] = _input("base", Ingredient(model=checkpoint.base.origin.name), checkpoint.base)
        content["files"] = _files(checkpoint.adapter)
    elif isinstance(checkpoint, Stored):
        content["files"] = _files(checkpoint)
    elif isinstance(checkpoint, Soup):
        content["inputs"] = [
            _input("ingredient", i, c)
            for i, c in zip(checkpoint.recipe.ingredients, checkpoint.ingredients, strict=True)
        ]
    return {k: v for k, v in content.items() if v is not None}


def _files(checkpoint: Stored) -> dict[str, Any]:
    """Each weight file's proof: the Hub's sha256, or that of the header.

    verified: false where the Hub's word for the whole file was taken, since only ranges of it were read.
    """
    known = dict(checkpoint.origin.sha256)
    whole = isinstance(checkpoint.files, LocalFiles)
    found = {}
    for name, digest in checkpoint.header_sha256.items():
        proof: dict[str, Any] = {"sha256": known[name]} if name in known else {"header_sha256": digest}
        if name in known or not whole:
            proof["verified"] = whole
        found[name] = {"bytes": checkpoint.files.source(name).size, **proof}
    return found


def _portable_ingredient(ingredient: Ingredient, checkpoint: Checkpoint) -> Ingredient:
    checkpoint = opened(checkpoint)
    if isinstance(ingredient.model, Recipe) and isinstance(checkpoint, Soup):
        return replace(ingredient, model=portable(ingredient.model, checkpoint))
    base = ingredient.base
    if base is not None and isinstance(checkpoint, Lora):
        base = checkpoint.base.origin.reference
    return replace(ingredient, model=checkpoint.origin.reference, base=base)


def _portable_evaluate(evaluate: Evaluate) -> Evaluate:
    def portable_data(data: Data) -> Data:
        return replace(data, path=f"local:{Path(data.path).name}") if Path(data.path).is_absolute() else data

    baselines = tuple(f"local:{Path(b).name}" if Path(b).is_absolute() else b for b in evaluate.baselines)
    metrics = tuple(m if isinstance(m, str) else replace(m, name=m.label) for m in evaluate.metrics)
    datasets = {n: portable_data(d) for n, d in evaluate.datasets.items()}
    return replace(evaluate, metrics=metrics, datasets=datasets, baselines=baselines)
