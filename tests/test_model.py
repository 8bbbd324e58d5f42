"""What transformers makes of a folder: all of it, or an error that names the model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hf_soups import CheckpointError
from hf_soups.checkpoint import LocalFiles, Origin, Stored
from hf_soups.model import check_folder, load_model, load_tokenizer
from tests.models import classifier, write_safetensors


def stored(folder: Path) -> Stored:
    return Stored(LocalFiles(folder), Origin(name="run-0"))


def set_config(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def set_tensor(folder: Path, name: str, value: float) -> None:
    from safetensors.numpy import load_file

    tensors = load_file(folder / "model.safetensors")
    write_safetensors(folder / "model.safetensors", tensors | {name: np.full_like(tensors[name], value)})


def save(model: str, config: str, folder: Path, **settings: Any) -> Path:
    import transformers

    kind, configure = getattr(transformers, model), getattr(transformers, config)
    kind(configure(vocab_size=20, pad_token_id=0, **settings)).save_pretrained(folder)
    return folder


def test_a_model_that_runs_passes_in_silence_and_progress_bars_come_back(tmp_path: Path) -> None:
    classifier(tmp_path)
    program = (
        "import sys; from pathlib import Path; from hf_soups.model import check_folder\n"
        "check_folder(Path(sys.argv[1]))\n"
        "from transformers.utils import logging; print(logging.is_progress_bar_enabled())"
    )
    environment = {name: value for name, value in os.environ.items() if "PROGRESS" not in name}
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_a_model_that_gives_values_that_are_not_finite_is_refused(tmp_path: Path) -> None:
    set_tensor(classifier(tmp_path), "classifier.bias", float("inf"))
    with pytest.raises(CheckpointError, match="not finite"):
        check_folder(tmp_path)


SMALL_T5 = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2, "decoder_start_token_id": 0}
SMALL_BART: dict[str, Any] = {"d_model": 8, "max_position_embeddings": 16} | {
    f"{side}_{part}": 1 for side in ("encoder", "decoder") for part in ("layers", "attention_heads", "ffn_dim")
}
SMALL_GPT2 = {"n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 16, "bos_token_id": 1, "eos_token_id": 1}
SMALL_BERT = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}


@pytest.mark.parametrize(
    ("model", "config", "settings"),
    [
        ("T5ForConditionalGeneration", "T5Config", SMALL_T5),
        ("BartForSequenceClassification", "BartConfig", SMALL_BART),
        ("GPT2LMHeadModel", "GPT2Config", SMALL_GPT2),
        ("GPT2ForSequenceClassification", "GPT2Config", SMALL_GPT2),
        ("BertForMultipleChoice", "BertConfig", SMALL_BERT),
        ("BertForTokenClassification", "BertConfig", SMALL_BERT),
    ],
)
def test_every_kind_of_text_model_is_run(tmp_path: Path, model: str, config: str, settings: dict[str, Any]) -> None:
    save(model, config, tmp_path, **settings)
    check_folder(tmp_path)
    from safetensors.numpy import load_file

    for name in load_file(tmp_path / "model.safetensors"):
        set_tensor(tmp_path, name, float("nan"))
    with pytest.raises(CheckpointError, match="not finite"):
        check_folder(tmp_path)


def test_an_image_model_is_loaded_only(tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTForImageClassification

    ViTForImageClassification(ViTConfig(image_size=4, patch_size=2, **SMALL_BERT)).save_pretrained(tmp_path)
    check_folder(tmp_path)


def test_a_folder_without_config_cannot_be_checked_and_its_temporary_name_is_not_shown(tmp_path: Path) -> None:
    folder = classifier(tmp_path / "soup.partial-1")
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no config\.json, so it cannot be checked by loading") as caught:
        check_folder(folder)
    assert "partial" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"architectures": ["BertForWhatever"]}, "architecture BertForWhatever, which transformers does not have"),
        ({"architectures": 3}, "not the config of a model"),
        ({"hidden_size": "wide"}, "does not work in transformers"),
        ({"hidden_size": 15}, "does not work in transformers"),
        ({"model_type": "invented"}, "does not work in transformers"),
    ],
)
def test_a_config_that_makes_no_model_is_an_error_that_names_it(
    tmp_path: Path, fields: dict[str, Any], says: str
) -> None:
    folder = classifier(tmp_path / "soup.partial-1")
    set_config(folder, **fields)
    with pytest.raises(CheckpointError, match=f"run-0: .*{says}") as caught:
        load_model(stored(folder))
    assert str(tmp_path) not in str(caught.value)
    if "model_type" not in fields:
        with pytest.raises(CheckpointError, match=says) as caught:
            check_folder(folder)
        assert "partial" not in str(caught.value)


def test_a_tokenizer_is_never_invented(tmp_path: Path) -> None:
    classifier(tmp_path)
    assert load_tokenizer(stored(tmp_path)).tokenize("good film") == ["good", "film"]
    for name in ("tokenizer.json", "vocab.txt"):
        (tmp_path / name).unlink(missing_ok=True)
    with pytest.raises(CheckpointError, match="run-0: no tokenizer files"):
        load_tokenizer(stored(tmp_path))


def test_a_model_whose_parts_transformers_calls_otherwise_than_its_files_is_filled_completely(tmp_path: Path) -> None:
    from safetensors.numpy import load_file
    from transformers import ViTForImageClassification

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    folder = save("ViTForImageClassification", "ViTConfig", tmp_path / "run-0", **sizes, image_size=16, patch_size=8)
    found, expected = load_model(stored(folder)).state_dict(), ViTForImageClassification.from_pretrained(folder)
    assert all((found[name] == value).all() for name, value in expected.state_dict().items())
    tensors = load_file(folder / "model.safetensors")
    lost = next(name for name in tensors if name.endswith("attention.key.weight"))
    write_safetensors(folder / "model.safetensors", {n: v for n, v in tensors.items() if n != lost})
    with pytest.raises(CheckpointError, match=r"parameters without a tensor: \['vit\.layers\.0\.attention\.k_proj"):
        load_model(stored(folder))
