"""Ingredients start from one head, are complete or absent, and can be made again."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hf_soups.errors import CheckpointError, EvaluationError, HubError, RecipeError, SoupError
from hf_soups.recipe import Data
from hf_soups.training import Card, Lora, Run, finetune
from tests.local_hub import LocalHub
from tests.training.parts import examples, sweep

LORA = Run("lora", 1e-2, lora=Lora(("query", "value"), r=2))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def logits(folder: Path, sentence: str = "a very good film") -> torch.Tensor:
    """What the folder's model says, loaded as users load it."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(**AutoTokenizer.from_pretrained(folder)(sentence, return_tensors="pt")).logits


def test_every_run_is_a_model_that_transformers_loads(tmp_path: Path) -> None:
    from transformers import pipeline

    folders = finetune(sweep(tmp_path, Run("run-1", 1e-3), Run("run-2", 2e-3, seed=1)), tmp_path / "out")
    assert folders == [tmp_path / "out" / "run-1", tmp_path / "out" / "run-2"]
    for folder in [tmp_path / "out" / "head", *folders]:
        said = pipeline("text-classification", model=str(folder))("a very good film")
        assert said[0]["label"] in ("negative", "positive")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["head", "run-1", "run-2"]


def test_every_run_starts_from_the_same_head(tmp_path: Path) -> None:
    """A learning rate next to nothing leaves each run where it started."""
    still = 1e-30
    runs = Run("run-1", still, seed=1), Run("run-2", still, seed=2, label_smoothing=0.1)
    finetune(sweep(tmp_path, *runs), tmp_path / "out")
    head = weights(tmp_path / "out" / "head")
    for run in runs:
        for name, tensor in weights(tmp_path / "out" / run.name).items():
            torch.testing.assert_close(tensor, head[name], rtol=0, atol=1e-25)


def test_training_learns_the_examples(tmp_path: Path) -> None:
    (folder,) = finetune(sweep(tmp_path, Run("run-1", 1e-2, epochs=30, dropout=0.0)), tmp_path / "out")
    assert logits(folder, "a very good film").argmax() == 1
    assert logits(folder, "a very bad film").argmax() == 0


def test_frozen_parameters_do_not_move(tmp_path: Path) -> None:
    (folder,) = finetune(sweep(tmp_path, freeze=("*.embeddings.*", "*.layer.0.*")), tmp_path / "out")
    head = weights(tmp_path / "out" / "head")
    for name, tensor in weights(folder).items():
        frozen = ".embeddings." in name or ".layer.0." in name
        assert torch.equal(tensor, head[name]) == frozen, name


