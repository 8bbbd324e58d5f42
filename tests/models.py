"""Small real models for tests: random weights, real transformers classes, real tokenizers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] good bad film plot fine dull a the is was not very".split()


def f32(values: object) -> np.ndarray:
    """A float32 array."""
    return np.array(values, dtype=np.float32)


def write_safetensors(path: Path, tensors: Mapping[str, np.ndarray]) -> Path:
    """A file written by the safetensors library, as other programs write it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(dict(tensors), path, metadata={"format": "pt"})
    return path


def sharded(folder: Path, value: float, shards: int, bytes_each: int) -> Path:
    """A checkpoint of one value in several files with an index."""
    files = {f"model-{i:05d}-of-{shards:05d}.safetensors": f"layer.{i}.weight" for i in range(1, shards + 1)}
    for file, tensor in files.items():
        write_safetensors(folder / file, {tensor: np.full((bytes_each // 4000, 1000), value, np.float32)})
    index = {"metadata": {}, "weight_map": {tensor: file for file, tensor in files.items()}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# sharded\n")
    return folder


def classifier(
    folder: Path, seed: int = 0, labels: tuple[str, ...] = ("negative", "positive"), **config: object
) -> Path:
    """A tiny random BERT classifier with its tokenizer, saved by transformers."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(seed)
    settings = {
        "vocab_size": len(WORDS),
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 40,
        "id2label": dict(enumerate(labels)),
        "label2id": {label: i for i, label in enumerate(labels)},
    }
    model = BertForSequenceClassification(BertConfig(**{**settings, **config}))
    model.save_pretrained(folder)
    tokenizer(folder)
    return folder


def tokenizer(folder: Path) -> None:
    """A real WordPiece tokenizer over WORDS."""
    from transformers import BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(WORDS) + "\n")
    BertTokenizerFast(vocab=str(vocabulary)).save_pretrained(folder)


def fine_tune(source: Path, folder: Path, seed: int, scale: float = 0.05) -> Path:
    """The same model with every float tensor moved a little: what a fine-tune is to a merger."""
    import shutil

    from safetensors.numpy import load_file

    shutil.copytree(source, folder)
    generator = np.random.default_rng(seed)
    tensors = {
        name: (value + scale * generator.standard_normal(value.shape)).astype(value.dtype)
        for name, value in load_file(source / "model.safetensors").items()
    }
    write_safetensors(folder / "model.safetensors", tensors)
    return folder
