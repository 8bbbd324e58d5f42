"""Tensor bytes held while weights are learned: not those of the ingredients."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from hf_soups import Ingredient, Learning, Recipe
from hf_soups.checkpoint import LocalFiles, Origin, Stored
from hf_soups.selection.learned.fit import fit
from hf_soups.selection.learned.streamed import StreamedSoup
from tests.models import write_safetensors
from tests.selection.learned.parts import bert, rows_for


def live() -> int:
    """Bytes of all torch tensors that are reachable, and of what NumPy and Python hold."""
    storages = {
        t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()
        for t in gc.get_objects()
        if type(t) in (torch.Tensor, torch.nn.Parameter)
    }
    grads = [t.grad for t in gc.get_objects() if type(t) is torch.nn.Parameter and t.grad is not None]
    storages |= {g.untyped_storage().data_ptr(): g.untyped_storage().nbytes() for g in grads}
    return sum(storages.values()) + tracemalloc.get_traced_memory()[1]


@contextmanager
def watched(ingredients: list[Stored], peaks: list[int]) -> Iterator[None]:
    """Count whenever an ingredient is about to be read for the first element of its largest tensor."""
    real = Stored.read

    def read(self: Stored, name: str, start: int, stop: int, into: np.ndarray | None = None) -> np.ndarray:
        if start == 0 and self is ingredients[-1] and name.endswith("word_embeddings.weight"):
            peaks.append(live())
            tracemalloc.reset_peak()
        return real(self, name, start, stop, into)

    Stored.read = read  # type: ignore[method-assign]
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()
        Stored.read = real  # type: ignore[method-assign]


def held(folder: Path, n: int) -> float:
    """Largest count while fitting n ingredients, in models."""
    config = {"vocab_size": 2000, "hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8}
    torch.manual_seed(0)
    model = bert(**config)
    stored = []
    for i in range(n):
        state = {k: v.numpy() + np.float32(0.01 * i) for k, v in model.state_dict().items()}
        write_safetensors(folder / f"{n}-{i}" / "model.safetensors", state)
        stored.append(Stored(LocalFiles(folder / f"{n}-{i}"), Origin(f"m{i}", path=folder)))
    size = sum(p.numel() * 4 for p in model.parameters())
    by_name = {f"m{i}": one for i, one in enumerate(stored)}
    soup = StreamedSoup(Recipe(tuple(map(Ingredient, by_name))), lambda i: by_name[str(i.model)], model, "block")
    rows = rows_for("bert", n=4)
    peaks: list[int] = []
    before = 0
    gc.collect()
    with watched(stored, peaks):
        before = live() - size
        fit(soup, rows, rows, Learning(epochs=1, batch_size=2))
    assert len(peaks) > 4
    return (max(peaks) - before) / size


def test_memory_is_at_most_three_models_and_does_not_grow_with_the_ingredients(tmp_path: Path) -> None:
    few, many = held(tmp_path, 2), held(tmp_path, 16)
    assert many <= 3.0
    assert many - few < 0.5  # the engine works in pieces of 8 MB, which are a part of a model as small as this
