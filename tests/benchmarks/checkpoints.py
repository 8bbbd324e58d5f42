"""The inputs of the benchmarks: a base, its fine-tunes and its adapters, made once and kept in a cache folder."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.benchmarks import weights
from tests.benchmarks.shapes import SHAPES, Shape, Tensor

RANK = 16


@dataclass(frozen=True)
class Models:
    """Folders of one size."""

    base: Path
    tuned: tuple[Path, ...]
    adapters: tuple[Path, ...]


def default_cache() -> Path:
    """$HF_SOUPS_BENCH_CACHE, else a folder in the user's cache: a temporary one may lie in memory."""
    named = os.environ.get("HF_SOUPS_BENCH_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "hf-soups-bench"


def models(cache: Path, size: str, tuned: int = 4, adapters: int = 4) -> Models:
    """The models of a size; those that are not in the cache yet are written."""
    shape, folder = SHAPES[size], cache.absolute() / size
    base = _once(folder / "base", partial(write_base, shape))
    return Models(
        base,
        tuple(_once(folder / f"tuned-{i:02d}", partial(write_fine_tune, shape, base, i)) for i in _numbers(tuned)),
        tuple(_once(folder / f"adapter-{i:02d}", partial(write_adapter, shape, base, i)) for i in _numbers(adapters)),
    )


def _numbers(count: int) -> range:
    return range(1, count + 1)


def _once(folder: Path, write: Callable[[Path], None]) -> Path:
    if not folder.exists():
        print(f"writing {folder}", file=sys.stderr)
        unfinished = folder.with_name(folder.name + ".partial")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        write(unfinished)
        unfinished.rename(folder)
    return folder


def write_base(shape: Shape, out: Path) -> None:
    """A model with random weights."""
    for file, tensors in shape.files().items():
        weights.write_file(out / file, tensors, "BF16", weights.base)
    _describe(out, shape)


def write_fine_tune(shape: Shape, base: Path, model: int, out: Path) -> None:
    """The base, moved a little. `model` seeds the move."""
    for file, tensors in shape.files().items():
        with (base / file).open("rb") as source:
            weights.skip_header(source)
            weights.write_file(out / file, tensors, "BF16", weights.fine_tune(source, model))
    _describe(out, shape)


def write_adapter(shape: Shape, base: Path, model: int, out: Path) -> None:
    """A LoRA adapter of all matrices of all layers, in float32, as PEFT saves it."""
    tensors = []
    for layer in range(shape.layers):
        for name, (rows, columns) in shape.linears.items():
            prefix = f"base_model.model.model.layers.{layer}.{name}"
            tensors.append(Tensor(f"{prefix}.lora_A.weight", (RANK, columns)))
            tensors.append(Tensor(f"{prefix}.lora_B.weight", (rows, RANK)))
    weights.write_file(out / "adapter_model.safetensors", tensors, "F32", weights.adapter(model))
    config = {
        "base_model_name_or_path": str(base),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "lora_alpha": 2 * RANK,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": RANK,
        "target_modules": [name.split(".")[-1] for name in shape.linears],
        "task_type": "CAUSAL_LM",
    }
    (out / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")


def _describe(out: Path, shape: Shape) -> None:
    (out / "config.json").write_text(json.dumps(shape.config(), indent=2) + "\n")
    if shape.shards > 1:
        files = shape.files()
        index = {
            "metadata": {"total_size": 2 * sum(tensor.elements for tensor in shape.tensors())},
            "weight_map": {tensor.name: file for file, tensors in files.items() for tensor in tensors},
        }
        (out / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=list(SHAPES), action="append", help="default: 135m and 1b")
    parser.add_argument("--tuned", type=int, default=4, metavar="N", help="fine-tunes; default 4")
    parser.add_argument("--cache", type=Path, default=default_cache(), metavar="DIR")
    options = parser.parse_args()
    for size in options.size or ["135m", "1b"]:
        print(models(options.cache, size, options.tuned).base.parent)


if __name__ == "__main__":
    main()
