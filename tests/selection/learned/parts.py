"""Small models in float64, ingredients of them in memory, and rows to fit on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from hf_soups import Ingredient, Recipe
from hf_soups.checkpoint import StateDict
from hf_soups.selection.learned.batches import Batch
from hf_soups.selection.learned.streamed import StreamedSoup

LABELS = 3


class Classifier(nn.Module):
    """What transformers' classifiers look like from outside."""

    base_model_prefix = ""
    all_tied_weights_keys: Mapping[str, str] = {}


class Linear(Classifier):
    """Logits that are linear in all parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(4, LABELS)

    def forward(self, x: torch.Tensor) -> Any:
        return SimpleNamespace(logits=self.score(x))


class Tied(Classifier):
    """An embedding that is the head's weight too, and two layers between."""

    all_tied_weights_keys: Mapping[str, str] = {"score.weight": "embeddings.weight"}

    def __init__(self) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(LABELS, 5)
        self.layer = nn.ModuleList([nn.Linear(5, 5), nn.Linear(5, 5)])
        self.dropout = nn.Dropout(0.5)
        self.score = nn.Linear(5, LABELS)
        self.score.weight = self.embeddings.weight

    def forward(self, ids: torch.Tensor) -> Any:
        x = self.embeddings(ids).mean(1)
        for layer in self.layer:
            x = self.dropout(torch.tanh(layer(x)))
        return SimpleNamespace(logits=self.score(x))


def bert(labels: int = LABELS, **config: object) -> Any:
    """A tiny random BERT classifier."""
    from transformers import BertConfig, BertForSequenceClassification

    settings: dict[str, Any] = {
        "vocab_size": 30,
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 12,
        "max_position_embeddings": 12,
        "num_labels": labels,
        "initializer_range": 0.4,
        **config,
    }
    return BertForSequenceClassification(BertConfig(**settings))


MODELS: Mapping[str, Callable[[], Any]] = {"linear": Linear, "tied": Tied, "bert": bert}


@dataclass
class Rows:
    """Tensors as batches of at most `size` rows."""

    inputs: Mapping[str, torch.Tensor]
    labels: torch.Tensor
    size: int = 5

    @property
    def n(self) -> int:
        return len(self.labels)

    def pieces(self, rows: np.ndarray) -> Iterator[Batch]:
        for start in range(0, len(rows), self.size):
            few = torch.from_numpy(rows[start : start + self.size])
            yield Batch({key: value[few] for key, value in self.inputs.items()}, self.labels[few])


def rows_for(kind: str, n: int = 12, seed: int = 0) -> Rows:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, LABELS, (n,), generator=generator)
    if kind == "linear":
        return Rows({"x": torch.randn(n, 4, generator=generator, dtype=torch.float64)}, labels)
    if kind == "tied":
        return Rows({"ids": torch.randint(0, LABELS, (n, 4), generator=generator)}, labels)
    ids = torch.randint(0, 30, (n, 6), generator=generator)
    mask = (torch.arange(6) < torch.randint(2, 7, (n, 1), generator=generator)).long()
    return Rows({"input_ids": ids, "attention_mask": mask}, labels)


def model_of(kind: str, seed: int = 0) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return MODELS[kind]().double()


def states_of(kind: str, n: int, scale: float = 0.3) -> list[dict[str, torch.Tensor]]:
    """State dicts around one model; tied tensors share their memory."""
    made = []
    for i in range(n):
        model = model_of(kind)
        generator = torch.Generator().manual_seed(i)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        made.append(model.state_dict())
    return made


def streamed(kind: str, states: Sequence[Mapping[str, torch.Tensor]], granularity: str) -> StreamedSoup:
    recipe = Recipe(tuple(Ingredient(f"org/m{i}") for i in range(len(states))))
    opened = {f"org/m{i}": StateDict(state, name=f"m{i}") for i, state in enumerate(states)}
    return StreamedSoup(recipe, lambda i: opened[str(i.model)], model_of(kind), granularity)
