"""What is computed does not depend on where: the same draws and thresholds, results within one rounding."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from threading import Barrier
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from hf_soups import Ingredient, Recipe, Soup, SoupError
from hf_soups.checkpoint import StateDict
from hf_soups.engine import Device, Host, choose, for_each
from hf_soups.engine.blocks import BLOCK, SECTION
from hf_soups.engine.draws import HostDraws, keys
from hf_soups.kernels import plain
from hf_soups.method import Each, KthLargest, Matrices, Total, Vector, Vectors, method
from hf_soups.method import registry as method_module
from hf_soups.recipe import Output
from tests.engine.devices import KINDS, Cut, steps_apart, torch_device

SHAPES = {"matrix": (37, 53), "vector": (64,), "scalar": (), "cube": (5, 4, 7), "empty": (0, 4)}
TYPES = [np.float32, np.float16, ml_dtypes.bfloat16]
EXACT = ["average", "task_arithmetic", "interpolate", "ties", "dare_ties"]  # no inner products, which sum otherwise


@pytest.fixture(params=KINDS)
def device(request: pytest.FixtureRequest) -> Any:
    return torch_device(request.param)


@pytest.fixture
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method_module, "_registry", dict(method_module._registry))


def states(n: int, dtype: Any, shapes: Mapping[str, tuple[int, ...]] = SHAPES) -> dict[str, dict[str, np.ndarray]]:
    """Fine-tunes that lie around the first one, the base."""
    generator = np.random.default_rng(5)
    base = {name: generator.standard_normal(shape) for name, shape in shapes.items()}
    tuned = {f"m{i}": {k: v + 0.1 * generator.standard_normal(v.shape) for k, v in base.items()} for i in range(n)}
    return {m: {k: np.asarray(v, dtype) for k, v in t.items()} for m, t in {"base": base, **tuned}.items()}


def soup_of(given: Mapping[str, Mapping[str, np.ndarray]], name: str, device: Device | None, **recipe: Any) -> Soup:
    made = method_module.get(name)
    ingredients = tuple(Ingredient(m) for m in given if m != "base")[: made.ingredients]
    base = Ingredient("base") if made.needs_base else None
    return Soup(
        Recipe(method=name, ingredients=ingredients, base=base, **recipe),
        lambda i: StateDict(given[str(i.model)], name=str(i.model)),
        device=device,
    )


def tensors(soup: Soup) -> dict[str, np.ndarray]:
    return {name: soup[name] for name in soup}


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", method_module.names())
def test_every_method_gives_the_host_s_numbers_within_one_rounding(name: str, dtype: Any, device: Device) -> None:
    given = states(4, dtype)
    host, found = (tensors(soup_of(given, name, d)) for d in (None, device))
    for tensor, values in host.items():
        assert found[tensor].dtype == values.dtype and found[tensor].shape == values.shape
        assert steps_apart(found[tensor], values) <= 1, tensor
        if name in EXACT and device.name != "mps (torch)":
            assert found[tensor].tobytes() == values.tobytes(), tensor


@pytest.mark.parametrize("out", ["float64", "float32", "float16", "bfloat16"])
def test_other_output_types_are_rounded_once(out: str, device: Device) -> None:
    given = states(3, np.float64)
    for name in ("average", "ties"):
        host, found = (tensors(soup_of(given, name, d, output=Output(dtype=out))) for d in (None, device))
        for tensor, values in host.items():
            assert found[tensor].tobytes() == values.tobytes(), tensor


@pytest.mark.parametrize("name", ["average", "slerp", "ties"])
def test_8_bit_floats_are_read_and_written(name: str, device: Device) -> None:
    given = states(2, ml_dtypes.float8_e4m3fn)
    host, found = (tensors(soup_of(given, name, d)) for d in (None, device))
    for tensor, values in host.items():
        assert values.dtype == ml_dtypes.float8_e4m3fn
        assert steps_apart(found[tensor], values) <= (1 if name == "slerp" else 0), tensor


@pytest.mark.parametrize("name", ["average", "slerp", "model_stock", "ties", "dare_ties"])
def test_neither_pieces_nor_threads_decide_a_bit(name: str, device: Device) -> None:
    given = states(3, np.float32, {"w": (70_001,), "v": (333,)})
    whole = tensors(soup_of(given, name, device))
    for size, threads in [(101, 1), (4096, 3), (100_000, 2)]:
        cut = tensors(soup_of(given, name, Cut(device, size, threads)))
        assert {n: v.tobytes() for n, v in cut.items()} == {n: v.tobytes() for n, v in whole.items()}


def test_inner_products_are_exact_to_float64_and_each_block_s_stand_alone(device: Device) -> None:
    generator = np.random.default_rng(1)
    rows = [generator.standard_normal(2 * BLOCK + 77).astype(np.float32) for _ in range(4)]
    whole = device.products(rows) if device.span(4) >= len(rows[0]) else None
    for place, start in enumerate(range(0, len(rows[0]), BLOCK)):
        part = [r[start : start + BLOCK] for r in rows]
        alone = device.products(part)[0]
        np.testing.assert_allclose(alone, Host().products(part)[0], rtol=1e-12, atol=1e-9)
        assert whole is None or np.array_equal(whole[place], alone)
    assert device.products([np.empty(0, np.float32)] * 2).shape == (1, 2, 2)


def test_a_span_is_whole_blocks_of_at_most_a_section(device: Device) -> None:
    for rows in (1, 3, 40, 3000):
        span = device.span(rows)
        assert span % BLOCK == 0 and BLOCK <= span <= SECTION


@pytest.mark.parametrize("width", [4, 8])
@pytest.mark.parametrize("based", [True, False])
@pytest.mark.parametrize("dtype", TYPES)
def test_magnitudes_are_counted_alike(width: int, based: bool, dtype: Any, device: Device) -> None:
    base, *rows = (t["matrix"].reshape(-1) for t in states(3, dtype).values())
    marks = np.array([[0.05, 0.1, 0.0], [0.15, np.inf, 0.0]], f"f{width}").view(f"u{width}")
    asked = base if based else None, rows, marks[0], marks[1]
    for host, found in zip(Host().tally(*asked)[:2], device.tally(*asked)[:2], strict=True):
        assert np.array_equal(host, found)
    (_, number, host_kept, _), (_, _, kept, good) = Host().tally(*asked), device.tally(*asked)
    for i, n in enumerate(number):
        assert np.array_equal(host_kept[i, :n], kept[i, :n]) and kept.dtype == host_kept.dtype
    assert good


@pytest.mark.parametrize("dtype", TYPES)
def test_thresholds_have_the_same_bits(dtype: Any, device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    from hf_soups.engine import ranking

    monkeypatch.setattr(ranking, "SMALL", 0)
    monkeypatch.setattr(ranking, "SAMPLES", 16)
    given = states(3, dtype, {"w": (40_000,), "v": (333,)})
    found = []
    for one in (None, device):
        soup = soup_of(given, "ties", one)
        soup["w"]
        found.append(soup._rules._mixtures["w"].statistics["threshold"])
    assert np.array_equal(found[0], found[1])


@pytest.mark.parametrize(("start", "size"), [(0, 1), (1023, 2), (5, 5000), (1024 << 32, 3000), (3 * 1024, 1024)])
def test_random_bits_are_the_host_s(start: int, size: int, device: Any) -> None:
    from hf_soups.engine.torch_page import bits

    key = keys(3, "w", ["a"])[0]
    expected = np.empty(size, np.uint32)
    plain.bits(key, start, expected)
    found = bits(key, start, size, device._devices[0]).cpu().numpy()
    assert np.array_equal(found, expected.astype(np.int64))


@pytest.mark.parametrize("size", [10, 5000])
def test_dropout_is_the_host_s(size: int, device: Any) -> None:
    import torch

    from hf_soups.engine.torch_page import TorchDraws

    streams = keys(0, "w", ["a", "b", "c", "d"])
    for density in (0.3, np.array([[0.0], [0.3], [0.9], [1.0]], np.float32)):
        host = HostDraws(streams, size, 2, size, np.dtype(np.float32)).dropout(np.asarray(density))
        draws = TorchDraws(streams, size, 2, size, torch.float32, device._devices[0])
        given = torch.from_numpy(density).to(device._devices[0]) if isinstance(density, np.ndarray) else density
        assert np.array_equal(draws.dropout(given).cpu().numpy(), host)


@pytest.mark.parametrize("name", ["average", "slerp", "ties", "dare_ties"])
def test_what_is_not_finite_is_named(name: str, device: Device) -> None:
    given = states(2, np.float32)
    given["m1"]["matrix"][3, 5] = np.inf
    with pytest.raises(SoupError, match=r"m1: matrix: element 164 is inf"):
        tensors(soup_of(given, name, device))


def test_what_is_not_finite_is_named_though_its_weight_is_zero(device: Device) -> None:
    given = states(2, np.float32)
    given["m1"]["vector"][7] = np.nan
    recipe = Recipe(ingredients=(Ingredient("m0"), Ingredient("m1", parameters={"weight": 0.0})))
    soup = Soup(recipe, lambda i: StateDict(given[str(i.model)], name=str(i.model)), device=device)
    with pytest.raises(SoupError, match="m1: vector: element 7 is nan"):
        soup["vector"]


@pytest.mark.parametrize("name", ["average", "ties"])
def test_what_is_too_large_for_float16_is_named(name: str, device: Device) -> None:
    given = {m: {"w": np.full(40, 7e4 if m != "base" else 0, np.float32)} for m in ("base", "m0", "m1")}
    with pytest.raises(SoupError, match="w: too large for float16"):
        soup_of(given, name, device, output=Output(dtype="float16"))["w"]


@pytest.mark.usefixtures("own_registry")
def test_pages_of_every_kind_and_statistic_run(device: Device) -> None:
    @method(title="Largest singular direction", paper=None)
    def leading(thetas: Matrices) -> Any:
        """NumPy's linear algebra, whatever the device."""
        u, s, v = np.linalg.svd(thetas.sum(0), full_matrices=False)
        return (u[:, :1] * s[:1]) @ v[:1]

    def size(deltas: Vectors) -> Vectors:
        return np.abs(deltas)

    @method(
        title="Staged",
        paper=None,
        statistics={"limit": KthLargest(share="density", unit="row"), "size": Total(size, unit="tensor")},
    )
    def staged(
        deltas: Vectors,
        base: Vector,
        limit: Any,
        size: Any,
        density: Each = 0.3,
    ) -> Vector:
        """Something that needs both, and the base."""
        return (deltas * (abs(deltas) >= limit) * size).mean(0) + 0 * base

    given = states(3, np.float32)
    for name in ("leading", "staged"):
        host, found = (tensors(soup_of(given, name, d)) for d in (None, device))
        for tensor, values in host.items():
            assert steps_apart(found[tensor], values) <= 1, (name, tensor)


