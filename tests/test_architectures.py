"""Soups of every architecture are, as transformers loads them, the models whose weights are the mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import hf_soups
from hf_soups import AlignmentError, CheckpointError
from tests.architectures import ARCHITECTURES
from tests.models import f32, write_safetensors

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

FAULTS = ("missing_keys", "unexpected_keys", "mismatched_keys")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if a.slow else []) for n, a in ARCHITECTURES.items()]
)
def test_a_soup_loads_without_a_key_left_and_is_the_mean_of_the_modules(name: str, tmp_path: Path) -> None:
    """Every number of its state dict is, to the bit; the outputs are as far as memory's alignment lets torch be."""
    import torch

    architecture = ARCHITECTURES[name]
    folders = [architecture.save(seed, tmp_path / f"run-{seed}") for seed in (1, 2)]
    soup = hf_soups.merge([*map(str, folders)], tmp_path / "soup", **architecture.options)
    assert keys(tmp_path / "soup") == keys(folders[0]) == set(soup)
    assert (len([*folders[0].glob("*.safetensors")]) > 1) == (architecture.shard is not None)

    first, second, expected = (architecture.build(seed) for seed in (1, 2, 3))
    loaded, report = type(first).from_pretrained(tmp_path / "soup", output_loading_info=True)
    assert {fault: sorted(report[fault]) for fault in FAULTS} == {fault: [] for fault in FAULTS}
    fill_with_the_mean(expected, first, second)
    in_memory = architecture.dtype == "float32" and not architecture.fused
    models = {"folder": loaded.eval()} | ({"memory": soup.load()} if in_memory else {})
    inputs = architecture.inputs(expected)
    wanted = answers(expected, inputs)
    for where, model in models.items():
        own = model.state_dict()
        assert [n for n, value in expected.state_dict().items() if not torch.equal(own[n], value)] == [], where
        torch.testing.assert_close(answers(model, inputs), wanted)
    assert any(not torch.allclose(answers(first, inputs)[n], value) for n, value in wanted.items())


def fill_with_the_mean(model: PreTrainedModel, *others: PreTrainedModel) -> None:
    """Floats are the mean, rounded once; counts are the largest."""
    import torch

    states = [other.state_dict() for other in others]
    with torch.no_grad():
        for name, value in model.state_dict().items():
            stacked = torch.stack([state[name].double() for state in states])
            value.copy_(stacked.mean(0) if value.is_floating_point() else stacked.amax(0))


def answers(model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Every float tensor that the model gives."""
    import torch

    with torch.inference_mode():
        output = model(**inputs)
    return {n: v for n, v in output.items() if isinstance(v, torch.Tensor) and v.is_floating_point()}


def keys(folder: Path) -> set[str]:
    """The names in a folder's files."""
    from safetensors import safe_open

    found: set[str] = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "np") as file:
            found |= set(file.keys())
    return found


