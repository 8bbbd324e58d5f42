"""The same weights under the names of other programs and versions make the same soup, and the plan says so."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import hf_soups
from hf_soups import AlignmentError, CheckpointError, Ingredient, Recipe
from tests.architectures import ARCHITECTURES, Architecture
from tests.models import write_safetensors

Tensors = Mapping[str, np.ndarray]
RULES: dict[str, tuple[str, Callable[[str], str]]] = {  # what a name becomes elsewhere, and how the note says it
    "data parallel": ("module.", lambda n: f"module.{n}"),
    "compiled": ("_orig_mod.", lambda n: f"_orig_mod.{n}"),
    "compiled inside": ("_orig_mod.", lambda n: n.replace("bert.encoder.", "bert.encoder._orig_mod.")),
    "gamma and beta": (
        "gamma and beta",
        lambda n: n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"),
    ),
    "without the prefix": ("prefix bert.", lambda n: n.removeprefix("bert.")),
    "another prefix": ("prefix model.", lambda n: f"model.{n}"),
    "several": ("spel", lambda n: "module._orig_mod." + n.replace("LayerNorm.weight", "LayerNorm.gamma")),
}


def copy_with(source: Path, folder: Path, change: Callable[[Tensors], Tensors]) -> Path:
    """The same checkpoint with other tensors."""
    shutil.copytree(source, folder)
    write_safetensors(folder / "model.safetensors", change(load_file(source / "model.safetensors")))
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two fine-tunes of one tiny BERT."""
    folder = tmp_path_factory.mktemp("runs")
    return [ARCHITECTURES["bert"].save(seed, folder / f"run-{seed}") for seed in (1, 2)]