@pytest.mark.usefixtures("own_registry")
def test_what_a_page_refuses_names_the_tensor(device: Device) -> None:
    @method(title="Refuses", paper=None)
    def refuses(thetas: Vectors) -> Vector:
        """Never."""
        raise ValueError("not today")

    @method(title="NumPy's own", paper=None)
    def numpys(thetas: Vectors) -> Vector:
        """Of a type that torch has not."""
        return np.add(thetas, np.array([object()]))

    with pytest.raises(SoupError, match="matrix: refuses: not today"):
        soup_of(states(2, np.float16), "refuses", device)["matrix"]
    with pytest.raises(SoupError, match=r"matrix: numpys: does not work on torch tensors .*--device cpu"):
        soup_of(states(2, np.float16), "numpys", device)["matrix"]


def test_sums_over_ingredients_are_in_their_order(device: Any) -> None:
    import torch

    from hf_soups.engine.torch_page import InOrder

    numbers = np.random.default_rng(0).standard_normal((37, 1001)).astype(np.float32)
    given = torch.from_numpy(numbers).to(device._devices[0])
    with InOrder():
        found = given.sum(0), torch.sum(given, dim=0), torch.sum(given, dim=(0,), keepdim=True)[0], given.mean(0) * 37
        assert int((given > 0).sum(0).max()) == (numbers > 0).sum(0).max()
    expected = numbers[0].copy()
    for row in numbers[1:]:
        expected += row
    for one in found[:3]:
        assert np.array_equal(one.cpu().numpy(), expected)
    np.testing.assert_allclose(found[3].cpu().numpy(), expected, rtol=1e-6)


