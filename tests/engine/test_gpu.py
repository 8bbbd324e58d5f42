"""What only a machine with a GPU can show: `pytest -m gpu`. The same code on the processors: test_devices.py."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import Barrier
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from hf_soups import Ingredient, Recipe, Soup
from hf_soups import method as method_module
from hf_soups.checkpoint import StateDict
from hf_soups.engine import Host, choose, for_each
from hf_soups.engine.blocks import SECTION
from hf_soups.recipe import Output
from tests.engine.devices import Cut, steps_apart, torch_device

pytestmark = pytest.mark.gpu
SIZE = 3 * (1 << 20) + 17  # elements: several pieces for several threads


@pytest.fixture
def device() -> Any:
    return torch_device("cuda")


def states(dtype: Any) -> dict[str, Mapping[str, np.ndarray]]:
    generator = np.random.default_rng(6)
    base = generator.standard_normal(SIZE).astype(np.float32)
    tuned = {f"m{i}": base + 0.1 * generator.standard_normal(SIZE).astype(np.float32) for i in range(3)}
    return {m: {"w": v[:-17].astype(dtype).reshape(1024, -1), "v": v[-17:].astype(dtype)} for m, v in
            {"base": base, **tuned}.items()}  # fmt: skip


def soup_of(given: Mapping[str, Mapping[str, np.ndarray]], name: str, device: Any, **recipe: Any) -> Soup:
    made = method_module.get(name)
    ingredients = tuple(Ingredient(m) for m in given if m != "base")[: made.ingredients]
    base = Ingredient("base") if made.needs_base else None
    described = Recipe(method=name, ingredients=ingredients, base=base, **recipe)
    return Soup(described, lambda i: StateDict(given[str(i.model)], name=str(i.model)), device=device)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("name", method_module.names())
def test_every_method_within_one_rounding_and_the_same_bytes_again(
    name: str, dtype: Any, device: Any, tmp_path: Path
) -> None:
    given = states(dtype)
    host = soup_of(given, name, Host())
    found = soup_of(given, name, device)
    for tensor in host:
        assert steps_apart(found[tensor], host[tensor]) <= 1, tensor
    for place, one in enumerate((device, Cut(device, 70_001, 5))):
        soup_of(given, name, one, output=Output(max_shard_size=5_000_000)).save(tmp_path / str(place))
    for file in (tmp_path / "0").glob("*.safetensors"):
        assert file.read_bytes() == (tmp_path / "1" / file.name).read_bytes(), file.name


def test_each_thread_has_a_stream_of_its_own_beside_the_default_one(device: Any) -> None:
    import torch

    together = Barrier(2)
    streams = []

    def work(item: int) -> None:
        with device._stream():
            streams.append(torch.cuda.current_stream())
            together.wait(60)

    for_each(range(2), work, 2)
    assert len({s.cuda_stream for s in streams} | {torch.cuda.default_stream().cuda_stream}) == 3


def test_buffers_are_pinned_and_what_lies_in_them_is_copied_without_waiting(device: Any) -> None:
    import torch

    desk = device.desk()
    assert torch.from_numpy(desk.buffer(0, 1000)).is_pinned()
    assert torch.from_numpy(desk.buffer(0, 5_000_000)).is_pinned()
    row = desk.buffer(1, 4 * SIZE).view(np.float32)
    assert torch.from_numpy(row[100:]).is_pinned()


def test_buffers_may_be_used_again_as_soon_as_a_call_returns(device: Any) -> None:
    desk, out = device.desk(), np.empty(SIZE, np.float32)
    for round_ in range(50):
        rows = [desk.buffer(place, 4 * SIZE).view(np.float32) for place in range(2)]
        for row in rows:
            row.fill(round_)
        assert device.combine(rows, np.ones(2), out, True)
        for row in rows:
            row.fill(-1)
        assert (out == 2 * round_).all()


def test_a_section_of_inner_products_at_once(device: Any) -> None:
    generator = np.random.default_rng(2)
    rows = [generator.standard_normal(SECTION).astype(np.float32) for _ in range(3)]
    found = device.products(rows)
    for place in (0, 31, 63):
        part = [r[place * 65_536 : (place + 1) * 65_536] for r in rows]
        np.testing.assert_array_equal(device.products(part)[0], found[place])
        np.testing.assert_allclose(found[place], Host().products(part)[0], rtol=1e-11, atol=1e-8)


def test_every_gpu_takes_part(device: Any) -> None:
    import torch

    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    everything = choose("cuda")
    assert everything.threads == 3 * torch.cuda.device_count()
    given = states(np.float32)
    together, alone = (soup_of(given, "ties", d)["w"] for d in (everything, device))
    assert together.tobytes() == alone.tobytes()


def test_the_gpu_is_chosen_by_itself_and_named(device: Any) -> None:
    import torch

    assert choose("cuda:0").name == device.name == f"cuda ({torch.cuda.get_device_name(0)})"
    if torch.cuda.mem_get_info(0)[0] > 2 << 30:
        assert choose("auto").name == choose("cuda").name


def test_a_full_gpu_is_an_error_that_says_what_to_do(device: Any) -> None:
    import torch

    from hf_soups import SoupError

    with pytest.raises(SoupError, match=r"its memory is full.*--device cpu"), device._stream() as on:
        torch.empty(1 << 50, dtype=torch.uint8, device=on)