def soup_and_notes(first: Path, second: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    soup = hf_soups.merge([str(first), str(second)])
    return dict(soup), [f.message for f in soup.alignment.findings if f.level == "note"]


@pytest.mark.parametrize("renamed_first", [False, True], ids=["renamed second", "renamed first"])
@pytest.mark.parametrize("rule", RULES)
def test_a_renamed_ingredient_makes_the_same_soup_in_the_first_ones_names(
    rule: str, renamed_first: bool, runs: list[Path], tmp_path: Path
) -> None:
    said, rename = RULES[rule]
    renamed = copy_with(runs[1], tmp_path / "renamed", lambda tensors: {rename(n): v for n, v in tensors.items()})
    wanted, silence = soup_and_notes(*runs)
    made, notes = soup_and_notes(*((renamed, runs[0]) if renamed_first else (runs[0], renamed)))
    expected = {rename(n) if renamed_first else n: value for n, value in wanted.items()}
    assert silence == [] and list(made) == sorted(expected)
    assert all(np.array_equal(made[name], value) for name, value in expected.items())
    assert any(said in note and (runs[0].name if renamed_first else "renamed") in note for note in notes), notes


def test_weight_norm_is_read_in_both_spellings(tmp_path: Path) -> None:
    old, new = (
        {"weight_g": 0, "weight_v": 1},
        {"parametrizations.weight.original0": 0, "parametrizations.weight.original1": 1},
    )
    folders = []
    for value, spelling in ((1, old), (3, new)):
        tensors = {f"conv.{n}": np.full(2 + i, value + i, np.float32) for n, i in spelling.items()}
        folders.append(write_safetensors(tmp_path / str(value) / "model.safetensors", tensors).parent)
    made, notes = soup_and_notes(*folders)
    assert {n: v.tolist() for n, v in made.items()} == {"conv.weight_g": [2, 2], "conv.weight_v": [3, 3, 3]}
    assert any("weight norm" in note for note in notes)


def test_names_of_another_version_of_transformers_are_read_as_it_declares_them(tmp_path: Path) -> None:
    """ViT's files have the names of version 4; its modules in version 5 have others."""
    vit = ARCHITECTURES["vit"]
    folders = [vit.save(seed, tmp_path / f"run-{seed}") for seed in (1, 2)]
    native = {n: v.numpy() for n, v in vit.build(2).state_dict().items()}
    assert set(native) != set(load_file(folders[1] / "model.safetensors"))
    new = copy_with(folders[1], tmp_path / "new", lambda _: native)
    wanted, _ = soup_and_notes(*folders)
    made, notes = soup_and_notes(folders[0], new)
    assert made.keys() == wanted.keys() and all(np.array_equal(made[n], wanted[n]) for n in wanted)
    assert any("another version of transformers" in note for note in notes)


@pytest.mark.parametrize("which", [0, 1])
def test_tied_weights_that_one_ingredient_writes_out_are_read_once_or_twice(which: int, tmp_path: Path) -> None:
    tied = Architecture("LlamaForCausalLM", dict(tie_word_embeddings=True))
    folders = [tied.save(seed, tmp_path / f"run-{seed}") for seed in (1, 2)]
    wanted, _ = soup_and_notes(*folders)

    def write_out(tensors: Tensors) -> Tensors:
        return {**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"]}

    folders[which] = copy_with(folders[which], tmp_path / "twice", write_out)
    made, notes = soup_and_notes(*folders)
    head = {"lm_head.weight": wanted["model.embed_tokens.weight"]} if which == 0 else {}
    assert made.keys() == {**wanted, **head}.keys()
    assert all(np.array_equal(made[n], value) for n, value in {**wanted, **head}.items())
    assert any("tied weights" in note for note in notes), notes


@pytest.mark.parametrize("which", [0, 1])
def test_position_ids_that_only_older_files_have_are_no_difference(
    which: int, runs: list[Path], tmp_path: Path
) -> None:
    """Models had them in their state dict; they do not any more, and transformers leaves them unread."""
    ids = {"bert.embeddings.position_ids": np.arange(64)[None]}
    folders = list(runs)
    folders[which] = copy_with(runs[which], tmp_path / "old", lambda tensors: {**tensors, **ids})
    wanted, _ = soup_and_notes(*runs)
    made, notes = soup_and_notes(*folders)
    expected = {**wanted, **(ids if which == 0 else {})}
    assert made.keys() == expected.keys() and all(np.array_equal(made[n], v) for n, v in expected.items())
    assert any("position_ids" in note for note in notes), notes


def test_weights_that_should_be_tied_and_are_not_are_refused_when_they_are_read(tmp_path: Path) -> None:
    tied = Architecture("LlamaForCausalLM", dict(tie_word_embeddings=True))
    folders = [tied.save(seed, tmp_path / f"run-{seed}") for seed in (1, 2)]
    untied = copy_with(
        folders[1], tmp_path / "untied", lambda t: {**t, "lm_head.weight": t["model.embed_tokens.weight"] + 1}
    )
    soup = hf_soups.merge([str(folders[0]), str(untied)])
    with pytest.raises(CheckpointError, match=r"lm_head\.weight and model\.embed_tokens\.weight differ"):
        soup["model.embed_tokens.weight"]


def test_a_backbone_without_a_head_is_named_with_what_it_lacks(runs: list[Path], tmp_path: Path) -> None:
    backbone = copy_with(
        runs[1],
        tmp_path / "backbone",
        lambda tensors: {n.removeprefix("bert."): v for n, v in tensors.items() if n.startswith("bert.")},
    )
    with pytest.raises(AlignmentError) as caught:
        soup_and_notes(runs[0], backbone)
    assert "backbone: lacks 2 tensors (classifier.bias, classifier.weight)" in str(caught.value)
    assert "embeddings" not in str(caught.value)


def test_a_base_without_the_prefix_serves_a_method_over_differences(runs: list[Path], tmp_path: Path) -> None:
    def backbone(tensors: Tensors) -> Tensors:
        return {n.removeprefix("bert."): v for n, v in tensors.items() if n.startswith("bert.")}

    base = copy_with(runs[1], tmp_path / "base", backbone)
    head = (hf_soups.Override("classifier.*", source="run-1"),)
    recipe = Recipe((Ingredient(str(runs[0])),), method="task_arithmetic", base=Ingredient(str(base)), overrides=head)
    soup = hf_soups.merge(recipe, tmp_path / "soup")
    own = load_file(runs[0] / "model.safetensors")
    assert set(soup) == set(own)
    lock = json.loads((tmp_path / "soup" / "soup.lock.json").read_text())
    assert all("files" in part for part in lock["inputs"])
    assert any("prefix bert." in f["message"] for f in lock["findings"])


def test_fused_projections_against_split_ones_are_an_error_that_names_them(tmp_path: Path) -> None:
    mixtral = ARCHITECTURES["mixtral"]
    folders = [mixtral.save(seed, tmp_path / f"run-{seed}") for seed in (1, 2)]
    native = {n: v.numpy() for n, v in mixtral.build(2).state_dict().items()}
    fused = copy_with(folders[1], tmp_path / "fused", lambda _: native)
    with pytest.raises(AlignmentError, match=r"experts\.0\.w1\.weight") as caught:
        soup_and_notes(folders[0], fused)
    assert "gate_up_proj" in str(caught.value)


def test_equal_names_and_simple_rules_import_neither_torch_nor_transformers(runs: list[Path], tmp_path: Path) -> None:
    renamed = copy_with(runs[1], tmp_path / "renamed", lambda t: {f"module.{n}": v for n, v in t.items()})
    code = (
        f"import sys, hf_soups; hf_soups.plan([{str(runs[0])!r}, {str(renamed)!r}], device='cpu'); "
        "sys.exit(' '.join({'torch', 'transformers'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