def test_memory_bounds_the_pieces() -> None:
    small, large = (torch_device("cpu", memory=m) for m in (1 << 26, 1 << 40))
    assert 4096 <= small.step(3) < large.step(3) <= (1 << 24) // 3
    assert small.step(1 << 20) == 4096


def test_threads_are_spread_evenly_over_several_devices() -> None:
    import torch

    from hf_soups.engine.torch_device import TorchDevice

    device = TorchDevice(torch.device("cpu"), torch.device("cpu", 0))
    assert device.threads == 6
    given = states(3, np.float32)
    assert tensors(soup_of(given, "ties", device))["cube"].tobytes() == soup_of(given, "ties", None)["cube"].tobytes()
    together, seen = Barrier(6), []

    def work(item: int) -> None:
        with device._stream() as mine:
            seen.append(mine)
            together.wait(60)

    for_each(range(6), work, device.threads)
    assert [seen.count(d) for d in device._devices] == [3, 3]


def test_the_device_is_part_of_what_predictions_are_remembered_by(device: Device) -> None:
    given = states(2, np.float32)
    assert soup_of(given, "average", device).fingerprint() != soup_of(given, "average", Host()).fingerprint()
    assert soup_of(given, "average", None).fingerprint() == soup_of(given, "average", Host()).fingerprint()


