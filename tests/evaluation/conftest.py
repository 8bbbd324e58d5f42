"""Small real parts: a tokenizer over thirty words, random classifiers, files of labelled sentences."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hf_soups.evaluation.examples import Examples, Source
from hf_soups.evaluation.outputs import Outputs
from hf_soups.evaluation.text import Text

WORDS = (
    "the a film plot cast score scene was is not very quite good bad great dull fine weak strong slow sharp flat "
    "funny sad warm cold long short new old"
).split()
Columns = Mapping[str, Sequence[Any]]


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Models this small are slower on several threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """WordPiece over WORDS, with BERT's special tokens; 64 tokens at most."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: i for i, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "##s", *WORDS])}
    inner = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=True)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=64,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


@pytest.fixture(scope="session")
def classifier() -> Callable[..., Any]:
    """classifier(seed, labels=2): a random BertForSequenceClassification, the same for the same seed."""

    def build(seed: int, labels: int = 2) -> Any:
        import torch
        from transformers import BertConfig, BertForSequenceClassification

        config = BertConfig(
            vocab_size=len(WORDS) + 5,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=64,
            num_labels=labels,
            initializer_range=0.5,  # so that inputs matter
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return BertForSequenceClassification(config)

    return build


@pytest.fixture
def table(tmp_path: Path) -> Callable[[str, Columns], str]:
    """table("reviews.csv", {"text": [...], "label": [...]}): writes the file in the format of its name."""

    def write(name: str, columns: Columns) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        if path.suffix in (".csv", ".tsv"):
            with path.open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, list(columns), delimiter="\t" if path.suffix == ".tsv" else ",")
                writer.writeheader()
                writer.writerows(rows)
        elif path.suffix == ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        elif path.suffix == ".json":
            path.write_text(json.dumps(rows), encoding="utf-8")
        else:
            from datasets import Dataset

            Dataset.from_dict({name: list(values) for name, values in columns.items()}).to_parquet(path)
        return str(path)

    return write


def examples_of(
    texts: Sequence[Text], labels: Sequence[int], groups: Sequence[str] | None = None, origin: str = "here"
) -> Examples:
    """Examples without a file."""
    return Examples(
        tuple(texts),
        np.array(labels, dtype=np.int64),
        None if groups is None else np.array(groups, dtype=np.str_),
        Source(path="made.csv", origin=origin),
    )


def dense(outputs: Outputs | None) -> NDArray[np.float32]:
    """Answers that are one vector a row."""
    assert isinstance(outputs, np.ndarray)
    return outputs


def classify(model: Any, tokenizer: Any, examples: Examples, **how: Any) -> NDArray[np.float32]:
    """Logits [n, labels] of a text classifier, whatever its labels are called."""
    from hf_soups.evaluation.predict import predict
    from hf_soups.evaluation.tasks.text_classification import TextClassification

    return dense(predict(TextClassification(("no", "yes")), model, tokenizer, examples, **how))


def sentences(count: int, seed: int = 0, longest: int = 20) -> list[str]:
    """Different random sentences of 1 to `longest` words."""
    random = np.random.default_rng(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        found[" ".join(random.choice(WORDS, size=random.integers(1, longest + 1)))] = None
    return list(found)
