"""Three fine-tunes of one model on the Hub: in one file, in shards, and as an adapter on the base."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.local_hub import LocalHub
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


@pytest.fixture
def base(namespace: str) -> str:
    return f"{namespace}/base"


@pytest.fixture
def models(hub: LocalHub, namespace: str, base: str, tmp_path: Path, dialect: str) -> list[str]:
    """The three, published in each transfer dialect; their base too."""
    hub.publish(base, single(tmp_path / "base", 0))
    hub.publish(f"{namespace}/single", single(tmp_path / "single", 1))
    hub.publish(f"{namespace}/sharded", in_shards(tmp_path / "sharded", 2))
    hub.publish(f"{namespace}/lora", adapter(tmp_path / "lora", base))
    hub.clear_log()
    return [f"{namespace}/{name}" for name in ("single", "sharded", "lora")]


@pytest.fixture
def pair(hub: LocalHub, namespace: str, tmp_path: Path) -> list[str]:
    """Two of them, where the dialect makes no difference."""
    hub.publish(f"{namespace}/single", single(tmp_path / "single", 1))
    hub.publish(f"{namespace}/sharded", in_shards(tmp_path / "sharded", 2))
    hub.clear_log()
    return [f"{namespace}/{name}" for name in ("single", "sharded")]


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hf_soups.hub.ranges.FIRST_WAIT", 0.001)
    monkeypatch.setattr("hf_soups.hub.ranges.LONGEST_WAIT", 0.01)
