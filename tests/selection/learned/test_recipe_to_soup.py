"""Learned weights end to end: a recipe on disk, the soup, its records, and the same soup again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

import hf_soups
from hf_soups import EvaluationError, Learning, RecipeError
from hf_soups.cli.main import group
from hf_soups.pipeline import Options, run
from hf_soups.recipe import Weights, load, loads, to_yaml
from hf_soups.selection.learned.learn import only_used
from tests.models import classifier, fine_tune

WORDS = "good bad film plot fine dull a the is was not very".split()


def csv(path: Path, seed: int, rows: int) -> Path:
    """The label says whether `good` and `fine` are more than `bad` and `dull`."""
    generator = np.random.default_rng(seed)
    lines = ["text,label"]
    for i in range(rows):
        words = generator.choice(WORDS, 6)
        mood = sum((w in ("good", "fine")) - (w in ("bad", "dull")) for w in words)
        lines.append(f"{' '.join(words)} {seed} {i},{'positive' if mood > 0 else 'negative'}")
    path.write_text("\n".join(lines) + "\n")
    return path


def recipe_in(folder: Path, **select: object) -> Path:
    """Three fine-tunes, data of every role, and a recipe of them."""
    base = classifier(folder / "base", initializer_range=0.3)
    for i in range(3):
        fine_tune(base, folder / f"run-{i}", seed=i, scale=0.3)
    sizes = {"fit": 60, "calibrate": 40, "select": 30, "test": 40, "shift": 30}
    datasets = {
        role: {"path": str(csv(folder / f"{role}.csv", seed, rows).name), "role": role}
        for seed, (role, rows) in enumerate(sizes.items())
    }
    content = {
        "ingredients": ["run-0", "run-1", "run-2"],
        "select": {"strategy": "learned", "lr": 0.1, "batch_size": 20, **select},
        "evaluate": {"metrics": ["accuracy", "log_loss"], "batch_size": 8, "datasets": datasets},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content))
    return folder / "recipe.yaml"


def log_loss(outcome: object, kind: str, dataset: str) -> float:
    (row,) = [r for r in outcome.results.rows if r.kind == kind]  # type: ignore[attr-defined]
    return float(row.scores[dataset]["log_loss"].value)


@pytest.mark.parametrize("granularity", ["model", "block", "tensor"])
def test_a_learned_soup_is_written_described_and_made_again_byte_by_byte(granularity: str, tmp_path: Path) -> None:
    source = recipe_in(tmp_path, granularity=granularity)
    outcome = run(load(source), Options(out=tmp_path / "soup"))
    out = tmp_path / "soup"
    assert outcome.selection is not None and outcome.selection.learned is not None
    learned = outcome.selection.learned
    assert learned.loss < learned.uniform and learned.best > 0

    hf_soups.merge(out / "soup.yaml", tmp_path / "again", local=tmp_path)
    for file in ("model.safetensors", "config.json", "soup.yaml", "soup.weights.json"):
        assert (out / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file

    weights = json.loads((out / "soup.weights.json").read_text())["tensors"]
    singles = [load_file(tmp_path / f"run-{i}" / "model.safetensors") for i in range(3)]
    for name, value in load_file(out / "model.safetensors").items():
        expected = sum(w * s[name].astype(np.float64) for w, s in zip(weights[name], singles, strict=True))
        np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-7)
    assert sum(weights["bert.encoder.layer.1.output.dense.weight"]) == pytest.approx(1)
    assert sum(weights["classifier.weight"]) == pytest.approx(learned.beta)  # folded into the last layer

    lock = json.loads((out / "soup.lock.json").read_text())
    assert lock["selection"]["learned"]["groups"] and len(lock["selection"]["learned"]["epochs"]) > 1
    card = (out / "README.md").read_text()
    assert "## Learned weights" in card and "learned on fit" in card
    assert (out / "figures" / "learned-weights.png").is_file() == (granularity != "model")


def test_no_score_on_data_that_weights_were_fitted_on_is_reported(tmp_path: Path) -> None:
    outcome = run(load(recipe_in(tmp_path, epochs=1)), Options())
    assert outcome.results is not None
    for row in outcome.results.rows:
        assert set(row.scores) == {"select", "test", "shift"}
    assert outcome.results.datasets["fit"].n == 60  # but which they are is said


def test_data_that_only_fitted_the_weights_leave_nothing_to_report(tmp_path: Path) -> None:
    source = recipe_in(tmp_path, epochs=2)
    content = yaml.safe_load(source.read_text())
    datasets = content["evaluate"]["datasets"]
    content["evaluate"]["datasets"] = {role: datasets[role] for role in ("fit", "calibrate")}
    source.write_text(yaml.safe_dump(content))
    outcome = run(load(source), Options(out=tmp_path / "soup"))
    assert outcome.results is not None and outcome.selection is not None and outcome.selection.learned is not None
    assert outcome.results.scored == len(outcome.selection.learned.epochs) == 3, "the uniform soup, and each epoch's"
    assert outcome.results.scored_on == "calibrate by their loss"
    card = (tmp_path / "soup" / "README.md").read_text()
    assert "**Not evaluated.** All data were used to fit its weights" in card
    assert "Nothing to report: calibrate and fit only fitted the weights." in card
    assert "± its 95%" not in card and "selection data" not in card


def test_the_soup_that_is_reported_is_the_one_whose_loss_was_learned(tmp_path: Path) -> None:
    """Calibration rows in a second file under role select: its score is the loss at the best epoch, beta and all."""
    source = recipe_in(tmp_path)
    content = yaml.safe_load(source.read_text())
    rows = (tmp_path / "calibrate.csv").read_text()
    (tmp_path / "select.csv").write_text(rows)
    source.write_text(yaml.safe_dump(content))
    outcome = run(load(source), Options())
    assert outcome.selection is not None and outcome.selection.learned is not None
    assert log_loss(outcome, "chosen", "select") == pytest.approx(outcome.selection.learned.loss, abs=1e-5)
    assert log_loss(outcome, "uniform", "select") == pytest.approx(outcome.selection.learned.uniform, abs=1e-5)


def test_ingredients_without_any_weight_are_left_out_of_the_recipe(tmp_path: Path) -> None:
    made = load(recipe_in(tmp_path))
    weights = Weights(("run-0", "run-1", "run-2"), {"a": (0.25, 0.0, 0.75), "b": (2.0, 0.0, 0.0)})
    chosen = only_used(made, weights, np.array([True, False, True]))
    assert [i.label for i in chosen.ingredients] == ["run-0", "run-2"] and chosen.select is None
    assert chosen.weights == Weights(("run-0", "run-2"), {"a": (0.25, 0.75), "b": (2.0, 0.0)})


def test_the_soup_made_again_has_the_same_scores_under_a_name_of_its_own(tmp_path: Path) -> None:
    first = run(load(recipe_in(tmp_path, epochs=2)), Options(out=tmp_path / "soup"))
    again = run(load(tmp_path / "soup" / "soup.yaml"), Options(local=tmp_path))
    assert again.results is not None and [r.name for r in again.results.rows if r.kind == "soup"] == ["weighted soup"]
    for dataset in ("test", "shift"):
        assert log_loss(again, "soup", dataset) == log_loss(first, "chosen", dataset)


def test_the_linearised_version_writes_a_soup_too_and_says_how_linear_it_is(tmp_path: Path) -> None:
    outcome = run(load(recipe_in(tmp_path, linear=True, granularity="model")), Options(out=tmp_path / "soup"))
    assert outcome.selection is not None and outcome.selection.learned is not None
    learned = outcome.selection.learned
    assert [c.name for c in learned.confirmed][:2] == ["uniform", "convex"] and learned.steps == 0
    assert learned.loss == min(c.calibrate for c in learned.confirmed)
    hf_soups.merge(tmp_path / "soup" / "soup.yaml", tmp_path / "again", local=tmp_path)
    written = (tmp_path / "soup" / "model.safetensors").read_bytes()
    assert written == (tmp_path / "again" / "model.safetensors").read_bytes()
    assert "logits off by" in (tmp_path / "soup" / "README.md").read_text()


def test_the_command_line_tells_what_was_learned_and_what_it_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from click.testing import CliRunner

    source = recipe_in(tmp_path, epochs=2)
    result = CliRunner().invoke(group, ["merge", str(source), "-o", str(tmp_path / "soup")])
    assert result.exit_code == 0, result.output
    size = sum(s.stat().st_size for s in tmp_path.glob("run-*/model.safetensors"))
    read = int(result.stderr.split("each of which reads ")[1].split(" bytes")[0].replace(",", ""))
    assert 0.8 * 2 * size < read <= 2 * size  # two passes over the tensors, without the files' headers
    assert "at most 6 steps" in result.stderr and "epoch 2: " in result.stderr
    assert "learned soup" in result.stdout


def test_the_plan_tells_what_a_step_reads(tmp_path: Path) -> None:
    plan = hf_soups.plan(recipe_in(tmp_path))
    assert any("each step of learning reads" in f.message for f in plan.findings)


@pytest.mark.parametrize("role", ["fit", "calibrate"])
def test_missing_data_are_asked_for_before_anything_is_read(role: str, tmp_path: Path) -> None:
    source = recipe_in(tmp_path)
    content = yaml.safe_load(source.read_text())
    del content["evaluate"]["datasets"][role]
    source.write_text(yaml.safe_dump(content))
    with pytest.raises(RecipeError, match=rf"have role {role}; in evaluate: datasets: give one, for instance {role}:"):
        load(source)


def test_rows_in_both_fit_and_test_are_refused(tmp_path: Path) -> None:
    source = recipe_in(tmp_path)
    (tmp_path / "test.csv").write_text((tmp_path / "fit.csv").read_text())
    with pytest.raises(EvaluationError, match=r"rows .* are also in"):
        run(load(source), Options())


def test_options_survive_being_written(tmp_path: Path) -> None:
    made = load(recipe_in(tmp_path, space="free", beta=False, epochs=3, linear=False))
    assert made.select is not None
    assert made.select.options == Learning(space="free", beta=False, epochs=3, lr=0.1, batch_size=20)
    assert loads(to_yaml(made)) == made


def test_an_adapter_is_an_ingredient_like_any_other(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    source = recipe_in(tmp_path, epochs=1, granularity="block")
    import torch

    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "run-0")
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["query"], init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "lora")
    content = yaml.safe_load(source.read_text())
    content["ingredients"] = ["run-0", {"model": "lora", "base": "run-0"}, "run-1"]
    source.write_text(yaml.safe_dump(content))
    outcome = run(load(source), Options(out=tmp_path / "soup", allow_single=True))
    assert outcome.selection is not None and outcome.selection.kept == ("run-0", "lora", "run-1")
