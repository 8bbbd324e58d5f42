"""Files written by threads in pieces: the same bytes always, and nothing at all when something goes wrong."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open

from hf_soups import CheckpointError, Ingredient, Output, Recipe, Soup, merge, merge_state_dicts
from hf_soups import kernels as kernels_module
from hf_soups.checkpoint import LocalFiles, Origin, StateDict, Stored, header
from hf_soups.checkpoint.base import Spec
from hf_soups.engine import Host
from hf_soups.kernels import plain
from hf_soups.method import get, names
from tests.models import f32

SHAPES = {"a.weight": (401, 173), "a.bias": (173,), "b.weight": (90_001,), "scalar": (), "empty": (0, 4)}


class Cut(Host):
    def __init__(self, size: int, threads: int) -> None:
        self.size, self.threads = size, threads

    def step(self, rows: int) -> int:
        return self.size


def write(folder: Path, tensors: Mapping[str, np.ndarray]) -> Path:
    folder.mkdir(parents=True)
    head = header.build({n: Spec(t.shape, t.dtype) for n, t in tensors.items()}, {"format": "pt"})
    (folder / "model.safetensors").write_bytes(head + b"".join(t.tobytes() for t in tensors.values()))
    (folder / "config.json").write_text("{}")
    return folder


def models(folder: Path, n: int, dtypes: Any) -> list[Path]:
    generator = np.random.default_rng(0)
    return [
        write(
            folder / f"m{i}",
            {n: np.abs(generator.standard_normal(s)).astype(dtypes[i % len(dtypes)]) for n, s in SHAPES.items()},
        )
        for i in range(n)
    ]


def soup_of(folders: list[Path], method: str = "average", device: Host | None = None, **recipe: Any) -> Soup:
    count = get(method).ingredients or len(folders) - 1
    base = Ingredient(str(folders[-1])) if get(method).needs_base else None
    made = Recipe(tuple(Ingredient(str(f)) for f in folders[:count]), method, base=base, **recipe)
    return Soup(made, lambda i: Stored(LocalFiles(Path(str(i.model))), Origin(Path(str(i.model)).name)), device=device)


def files(soup: Soup, out: Path) -> dict[str, bytes]:
    out.mkdir()
    soup.write(out, 200_000)
    return {p.name: p.read_bytes() for p in sorted(out.iterdir())}


@pytest.mark.parametrize("method", names())
def test_threads_and_pieces_change_no_byte(tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = models(tmp_path, 4, [ml_dtypes.bfloat16, np.float32])
    expected = files(soup_of(folders, method), tmp_path / "out")
    for size, threads in [(1000, 3), (65_537, 2), (1 << 22, 1)]:
        assert files(soup_of(folders, method, Cut(size, threads)), tmp_path / f"{size}") == expected
    monkeypatch.setattr("hf_soups.engine.host.loops", lambda: plain)  # and no numba
    monkeypatch.setattr("hf_soups.engine.ranking.loops", lambda: plain)
    assert files(soup_of(folders, method), tmp_path / "plain") == expected


def test_without_numba_the_plain_loops_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "hf_soups.kernels.fused", None)
    monkeypatch.delattr(kernels_module, "fused", raising=False)
    assert kernels_module.loops.__wrapped__() is plain


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    folders = models(tmp_path, 3, [np.float32])
    soup = soup_of(folders)
    with pytest.raises(CheckpointError, match=r"m1/model\.safetensors: changed while it was read"):
        soup.write(_made(tmp_path / "out"), 10**9, once(lambda: _touch(folders[1] / "model.safetensors")))


def test_a_read_that_fails_half_way_names_file_and_tensor_and_leaves_nothing(tmp_path: Path) -> None:
    folders = models(tmp_path, 3, [np.float32])
    soup = soup_of(folders)
    os.truncate(folders[1] / "model.safetensors", 300_000)
    with pytest.raises(
        CheckpointError, match=r"(b\.weight|scalar): .*m1/model\.safetensors: ends at byte (300,000|638,\d\d\d)"
    ):
        soup.save(tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m0", "m1", "m2"]


def test_a_disk_without_room_is_found_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = models(tmp_path, 2, [np.float32])
    room = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: room)
    for save in (lambda: soup_of(folders).save(tmp_path / "out"), lambda: merge(folders, tmp_path / "out")):
        with pytest.raises(CheckpointError, match=r"needs 6\d\d,\d\d\d bytes, and the disk has 1,000 left"):
            save()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m0", "m1"]


def test_progress_ends_at_what_was_announced(tmp_path: Path) -> None:
    folders = models(tmp_path, 4, [np.float32])
    for method in ("average", "slerp", "ties"):
        soup = soup_of(folders, method)
        told: list[int] = []
        soup.write(_made(tmp_path / method), 10**9, told.append)
        assert sum(told) == soup.bytes_read + soup.nbytes and min(told) > 0


@pytest.mark.parametrize("dtype", [ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2], ids=["e4m3", "e5m2"])
def test_8_bit_floats_are_read_and_written(tmp_path: Path, dtype: Any) -> None:
    values = [f32([0.5, -1, 3, 240, 0.017578125]).astype(dtype), f32([1.5, 1, 1, 16, 0]).astype(dtype)]
    folders = [write(tmp_path / f"m{i}", {"w": v}) for i, v in enumerate(values)]
    mean = np.mean([v.astype(np.float64) for v in values], axis=0)
    assert np.array_equal(soup_of([*folders, folders[0]])["w"], mean.astype(dtype))
    wider = soup_of([*folders, folders[0]], output=Output(dtype="float32"))["w"]
    assert wider.dtype == np.float32 and wider.tolist() == mean.tolist()
    large = write(tmp_path / "large", {"w": np.array([ml_dtypes.finfo(dtype).max], dtype)})
    base = write(tmp_path / "base", {"w": np.zeros(1, dtype)})
    with pytest.raises(CheckpointError, match="w: too large for float8"):
        soup_of([large, base], "task_arithmetic", parameters={"scale": 3.0})["w"]


@pytest.fixture
def tied() -> Callable[[float], dict[str, Any]]:
    import torch

    def state(value: float) -> dict[str, Any]:
        embedding = torch.full((5, 3), value)
        return {"embed.weight": embedding, "lm_head.weight": embedding, "other": torch.ones(2)}

    return state


def test_tied_tensors_are_written_once(tmp_path: Path, tied: Callable[[float], dict[str, Any]]) -> None:
    given = {"x": tied(1.0), "y": tied(2.0)}
    soup = Soup(Recipe((Ingredient("x"), Ingredient("y"))), lambda i: StateDict(given[str(i.model)]))
    soup.write(_made(tmp_path / "out"), 10**9)
    with safe_open(tmp_path / "out" / "model.safetensors", "numpy") as file:
        assert sorted(file.keys()) == ["embed.weight", "other"]
        assert file.metadata() == {"format": "pt", "lm_head.weight": "embed.weight"}
        assert file.get_tensor("embed.weight").tolist() == [[1.5] * 3] * 5
    assert soup["lm_head.weight"].tolist() == [[1.5] * 3] * 5


def test_tied_tensors_stay_tied_in_memory(tied: Callable[[float], dict[str, Any]]) -> None:
    merged = merge_state_dicts([tied(1.0), tied(2.0)])
    assert list(merged) == ["embed.weight", "lm_head.weight", "other"]
    assert merged["embed.weight"].data_ptr() == merged["lm_head.weight"].data_ptr()


def test_tensors_that_are_tied_in_some_only_are_both_written(
    tmp_path: Path, tied: Callable[[float], dict[str, Any]]
) -> None:
    free = tied(2.0)
    free["lm_head.weight"] = free["lm_head.weight"].clone()
    given = {"x": tied(1.0), "y": free}
    soup = Soup(Recipe((Ingredient("x"), Ingredient("y"))), lambda i: StateDict(given[str(i.model)]))
    soup.write(_made(tmp_path / "out"), 10**9)
    with safe_open(tmp_path / "out" / "model.safetensors", "numpy") as file:
        assert len(file.keys()) == 3


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _touch(file: Path) -> None:
    state = file.stat()
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns + 1_000_000))


def once(do: Callable[[], None]) -> Callable[[int], None]:
    """Called with every step's bytes; does it at the first."""
    waiting = [do]

    def step(count: int) -> None:
        if waiting:
            waiting.pop()()

    return step
