"""The generated inputs are real models, and their differences look like those of fine-tunes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hf_soups import merge
from tests.benchmarks.checkpoints import Models, models
from tests.benchmarks.weights import SPREAD, STEP

NAME = "model.layers.0.mlp.up_proj.weight"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return models(tmp_path_factory.mktemp("cache"), "tiny", tuned=2, adapters=1)


def read(folder: Path, name: str) -> np.ndarray:
    import torch
    from safetensors import safe_open

    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as tensors:
            if name in tensors.keys():  # noqa: SIM118 (it is no mapping)
                return tensors.get_tensor(name).to(torch.float32).numpy()
    raise KeyError(name)


def test_transformers_loads_all_tensors_of_the_shards(tiny: Models) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    for folder in (tiny.base, *tiny.tuned):
        assert len(list(folder.glob("*.safetensors"))) == 2
        model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
        assert not any(info.values())
        assert model.dtype == torch.bfloat16
        assert torch.isfinite(model(torch.arange(8)[None]).logits).all()


def test_peft_loads_the_adapter(tiny: Models) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny.base), tiny.adapters[0])
    before = read(tiny.base, NAME)
    after = model.merge_and_unload().state_dict()[NAME].float().numpy()
    assert 0 < np.abs(after - before).mean() < SPREAD


def test_a_fine_tune_is_near_its_base_and_few_weights_move_far(tiny: Models) -> None:
    before = read(tiny.base, NAME)
    moves = [np.abs(read(folder, NAME) - before) for folder in tiny.tuned]
    assert not np.array_equal(*moves)
    for move in moves:
        assert 0.5 * STEP < np.median(move) / SPREAD < 2 * STEP
        assert 0.01 < (move > 4 * STEP * SPREAD).mean() < 0.04
        assert (move == 0).mean() < 0.5  # else rounding to bfloat16 would leave no ranks to trim by


def test_a_cache_is_reused_and_made_again_equal(tiny: Models, tmp_path: Path) -> None:
    file = tiny.tuned[1] / "model-00001-of-00002.safetensors"
    written = file.stat().st_mtime_ns
    assert models(tiny.base.parent.parent, "tiny", tuned=2, adapters=1) == tiny
    assert file.stat().st_mtime_ns == written
    again = models(tmp_path, "tiny", tuned=2, adapters=0).tuned[1] / file.name
    assert again.read_bytes() == file.read_bytes()


def test_they_merge(tiny: Models) -> None:
    soup = merge([str(folder) for folder in tiny.tuned])
    mean = (read(tiny.tuned[0], NAME) + read(tiny.tuned[1], NAME)) / 2
    assert np.allclose(np.asarray(soup[NAME], dtype=np.float32), mean, rtol=2**-8, atol=0)
