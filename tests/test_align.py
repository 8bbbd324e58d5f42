"""What does not fit is said at once, all of it, with the ingredient."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from hf_soups import AlignmentError, CheckpointError, Ingredient, Override, Recipe, Soup
from hf_soups.align import check_tokenizers
from hf_soups.checkpoint import Checkpoint, StateDict

GOOD = {"enc.weight": (4, 3), "enc.bias": (4,), "classifier.weight": (2, 4)}


def model(shapes: Mapping[str, tuple[int, ...]], **config: Any) -> tuple[Mapping[str, np.ndarray], dict[str, Any]]:
    return {n: np.ones(s, np.float32) for n, s in shapes.items()}, {"model_type": "bert", **config}


def soup_of(models: Mapping[str, tuple[Mapping[str, np.ndarray], dict[str, Any]]], **recipe: Any) -> Soup:
    def open_(ingredient: Ingredient) -> Checkpoint:
        tensors, config = models[str(ingredient.model)]
        return StateDict(tensors, str(ingredient.model), {"config.json": json.dumps(config).encode()})

    recipe.setdefault("ingredients", tuple(Ingredient(m) for m in models if m != "base"))
    return Soup(Recipe(**recipe), open_)


def refusal(models: Any, **recipe: Any) -> str:
    with pytest.raises(AlignmentError) as caught:
        soup_of(models, **recipe)
    return str(caught.value)


def test_every_mismatch_is_listed_at_once_with_its_ingredient() -> None:
    wide = {**GOOD, "enc.weight": (4, 5)}
    lacking = {k: v for k, v in GOOD.items() if k != "enc.bias"}
    extra = {**GOOD, "surplus": (1,)}
    said = refusal({"a": model(GOOD), "b": model(wide), "c": model(lacking), "d": model(extra)})
    assert "enc.weight: a is (4, 3), b is (4, 5)" in said
    assert "c: lacks" in said and "enc.bias" in said
    assert "surplus" in said and "d" in said


def test_shapes_that_would_broadcast_are_refused() -> None:
    said = refusal({"a": model(GOOD), "b": model({**GOOD, "enc.bias": (1,)})})
    assert "enc.bias: a is (4,), b is (1,)" in said


def test_different_architectures_are_named() -> None:
    said = refusal({"a": model(GOOD), "b": model(GOOD, model_type="roberta")})
    assert "different architectures: a: bert; b: roberta" in said


def test_labels_in_another_order_are_refused_and_placeholders_are_warned_about() -> None:
    ordered = model(GOOD, id2label={"0": "neg", "1": "pos"})
    swapped = model(GOOD, id2label={"0": "pos", "1": "neg"})
    placeholders = model(GOOD, id2label={"0": "LABEL_0", "1": "LABEL_1"})
    assert "a: neg, pos; b: pos, neg" in refusal({"a": ordered, "b": swapped})
    soup = soup_of({"a": ordered, "b": placeholders})
    assert any("labels unproven: b" in f.message for f in soup.alignment.findings)
    assert soup.alignment.labels == ("neg", "pos")


def test_labels_said_on_the_ingredient_settle_it_and_reach_the_config() -> None:
    placeholders = model(GOOD, id2label={"0": "LABEL_0", "1": "LABEL_1"})
    both = tuple(Ingredient(m, labels=("neg", "pos")) for m in ("a", "b"))
    soup = soup_of({"a": placeholders, "b": placeholders}, ingredients=both)
    assert soup.alignment.findings == ()
    config = json.loads(soup.assets["config.json"])
    assert config["id2label"] == {"0": "neg", "1": "pos"} and config["dtype"] == "float32"


def test_a_delta_method_needs_a_base_with_every_tensor_unless_an_override_says_otherwise() -> None:
    headless = {k: v for k, v in GOOD.items() if not k.startswith("classifier")}
    models = {"a": model(GOOD), "b": model(GOOD), "base": model(headless)}
    assert "works on differences from a base" in refusal({"a": model(GOOD)}, method="ties")
    assert "base base: lacks classifier.weight" in refusal(models, method="ties", base=Ingredient("base"))
    override = (Override("classifier.*", source="a"),)
    soup = soup_of(models, method="ties", base=Ingredient("base"), overrides=override)
    assert np.array_equal(soup["classifier.weight"], np.ones((2, 4), np.float32))


def test_an_override_is_the_way_around_a_mismatch_and_is_compared_with_nothing() -> None:
    lacking = {k: v for k, v in GOOD.items() if k != "enc.bias"}
    models = {"a": model({**GOOD, "classifier.weight": (3, 4)}), "b": model(lacking)}
    copies = (Override("classifier.*", source="a"), Override("enc.bias", source="a"))
    soup = soup_of(models, overrides=copies)
    assert soup["classifier.weight"].shape == (3, 4) and set(soup) == set(GOOD)


def test_a_tensor_copied_from_the_base_must_be_there() -> None:
    headless = {k: v for k, v in GOOD.items() if not k.startswith("classifier")}
    copies = (Override("classifier.*", source="base"),)
    said = refusal({"a": model(GOOD), "base": model(headless)}, base=Ingredient("base"), overrides=copies)
    assert "base base: lacks classifier.weight" in said


def test_config_fields_that_change_the_meaning_of_equal_weights_are_refused() -> None:
    said = refusal({"a": model(GOOD, num_attention_heads=2), "b": model(GOOD, num_attention_heads=4)})
    assert "num_attention_heads differs" in said and "a: 2; b: 4" in said
    soup_of({"a": model(GOOD, dropout=0.1), "b": model(GOOD, dropout=0.2)})


def test_labels_that_do_not_fit_the_head_are_refused() -> None:
    models = {"a": model(GOOD, id2label={"0": "x", "1": "y"})}
    said = refusal(models, ingredients=(Ingredient("a", labels=("x", "y", "z")),))
    assert "3 names for a head of 2 outputs" in said
    assert "names one twice" in refusal(models, ingredients=(Ingredient("a", labels=("x", "x")),))


def test_a_broken_config_is_named() -> None:
    soup_of({"a": model(GOOD, architectures=None)})
    broken: Any = {"a": (model(GOOD)[0], [])}
    with pytest.raises(CheckpointError, match=r"a: config\.json is not a JSON object"):
        soup_of(broken)


def test_vocabularies_are_compared_token_by_token() -> None:
    def with_words(words: str) -> Checkpoint:
        return StateDict({}, "m", {"vocab.txt": words.encode()})

    check_tokenizers({"a": with_words("good\nbad\n"), "b": with_words("good\nbad"), "c": StateDict({}, "none")})
    with pytest.raises(AlignmentError, match=r"b: its vocabulary differs from that of a in 2 tokens"):
        check_tokenizers({"a": with_words("good\nbad"), "b": with_words("bad\ngood")})


def test_quantised_models_are_refused() -> None:
    assert "quantised" in refusal({"a": model(GOOD), "b": model(GOOD, quantization_config={"bits": 4})})


def test_the_same_model_twice_is_said() -> None:
    soup = soup_of({"a": model(GOOD)}, ingredients=(Ingredient("a"), Ingredient("a")))
    assert any("listed 2 times" in f.message for f in soup.alignment.findings)