def test_dense_layers_of_sentence_transformers_are_averaged_in_their_folders(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    folders = [str(sentence_encoder(tmp_path / f"run-{seed}", seed)) for seed in (1, 3)]
    soup = hf_soups.merge(folders, tmp_path / "soup", max_shard_size=6_000)
    assert np.array_equal(soup["2_Dense/linear.weight"], np.full((4, 16), 2, np.float32))
    dense = load_file(tmp_path / "soup" / "2_Dense" / "model.safetensors")
    assert set(dense) == {"linear.weight", "linear.bias"} and np.array_equal(dense["linear.bias"], np.full(4, 2))
    for name in ("modules.json", "1_Pooling/config.json", "2_Dense/config.json"):
        assert (tmp_path / "soup" / name).read_bytes() == (Path(folders[0]) / name).read_bytes()
    index = json.loads((tmp_path / "soup" / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == keys(Path(folders[0]))
    again = hf_soups.merge([str(tmp_path / "soup"), folders[0]])
    assert set(again) == set(soup)
    assert type(soup.load()).__name__ == "BertModel"


def test_a_dense_layer_that_one_ingredient_lacks_or_that_is_a_pickle_is_named(tmp_path: Path) -> None:
    folders = [sentence_encoder(tmp_path / f"run-{seed}", seed) for seed in (1, 3)]
    (folders[1] / "2_Dense" / "model.safetensors").unlink()
    with pytest.raises(AlignmentError, match=r"run-3: lacks 2 tensors \(2_Dense/linear.bias"):
        hf_soups.merge([*map(str, folders)])
    (folders[1] / "2_Dense" / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"run-3/2_Dense: only pickle weights"):
        hf_soups.merge([*map(str, folders)])


def sentence_encoder(folder: Path, seed: int) -> Path:
    """The files that sentence-transformers writes for an encoder, a pooling and a dense layer."""
    from tests.architectures import Architecture

    Architecture("BertModel").save(seed, folder)
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense"}
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds.items())
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    configs = {
        "1_Pooling": {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True},
        "2_Dense": {"in_features": 16, "out_features": 4, "activation_function": "torch.nn.modules.linear.Identity"},
    }
    for path, config in configs.items():
        (folder / path).mkdir()
        (folder / path / "config.json").write_text(json.dumps(config))
    dense = {"linear.weight": np.full((4, 16), seed, np.float32), "linear.bias": np.full(4, seed, np.float32)}
    write_safetensors(folder / "2_Dense" / "model.safetensors", dense)
    return folder


@pytest.mark.parametrize("shards", [1, 2])
def test_a_component_of_diffusers_keeps_the_name_of_its_files_and_its_config(tmp_path: Path, shards: int) -> None:
    folders = [component(tmp_path / f"run-{value}", value, shards) for value in (1, 3)]
    recipe = hf_soups.Recipe(tuple(hf_soups.Ingredient(str(f), subfolder="unet") for f in folders))
    soup = hf_soups.merge(recipe, tmp_path / "soup", max_shard_size=10**9 if shards == 1 else 8)
    assert {n: float(soup[n][0]) for n in soup} == {"conv_in.weight": 2, "conv_out.bias": 2}
    wanted = {path.name for path in (folders[0] / "unet").iterdir()}
    assert wanted <= {path.name for path in (tmp_path / "soup").iterdir()}
    assert json.loads((tmp_path / "soup" / "config.json").read_text()) == json.loads(
        (folders[0] / "unet" / "config.json").read_text()
    )


def component(folder: Path, value: float, shards: int) -> Path:
    """A pipeline's folder with one component, as diffusers writes it."""
    tensors = {"conv_in.weight": f32([value, value]), "conv_out.bias": f32([value])}
    inside = folder / "unet"
    stem = "diffusion_pytorch_model"
    if shards == 1:
        write_safetensors(inside / f"{stem}.safetensors", tensors)
    else:
        files = {name: f"{stem}-{i:05d}-of-00002.safetensors" for i, name in enumerate(tensors, 1)}
        for name, file in files.items():
            write_safetensors(inside / file, {name: tensors[name]})
        index = {"metadata": {"total_size": 12}, "weight_map": files}
        (inside / f"{stem}.safetensors.index.json").write_text(json.dumps(index))
    (inside / "config.json").write_text(
        json.dumps({"_class_name": "UNet2DConditionModel", "_diffusers_version": "0.31"})
    )
    return folder


def test_components_of_two_classes_are_refused(tmp_path: Path) -> None:
    folders = [component(tmp_path / name, 1, 1) / "unet" for name in ("a", "b")]
    (folders[1] / "config.json").write_text(json.dumps({"_class_name": "UNet3DConditionModel"}))
    with pytest.raises(AlignmentError, match=r"UNet2DConditionModel.*UNet3DConditionModel"):
        hf_soups.merge([*map(str, folders)])
