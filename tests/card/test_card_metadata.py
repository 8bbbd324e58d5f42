"""The YAML at the head: what the Hub reads is what went in."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from huggingface_hub import ModelCard

from hf_soups import Ingredient, Override, Recipe, Soup
from hf_soups.card import Facts, gather, render
from hf_soups.card.metadata import metadata
from hf_soups.checkpoint import StateDict
from tests.card.samples import NASTY, SHA, checkpoint, chosen, report, results, row, soup_of, usual_results
from tests.local_hub import LocalHub

POOL = {name: checkpoint(name, fill=i) for i, name in enumerate(["org/a", "org/b", "org/c"])}
SCORES = {"org/a": 0.9, "org/b": 0.9, "org/c": 0.8}


def data(card: str) -> Any:
    """The metadata as huggingface_hub reads them from a README.md."""
    return ModelCard(card).data


def usual_facts() -> Facts:
    soup, selection = chosen(POOL, SCORES)
    opened = [(Ingredient(name), c) for name, c in POOL.items()]
    return gather(soup, selection, usual_results(("accuracy", "log_loss")), opened, repo_id="me/soup")


def test_the_hub_reads_back_what_was_written() -> None:
    facts = usual_facts()
    read = data(render(facts))
    assert read.to_dict() == metadata(facts)
    assert read.base_model == ["org/a", "org/b"]
    assert read.base_model_relation == "merge"
    assert read.license == "apache-2.0"
    assert read.library_name == "transformers"
    assert read.pipeline_tag == "text-classification"
    assert read.tags == ["merge", "model-soup", "hf_soups"]
    assert read.model_name == "soup"
    assert read.datasets == ["org/data"]
    assert read.metrics == ["accuracy", "log_loss"]


def test_every_reported_dataset_and_metric_is_in_the_model_index() -> None:
    found = data(render(usual_facts())).eval_results
    assert [(e.dataset_type, e.metric_type) for e in found] == [
        (dataset, metric)
        for dataset in ["org/data", "org/amazon", "local:tweets.csv"]
        for metric in ["accuracy", "log_loss"]
    ]
    first = found[0]
    assert (first.dataset_name, first.dataset_split, first.dataset_revision) == ("test (test)", "test", SHA)
    assert first.metric_value == 0.855  # the greedy soup's, not another row's
    assert first.task_type == "text-classification"


def test_scores_on_selection_data_are_not_in_the_model_index() -> None:
    assert not any("validation" in e.dataset_name for e in data(render(usual_facts())).eval_results)


def test_the_hub_accepts_the_card(hub: LocalHub) -> None:
    ModelCard(render(usual_facts())).validate()
    assert hub.log("POST .*validate-yaml")


@pytest.mark.parametrize("name", NASTY.values(), ids=NASTY)
def test_the_hub_accepts_a_card_full_of_nasty_names(hub: LocalHub, name: str) -> None:
    nasty = checkpoint(name, license=name)
    rows = [row(name, "ingredient", {name: 0.8}), row(name, "soup", {name: 0.9})]
    measured = results(rows, [report(name, "test", path=name, revision=None)])
    facts = gather(soup_of({"org/a": checkpoint("org/a"), "b": nasty}), None, measured, repo_id="me/soup")
    facts = replace(facts, languages=(name,), datasets=(name,))
    ModelCard(render(facts)).validate()
    read = data(render(facts))
    assert read.base_model == ["org/a"]
    assert read.license is None  # since one of the two says nothing that is a licence
    assert read.datasets is None
    assert read.to_dict() == metadata(facts)


def test_local_ingredients_are_not_base_models() -> None:
    soup = soup_of({"org/a": checkpoint("org/a"), "run-2": checkpoint("run-2", sha=None)})
    assert metadata(gather(soup))["base_model"] == ["org/a"]


def test_a_soup_of_local_folders_names_no_base_model() -> None:
    found = metadata(gather(soup_of({"run-1": checkpoint("run-1", sha=None)})))
    assert "base_model" not in found and "base_model_relation" not in found


def with_base(method: str, overrides: tuple[Override, ...] = ()) -> Soup:
    everything = {**POOL, "org/base": checkpoint("org/base")}
    recipe = Recipe(
        ingredients=(Ingredient("org/a"), Ingredient("org/b")),
        method=method,
        base=Ingredient("org/base"),
        overrides=overrides,
    )
    return soup_of(everything, recipe)


def test_a_base_is_a_parent_where_its_weights_are_used() -> None:
    assert metadata(gather(with_base("task_arithmetic")))["base_model"] == ["org/a", "org/b", "org/base"]
    assert metadata(gather(with_base("average")))["base_model"] == ["org/a", "org/b"]
    copied = with_base("average", overrides=(Override("w", source="base"),))
    assert metadata(gather(copied))["base_model"] == ["org/a", "org/b", "org/base"]


def test_the_parents_of_an_inner_soup_are_parents() -> None:
    inner = Recipe(ingredients=(Ingredient("org/b"), Ingredient("org/c")))
    recipe = Recipe(ingredients=(Ingredient("org/a"), Ingredient(inner)))
    assert metadata(gather(soup_of(POOL, recipe)))["base_model"] == ["org/a", "org/b", "org/c"]


def test_tensors_without_a_config_claim_no_library_and_no_task() -> None:
    found = metadata(gather(soup_of({"a": StateDict({"w": checkpoint("x")["w"]})})))
    assert "library_name" not in found and "pipeline_tag" not in found


def test_a_classifier_of_sounds_is_not_called_one_of_texts() -> None:
    sounds = checkpoint("org/a")
    sounds.assets = {"config.json": b'{"architectures": ["Wav2Vec2ForSequenceClassification"]}'}
    assert "pipeline_tag" not in metadata(gather(soup_of({"org/a": sounds})))


def test_the_front_matter_has_no_characters_that_cannot_be_seen() -> None:
    soup = soup_of({"x": checkpoint(NASTY["right-to-left override"])})
    text = render(replace(gather(soup), repo_id="me/" + NASTY["control"]))
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00\x1b]", text)
