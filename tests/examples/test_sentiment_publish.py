"""The example on a Hub: one commit per repository, names that fit the namespace, a recipe that finds them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from examples.sentiment.publish import NAMESPACE, publish, recipe
from hf_soups.errors import SoupError
from hf_soups.recipe import loads
from hf_soups.training import Card, Lora, Run, finetune, load_sweep
from tests.local_hub import LocalHub
from tests.training.parts import sweep

EXAMPLE = Path(__file__).parents[2] / "examples" / "sentiment"


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A folder like the one that prepare.py and the sweep make, with a tiny model and tiny data."""
    runs = Run("run-1", 1e-3), Run("lora", 1e-2, lora=Lora(("query",)))
    made = replace(sweep(tmp_path, *runs), card=Card(head="demo/minilm-sentiment-head", license="apache-2.0"))
    finetune(made, tmp_path / "models")
    data = tmp_path / "sentiment-domains" / "data"
    data.mkdir(parents=True)
    for name in ("movie-train", "movie-validation", "movie-test", "amazon-test", "nyt-test", "tweets-test"):
        (data / f"{name}.csv").write_text(f"id,text,label,group\n{name}-1,not bad,positive,{name}-1\n")
    (data.parent / "README.md").write_text((EXAMPLE / "dataset.md").read_text())
    return tmp_path


def commits(hub: LocalHub, repo: str) -> int:
    kind = "dataset" if repo.endswith("sentiment-domains") else "model"
    return sum(c.title != "initial commit" for c in hub.api().list_repo_commits(repo, repo_type=kind))


def test_each_repository_gets_one_commit_and_none_when_nothing_changed(
    prepared: Path, hub: LocalHub, namespace: str
) -> None:
    expected = ["sentiment-domains", "minilm-sentiment-head", "minilm-sentiment-lora", "minilm-sentiment-run-1"]
    for _ in range(2):
        repos = publish(prepared, namespace)
        assert repos == [f"{namespace}/{name}" for name in expected]
        assert [commits(hub, repo) for repo in repos] == [1, 1, 1, 1]


def test_a_file_that_is_gone_here_goes_there_too(prepared: Path, hub: LocalHub, namespace: str) -> None:
    (prepared / "models" / "run-1" / "notes.txt").write_text("remove me")
    publish(prepared, namespace)
    (prepared / "models" / "run-1" / "notes.txt").unlink()
    publish(prepared, namespace)
    assert "notes.txt" not in hub.api().list_repo_files(f"{namespace}/minilm-sentiment-run-1")
    assert commits(hub, f"{namespace}/minilm-sentiment-run-1") == 2


@pytest.mark.usefixtures("hub")
def test_transformers_and_datasets_find_everything_under_the_namespace(prepared: Path, namespace: str) -> None:
    import datasets
    import torch
    from huggingface_hub import ModelCard
    from transformers import AutoModelForSequenceClassification

    publish(prepared, namespace)
    head = f"{namespace}/minilm-sentiment-head"
    adapted = AutoModelForSequenceClassification.from_pretrained(f"{namespace}/minilm-sentiment-lora")
    base = AutoModelForSequenceClassification.from_pretrained(head)
    assert torch.equal(adapted.classifier.weight, base.classifier.weight)
    assert ModelCard.load(f"{namespace}/minilm-sentiment-run-1").data.base_model == head
    rows = datasets.load_dataset(f"{namespace}/sentiment-domains", "movie", split="validation")
    assert rows[0]["text"] == "not bad"


@pytest.mark.usefixtures("hub")
def test_publishing_leaves_the_folders_as_they_were(prepared: Path, namespace: str) -> None:
    publish(prepared, namespace)
    config = json.loads((prepared / "models" / "lora" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == f"{NAMESPACE}/minilm-sentiment-head"
    assert f"base: {namespace}/minilm-sentiment-head" in (prepared / "soup.yaml").read_text()


def test_without_models_the_next_step_is_named(tmp_path: Path) -> None:
    with pytest.raises(SoupError, match="hf-soups finetune"):
        publish(tmp_path)


def test_the_recipe_names_what_the_sweep_makes() -> None:
    """The sweep's data is not there yet; its names are."""
    runs = [f"demo/minilm-sentiment-{run.name}" for run in load_sweep(EXAMPLE / "sweep.yaml").runs]
    soup = loads(recipe())
    assert [ingredient.model for ingredient in soup.ingredients] == runs
    assert soup.base is not None and soup.base.model == load_sweep(EXAMPLE / "sweep.yaml").card.head
    other = loads(recipe("me"))
    assert [str(i.model) for i in other.ingredients] == [run.replace("demo/", "me/") for run in runs]
    assert other.evaluate is not None and other.evaluate.datasets["movie"].path == "me/sentiment-domains"
    assert other.output.hub == "me/minilm-sentiment-soup"
