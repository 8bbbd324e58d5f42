"""What adapters over one base have in common is read once, and their sum is what the full models' sum is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hf_soups import Ingredient, Recipe, Soup
from hf_soups.checkpoint import Checkpoint, LocalFiles, Lora, Origin, StateDict, Stored, simplify
from tests.checkpoint.test_lora import train_adapter
from tests.models import classifier


@pytest.fixture
def adapters(tmp_path: Path) -> list[Lora]:
    """Two adapters of different rank and targets over one base, opened once."""
    folder = classifier(tmp_path / "base")
    base = Stored(LocalFiles(folder), Origin(name="base"))
    kinds: list[dict[str, Any]] = [
        {"r": 4, "target_modules": ["query", "value"], "task": "SEQ_CLS"},
        {"r": 3, "target_modules": ["query", "word_embeddings"], "lora_alpha": 5},
    ]
    for i, kind in enumerate(kinds):
        train_adapter(folder, tmp_path / f"{i}", **kind)
    stored = [Stored(LocalFiles(tmp_path / f"{i}"), Origin(name=f"{i}"), "adapter_model") for i in range(len(kinds))]
    return [Lora(base, adapter) for adapter in stored]


def total(parts: list[Checkpoint], coefficients: np.ndarray, name: str) -> np.ndarray:
    return np.sum([c * p[name].astype(np.float64) for p, c in zip(parts, coefficients, strict=True)], axis=0)


def test_a_sum_taken_apart_is_the_sum(adapters: list[Lora]) -> None:
    base, coefficients = adapters[0].base, np.array([0.25, 0.5, -0.75, 0.5])
    parts: list[Checkpoint] = [base, *adapters, adapters[0]]
    for name in base:
        terms, factors, low_rank = simplify(name, parts, coefficients)
        assert len({id(t) for t in terms}) == len(terms) <= 3
        assert (low_rank is not None) == name.endswith(("query.weight", "value.weight", "word_embeddings.weight"))
        found = total(list(terms), factors, name)
        if low_rank is not None:
            left, strips, columns = low_rank()
            found += left @ strips.transpose(1, 0, 2).reshape(left.shape[1], -1)[:, :columns]
        np.testing.assert_allclose(found, total(parts, coefficients, name), rtol=1e-5, atol=1e-6)


def test_the_base_of_several_adapters_is_read_once(adapters: list[Lora], monkeypatch: pytest.MonkeyPatch) -> None:
    base = adapters[0].base
    reads: list[str] = []
    read = base.read

    def counted(name: str, *rest: Any) -> np.ndarray:
        reads.append(name)
        return read(name, *rest)

    monkeypatch.setattr(base, "read", counted)
    soup = Soup(Recipe((Ingredient("0"), Ingredient("1"))), lambda i: adapters[int(str(i.model))])
    name = next(n for n in base if n.endswith("query.weight"))
    merged = soup[name]
    assert reads == [name]
    np.testing.assert_allclose(merged, (adapters[0][name] + adapters[1][name]) / 2, rtol=1e-5, atol=1e-6)


def test_the_same_adapter_twice_is_that_adapter_bit_for_bit(adapters: list[Lora]) -> None:
    soup = Soup(Recipe((Ingredient("1", name="a"), Ingredient("1", name="b"))), lambda i: adapters[1])
    for name in soup:
        assert np.array_equal(soup[name], adapters[1][name]), name


def test_checkpoints_without_terms_stay_as_they_are() -> None:
    one, two = StateDict({"w": np.ones(3)}), StateDict({"w": np.zeros(3)})
    terms, factors, low_rank = simplify("w", [one, two, one], np.array([0.5, 0.25, 0.25]))
    assert list(terms) == [one, two] and factors.tolist() == [0.75, 0.25] and low_rank is None
