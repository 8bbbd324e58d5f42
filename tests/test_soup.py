"""A soup is a checkpoint: computed by range, the same bits however it is read or written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file

from hf_soups import (
    AlignmentError,
    CheckpointError,
    Ingredient,
    Output,
    Override,
    Recipe,
    Soup,
    SoupError,
    merge_state_dicts,
)
from hf_soups.checkpoint import StateDict
from hf_soups.engine import Host
from hf_soups.method import names
from tests.models import f32

State = Mapping[str, np.ndarray]


def states(n: int, dtype: Any = np.float32, seed: int = 0) -> dict[str, State]:
    generator = np.random.default_rng(seed)
    shapes = {"a.weight": (123, 45), "a.bias": (45,), "b.weight": (70_001,), "scalar": (), "empty": (0, 4)}
    return {
        f"org/m{i}": {name: generator.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}
        for i in range(n)
    }


def soup_of(given: Mapping[str, State], method: str = "average", **recipe: Any) -> Soup:
    models = [m for m in given if m != "base"]
    if "base" in given:
        recipe["base"] = Ingredient("base")
    recipe.setdefault("ingredients", tuple(Ingredient(m) for m in models))
    return Soup(Recipe(method=method, **recipe), lambda i: StateDict(given[str(i.model)], name=str(i.model)))


class Small(Host):
    """Works in small pieces, in as many threads as asked for."""

    def __init__(self, size: int = 1000, threads: int = 3) -> None:
        self.size = size
        self.threads = threads

    def step(self, rows: int) -> int:
        return self.size


def for_method(method: str, dtype: Any = np.float32) -> dict[str, State]:
    given = states({"slerp": 2}.get(method, 3), dtype)
    return {**given, "base": states(1, dtype, seed=9)["org/m0"]}


@pytest.mark.parametrize("method", names())
def test_any_range_has_the_bits_of_the_whole(method: str) -> None:
    given = for_method(method)
    soup = soup_of(given, method)
    whole = {name: soup[name].reshape(-1) for name in soup}
    again = soup_of(given, method)
    again.device = Small()
    for name, spec in soup.specs.items():
        for start, stop in [(0, spec.size), (0, min(1, spec.size)), (spec.size // 3, spec.size // 2)]:
            assert np.array_equal(again.read(name, start, stop), whole[name][start:stop])


@pytest.mark.parametrize("size", [1, 300, 100_000, 10**9])
@pytest.mark.parametrize("method", names())
def test_any_number_of_files_holds_the_same_tensors(tmp_path: Path, method: str, size: int) -> None:
    soup = soup_of(for_method(method), method)
    checksums = soup.write(tmp_path, size)
    found: dict[str, np.ndarray] = {}
    for file in checksums:
        found |= load_file(tmp_path / file)
    assert set(found) == set(soup)
    for name, value in found.items():
        assert value.shape == soup.specs[name].shape and np.array_equal(value, soup[name])


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    given = for_method("ties")
    for out in ("one", "two"):
        soup_of(given, "ties").save(tmp_path / out)
    for file in ("model.safetensors", "soup.yaml", "soup.lock.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_sixteen_bit_output_is_as_near_to_the_exact_mean_as_it_can_be() -> None:
    given = {name: {n: np.abs(t) + 1 for n, t in state.items()} for name, state in states(5).items()}
    exact = np.mean([state["b.weight"].astype(np.float64) for state in given.values()], axis=0)
    half = soup_of(given, output=Output(dtype="bfloat16"))["b.weight"]
    assert half.dtype == ml_dtypes.bfloat16
    place = 2.0 ** (np.floor(np.log2(exact)) - 7)  # bfloat16 has 8 bits of precision
    assert (np.abs(half.astype(np.float64) - exact) <= 0.5001 * place).all()


def test_mixed_dtypes_take_the_bases_and_else_the_first_ones() -> None:
    given: dict[str, State] = {"x": {"w": np.ones(3, np.float16)}, "y": {"w": np.ones(3, np.float32)}}
    assert soup_of(given).specs["w"].dtype == np.float16
    with_base = {**given, "base": {"w": np.ones(3, ml_dtypes.bfloat16)}}
    assert soup_of(with_base).specs["w"].dtype == ml_dtypes.bfloat16


def test_a_nested_soup_is_rounded_only_by_the_outer_one() -> None:
    given = {
        name: {"w": np.array([value], ml_dtypes.bfloat16)} for name, value in [("x", 1), ("y", 1.0078125), ("z", 3)]
    }
    inner = Ingredient(Recipe(ingredients=(Ingredient("x"), Ingredient("y"))))
    nested = soup_of(given, ingredients=(inner, Ingredient("z")))
    assert float(nested["w"][0]) == float(ml_dtypes.bfloat16((1.00390625 + 3) / 2))
    flat = soup_of(
        given,
        ingredients=(Ingredient("x", {"weight": 1}), Ingredient("y", {"weight": 1}), Ingredient("z", {"weight": 2})),
    )
    assert np.array_equal(nested["w"], flat["w"])


def test_overrides_change_weights_by_name_and_copy_tensors() -> None:
    given = {**states(2), "base": states(1, seed=5)["org/m0"]}
    first, second, base = given["org/m0"], given["org/m1"], given["base"]
    soup = soup_of(
        given,
        overrides=(
            Override("a.*", ingredients={"org/m1": {"weight": 0}}),
            Override("b.{weight,bias}", source="base"),
            Override("*", source="org/m1"),
        ),
    )
    assert np.array_equal(soup["a.weight"], first["a.weight"])
    assert np.array_equal(soup["b.weight"], base["b.weight"])
    assert np.array_equal(soup["scalar"], second["scalar"])


def test_ties_trims_each_group_of_equal_parameters_by_itself() -> None:
    base = {"a": np.zeros(4, np.float32), "b": np.zeros(4, np.float32)}
    tuned = {"a": f32([1, 2, 3, 4]), "b": f32([10, 20, 30, 40])}
    given = {"x": tuned, "base": base}
    together = soup_of(given, "ties", parameters={"density": 0.5})
    assert together["a"].tolist() == [0, 0, 0, 0] and together["b"].tolist() == [10, 20, 30, 40]
    apart = soup_of(
        given, "ties", parameters={"density": 0.25}, overrides=(Override("a", parameters={"density": 0.5}),)
    )
    assert apart["a"].tolist() == [0, 0, 3, 4] and apart["b"].tolist() == [0, 0, 0, 40]


def test_integers_are_copied_when_equal_and_refused_when_not() -> None:
    one: State = {"ids": np.arange(3), "w": np.ones(2, np.float32)}
    assert soup_of({"x": one, "y": one})["ids"].tolist() == [0, 1, 2]
    other = {**one, "ids": np.arange(1, 4)}
    with pytest.raises(SoupError, match="ids: integers differ between x and y"):
        soup_of({"x": one, "y": other})["ids"]


def test_batchnorm_statistics_are_averaged_and_its_counter_takes_the_maximum() -> None:
    def state(value: float, count: int) -> State:
        return {
            "bn.weight": np.full(2, value, np.float32),
            "bn.running_var": np.full(2, value, np.float32),
            "bn.num_batches_tracked": np.array(count),
        }

    given = {"x": state(1, 10), "y": state(3, 20), "base": state(0, 0)}
    soup = soup_of(given, "task_arithmetic", parameters={"scale": 2.0})
    assert soup["bn.running_var"].tolist() == [2, 2]  # the mean: sums could make a variance negative
    assert soup["bn.weight"].tolist() == [8, 8]
    assert int(soup["bn.num_batches_tracked"]) == 20


def test_batchnorm_statistics_follow_an_interpolation_to_both_ends() -> None:
    given: dict[str, State] = {"x": {"bn.running_mean": f32([4.0])}, "base": {"bn.running_mean": f32([2.0])}}
    found = [soup_of(given, "interpolate", parameters={"alpha": a})["bn.running_mean"][0] for a in (0, 0.25, 1)]
    assert found == [2.0, 2.5, 4.0]
    ends: dict[str, State] = {"x": {"bn.running_mean": f32([4.0])}, "y": {"bn.running_mean": f32([2.0])}}
    assert soup_of(ends, "slerp", parameters={"t": 0.25})["bn.running_mean"].tolist() == [3.5]


def test_integers_of_different_width_do_not_fit() -> None:
    one: State = {"bn.num_batches_tracked": np.array(3, np.int32)}
    other: State = {"bn.num_batches_tracked": np.array(4, np.int64)}
    with pytest.raises(AlignmentError, match="only floats are converted"):
        soup_of({"x": one, "y": other})


def test_a_copied_tensor_is_checked_too() -> None:
    given: dict[str, State] = {"x": {"w": f32([np.nan])}, "y": {"w": f32([1.0])}}
    with pytest.raises(CheckpointError, match="x: w: element 0 is nan"):
        soup_of(given, overrides=(Override("w", source="x"),))["w"]


def test_values_that_are_not_finite_name_the_ingredient_and_the_tensor() -> None:
    good, bad = {"w": np.ones(5, np.float32)}, {"w": f32([1, 1, np.inf, 1, 1])}
    with pytest.raises(CheckpointError, match="bad: w: element 2 is inf"):
        soup_of({"good": good, "bad": bad})["w"]


def test_overflow_of_the_output_dtype_is_an_error_and_not_infinity() -> None:
    with pytest.raises(CheckpointError, match="w: too large for float16"):
        soup_of({"x": {"w": f32([70_000])}}, output=Output(dtype="float16"))["w"]


def test_the_fingerprint_follows_what_decides_the_weights() -> None:
    given = {**states(2), "base": states(1, seed=3)["org/m0"]}
    plain = soup_of(given).fingerprint()
    assert soup_of(given).fingerprint() == plain
    heavier = tuple(Ingredient(m, {"weight": w}) for m, w in [("org/m0", 1), ("org/m1", 2)])
    changed = dict(given)
    changed["org/m1"] = {**given["org/m1"], "scalar": f32(5)}
    others = [
        soup_of(given, ingredients=heavier),
        soup_of(changed),
        soup_of(given, output=Output(dtype="float16")),
        soup_of(given, "task_arithmetic"),
    ]
    assert len({plain, *(o.fingerprint() for o in others)}) == 5


def test_merging_state_dicts_needs_one_value_per_dict() -> None:
    with pytest.raises(SoupError, match="weight: 1 values for 2"):
        merge_state_dicts([{"w": np.ones(1)}] * 2, weight=[1])


def test_a_threshold_between_two_floats_keeps_neither_of_the_lower_ones() -> None:
    """Ranked together: one element in float64, and one in float32 that is a little smaller."""
    base: State = {"half": np.zeros(1, np.float16), "single": f32([-1e-9])}
    tuned: State = {"half": f32([1 / 3]), "single": f32([1 / 3])}
    soup = soup_of({"x": tuned, "base": base}, "ties", parameters={"density": 0.5})
    assert soup["half"].tolist() == [0] and soup["single"].tolist() == f32([1 / 3]).tolist()
