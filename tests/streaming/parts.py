"""Models of a few megabytes for the tests of streaming: in one file, in shards, an adapter."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests.models import write_safetensors

ROWS, COLUMNS = 300, 1000  # 1.2 MB for each tensor
NAMES = [f"layer.{i}.weight" for i in range(4)]


def state(seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {name: generator.standard_normal((ROWS, COLUMNS)).astype(np.float32) for name in NAMES}


def describe(folder: Path) -> Path:
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# a model\n")
    return folder


def single(folder: Path, seed: int) -> Path:
    write_safetensors(folder / "model.safetensors", state(seed))
    return describe(folder)


def in_shards(folder: Path, seed: int) -> Path:
    tensors = state(seed)
    files = {"model-00001-of-00002.safetensors": NAMES[:3], "model-00002-of-00002.safetensors": NAMES[3:]}
    for file, names in files.items():
        write_safetensors(folder / file, {name: tensors[name] for name in names})
    index = {"metadata": {}, "weight_map": {name: file for file, names in files.items() for name in names}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return describe(folder)


def adapter(folder: Path, base: str) -> Path:
    generator = np.random.default_rng(9)
    factors = {
        "base_model.model.layer.1.lora_A.weight": generator.standard_normal((2, COLUMNS)).astype(np.float32),
        "base_model.model.layer.1.lora_B.weight": generator.standard_normal((ROWS, 2)).astype(np.float32),
    }
    write_safetensors(folder / "adapter_model.safetensors", factors)
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "base_model_name_or_path": base}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder
