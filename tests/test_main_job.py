"""The main job on small real models: pulled from the Hub, chosen, evaluated, described, pushed back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import hf_soups
from hf_soups import (
    AlignmentError,
    CheckpointError,
    Data,
    Evaluate,
    EvaluationError,
    Ingredient,
    Recipe,
    RecipeError,
    Select,
    SelectionError,
)
from hf_soups.pipeline import Options, Outcome, run
from tests.local_hub import LocalHub
from tests.models import classifier, fine_tune

TEXTS = ("good film", "bad plot", "a fine film", "the plot was dull", "very good", "not good", "a bad film", "fine")


def card(folder: Path, base: str | None = None) -> Path:
    lines = ["license: apache-2.0", *([f"base_model: {base}"] if base else [])]
    (folder / "README.md").write_text("---\n" + "\n".join(lines) + "\n---\n# a model\n")
    return folder


def csv(path: Path, seed: int, rows: int = 40) -> Path:
    """Labelled nonsense: texts of known words, labels at random."""
    generator = np.random.default_rng(seed)
    lines = ["text,label"]
    for i in range(rows):
        words = generator.choice("good bad film plot fine dull a the is was not very".split(), 6)
        lines.append(f"{' '.join(words)} {seed} {i},{generator.choice(['negative', 'positive'])}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def models(hub: LocalHub, namespace: str, tmp_path: Path) -> list[str]:
    """A base and three fine-tunes of it on the Hub."""
    base = classifier(tmp_path / "base")
    hub.publish(f"{namespace}/base", card(base))
    for i in range(3):
        tuned = fine_tune(base, tmp_path / f"run-{i}", seed=i, scale=0.2)
        hub.publish(f"{namespace}/run-{i}", card(tuned, f"{namespace}/base"))
    return [f"{namespace}/run-{i}" for i in range(3)]


def evaluation(tmp_path: Path, strategy: str = "greedy") -> dict[str, object]:
    datasets = {
        "validation": Data(str(csv(tmp_path / "validation.csv", 1)), "select"),
        "test": Data(str(csv(tmp_path / "test.csv", 2)), "test"),
        "shifted": Data(str(csv(tmp_path / "shifted.csv", 3)), "shift"),
    }
    return {"select": Select(strategy), "evaluate": Evaluate(datasets, metrics=("accuracy", "log_loss"))}


def ingredients(names: Sequence[str]) -> tuple[Ingredient, ...]:
    return tuple(Ingredient(n) for n in names)


def test_averaging_needs_nothing_but_names(models: list[str], tmp_path: Path) -> None:
    soup = hf_soups.merge(models, tmp_path / "soup")
    found = load_file(tmp_path / "soup" / "model.safetensors")
    singles = [load_file(tmp_path / f"run-{i}" / "model.safetensors") for i in range(3)]
    assert set(found) == set(singles[0]) == set(soup)
    for name, value in found.items():
        np.testing.assert_allclose(value, np.mean([s[name] for s in singles], axis=0), rtol=1e-5, atol=1e-7)
    text = (tmp_path / "soup" / "README.md").read_text()
    assert "not evaluated" in text.lower() and "license: apache-2.0" in text
    for name in models:
        assert name in text


def test_a_soup_loads_in_memory_as_it_loads_from_its_folder(models: list[str], tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification

    soup = hf_soups.merge(models, tmp_path / "soup", check=True)
    inputs = torch.tensor([[2, 5, 7, 3]])
    written = AutoModelForSequenceClassification.from_pretrained(tmp_path / "soup").eval()
    with torch.inference_mode():
        assert torch.equal(soup.load()(inputs).logits, written(inputs).logits)


def test_the_pinned_recipe_makes_the_same_bytes_again(models: list[str], hub: LocalHub, tmp_path: Path) -> None:
    recipe = Recipe(ingredients(models), **evaluation(tmp_path))  # type: ignore[arg-type]
    run(recipe, Options(out=tmp_path / "soup", allow_single=True))
    hub.publish(models[0], {"model.safetensors": (tmp_path / "base" / "model.safetensors").read_bytes()})
    hf_soups.merge(tmp_path / "soup" / "soup.yaml", tmp_path / "again", local=tmp_path, allow_single=True)
    for file in ("model.safetensors", "config.json", "soup.yaml"):
        assert (tmp_path / "soup" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()


def slow_greedy(models: list[Path], validation: Path) -> list[int]:
    """Recipe 1 of the paper in the plainest way: whole state dicts, one text at a time, float64 means."""
    import csv as csv_module

    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(models[0]).eval()
    tokenizer = AutoTokenizer.from_pretrained(models[0])
    with validation.open() as file:
        rows = list(csv_module.DictReader(file))
    states = [load_file(m / "model.safetensors") for m in models]

    def val_acc(members: list[int]) -> float:
        mean = {n: np.mean([states[m][n].astype(np.float64) for m in members], axis=0) for n in states[0]}
        model.load_state_dict({n: torch.from_numpy(v.astype(np.float32)) for n, v in mean.items()})
        hits = 0
        for row in rows:
            with torch.inference_mode():
                logits = model(**tokenizer(row["text"], return_tensors="pt")).logits[0]
            hits += model.config.id2label[int(logits.argmax())] == row["label"]
        return hits / len(rows)

    order = sorted(range(len(models)), key=lambda m: val_acc([m]), reverse=True)
    members: list[int] = []
    best = 0.0
    for m in order:
        if val_acc([*members, m]) >= best:
            members.append(m)
            best = val_acc(members)
    return members


@pytest.mark.parametrize("seed", [1, 4])
def test_greedy_equals_the_papers_recipe_written_plainly(tmp_path: Path, seed: int) -> None:
    base = classifier(tmp_path / "base", seed=seed)
    folders = [fine_tune(base, tmp_path / f"run-{i}", seed=10 * seed + i, scale=0.3) for i in range(5)]
    plan = evaluation(tmp_path)
    recipe = Recipe(ingredients([str(f) for f in folders]), **plan)  # type: ignore[arg-type]
    outcome = run(recipe, Options())
    assert outcome.selection is not None
    expected = [f"run-{i}" for i in slow_greedy(folders, tmp_path / "validation.csv")]
    assert list(outcome.selection.kept) == expected
    assert [i.label for i in outcome.soup.recipe.ingredients] == expected


def outcome_of(models: list[str], tmp_path: Path, **options: object) -> Outcome:
    recipe = Recipe(ingredients(models), base=Ingredient(models[0].replace("run-0", "base")), **evaluation(tmp_path))  # type: ignore[arg-type]
    return run(recipe, Options(allow_single=True, **options))  # type: ignore[arg-type]


def test_everything_is_reported_beside_the_soup(models: list[str], tmp_path: Path) -> None:
    outcome = outcome_of(models, tmp_path)
    assert outcome.results is not None
    kinds = [row.kind for row in outcome.results.rows]
    assert kinds == ["base", "ingredient", "ingredient", "ingredient", "mean", "uniform", "greedy", "ensemble"]
    assert set(outcome.results.datasets) == {"validation", "test", "shifted"}
    best = max(outcome.selection.steps, key=lambda s: s.alone).ingredient  # type: ignore[union-attr]
    (row,) = [r for r in outcome.results.rows if r.name == best]
    assert row.difference["test"]["accuracy"].value == 0
    assert outcome.results.scored == 5  # three alone, two soups
    separation = outcome.results.separation
    assert separation is None or separation.dataset == "validation"


def test_nothing_is_predicted_twice(models: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hf_soups.evaluation import gradual

    calls = []
    real = gradual.answering

    def counted(*arguments: Any, **settings: Any) -> Any:
        calls.append(1)
        return real(*arguments, **settings)

    monkeypatch.setattr(gradual, "answering", counted)
    first = outcome_of(models, tmp_path)
    assert len(calls) > 0
    calls.clear()
    again = outcome_of(models, tmp_path)
    assert calls == []
    assert again.results == first.results and again.selection == first.selection


def test_the_folder_holds_what_was_promised_and_no_path_of_this_machine(
    models: list[str], hub: LocalHub, namespace: str, tmp_path: Path
) -> None:
    out = tmp_path / "soup"
    recipe = Recipe(
        (*ingredients(models[:2]), Ingredient(str(tmp_path / "run-2"))),
        **evaluation(tmp_path),  # type: ignore[arg-type]
    )
    run(recipe, Options(out=out, allow_single=True))
    names = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "README.md", "soup.yaml", "soup.lock.json"} <= names
    assert "figures/id-versus-ood.png" in names
    for name in names:
        content = (out / name).read_bytes()
        assert str(tmp_path).encode() not in content and hub.token.encode() not in content, name
    lock = json.loads((out / "soup.lock.json").read_text())
    assert {o for o in lock["outputs"]} == names - {"soup.lock.json"}
    assert lock["selection"]["steps"] and lock["evaluation"]["rows"]
    assert lock["selection"]["scored"] == lock["evaluation"]["scored"] == 5
    assert lock["evaluation"]["diversity"]["test"]["models"] == 3
    assert {found["name"] for found in lock["evaluation"]["calibration"]} >= {"greedy soup", "ensemble"}
    assert "a line needs 4" in lock["evaluation"]["robustness"][0]["why_not"]
    assert any("too few to decide between" in found["message"] for found in lock["findings"])
    card_text = (out / "README.md").read_text()
    assert "Diversity of the 3 ingredients on test" in card_text and "Expected calibration error" in card_text
    assert "mean individual" in card_text and "No effective robustness: 3 baselines" in card_text
    pinned = [i for i in lock["inputs"] if "@" in i["reference"]]
    assert len(pinned) == 2 and all(len(i["reference"].split("@")[1]) == 40 for i in pinned)
    for entry in pinned:
        file = tmp_path / entry["name"].split("/")[1] / "model.safetensors"
        assert entry["files"]["model.safetensors"]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()


def test_the_pushed_soup_loads_from_the_hub(models: list[str], namespace: str, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    soup = hf_soups.merge(models, push_to_hub=f"{namespace}/soup")
    model = AutoModelForSequenceClassification.from_pretrained(f"{namespace}/soup")
    AutoTokenizer.from_pretrained(f"{namespace}/soup")
    np.testing.assert_array_equal(model.classifier.weight.detach().numpy(), soup["classifier.weight"])
    data = ModelCard.load(f"{namespace}/soup").data
    assert data.base_model == models and data.base_model_relation == "merge" and data.license == "apache-2.0"


def test_a_base_is_taken_from_the_cards_where_they_agree(models: list[str], tmp_path: Path) -> None:
    soup = hf_soups.merge(models, method="task_arithmetic", parameters={"scale": 0.3})
    assert soup.base is not None and soup.base.origin.name == models[0].replace("run-0", "base")


def test_no_soup_beats_the_best_is_an_error_and_writes_nothing(tmp_path: Path) -> None:
    base = classifier(tmp_path / "base")
    folders = [fine_tune(base, tmp_path / f"run-{i}", seed=i, scale=0.3) for i in range(2)]
    plan = evaluation(tmp_path)
    plan["select"] = Select(tie=">")  # the same model again cannot be better than itself
    recipe = Recipe(ingredients([str(folders[0])] * 2), **plan)  # type: ignore[arg-type]
    with pytest.raises(SelectionError, match=r"no soup beat run-0 on validation; --allow-single"):
        run(recipe, Options(out=tmp_path / "soup"))
    assert not (tmp_path / "soup").exists()
    run(recipe, Options(out=tmp_path / "soup", allow_single=True))
    written = load_file(tmp_path / "soup" / "model.safetensors")
    assert all(np.array_equal(v, written[n]) for n, v in load_file(folders[0] / "model.safetensors").items())


def test_mismatches_are_found_before_anything_is_downloaded(
    models: list[str], hub: LocalHub, namespace: str, tmp_path: Path
) -> None:
    other = card(classifier(tmp_path / "other", labels=("bad", "good", "fine"), hidden_size=32))
    hub.publish(f"{namespace}/other", other)
    hub.clear_log()
    with pytest.raises(AlignmentError) as caught:
        hf_soups.merge([*models, f"{namespace}/other"], tmp_path / "soup")
    assert str(caught.value).count(f"{namespace}/other is") > 10
    assert all(entry.range for entry in hub.log(r"GET .*\.safetensors"))  # headers by range, no file whole
    assert not (tmp_path / "soup").exists()


def test_a_misspelt_metric_is_found_before_any_request(models: list[str], hub: LocalHub, tmp_path: Path) -> None:
    data = {"validation": Data(str(csv(tmp_path / "validation.csv", 1)), "select")}
    recipe = Recipe(ingredients(models), select=Select(), evaluate=Evaluate(data, metrics=("acuracy",)))
    hub.clear_log()
    with pytest.raises(EvaluationError, match="did you mean 'accuracy'"):
        run(recipe, Options(out=tmp_path / "soup"))
    with pytest.raises(EvaluationError, match="no task 'text-clasification'; did you mean 'text-classification'"):
        run(replace(recipe, evaluate=Evaluate(data, task="text-clasification")), Options(out=tmp_path / "soup"))
    assert hub.log() == []


def test_an_output_that_would_replace_an_ingredient_is_refused(tmp_path: Path) -> None:
    model = classifier(tmp_path / "models" / "a")
    for out in (model, tmp_path / "models"):
        with pytest.raises(CheckpointError, match=r"not made by hf_soups|is or holds the ingredient"):
            hf_soups.merge([model, model], out, overwrite=True)
    assert (model / "model.safetensors").is_file()


def test_two_folders_of_one_name_are_refused_since_records_could_not_tell_them_apart(tmp_path: Path) -> None:
    folders = [classifier(tmp_path / side / "model", seed=i) for i, side in enumerate("ab")]
    with pytest.raises(RecipeError, match="two folders are called model"):
        hf_soups.merge(folders, tmp_path / "soup")


def test_a_folder_that_is_in_use_is_refused_before_any_request(
    models: list[str], hub: LocalHub, tmp_path: Path
) -> None:
    (tmp_path / "soup").mkdir()
    (tmp_path / "soup" / "mine.txt").write_text("keep")
    hub.clear_log()
    with pytest.raises(CheckpointError, match="not empty"):
        hf_soups.merge(models, tmp_path / "soup")
    assert hub.log() == [] and (tmp_path / "soup" / "mine.txt").read_text() == "keep"