def test_an_adapter_is_exactly_the_head_and_its_factors(tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    (folder,) = finetune(sweep(tmp_path, LORA), tmp_path / "out")
    tensors = load_file(folder / "adapter_model.safetensors")
    assert {name.rsplit(".", 2)[1] for name in tensors} == {"lora_A", "lora_B"}
    assert any(tensor.any() for name, tensor in tensors.items() if "lora_B" in name)

    base = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out" / "head")
    summed = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    for name, b in tensors.items():
        if "lora_B" in name:
            a = tensors[name.replace("lora_B", "lora_A")]
            summed[name.removeprefix("base_model.model.").replace("lora_B.", "")] += 16 / 2 * b @ a
    inputs = AutoTokenizer.from_pretrained(folder)("not bad", return_tensors="pt")
    with torch.no_grad():
        from_peft = PeftModel.from_pretrained(base, folder).eval()(**inputs).logits
        merged = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out" / "head")
        merged.load_state_dict(summed)
        torch.testing.assert_close(merged.eval()(**inputs).logits, from_peft, rtol=0, atol=1e-4)


def test_an_adapter_names_its_base_as_the_hub_will(tmp_path: Path) -> None:
    (folder,) = finetune(sweep(tmp_path, LORA), tmp_path / "out")
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "org/head"
    assert config["modules_to_save"] is None
    assert config["target_modules"] == ["query", "value"]


def test_an_adapter_without_a_published_head_loads_from_this_disk(tmp_path: Path) -> None:
    (folder,) = finetune(sweep(tmp_path, LORA, card=Card()), tmp_path / "out")
    assert logits(folder).shape == (1, 2)


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    runs = Run("run-1", 1e-2, seed=3, epochs=2, fraction=0.8), replace(LORA, seed=3)
    for out in ("one", "two"):
        finetune(sweep(tmp_path, *runs), tmp_path / out)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_the_order_of_the_runs_does_not_matter(tmp_path: Path) -> None:
    runs = Run("run-1", 1e-2, seed=3), replace(LORA, seed=4), Run("run-2", 1e-2, seed=5)
    finetune(sweep(tmp_path, *runs), tmp_path / "one")
    torch.rand(7)
    finetune(sweep(tmp_path, *reversed(runs)), tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_another_seed_gives_another_model(tmp_path: Path) -> None:
    finetune(sweep(tmp_path, Run("run-1", 1e-3, seed=1), Run("run-2", 1e-3, seed=2)), tmp_path / "out")
    one, two = weights(tmp_path / "out" / "run-1"), weights(tmp_path / "out" / "run-2")
    assert any(not torch.equal(one[name], two[name]) for name in one)


def test_training_leaves_the_callers_random_numbers_alone(tmp_path: Path) -> None:
    made = sweep(tmp_path, Run("run-1", 1e-3), LORA)
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    finetune(made, tmp_path / "out")
    assert torch.equal(torch.rand(3), expected)


def test_bfloat16_arithmetic_stores_float32_weights(tmp_path: Path) -> None:
    (folder,) = finetune(sweep(tmp_path, precision="bfloat16"), tmp_path / "out")
    assert {tensor.dtype for tensor in weights(folder).values()} == {torch.float32}


def test_what_is_there_is_not_trained_again(tmp_path: Path) -> None:
    first, second = Run("run-1", 1e-3), Run("run-2", 1e-3, seed=2)
    finetune(sweep(tmp_path, first), tmp_path / "out")
    written = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")}
    seen: list[tuple[str, int, int]] = []
    finetune(sweep(tmp_path, first, second), tmp_path / "out", progress=lambda *step: seen.append(step))
    assert {p: p.stat().st_mtime_ns for p in written if p.is_file()} == {
        p: t for p, t in written.items() if p.is_file()
    }
    assert seen == [("head", 0, 0), ("run-1", 0, 0), *(("run-2", done, 3) for done in range(4))]


@pytest.mark.parametrize("change", ["run", "data", "model"])
def test_a_change_of_run_data_or_model_trains_again(tmp_path: Path, change: str) -> None:
    finetune(sweep(tmp_path), tmp_path / "out")
    before = contents(tmp_path / "out" / "run-1")
    run = Run("run-1", 1e-3)
    if change == "run":
        run = replace(run, weight_decay=0.5)
    elif change == "data":
        examples(tmp_path / "train.csv", not_bad="negative")
    else:
        from tests.models import classifier

        classifier(tmp_path / "model", seed=1)
    finetune(sweep(tmp_path, run), tmp_path / "out")
    assert contents(tmp_path / "out" / "run-1")["model.safetensors"] != before["model.safetensors"]


def test_a_folder_that_no_sweep_made_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out" / "run-1").mkdir(parents=True)
    (tmp_path / "out" / "run-1" / "thesis.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="was not made by a sweep"):
        finetune(sweep(tmp_path), tmp_path / "out")
    assert (tmp_path / "out" / "run-1" / "thesis.txt").read_text() == "mine"


def test_a_killed_run_leaves_nothing_at_its_final_path(tmp_path: Path) -> None:
    """Killed in the middle of the second run: the first is complete, the second absent; a second call finishes."""
    runs = Run("run-1", 1e-3), Run("run-2", 1e-3, seed=2)
    made = sweep(tmp_path, *runs)
    program = """
        import os, pickle, signal, sys
        from pathlib import Path
        from hf_soups.training import finetune

        def kill(name, done, total):
            if (name, done) == ("run-2", 2):
                os.kill(os.getpid(), signal.SIGKILL)

        finetune(pickle.load(open(sys.argv[1], "rb")), Path(sys.argv[2]), progress=kill)
    """
    (tmp_path / "sweep.pickle").write_bytes(pickle.dumps(made))
    arguments = [str(tmp_path / "sweep.pickle"), str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program), *arguments], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "out" / "run-2").exists()
    before = contents(tmp_path / "out" / "run-1")

    finetune(made, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["head", "run-1", "run-2"]
    assert contents(tmp_path / "out" / "run-1") == before


def test_a_diverged_run_is_named_and_leaves_the_finished_ones(tmp_path: Path) -> None:
    runs = Run("run-1", 1e-3), Run("hot", 1e30, warmup=0.0, epochs=3)
    with pytest.raises(RecipeError, match=r"runs: hot: .*not finite.*lower learning_rate"):
        finetune(sweep(tmp_path, *runs), tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["head", "run-1"]


def test_an_existing_classifier_is_the_common_start(tmp_path: Path) -> None:
    labels = ("LABEL_0", "LABEL_1")
    made = sweep(tmp_path, Run("run-1", 1e-30), head="existing", labels=labels)
    examples(tmp_path / "train.csv", negative=labels[0], positive=labels[1])
    (folder,) = finetune(made, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["run-1"]
    start = weights(tmp_path / "model")
    for name, tensor in weights(folder).items():
        torch.testing.assert_close(tensor, start[name], rtol=0, atol=1e-25)


def test_an_existing_classifier_with_other_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"the classifier of .* has LABEL_0, LABEL_1"):
        finetune(sweep(tmp_path, head="existing"), tmp_path / "out")


def test_a_model_on_the_hub_is_fetched_at_its_revision(tmp_path: Path, hub: LocalHub, repo_id: str) -> None:
    made = sweep(tmp_path)
    api = hub.api()
    api.create_repo(repo_id)
    first = api.upload_folder(repo_id=repo_id, folder_path=tmp_path / "model").oid
    api.upload_file(repo_id=repo_id, path_or_fileobj=b"not safetensors", path_in_repo="model.safetensors")
    from_hub = replace(made, model=f"{repo_id}@{first}", card=Card())
    (folder,) = finetune(from_hub, tmp_path / "hub")
    finetune(made, tmp_path / "disk")
    assert (folder / "model.safetensors").read_bytes() == (tmp_path / "disk/run-1/model.safetensors").read_bytes()
    assert f"base_model: {repo_id}\n" in (folder / "README.md").read_text()


def test_readmes_carry_licence_base_and_settings(tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    card = Card(base_model="org/base", head="org/head", language="en", datasets=("org/data",))
    made = sweep(tmp_path, Run("run-1", 2e-3, label_smoothing=0.1), LORA, card=card)
    (tmp_path / "model" / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    finetune(made, tmp_path / "out")
    data = {name: ModelCard.load(tmp_path / "out" / name / "README.md").data for name in ("head", "run-1", "lora")}
    assert [(d.base_model, d.license) for d in data.values()] == [
        ("org/base", "apache-2.0"),
        ("org/head", "apache-2.0"),
        ("org/head", "apache-2.0"),
    ]
    assert (data["lora"].library_name, data["run-1"].library_name) == ("peft", "transformers")
    assert data["run-1"].datasets == ["org/data"]
    assert "| label smoothing | 0.1 |" in (tmp_path / "out" / "run-1" / "README.md").read_text()


def test_no_folder_names_this_machines_paths(tmp_path: Path) -> None:
    finetune(sweep(tmp_path, Run("run-1", 1e-3), LORA), tmp_path / "out")
    for name, content in contents(tmp_path / "out").items():
        assert str(tmp_path).encode() not in content, name


def test_bad_input_is_an_error_that_names_it(tmp_path: Path) -> None:
    good, out = sweep(tmp_path), tmp_path / "out"
    train = str(tmp_path / "train.csv")
    cases: list[tuple[dict[str, object], type[Exception], str]] = [
        ({"train": Data(train, "fit", label="lable")}, EvaluationError, "lable"),
        ({"train": Data(train, "fit", text=("sentence",))}, EvaluationError, "sentence"),
        ({"labels": ("good", "bad")}, EvaluationError, "negative"),
        ({"train": Data(str(tmp_path / "absent.csv"), "fit")}, EvaluationError, "absent.csv"),
        ({"model": str(tmp_path)}, CheckpointError, "config.json"),
        ({"model": "org/absent"}, HubError, "org/absent"),
        ({"freeze": ("*.embedings.*",)}, RecipeError, "embedings.*matches no parameter"),
        ({"freeze": ("*",)}, RecipeError, "nothing is left to train"),
        ({"runs": (replace(LORA, lora=Lora(("qeury",))),)}, RecipeError, r"qeury.*did you mean 'query'\?"),
    ]
    for change, kind, message in cases:
        with pytest.raises(kind, match=message):
            finetune(replace(good, **change), out)  # type: ignore[arg-type]
    assert not (out / "run-1").exists()


def test_importing_the_package_does_not_load_torch() -> None:
    program = "import sys, hf_soups.training; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 0


def test_runs_side_by_side_are_those_made_one_after_the_other(tmp_path: Path) -> None:
    runs = Run("run-1", 1e-2, seed=3), replace(LORA, seed=4), Run("run-2", 1e-2, seed=5)
    finetune(sweep(tmp_path, *runs), tmp_path / "one")
    seen: list[tuple[str, int, int]] = []
    made = sweep(tmp_path, *runs, workers=2)
    finetune(made, tmp_path / "two", progress=lambda *step: seen.append(step))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    for run in runs:
        assert [step for step in seen if step[0] == run.name] == [(run.name, done, 3) for done in range(4)]


def test_an_error_in_another_process_is_raised_here(tmp_path: Path) -> None:
    runs = Run("hot", 1e30, warmup=0.0, epochs=3), Run("run-1", 1e-3), Run("run-2", 1e-3, seed=2)
    with pytest.raises(RecipeError, match=r"runs: hot: .*not finite"):
        finetune(sweep(tmp_path, *runs, workers=2), tmp_path / "out")
    made = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert made in (["head", "run-1"], ["head", "run-1", "run-2"])


def test_a_process_that_dies_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start-up file that Python runs first stands in for the system that kills a process."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    with pytest.raises(SoupError, match="head: its process ended with status -9; probably out of memory"):
        finetune(sweep(tmp_path, workers=2), tmp_path / "out")
    assert not any((tmp_path / "out").glob("*"))
