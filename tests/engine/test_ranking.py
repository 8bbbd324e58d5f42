"""The k-th largest magnitude is exact on any data, however many passes it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hf_soups.checkpoint import StateDict
from hf_soups.engine import Desk, Field, Host, Reader
from hf_soups.engine import ranking as ranking_module
from hf_soups.engine.ranking import kept, kth_largest

SIZE = 30_000


def normal(g: np.random.Generator) -> np.ndarray:
    return g.standard_normal(SIZE)


def layered(g: np.random.Generator) -> np.ndarray:
    """Blocks of very different sizes, so that a sample misleads."""
    return g.standard_normal(SIZE) * np.repeat(10.0 ** g.integers(-6, 3, 30), SIZE // 30)


def sudden(g: np.random.Generator) -> np.ndarray:
    """Everything that matters stands where no sample looks."""
    values = np.full(SIZE, 1e-3)
    values[1000:1400] = g.standard_normal(400) + 5
    return values


DATA: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "normal": normal,
    "layered": layered,
    "sudden": sudden,
    "ties": lambda g: g.integers(-3, 4, SIZE).astype(float),
    "constant": lambda g: np.full(SIZE, -0.25),
    "zeros": lambda g: np.zeros(SIZE),
    "sparse": lambda g: np.where(g.random(SIZE) < 0.001, g.standard_normal(SIZE), 0),
    "subnormal": lambda g: g.standard_normal(SIZE) * 1e-40,
}


def field_of(values: list[np.ndarray], base: np.ndarray | None, dtype: Any) -> Field:
    def split(v: np.ndarray) -> StateDict:
        return StateDict({"a": v[:7].astype(dtype), "b": v[7:20_000].astype(dtype), "c": v[20_000:].astype(dtype)})

    parts = [split(v) for v in values]
    sizes = {name: spec.size for name, spec in parts[0].specs.items()}
    wide = np.dtype(dtype).itemsize >= 4
    return Field(None if base is None else split(base), parts, sizes, dict.fromkeys(sizes, wide))


def find(field: Field, keep: list[int], threads: int = 2) -> list[float]:
    device = Host()
    device.threads = threads
    found: list[float] = kth_largest(Reader(device, Desk, lambda count: None), field, keep).tolist()
    return found


@pytest.fixture(params=["everything", "a sample", "few places"])
def sampling(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "everything":
        monkeypatch.setattr(ranking_module, "SMALL", 0)
    if request.param == "few places":
        monkeypatch.setattr(ranking_module, "FEW", 100)
        monkeypatch.setattr(ranking_module, "SAMPLES", 8)
        monkeypatch.setattr(ranking_module, "SAMPLE", 32)
        monkeypatch.setattr(ranking_module, "BINS", 256)


@pytest.mark.usefixtures("sampling")
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("data", DATA)
def test_the_kth_largest_magnitude_is_exact(data: str, dtype: Any) -> None:
    generator = np.random.default_rng(1)
    values = [DATA[data](generator) for _ in range(2)]
    base = generator.standard_normal(SIZE) if data == "normal" else None
    field = field_of(values, base, dtype)
    work = np.float64 if dtype == np.float32 else np.float32
    rows = np.stack([v.astype(dtype).astype(work) for v in values])
    rows = np.abs(rows if base is None else rows - base.astype(dtype).astype(work))
    ordered = np.sort(rows, axis=1)[:, ::-1]
    for keep in (1, 2, 150, SIZE // 3 + 1, SIZE // 2, SIZE - 1):
        assert find(field, [keep, SIZE - keep]) == [ordered[0, keep - 1], ordered[1, SIZE - keep - 1]]


def test_keeping_nothing_is_infinity_and_keeping_all_is_zero() -> None:
    field = field_of([np.ones(SIZE)] * 2, None, np.float32)
    assert find(field, [0, SIZE]) == [np.inf, 0.0]


def test_tensors_of_different_precision_are_ranked_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking_module, "SMALL", 0)
    monkeypatch.setattr(ranking_module, "SAMPLES", 4)
    monkeypatch.setattr(ranking_module, "SAMPLE", 16)
    generator = np.random.default_rng(2)
    half, single = generator.standard_normal(3000).astype(np.float16), generator.standard_normal(2000)
    base = StateDict({"h": np.full(3000, 0.1, np.float16), "s": np.full(2000, 0.1, np.float32)})
    part = StateDict({"h": half, "s": single.astype(np.float32)})
    field = Field(base, [part], {"h": 3000, "s": 2000}, {"h": False, "s": True})
    differences = [
        np.abs(half.astype(np.float32) - np.float32(np.float16(0.1))).astype(np.float64),
        np.abs(single.astype(np.float32).astype(np.float64) - np.float64(np.float32(0.1))),
    ]
    ordered = np.sort(np.concatenate(differences))[::-1]
    for keep in (1, 700, 2500, 4999):
        assert find(field, [keep]) == [ordered[keep - 1]]


def test_a_share_keeps_at_least_one_element_and_is_not_fooled_by_floating_point() -> None:
    assert [kept(s, n) for s, n in [(0, 5), (0.01, 5), (0.29, 100), (1, 5), (0.5, 0)]] == [0, 1, 29, 5, 0]
