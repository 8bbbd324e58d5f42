"""References become commits, headers, files: real client, loopback Hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hf_soups import CheckpointError, HubError, Ingredient, Recipe, RecipeError
from hf_soups.checkpoint import Lora
from hf_soups.hub.opening import Opener
from tests.local_hub import LocalHub, faults
from tests.models import write_safetensors


def tensors(value: float, rows: int = 300) -> dict[str, np.ndarray]:
    return {"a.weight": np.full((rows, 1000), value, np.float32), "b.weight": np.full((rows, 1000), -value, np.float32)}


def folder(path: Path, value: float = 1.0, sharded: bool = False) -> Path:
    whole = tensors(value)
    if sharded:
        files = {f"model-0000{i}-of-00002.safetensors": n for i, n in enumerate(whole, 1)}
        for file, name in files.items():
            write_safetensors(path / file, {name: whole[name]})
        index = {"metadata": {}, "weight_map": {n: f for f, n in files.items()}}
        (path / "model.safetensors.index.json").write_text(json.dumps(index))
    else:
        write_safetensors(path / "model.safetensors", whole)
    (path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (path / "README.md").write_text("---\nlicense: mit\nbase_model: org/base\n---\n# m\n")
    return path


def pinned(opener: Opener, reference: str, **more: str) -> Ingredient:
    return opener.pin(Recipe(ingredients=(Ingredient(reference, **more),))).ingredients[0]  # type: ignore[arg-type]


def test_a_reference_is_pinned_to_the_commit_and_stays_there(hub: LocalHub, repo_id: str, tmp_path: Path) -> None:
    first = hub.publish(repo_id, folder(tmp_path / "one", 1.0))
    opener = Opener()
    ingredient = pinned(opener, repo_id)
    assert ingredient.model == f"{repo_id}@{first}" and ingredient.label == repo_id
    hub.publish(repo_id, folder(tmp_path / "two", 2.0))
    checkpoint = opener.pull(ingredient)
    assert checkpoint["a.weight"][0, 0] == 1.0
    assert checkpoint.origin.license == "mit" and checkpoint.origin.bases == ("org/base",)
    assert pinned(Opener(), repo_id).model != ingredient.model


@pytest.mark.parametrize("sharded", [False, True])
def test_headers_cost_a_fraction_of_the_weights(hub: LocalHub, repo_id: str, tmp_path: Path, sharded: bool) -> None:
    hub.publish(repo_id, folder(tmp_path / "m", sharded=sharded))
    opener = Opener()
    ingredient = pinned(opener, repo_id)
    hub.clear_log()
    checkpoint = opener.headers(ingredient)
    assert checkpoint.specs["a.weight"].shape == (300, 1000)
    files = 2 if sharded else 1
    assert 0 < hub.bytes_sent() < files * 101_000 < checkpoint.nbytes
    assert sum(opener.to_download(ingredient).values()) > checkpoint.nbytes


def test_a_range_of_a_remote_tensor_is_read_by_range(hub: LocalHub, repo_id: str, tmp_path: Path) -> None:
    hub.publish(repo_id, folder(tmp_path / "m", 3.0))
    opener = Opener()
    checkpoint = opener.headers(pinned(opener, repo_id))
    hub.clear_log()
    assert checkpoint.read("b.weight", 10, 14).tolist() == [-3.0] * 4
    assert hub.bytes_sent() < 2_000


def test_a_subfolder_of_a_repository_is_a_checkpoint(hub: LocalHub, repo_id: str, tmp_path: Path) -> None:
    folder(tmp_path / "m" / "best", 4.0)
    hub.publish(repo_id, tmp_path / "m")
    opener = Opener()
    ingredient = pinned(opener, repo_id, subfolder="best")
    assert opener.pull(ingredient)["a.weight"][0, 0] == 4.0
    with pytest.raises(CheckpointError, match="best"):
        opener.headers(pinned(opener, repo_id))


@pytest.mark.parametrize("dialect", ["lfs", "xet"], indirect=True)
def test_pulling_twice_downloads_once(hub: LocalHub, repo_id: str, tmp_path: Path, dialect: str) -> None:
    hub.publish(repo_id, folder(tmp_path / "m", 5.0))
    opener = Opener()
    ingredient = pinned(opener, repo_id)
    assert opener.pull(ingredient)["a.weight"][0, 0] == 5.0
    assert sum(opener.to_download(ingredient).values()) == 0
    hub.clear_log()
    opener.pull(ingredient)
    assert hub.bytes_sent() == 0


def test_a_flipped_bit_is_found_although_the_size_is_right(hub: LocalHub, repo_id: str, tmp_path: Path) -> None:
    hub.publish(repo_id, folder(tmp_path / "m"))
    opener = Opener()
    ingredient = pinned(opener, repo_id)
    with (
        hub.fault(r"GET .*model\.safetensors|GET /.*lfs.*", faults.flip_bit(-5)),
        pytest.raises(HubError, match=r"model\.safetensors: corrupt download: sha256"),
    ):
        opener.pull(ingredient)


def test_a_server_that_is_briefly_unavailable_is_asked_again(hub: LocalHub, repo_id: str, tmp_path: Path) -> None:
    hub.publish(repo_id, folder(tmp_path / "m", 6.0))
    opener = Opener()
    ingredient = pinned(opener, repo_id)
    with hub.fault(r"GET .*model\.safetensors", faults.status(503), times=1) as rule:
        assert opener.pull(ingredient)["a.weight"][0, 0] == 6.0
    assert rule.matched == 2


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("{ns}/none", "not found, or private"),
        ("{ns}/model@none", "{ns}/model@none: no such revision"),
        ("{ns}/private", "not found, or private"),
        ("{ns}/gated", "gated; ask for access"),
        ("./no/such/folder", "neither a folder here nor a Hub id"),
        ("a/b/c", "neither a folder here nor a Hub id"),
        ("{ns}/empty", "no safetensors file"),
    ],
)
def test_what_cannot_be_had_is_explained(
    hub: LocalHub, namespace: str, tmp_path: Path, reference: str, says: str
) -> None:
    files = {"README.md": b"---\nlicense: mit\n---\n# nothing"}
    hub.publish(f"{namespace}/model", folder(tmp_path / "m"))
    hub.publish(f"{namespace}/empty", files)
    for name, settings in (("private", {"private": True}), ("gated", {"gated": "manual"})):
        hub.publish(f"{namespace}/{name}", folder(tmp_path / name))
        hub.api().update_repo_settings(f"{namespace}/{name}", **settings)
    opener = Opener(token=hub.other_token)
    with pytest.raises((HubError, CheckpointError)) as caught:
        opener.headers(pinned(opener, reference.format(ns=namespace)))
    assert says.format(ns=namespace) in str(caught.value)


def test_a_bad_token_is_explained_even_when_the_files_are_cached(hub: LocalHub, repo_id: str, tmp_path: Path) -> None:
    hub.publish(repo_id, folder(tmp_path / "m"))
    opener = Opener()
    opener.pull(pinned(opener, repo_id))
    with pytest.raises(HubError, match="the token is not valid"):
        pinned(Opener(token="hf_wrong"), repo_id)


def test_a_local_reference_needs_to_be_told_where(tmp_path: Path) -> None:
    folder(tmp_path / "run", 7.0)
    with pytest.raises(RecipeError, match="--local DIR"):
        pinned(Opener(), "local:run")
    opener = Opener(local=tmp_path)
    assert opener.pull(pinned(opener, "local:run"))["a.weight"][0, 0] == 7.0
    with pytest.raises(RecipeError, match="there is no other"):
        pinned(opener, "local:other")


def adapter(path: Path, base: str | None) -> Path:
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "base_model_name_or_path": base}
    factors = {
        "base_model.model.a.lora_A.weight": np.ones((2, 1000), np.float32),
        "base_model.model.a.lora_B.weight": np.ones((300, 2), np.float32),
    }
    write_safetensors(path / "adapter_model.safetensors", factors)
    (path / "adapter_config.json").write_text(json.dumps(config))
    return path


def test_an_adapter_brings_its_base_pinned_too(hub: LocalHub, namespace: str, tmp_path: Path) -> None:
    base = f"{namespace}/base"
    sha = hub.publish(base, folder(tmp_path / "base", 1.0))
    hub.publish(f"{namespace}/lora", adapter(tmp_path / "lora", base))
    opener = Opener()
    ingredient = pinned(opener, f"{namespace}/lora")
    assert ingredient.base == f"{base}@{sha}"
    lora = opener.pull(ingredient)
    assert isinstance(lora, Lora)
    assert lora["a.weight"][0, 0] == 3.0 and lora["b.weight"][0, 0] == -1.0


@pytest.mark.parametrize("said", [None, "/home/somebody/base"])
def test_an_adapter_whose_base_cannot_be_found_takes_the_recipes(tmp_path: Path, said: str | None) -> None:
    base = str(folder(tmp_path / "base", 1.0))
    lora = Ingredient(str(adapter(tmp_path / "lora", said)))
    with pytest.raises(RecipeError, match="name it with base:"):
        Opener().pin(Recipe(ingredients=(lora,)))
    recipe = Opener().pin(Recipe(ingredients=(lora,), base=Ingredient(base)))
    assert recipe.ingredients[0].base == base


@pytest.mark.parametrize("named", [True, False])
def test_an_adapter_never_takes_the_root_for_a_base_in_a_subfolder(
    hub: LocalHub, namespace: str, tmp_path: Path, named: bool
) -> None:
    two = f"{namespace}/two"
    folder(tmp_path / "two", 1.0)
    folder(tmp_path / "two" / "inner", 2.0)
    hub.publish(two, tmp_path / "two")
    base = Ingredient(two, subfolder="inner")
    lora = str(adapter(tmp_path / "lora", two if named else None))
    with pytest.raises(RecipeError, match="cannot take the recipe's base from its subfolder 'inner'"):
        Opener().pin(Recipe(ingredients=(Ingredient(lora),), base=base))
    copy = str(folder(tmp_path / "copy", 2.0))
    opener = Opener()
    recipe = opener.pin(Recipe(ingredients=(Ingredient(lora, base=copy),), base=base))
    assert opener.pull(recipe.ingredients[0])["a.weight"][0, 0] == 4.0


def test_a_file_in_place_of_a_folder_is_told_apart(tmp_path: Path) -> None:
    file = folder(tmp_path / "run-0") / "model.safetensors"
    with pytest.raises(CheckpointError, match=r"model\.safetensors: is a file; name the folder that holds it"):
        pinned(Opener(), str(file))


@pytest.mark.parametrize(
    "line", ["date: 2024-13-45", "n: !!int foo", "b: !!bool abc", "t: !!timestamp abc", "a: [", "3"]
)
def test_front_matter_that_cannot_be_read_is_no_crash(tmp_path: Path, line: str) -> None:
    path = folder(tmp_path / "m")
    (path / "README.md").write_text(f"---\n{line}\n---\n# m\n")
    if line == "3":
        assert Opener().headers(pinned(Opener(), str(path))).origin.license is None
    else:
        with pytest.raises(CheckpointError, match=r"README\.md: its front matter is not valid YAML"):
            pinned(Opener(), str(path))


def test_a_cached_commit_serves_offline(hub: LocalHub, repo_id: str, tmp_path: Path) -> None:
    sha = hub.publish(repo_id, folder(tmp_path / "m", 8.0))
    opener = Opener()
    opener.pull(pinned(opener, repo_id))
    program = (
        "import sys; from hf_soups import Ingredient, Recipe; from hf_soups.hub.opening import Opener\n"
        "o = Opener(); i = o.pin(Recipe(ingredients=(Ingredient(sys.argv[1]),))).ingredients[0]\n"
        "print(i.model, o.pull(i)['a.weight'][0, 0])"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}

    def ask(reference: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, reference]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    known = ask(repo_id)
    assert known.stdout.split() == [f"{repo_id}@{sha}", "8.0"], known.stderr
    assert "the cache does not have it" in ask(f"{repo_id}-unknown").stderr
    assert "HubError: a/b/c: neither a folder here nor a Hub id" in ask("a/b/c").stderr


def test_a_plan_of_sharded_ingredients_transfers_headers_only(hub: LocalHub, namespace: str, tmp_path: Path) -> None:
    from hf_soups import plan
    from tests.models import sharded

    total = 0
    for i in range(3):
        path = sharded(tmp_path / f"run-{i}", value=float(i), shards=4, bytes_each=5_000_000)
        total += sum(f.stat().st_size for f in path.glob("*.safetensors"))
        hub.publish(f"{namespace}/run-{i}", path)
    hub.clear_log()
    made = plan([f"{namespace}/run-{i}" for i in range(3)])
    sent = hub.bytes_sent()
    print(f"plan of 3 ingredients in 4 shards each: {sent:,} bytes sent of {total:,} bytes of weights")
    assert made.download >= total
    assert sent < 0.025 * total
    assert all(entry.range for entry in hub.log(r"GET .*\.safetensors(\?|$)"))


def test_a_base_that_two_adapters_share_is_downloaded_and_counted_once(
    hub: LocalHub, namespace: str, tmp_path: Path
) -> None:
    from hf_soups import plan

    base = f"{namespace}/base"
    hub.publish(base, folder(tmp_path / "base", 1.0))
    for name in ("one", "two"):
        hub.publish(f"{namespace}/{name}", adapter(tmp_path / name, base))
    both = plan([f"{namespace}/one", f"{namespace}/two"])
    alone = plan([base])
    assert alone.download < both.download < 1.1 * alone.download
