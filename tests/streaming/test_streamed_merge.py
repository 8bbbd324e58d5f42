"""Streaming from the Hub: the same bytes as a pulled merge, and no file of an ingredient on this disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import try_to_load_from_cache

from hf_soups import HubError, Ingredient, Output, Recipe, merge, plan
from hf_soups.pipeline import Listener
from tests.local_hub import LocalHub, faults
from tests.streaming.parts import single

STORAGE = r"GET /storage/.*\.safetensors"
SHARD = 2_500_000  # bytes: two tensors in each output file
METHODS = {"average": {}, "ties": {"parameters": {"density": 0.3}}, "slerp": {}}


def recipe(models: list[str], method: str, base: str | None, **more: object) -> Recipe:
    chosen = models[:2] if method == "slerp" else models
    needed = Ingredient(base) if method == "ties" and base else None
    settings = METHODS[method] | more
    return Recipe(tuple(map(Ingredient, chosen)), method, base=needed, output=Output(max_shard_size=SHARD), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", METHODS)
def test_a_streamed_merge_writes_the_bytes_of_a_pulled_one(
    models: list[str], base: str, tmp_path: Path, method: str
) -> None:
    merge(recipe(models, method, base), tmp_path / "streamed", stream=True)
    merge(recipe(models, method, base), tmp_path / "pulled")
    names = {p.name for p in (tmp_path / "pulled").iterdir()}
    assert {p.name for p in (tmp_path / "streamed").iterdir()} == names
    assert len([n for n in names if n.endswith(".safetensors")]) == 2
    for name in names - {"README.md", "soup.lock.json"}:
        assert (tmp_path / "streamed" / name).read_bytes() == (tmp_path / "pulled" / name).read_bytes(), name


def test_only_ranges_are_read_and_nothing_is_kept(models: list[str], hub: LocalHub, base: str, tmp_path: Path) -> None:
    soup = merge(recipe(models, "ties", base), tmp_path / "soup", stream=True)
    assert len(hub.log(STORAGE)) > 10 and all(entry.range for entry in hub.log(r"GET .*\.safetensors"))
    for origin in [*(i.origin for i in soup.ingredients), soup.base.origin if soup.base else None]:
        assert origin is not None and origin.sha is not None
        for name, _ in origin.sha256:
            assert try_to_load_from_cache(origin.name, name, revision=origin.sha) is None
    assert not [e for e in hub.log(STORAGE) if e.has_authorization]


@pytest.mark.parametrize("method", METHODS)
def test_the_plan_knows_what_will_come_over_the_network(
    models: list[str], hub: LocalHub, base: str, tmp_path: Path, method: str
) -> None:
    made = plan(recipe(models, method, base), stream=True)
    soup = merge(recipe(models, method, base), stream=True)
    hub.clear_log()
    soup.save(tmp_path / "soup")
    # blocks at the ends of tensors may come twice
    assert hub.bytes_sent(STORAGE) == pytest.approx(made.streamed, rel=0.12)
    assert (made.passes == 1) == (method == "average")
    assert made.streamed <= made.download < 1.01 * made.streamed
    assert plan(recipe(models, method, base)).streamed == 0


def test_the_plan_counts_the_passes_of_inner_recipes_too(pair: list[str], hub: LocalHub, tmp_path: Path) -> None:
    inner = Recipe(tuple(map(Ingredient, pair)), "slerp")
    nested = Recipe((Ingredient(inner, name="inner"), Ingredient(pair[0])))
    made = plan(nested, stream=True)
    assert [part.streamed for part in made.parts] == [4 * 4_800_000, 0]  # the same model again comes along
    soup = merge(nested, stream=True)
    hub.clear_log()
    soup.save(tmp_path / "soup")
    # an inner recipe is measured tensor by tensor, so that the second pass finds much of the first still in memory
    assert 0.4 * made.streamed < hub.bytes_sent(STORAGE) < 1.12 * made.streamed


class Heard(Listener):
    def __init__(self) -> None:
        self.total, self.done, self.lines = 0, 0, 0

    def reading(self, total: int) -> Callable[[int], None]:
        self.total = total

        def move(count: int) -> None:
            self.done += count

        return move

    def writing(self, total: int) -> Callable[[int], None]:
        self.lines += 1
        return lambda count: None


def test_progress_is_told_in_bytes_from_the_network_of_all_passes(pair: list[str], tmp_path: Path) -> None:
    heard = Heard()
    merge(recipe(pair, "slerp", None), tmp_path / "soup", stream=True, listener=heard)
    assert heard.lines == 0 and heard.total == plan(recipe(pair, "slerp", None), stream=True).streamed
    assert heard.total <= heard.done < 1.12 * heard.total  # config files and the ends of blocks come too


def test_a_connection_that_drops_again_and_again_changes_no_byte(
    pair: list[str], hub: LocalHub, tmp_path: Path
) -> None:
    with hub.fault(STORAGE, faults.cut(after=30_000), skip=4) as rule:
        merge(pair, tmp_path / "streamed", stream=True)
    assert rule.matched > 50
    merge(pair, tmp_path / "pulled")
    streamed, pulled = (tmp_path / side / "model.safetensors" for side in ("streamed", "pulled"))
    assert streamed.read_bytes() == pulled.read_bytes()


def test_a_read_that_fails_half_way_names_file_and_tensor_and_leaves_nothing(
    pair: list[str], hub: LocalHub, tmp_path: Path
) -> None:
    dead = r"GET .*sharded/resolve/.*/model-00002-of-00002\.safetensors"
    before = set(tmp_path.iterdir())
    with hub.fault(dead, faults.drop, skip=2), pytest.raises(HubError) as caught:  # after its header
        merge(pair, tmp_path / "soup", stream=True)
    text = str(caught.value)
    assert text.startswith(f"layer.3.weight: {pair[1]}@") and "/model-00002-of-00002.safetensors: stopped at" in text
    assert set(tmp_path.iterdir()) == before


def test_a_folder_on_this_disk_is_read_here(pair: list[str], hub: LocalHub, tmp_path: Path) -> None:
    local = str(single(tmp_path / "mine", 5))
    made = plan([pair[0], local], stream=True)
    assert [part.streamed for part in made.parts] == [made.streamed, 0]
    merge([pair[0], local], tmp_path / "streamed", stream=True)
    merge([pair[0], local], tmp_path / "pulled")
    inputs = json.loads((tmp_path / "streamed" / "soup.lock.json").read_text())["inputs"]
    assert inputs[0]["files"]["model.safetensors"]["verified"] is False
    assert set(inputs[1]["files"]["model.safetensors"]) == {"bytes", "header_sha256"}
    weights = [(tmp_path / side / "model.safetensors").read_bytes() for side in ("streamed", "pulled")]
    assert weights[0] == weights[1]


def test_the_lock_says_which_hashes_were_not_verified(models: list[str], tmp_path: Path) -> None:
    for side, stream in (("streamed", True), ("pulled", False)):
        merge(models, tmp_path / side, stream=stream)
        inputs = json.loads((tmp_path / side / "soup.lock.json").read_text())["inputs"]
        parts = [*inputs, inputs[2]["adapter_of"]]
        files = [file for part in parts for file in part["files"].values()]
        assert len(files) == 5 and all(len(file["sha256"]) == 64 for file in files)
        assert {file["verified"] for file in files} == {not stream}
        assert ("not verified" in (tmp_path / side / "README.md").read_text()) is stream


def test_a_lazy_soup_computes_from_ranges(pair: list[str], tmp_path: Path) -> None:
    streamed, pulled = merge(pair, stream=True), merge(pair)
    assert np.array_equal(streamed["layer.2.weight"], pulled["layer.2.weight"])
