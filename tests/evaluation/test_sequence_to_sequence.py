"""Summaries and translations are what the model's own `generate` writes, whatever company a text has."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from hf_soups.checkpoint import LocalFiles, Origin, Stored
from hf_soups.errors import EvaluationError
from hf_soups.evaluation import tasks
from hf_soups.evaluation.cache import Predictions
from hf_soups.evaluation.data import load
from hf_soups.evaluation.evaluator import Evaluator
from hf_soups.evaluation.examples import Examples, Source
from hf_soups.evaluation.predict import predict
from hf_soups.evaluation.tasks.sequence_to_sequence import Summarization, Translation
from hf_soups.recipe import Data, Evaluate, Ingredient, loads, to_yaml
from hf_soups.selection.candidates import Candidates

from .conftest import sentences
from .word_tokenizer import SIZE, word_tokenizer

Write = Callable[[str, Mapping[str, Sequence[Any]]], str]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def words() -> Any:
    return word_tokenizer(ends=True)


def translator(kind: str = "t5", **config: Any) -> Any:
    """A small random encoder-decoder."""
    from transformers import BartConfig, BartForConditionalGeneration, T5Config, T5ForConditionalGeneration

    special = {"pad_token_id": SIZE - 1, "eos_token_id": 2, "decoder_start_token_id": 1, "vocab_size": SIZE}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        if kind == "t5":
            small = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "initializer_factor": 3.0}
            return T5ForConditionalGeneration(T5Config(**special, **small, **config))
        parts: dict[str, Any] = {
            "d_model": 16,
            "max_position_embeddings": 32,
            "init_std": 0.5,
            "forced_eos_token_id": None,
        } | {f"{side}_{name}": 2 for side in ("encoder", "decoder") for name in ("layers", "attention_heads")}
        return BartForConditionalGeneration(
            BartConfig(**special, **parts, encoder_ffn_dim=32, decoder_ffn_dim=32, **config)
        )


def asked(task: Any, model: Any, words: Any, texts: Sequence[str], **how: Any) -> Sequence[str]:
    examples = Examples(tuple(texts), tuple(texts), None, Source(path="made.csv"))
    found = predict(task, model, words, examples, **how)
    assert isinstance(found, tuple)
    return found


def opened(ingredient: Ingredient) -> Stored:
    return Stored(LocalFiles(Path(str(ingredient.model))), Origin(name=str(ingredient.name)))


def plainly(model: Any, words: Any, text: str, **how: Any) -> str:
    """What transformers writes for one text."""
    with torch.no_grad():
        ids = model.eval().generate(**words(text, return_tensors="pt"), do_sample=False, **how)[0]
    return str(words.decode(ids, skip_special_tokens=True)).strip()


@pytest.mark.parametrize("kind", ["t5", "bart"])
@pytest.mark.parametrize("beams", [1, 3])
def test_a_text_gets_the_same_answer_alone_and_in_any_batch(kind: str, beams: int, words: Any) -> None:
    model, texts = translator(kind), sentences(11)
    task = Summarization(max_new_tokens=7, num_beams=beams)
    expected = tuple(plainly(model, words, text, max_new_tokens=7, num_beams=beams) for text in texts)
    assert len(set(expected)) > 3
    for batch_size in (1, 4, 11):
        assert asked(task, model, words, texts, batch_size=batch_size) == expected


def test_threads_write_the_same(words: Any) -> None:
    model, texts, task = translator(), sentences(12), Summarization(max_new_tokens=5)
    expected = asked(task, model, words, texts, batch_size=3)
    torch.set_num_threads(2)
    assert asked(task, model, words, texts, batch_size=3) == expected


def test_the_checkpoints_own_way_of_writing_is_kept_but_for_sampling(words: Any) -> None:
    model, same, texts = translator(), translator(), sentences(10)
    for one in (model, same):
        one.lm_head.weight.data *= 0.1  # undecided, so that samples differ
    model.generation_config.update(do_sample=True, temperature=2.0, top_p=0.5, num_beams=2, max_new_tokens=9)
    for beams, task in ((2, Summarization()), (1, Summarization(num_beams=1))):
        plain = tuple(plainly(same, words, text, num_beams=beams, max_new_tokens=9) for text in texts)
        assert asked(task, model, words, texts) == plain
    assert model.generation_config.do_sample is True  # as it was


def test_a_prefix_is_the_recipes_or_the_configs(words: Any) -> None:
    said = {"summarization": {"prefix": "funny film "}, "translation_old_to_new": {"prefix": "sad plot "}}
    model, texts = translator(task_specific_params=said), sentences(8)

    def of(task: Any) -> Sequence[str]:
        return asked(task, model, words, texts)

    def after(prefix: str) -> Sequence[str]:
        return tuple(plainly(model, words, prefix + text, max_new_tokens=6) for text in texts)

    assert len({after(""), after("funny film "), after("sad plot "), after("a ")}) == 4
    assert of(Summarization(max_new_tokens=6)) == after("funny film ")
    assert of(Summarization(prefix="", max_new_tokens=6)) == after("")
    assert of(Summarization(prefix="a ", max_new_tokens=6)) == after("a ")
    assert of(Translation(source="old", target="new", max_new_tokens=6)) == after("sad plot ")
    assert of(Translation(max_new_tokens=6)) == after("")


def test_columns_of_the_usual_datasets_are_found(table: Write) -> None:
    for text, target in (("document", "summary"), ("article", "highlights"), ("text", "target")):
        path = table(f"{text}.jsonl", {"id": ["1"], text: ["long"], target: ["short"]})
        examples = load(Data(path, "test"), Summarization())
        assert (examples.inputs, examples.references) == (("long",), ("short",))
    odd = table("odd.jsonl", {"x": ["long"], "y": ["short"]})
    by_label = load(Data(odd, "test", text=("x",), label="y"), Summarization())
    by_columns = load(Data(odd, "test", columns={"text": "x", "target": "y"}), Summarization())
    assert by_label.fingerprint == by_columns.fingerprint and by_label.references == ("short",)
    with pytest.raises(EvaluationError, match=r"which column is the text\? It has x, y"):
        load(Data(odd, "test"), Summarization())


def test_translations_are_read_in_the_direction_that_is_said(table: Write) -> None:
    path = table("wmt.jsonl", {"translation": [{"de": "gut", "en": "good"}, {"de": "alt", "en": "old"}]})
    examples = load(Data(path, "test"), Translation(source="de", target="en"))
    assert (examples.inputs, examples.references) == (("gut", "alt"), ("good", "old"))
    with pytest.raises(EvaluationError, match=r"from which language to which\? It has de, en; say `options:"):
        load(Data(path, "test"), Translation())
    flat = table("flat.csv", {"en": ["good"], "de": ["gut"]})
    assert load(Data(flat, "test"), Translation(source="en", target="de")).references == ("gut",)
    assert load(Data(flat, "test", columns={"text": "de", "target": "en"}), Translation()).references == ("good",)
    holey = table("holey.jsonl", {"translation": [{"de": "gut", "en": "good"}, {"de": None, "en": "old"}]})
    with pytest.raises(EvaluationError, match=r"row 1 .* has no text in de"):
        load(Data(holey, "test"), Translation(source="de", target="en"))


def test_options_are_checked_by_name_and_kind() -> None:
    def asked_for(task: str, **options: Any) -> Any:
        return tasks.named(task).of(Evaluate({}, task, options=options), ("a", "b"))

    assert asked_for("translation", prefix="", num_beams=4).settings == {"prefix": "", "num_beams": "4"}
    with pytest.raises(EvaluationError, match=r"summarization has no 'prefx'.*did you mean 'prefix'"):
        asked_for("summarization", prefx="a")
    with pytest.raises(EvaluationError, match="text-classification has no 'prefix'; it has none"):
        asked_for("text-classification", prefix="a")
    with pytest.raises(EvaluationError, match="num_beams is 0; it must be a whole number of at least 1"):
        asked_for("translation", num_beams=0)


def test_an_empty_text_is_named(words: Any) -> None:
    with pytest.raises(EvaluationError, match=r"row 1 .* is an empty text"):
        asked(Summarization(), translator(), word_tokenizer(), ["good", ""])


def test_checkpoints_write_by_their_own_generation_config(table: Write, words: Any, tmp_path: Path) -> None:
    folders = []
    for most in (3, 6):  # equal weights, another way of writing
        model, folder = translator(), tmp_path / f"most-{most}"
        model.generation_config.max_new_tokens = most
        model.save_pretrained(folder)
        words.save_pretrained(folder)
        assert json.loads((folder / "generation_config.json").read_text())["max_new_tokens"] == most
        folders.append(folder)
    texts = sentences(20)
    path = table("a.csv", {"document": texts, "summary": sentences(20, seed=1)})
    evaluate = Evaluate({"test": Data(path, "test")}, task="summarization", metrics=("rouge1", "rougeL"))
    evaluator = Evaluator(evaluate, (), Predictions(tmp_path / "cache"))
    candidates = Candidates(evaluator, opened)
    for most, folder in zip((3, 6), folders, strict=True):
        answers = candidates.outputs(candidates.open(Ingredient(str(folder))))["test"]
        assert answers == tuple(plainly(translator(), words, text, max_new_tokens=most) for text in texts)
        row = evaluator.row("run", "ingredient", {"test": answers}).scores["test"]["rouge1"]
        assert row.low <= row.value <= row.high
    assert evaluator.ensemble([answers, answers]) is None
    again = Evaluator(evaluate, (), Predictions(tmp_path / "cache"))
    longer = Evaluator(
        Evaluate(evaluate.datasets, evaluate.task, options={"max_new_tokens": 9}), (), Predictions(tmp_path / "cache")
    )
    assert again.key("x", "test") == evaluator.key("x", "test") != longer.key("x", "test")


def test_options_are_part_of_a_recipe() -> None:
    recipe = loads("""
        ingredients: [org/a, org/b]
        evaluate:
          task: summarization
          options: {prefix: "summarize: ", num_beams: 4}
          datasets: {test: {path: org/data, role: test}}
    """)
    assert recipe.evaluate is not None and recipe.evaluate.options == {"prefix": "summarize: ", "num_beams": 4}
    assert loads(to_yaml(recipe)) == recipe
