"""What a method's signature asks for is what it gets, whatever kind it is of and however its tensors are cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from hf_soups import Ingredient, Recipe, Soup, SoupError
from hf_soups.checkpoint import StateDict
from hf_soups.engine import Host
from hf_soups.engine.draws import chances
from hf_soups.method import Each, KthLargest, Matrices, Rows, Total, Vector, Vectors, method
from hf_soups.method import registry as method_module

SHAPES = {"matrix": (37, 53), "vector": (64,), "scalar": (), "cube": (5, 4, 7), "empty": (0, 4)}


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method_module, "_registry", dict(method_module._registry))


class Cut(Host):
    """Pieces of a size that divides nothing, in three threads."""

    def __init__(self, size: int = 101) -> None:
        self.size, self.threads = size, 3

    def step(self, rows: int) -> int:
        return self.size


def states(n: int, dtype: Any = np.float32) -> dict[str, Mapping[str, np.ndarray]]:
    generator = np.random.default_rng(4)
    return {
        f"m{i}": {name: generator.standard_normal(shape).astype(dtype) for name, shape in SHAPES.items()}
        for i in range(n)
    }


def soup_of(
    given: Mapping[str, Mapping[str, np.ndarray]], name: str, device: Host | None = None, **recipe: Any
) -> Soup:
    ingredients = tuple(Ingredient(m) for m in given if m != "base")
    base = Ingredient("base") if "base" in given else None
    made = Recipe(method=name, ingredients=ingredients, base=base, **recipe)
    return Soup(made, lambda i: StateDict(given[str(i.model)], name=str(i.model)), device=device)


def equal_however_cut(given: Any, name: str, **recipe: Any) -> Soup:
    whole = soup_of(given, name, **recipe)
    for size in (101, 7, 100_000) if whole.nbytes < 1_000_000 else (100_001,):
        cut = soup_of(given, name, Cut(size), **recipe)
        for tensor, spec in whole.specs.items():
            assert np.array_equal(cut[tensor], whole[tensor])
            middle = spec.size // 2
            assert np.array_equal(
                cut.read(tensor, spec.size // 3, middle), whole[tensor].reshape(-1)[spec.size // 3 : middle]
            )
    return whole


def test_rows_are_whole_rows_of_the_matrix_view() -> None:
    @method(title="Softmax of the mean", paper=None)
    def row_softmax(thetas: Rows) -> Any:
        """Each row's softmax."""
        mean = np.exp(thetas.sum(0) / len(thetas))
        return mean / mean.sum(-1, keepdims=True)

    given = states(2)
    soup = equal_however_cut(given, "row_softmax")
    for name, shape in SHAPES.items():
        mean = np.mean([given[m][name].astype(np.float64) for m in given], axis=0)
        rows = mean.reshape(shape[0], mean.size // max(1, shape[0])) if len(shape) > 1 else mean.reshape(1, -1)
        expected = np.exp(rows) / np.exp(rows).sum(-1, keepdims=True) if rows.size else rows
        np.testing.assert_allclose(soup[name], expected.reshape(shape), rtol=1e-6)


def test_a_matrix_method_sees_one_whole_tensor_and_gives_its_base_back() -> None:
    @method(title="Largest singular direction", paper=None)
    def leading(deltas: Matrices) -> Any:
        """Rank one of the mean difference."""
        u, s, v = np.linalg.svd(deltas.sum(0) / len(deltas), full_matrices=False)
        return s[0] * u[:, :1] @ v[:1]

    given = {
        **{m: {"w": t["matrix"]} for m, t in states(3).items()},
        "base": {"w": np.ones(SHAPES["matrix"], np.float32)},
    }
    soup = equal_however_cut(given, "leading")
    mean = np.mean([given[f"m{i}"]["w"].astype(np.float64) - 1 for i in range(3)], axis=0)
    u, s, v = np.linalg.svd(mean)
    np.testing.assert_allclose(soup["w"], 1 + s[0] * np.outer(u[:, 0], v[0]), rtol=1e-5, atol=1e-6)


def test_a_method_may_ask_for_the_base_itself() -> None:
    @method(title="Nearest", paper=None)
    def clipped(thetas: Vectors, base: Vector, t: float = 0.1) -> Vector:
        """No further than t from the base."""
        return base + np.clip(thetas[0] - base, -t, t)

    given = {**states(1), "base": states(2)["m1"]}
    soup = equal_however_cut(given, "clipped")
    for name in SHAPES:
        base, tuned = (given[m][name].astype(np.float64) for m in ("base", "m0"))
        np.testing.assert_allclose(soup[name], base + np.clip(tuned - base, -0.1, 0.1), rtol=1e-6)


def magnitude(deltas: Vectors) -> Vectors:
    return np.abs(deltas)


def above(deltas: Vectors, limit: Each) -> Vectors:
    return (np.abs(deltas) >= limit).astype(deltas.dtype)


def agreement(deltas: Vectors) -> Vector:
    return np.sign(deltas.sum(0))


@pytest.mark.parametrize("unit", ["row", "tensor", "model"])
def test_statistics_come_in_stages_per_row_tensor_or_model(unit: str) -> None:
    @method(
        title="Staged",
        paper=None,
        statistics={
            "limit": KthLargest(share="density", unit=unit),
            "kept": Total(above, unit=unit),
            "size": Total(magnitude, unit=unit),
            "lean": Total(agreement, unit=unit),
        },
    )
    def staged(deltas: Vectors, limit: Each, kept: Each, size: Each, lean: Any, density: Each = 0.3) -> Vector:
        """Something that needs all four."""
        return np.asarray(np.where(np.abs(deltas) >= limit, kept, size)).sum(0) + lean

    given = {**states(3), "base": {n: np.zeros(s, np.float32) for n, s in SHAPES.items()}}
    soup = equal_however_cut(given, "staged")
    tensors = {n: np.stack([given[f"m{i}"][n].astype(np.float64) for i in range(3)]) for n in SHAPES}
    for name, shape in SHAPES.items():
        rows = shape[0] if len(shape) > 1 else 1
        if not rows:
            assert soup[name].shape == shape
            continue
        deltas = tensors[name].reshape(3, rows, -1)  # [3, rows, columns]
        if unit == "row":
            units = [[deltas[:, r]] for r in range(rows)]
        elif unit == "tensor":
            units = [[deltas.reshape(3, -1)]] * rows
        else:
            units = [[t.reshape(3, -1) for t in tensors.values()]] * rows
        expected = [expect(deltas[:, r], np.concatenate(units[r], axis=1)) for r in range(rows)]
        np.testing.assert_allclose(
            soup[name].reshape(rows, -1), np.stack(expected) if expected else deltas[0], rtol=1e-5
        )


def expect(deltas: np.ndarray, everything: np.ndarray) -> np.ndarray:
    """One row's answer; everything: `[3, elements of its unit]`."""
    number = max(1, int(0.3 * everything.shape[1] + 1e-9))
    limit = np.sort(np.abs(everything), axis=1)[:, ::-1][:, number - 1 : number]
    kept = (np.abs(everything) >= limit).sum(1, keepdims=True)
    size = np.abs(everything).sum(1, keepdims=True)
    result: np.ndarray = np.where(np.abs(deltas) >= limit, kept, size).sum(0) + np.sign(everything.sum(0)).sum()
    return result


def test_a_total_counts_every_block_of_a_large_tensor() -> None:
    @method(title="Centred", paper=None, statistics={"sums": Total(itself, unit="tensor")})
    def centred(thetas: Vectors, sums: Each) -> Vector:
        """The sums, everywhere."""
        return (0 * thetas + sums).sum(0)

    large = np.arange(200_001, dtype=np.float64)
    soup = equal_however_cut({"m0": {"w": large}, "m1": {"w": 2 * large}}, "centred")
    assert set(soup["w"].tolist()) == {3 * 200_000 * 200_001 / 2}


def itself(thetas: Vectors) -> Vectors:
    return thetas


def test_what_a_method_refuses_names_the_tensor() -> None:
    @method(title="Refuses", paper=None)
    def refuses(thetas: Vectors) -> Vector:
        """Never."""
        raise ValueError("not today")

    with pytest.raises(SoupError, match="matrix: refuses: not today"):
        soup_of(states(2), "refuses")["matrix"]


@pytest.fixture
def dropped() -> Iterator[str]:
    @method(title="Dropped", paper=None)
    def dropped(thetas: Vectors, rng: Any, density: Each = 0.5) -> Vector:
        """Thinned sum."""
        return (thetas * rng.dropout(density)).sum(0)

    yield "dropped"


def ones(n: int) -> dict[str, Mapping[str, np.ndarray]]:
    return {f"m{i}": {"w": np.ones(50_000, np.float32), "small": np.ones(31, np.float32)} for i in range(n)}


def test_dropout_keeps_its_share_and_the_expectation(dropped: str) -> None:
    thinned = equal_however_cut(ones(1), dropped, parameters={"density": 0.25})["w"]
    assert set(thinned.tolist()) == {0.0, 4.0}
    assert abs(thinned.mean() - 1) < 5 * np.sqrt(3 / 50_000)  # five standard errors


def test_dropout_depends_on_seed_tensor_and_ingredient_but_not_on_their_order(dropped: str) -> None:
    given = ones(3)
    first = soup_of(given, dropped)["w"]
    assert np.array_equal(first, soup_of(dict(reversed(given.items())), dropped)["w"])
    assert not np.array_equal(first, soup_of(given, dropped, seed=1)["w"])
    alone = [soup_of({m: given[m]}, dropped)["w"] for m in given]
    assert np.array_equal(first, sum(alone))
    assert 0.2 < np.mean(alone[0] == alone[1]) < 0.8
    renamed = soup_of({m: {"v": t["w"]} for m, t in given.items()}, dropped)["v"]
    assert not np.array_equal(first, renamed)


def test_what_an_ingredient_is_called_is_in_the_fingerprint_where_it_decides(dropped: str) -> None:
    given = ones(1)
    renamed = {"other": given["m0"]}
    assert not np.array_equal(soup_of(given, dropped)["w"], soup_of(renamed, dropped)["w"])
    assert soup_of(given, dropped).fingerprint() != soup_of(renamed, dropped).fingerprint()
    assert soup_of(given, "average").fingerprint() == soup_of(renamed, "average").fingerprint()


def test_the_same_ingredient_twice_is_thinned_twice(dropped: str) -> None:
    given = ones(1)
    recipe = Recipe(method=dropped, ingredients=(Ingredient("m0"), Ingredient("m0")))
    twice = Soup(recipe, lambda i: StateDict(given[str(i.model)], name=str(i.model)))["w"]
    assert set(twice.tolist()) == {0.0, 2.0, 4.0}


@pytest.mark.parametrize(("density", "expected"), [(0.0, 0.0), (1.0, 1.0)])
def test_dropout_at_its_ends(dropped: str, density: float, expected: float) -> None:
    assert set(soup_of(ones(1), dropped, parameters={"density": density})["w"].tolist()) == {expected}


def test_dropout_leaves_tensors_alone_that_it_would_take_or_leave_whole(dropped: str) -> None:
    assert set(soup_of(ones(1), dropped, parameters={"density": 0.01})["small"].tolist()) == {1.0}


def test_a_share_means_the_same_in_float32_and_float64() -> None:
    share = np.array([0.4, 0.3, 1 / 3, 1e-3])
    for double, single in zip(chances(share, 100), chances(share.astype(np.float32), 100), strict=True):
        assert np.array_equal(double, single)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("name", ["ties", "dare_ties"])
def test_a_loop_of_its_own_gives_the_bits_of_the_page(name: str, dtype: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from hf_soups.engine import host

    given = {**states(4, dtype), "base": states(5, dtype)["m4"]}
    recipe: Any = {"parameters": {"density": 0.4, "scale": 0.7, "weight": 0.3}}
    soup = soup_of(given, name, **recipe)
    hot = {tensor: soup[tensor] for tensor in soup}
    monkeypatch.setattr(host, "HOT", {})
    page = soup_of(given, name, **recipe)
    for tensor, values in hot.items():
        assert values.tobytes() == page[tensor].tobytes(), tensor
