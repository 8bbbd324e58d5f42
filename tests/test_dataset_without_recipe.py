"""A folder of data and no recipe: the models say what the task is, the task says which columns it reads."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hf_soups.pipeline import Options, make_recipe, run
from tests.models import WORDS, fine_tune, tokenizer

PLAIN = WORDS[5:]
TAGS = ("O", "B-ART", "I-ART")
ANIMALS = ("ant", "cat")
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
Row = Callable[[np.random.Generator], dict[str, Any]]


def bert(folder: Path, head: str, **settings: Any) -> None:
    import transformers

    config = transformers.BertConfig(vocab_size=len(WORDS), max_position_embeddings=40, **SIZES, **settings)
    getattr(transformers, f"BertFor{head}")(config).save_pretrained(folder)
    tokenizer(folder)


def writer(folder: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=len(WORDS), n_positions=40, n_embd=16, n_layer=2, n_head=2, eos_token_id=3)
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "eos_token": "[SEP]"}))


def vit(folder: Path) -> None:
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

    config = ViTConfig(**SIZES, image_size=16, patch_size=8, id2label=dict(enumerate(ANIMALS)))
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)


def sentence(random: np.random.Generator) -> str:
    return " ".join(random.choice(PLAIN, 8))


def tagged(random: np.random.Generator) -> dict[str, Any]:
    words = sentence(random).split()
    return {"id": "1", "tokens": words, "ner_tags": [TAGS[word == "film"] for word in words]}


def asked(random: np.random.Generator) -> dict[str, Any]:
    context = sentence(random)
    answers = {"text": [context.split()[0]], "answer_start": [0]}
    return {"title": "x", "question": sentence(random), "context": context, "answers": answers}


def scored(random: np.random.Generator) -> dict[str, Any]:
    return {"sentence1": sentence(random), "sentence2": sentence(random), "label": float(random.uniform(0, 5))}


def told(random: np.random.Generator) -> dict[str, Any]:
    return {"text": sentence(random)}


def written(folder: Path, row: Row) -> None:
    for seed, split in enumerate(("train", "validation", "test")):
        random = np.random.default_rng(seed)
        lines = "".join(json.dumps(row(random)) + "\n" for _ in range(40))
        (folder / f"{split}.jsonl").write_text(lines)


def pictures(folder: Path) -> None:
    """As `datasets` reads folders of images: split/class/file."""
    from PIL import Image

    random = np.random.default_rng(0)
    for split in ("train", "validation", "test"):
        for number in range(24):
            path = folder / split / ANIMALS[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            content = io.BytesIO()
            Image.fromarray(random.integers(0, 256, size=(16, 16, 3), dtype=np.uint8)).save(content, "PNG")
            path.write_bytes(content.getvalue())


CASES: dict[str, tuple[Callable[[Path], None], Callable[[Path], None]]] = {
    "token-classification": (
        lambda folder: bert(folder, "TokenClassification", id2label=dict(enumerate(TAGS))),
        lambda folder: written(folder, tagged),
    ),
    "question-answering": (lambda folder: bert(folder, "QuestionAnswering"), lambda folder: written(folder, asked)),
    "regression": (
        lambda folder: bert(folder, "SequenceClassification", num_labels=1),
        lambda folder: written(folder, scored),
    ),
    "text-generation": (writer, lambda folder: written(folder, told)),
    "image-classification": (vit, pictures),
}


@pytest.mark.parametrize("task", CASES)
def test_models_and_a_folder_of_data_are_all_that_is_needed(task: str, tmp_path: Path) -> None:
    import torch

    torch.manual_seed(0)
    model, data = CASES[task]
    model(tmp_path / "base")
    runs = [fine_tune(tmp_path / "base", tmp_path / f"run-{i}", seed=i, scale=0.2) for i in range(2)]
    (tmp_path / "data").mkdir()
    data(tmp_path / "data")
    recipe = make_recipe(runs, dataset=str(tmp_path / "data"))
    assert recipe.evaluate is not None and recipe.evaluate.task == task
    outcome = run(recipe, Options(out=tmp_path / "soup", allow_single=True))
    assert outcome.results is not None
    used = {name: report.source.split for name, report in outcome.results.datasets.items()}
    assert used == {"validation": "validation", "test": "test"}

    for test in (tmp_path / "data").glob("test*"):  # without it, the held-out rows are halved
        shutil.rmtree(test) if test.is_dir() else test.unlink()
    halves = make_recipe(runs, dataset=str(tmp_path / "data"))
    outcome = run(halves, Options(allow_single=True))
    assert outcome.results is not None
    reports = outcome.results.datasets
    assert [report.source.split for report in reports.values()] == ["validation#1/2", "validation#2/2"]
    assert reports["validation"].n + reports["test"].n == (24 if task == "image-classification" else 40)