def test_written_files_and_their_lock(device: Device, tmp_path: Path) -> None:
    import json

    given = states(3, ml_dtypes.bfloat16)
    for name, one in (("host", None), ("device", device)):
        soup_of(given, "ties", one).save(tmp_path / name)
    assert json.loads((tmp_path / "device" / "soup.lock.json").read_text())["device"] == device.name
    assert json.loads((tmp_path / "host" / "soup.lock.json").read_text())["device"] == "cpu"
    if device.name != "mps (torch)":
        files = [(tmp_path / n / "model.safetensors").read_bytes() for n in ("host", "device")]
        assert files[0] == files[1]


NO_TORCH = """
import sys
import numpy as np
from hf_soups import Ingredient, Recipe, Soup
from hf_soups.checkpoint import StateDict
from hf_soups.engine import Host, choose

device = choose("auto")
assert type(device) is Host, device
state = {"w": np.ones((3, 4), np.float32)}
Soup(Recipe(ingredients=(Ingredient("a"),) * 2), lambda i: StateDict(state), device=device).save(sys.argv[1])
print([m for m in ("torch", "accelerate") if m in sys.modules])
"""


def test_a_merge_without_a_gpu_imports_no_torch(tmp_path: Path) -> None:
    from hf_soups.engine import device

    if device._has_driver():
        pytest.skip("this machine may have a GPU")
    command = [sys.executable, "-c", NO_TORCH, str(tmp_path / "soup")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("text", ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "CUDA", "mps:0"])
def test_what_is_no_device_is_an_error_that_names_those_there_are(text: str) -> None:
    with pytest.raises(SoupError, match=r"unknown device .*(did you mean|choose from auto, cpu, cuda)"):
        choose(text)


def test_a_misspelt_device_gets_a_suggestion() -> None:
    with pytest.raises(SoupError, match="unknown device 'cudda'; did you mean 'cuda'"):
        choose("cudda")


@pytest.mark.parametrize("text", ["cuda", "cuda:0", "mps"])
def test_a_device_that_this_machine_lacks_is_an_error_that_says_what_it_has(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(SoupError, match=rf"device {text}: .*this machine, which has cpu"):
        choose(text)


def test_a_gpu_out_of_range_is_an_error_that_says_which_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(SoupError, match="device cuda:7: not on this machine, which has cuda:0, cuda:1, cpu"):
        choose("cuda:7")


def test_the_processors_are_chosen_by_name_and_where_torch_finds_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from hf_soups.engine import device

    assert type(choose("cpu")) is Host
    monkeypatch.setattr(device, "_has_driver", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert type(choose("auto")) is Host
