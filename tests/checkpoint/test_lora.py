"""A LoRA adapter on its base equals what PEFT makes of it, read in any range."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hf_soups import CheckpointError
from hf_soups.checkpoint import LocalFiles, Lora, Origin, Stored
from tests.models import classifier


def open_lora(base: Path, adapter: Path) -> Lora:
    full = Stored(LocalFiles(base), Origin(name="base"))
    return Lora(full, Stored(LocalFiles(adapter), Origin(name="adapter"), "adapter_model"))


def train_adapter(base: Path, folder: Path, task: str | None = None, **config: Any) -> dict[str, np.ndarray]:
    """Save a PEFT adapter with random factors; the weights of the model that PEFT merges it into."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(base)
    peft_model = get_peft_model(model, LoraConfig(task_type=task, **config))
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in peft_model.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                parameter.normal_(std=0.3)
    peft_model.save_pretrained(folder)
    merged = peft_model.merge_and_unload()
    return {name: value.numpy() for name, value in merged.state_dict().items()}


KINDS: dict[str, dict[str, Any]] = {
    "plain": {"r": 4, "target_modules": ["query", "value"]},
    "all linear": {"r": 2, "target_modules": "all-linear", "lora_alpha": 16},
    "rank stabilised": {"r": 4, "target_modules": ["query"], "use_rslora": True},
    "patterns": {
        "r": 4,
        "target_modules": ["query", "value"],
        "rank_pattern": {"layer.0.attention.self.query": 8},
        "alpha_pattern": {"value": 3},
    },
    "one layer": {"r": 4, "target_modules": ["query"], "layers_to_transform": [1]},
    "embedding": {"r": 3, "target_modules": ["word_embeddings", "key"]},
    "saved head": {"r": 4, "target_modules": ["query"], "task": "SEQ_CLS"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_tensor_equals_the_model_that_peft_merges(tmp_path: Path, kind: str) -> None:
    base = classifier(tmp_path / "base")
    expected = train_adapter(base, tmp_path / "adapter", **KINDS[kind])
    lora = open_lora(base, tmp_path / "adapter")
    assert set(lora) == set(expected)
    changed = 0
    for name in lora:
        np.testing.assert_allclose(lora[name], expected[name], rtol=1e-5, atol=1e-6)
        changed += not np.array_equal(lora[name], lora.base[name])
    assert changed > 0


def test_a_range_has_the_same_bits_as_the_whole_tensor(tmp_path: Path) -> None:
    base = classifier(tmp_path / "base", vocab_size=200, hidden_size=32)
    train_adapter(base, tmp_path / "adapter", r=4, target_modules=["word_embeddings"])
    lora = open_lora(base, tmp_path / "adapter")
    name = "bert.embeddings.word_embeddings.weight"
    whole = lora[name].reshape(-1)
    for start, stop in [(0, 1), (5, 5), (31, 33), (2047, 2049), (1000, 6400)]:
        assert np.array_equal(lora.read(name, start, stop), whole[start:stop])


def test_an_adapter_for_another_base_is_refused(tmp_path: Path) -> None:
    base = classifier(tmp_path / "base")
    train_adapter(base, tmp_path / "adapter", r=4, target_modules=["query"])
    wider = classifier(tmp_path / "wider", hidden_size=32)
    shallower = classifier(tmp_path / "shallower", num_hidden_layers=1)
    for other in (wider, shallower):
        with pytest.raises(CheckpointError, match=r"adapter for another base: \d of 2 modules"):
            open_lora(other, tmp_path / "adapter")


@pytest.mark.filterwarnings("ignore:Adapter 'default'")  # PEFT's own check mistakes biases for factors
def test_what_cannot_be_added_up_is_refused_by_name(tmp_path: Path) -> None:
    base = classifier(tmp_path / "base")
    cases: dict[str, dict[str, Any]] = {"use_dora": {"use_dora": True}, "lora_bias": {"lora_bias": True}}
    for field, config in cases.items():
        train_adapter(base, tmp_path / field, r=4, target_modules=["query"], **config)
        with pytest.raises(CheckpointError, match=field):
            open_lora(base, tmp_path / field)


def test_an_unknown_field_that_says_something_is_refused_and_an_empty_one_is_not(tmp_path: Path) -> None:
    base = classifier(tmp_path / "base")
    train_adapter(base, tmp_path / "adapter", r=4, target_modules=["query"])
    path = tmp_path / "adapter" / "adapter_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"invented": None}))
    open_lora(base, tmp_path / "adapter")
    path.write_text(json.dumps(config | {"invented": {"strength": 2}}))
    with pytest.raises(CheckpointError, match="invented"):
        open_lora(base, tmp_path / "adapter")


def test_factors_without_their_partner_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    base = classifier(tmp_path / "base")
    train_adapter(base, tmp_path / "adapter", r=4, target_modules=["query"])
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = load_file(file)
    tensors.pop(next(n for n in tensors if "lora_B" in n))
    save_file(tensors, file)
    with pytest.raises(CheckpointError, match="no supported kind"):
        open_lora(base, tmp_path / "adapter")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lora_alpha", "abc"),
        ("lora_alpha", None),
        ("lora_alpha", float("nan")),
        ("alpha_pattern", ["x"]),
        ("alpha_pattern", {"query": "x"}),
        ("alpha_pattern", {"(": 1}),
    ],
)
def test_a_field_that_means_nothing_is_named(field: str, value: object) -> None:
    from hf_soups.checkpoint.adapter_config import read_adapter_config

    with pytest.raises(CheckpointError, match=f"adapter: {field}"):
        read_adapter_config({"peft_type": "LORA", field: value}, "adapter")
