"""Language models are scored by the loss of every token, however the texts are batched, padded or cut."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hf_soups.errors import EvaluationError
from hf_soups.evaluation import tasks
from hf_soups.evaluation.cache import Predictions
from hf_soups.evaluation.data import load
from hf_soups.evaluation.evaluator import Evaluator
from hf_soups.evaluation.examples import Examples, Source
from hf_soups.evaluation.metrics import score
from hf_soups.evaluation.metrics_text import LANGUAGE_MODEL
from hf_soups.evaluation.outputs import Ragged
from hf_soups.evaluation.predict import predict
from hf_soups.evaluation.tasks import text_generation
from hf_soups.evaluation.tasks.text_generation import TextGeneration, windows
from hf_soups.recipe import Data, Evaluate

from .conftest import WORDS, sentences
from .word_tokenizer import word_tokenizer

Write = Callable[[str, Mapping[str, Sequence[Any]]], str]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def words() -> Any:
    """A tokenizer which pads with nothing."""
    return word_tokenizer()


def writer(kind: str = "gpt2", positions: int = 64) -> Any:
    """A small random language model with no token to pad with."""
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    size = len(WORDS) + 3
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "gpt2":
            config = GPT2Config(
                vocab_size=size, n_embd=16, n_layer=2, n_head=2, n_positions=positions, initializer_range=0.5
            )
            return GPT2LMHeadModel(config)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=size, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
                max_position_embeddings=positions, initializer_range=0.5,
            )
        )  # fmt: skip


def texts_as_examples(texts: Sequence[Any]) -> Examples:
    scored = [text if isinstance(text, str) else text[1] for text in texts]
    return Examples(tuple(texts), np.array([len(t.encode()) for t in scored]), None, Source(path="made.csv"))


def asked(model: Any, words: Any, texts: Sequence[Any], **how: Any) -> Ragged:
    found = predict(TextGeneration(), model, words, texts_as_examples(texts), **how)
    assert isinstance(found, Ragged)
    return found


def plain_losses(model: Any, words: Any, text: str) -> torch.Tensor:
    """[tokens] of one text after BOS, as the model itself computes its loss."""
    ids = torch.tensor([[words.bos_token_id, *words(text)["input_ids"]]])
    with torch.no_grad():
        logits = model.eval()(input_ids=ids).logits[0].double()
        mean = model(input_ids=ids, labels=ids).loss
    losses = -logits[:-1].log_softmax(-1)[torch.arange(ids.shape[1] - 1), ids[0, 1:]]
    assert losses.mean().item() == pytest.approx(mean.item(), rel=1e-5)
    return losses


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_perplexity_is_that_of_all_tokens_however_they_are_batched(kind: str, words: Any) -> None:
    model, texts = writer(kind), sentences(21)
    losses = [plain_losses(model, words, text) for text in texts]
    outputs = asked(model, words, texts, batch_size=8)
    for row, expected in enumerate(losses):
        assert outputs[row][:, 0] == pytest.approx(expected.numpy(), abs=1e-5)
    alone = asked(model, words, texts, batch_size=1)
    assert alone.values == pytest.approx(outputs.values, abs=1e-5)
    every = torch.cat(losses)
    sizes = [len(text.encode()) for text in texts]
    measured = {
        "perplexity": every.mean().exp().item(),
        "loss": every.mean().item(),
        "bits_per_byte": every.sum().item() / math.log(2) / sum(sizes),
    }
    for name, value in measured.items():
        assert score(LANGUAGE_MODEL[name], outputs, sizes) == pytest.approx(value, rel=1e-5), name


def test_only_the_completion_counts(words: Any) -> None:
    model = writer()
    outputs = asked(model, words, [("the film was", " very good"), ("", "not bad"), ("a plot", "")], batch_size=2)
    assert outputs.lengths.tolist() == [2, 2, 0]
    whole = plain_losses(model, words, "the film was very good")
    assert outputs[0][:, 0] == pytest.approx(whole[-2:].numpy(), abs=1e-5)


def test_white_space_before_a_completion_belongs_to_it(table: Write) -> None:
    path = table("a.jsonl", {"prompt": ["Is it? "], "completion": ["Yes."]})
    examples = load(Data(path, "test"), TextGeneration())
    assert examples.inputs == (("Is it?", " Yes."),) and list(examples.references) == [5]


@pytest.mark.parametrize(("length", "scored", "width"), [(10, 1, 4), (11, 1, 5), (30, 17, 8), (9, 8, 4), (3, 1, 8)])
def test_windows_count_every_token_once_after_half_a_window(length: int, scored: int, width: int) -> None:
    counted: list[int] = []
    for window in windows(range(length), scored, width):
        assert len(window.ids) <= width
        assert window.scored >= min(width // 2, window.ids[window.scored]) and window.scored >= 1
        counted += window.ids[window.scored :]
    assert counted == list(range(scored, length))


def test_a_text_longer_than_the_model_is_read_in_windows(words: Any) -> None:
    model = writer(positions=16)
    text = " ".join(sentences(12))
    outputs = asked(model, words, [text, "good"], batch_size=2)
    ids = [words.bos_token_id, *words(text)["input_ids"]]
    assert outputs.lengths.tolist() == [len(ids) - 1, 1] and len(ids) > 40
    with torch.no_grad():  # the 31st token is in the window of tokens 16 to 31
        logits = model.eval()(input_ids=torch.tensor([ids[16:32]])).logits[0, -2].double()
    assert outputs[0][30, 0] == pytest.approx(-logits.log_softmax(-1)[ids[31]].item(), abs=1e-5)


def test_parts_of_a_batch_with_too_many_logits_give_the_same(words: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, texts = writer(), sentences(9)
    whole = asked(model, words, texts, batch_size=9)
    monkeypatch.setattr(text_generation, "LOGITS", 2 * 21 * (len(WORDS) + 3))  # two rows of twenty words at once
    assert asked(model, words, texts, batch_size=9).values == pytest.approx(whole.values, abs=1e-6)


def test_empty_texts_count_nothing_and_only_empty_texts_are_an_error(words: Any, table: Write) -> None:
    outputs = asked(writer(), words, ["", "good film", ""], batch_size=1)
    assert outputs.lengths.tolist() == [0, 2, 0]
    with pytest.raises(EvaluationError, match=r"a\.jsonl, column text: every text is empty"):
        load(Data(table("a.jsonl", {"text": ["", ""]}), "test"), TextGeneration())


def test_columns_are_found_or_named(table: Write) -> None:
    both: dict[str, Sequence[str]] = {"question": ["q"], "answer": ["a"], "lyrics": ["la la"]}
    path = table("a.jsonl", both)
    assert load(Data(path, "test"), TextGeneration()).inputs == (("q", "a"),)
    assert load(Data(path, "test", text=("lyrics",)), TextGeneration()).inputs == ("la la",)
    named = Data(path, "test", columns={"prompt": "answer", "completion": "lyrics"})
    assert load(named, TextGeneration()).inputs == (("a", "la la"),)
    with pytest.raises(EvaluationError, match=r"which column is the text\? It has lyrics"):
        load(Data(table("b.jsonl", {"lyrics": ["la"]}), "test"), TextGeneration())


def test_a_tokenizer_without_a_first_token_is_an_error(tokenizer: Any) -> None:
    with pytest.raises(EvaluationError, match="neither a BOS nor an EOS token"):
        asked(writer(), tokenizer, ["good"])


def test_the_table_has_intervals_and_no_ensemble(words: Any, table: Write, tmp_path: Path) -> None:
    section = Evaluate({"test": Data(table("a.jsonl", {"text": sentences(60)}), "test")}, task="text-generation")
    evaluator = Evaluator(section, (), Predictions(tmp_path / "cache"))
    outputs = evaluator.outputs("run", lambda: (writer(), words))
    found = evaluator.row("run", "ingredient", outputs).scores["test"]["perplexity"]
    assert found.low < found.value < found.high
    assert evaluator.ensemble([outputs["test"], outputs["test"]]) is None
    again = Evaluator(section, (), Predictions(tmp_path / "cache"))
    kept = again.outputs("run", lambda: pytest.fail("predicted twice"))["test"]
    first = outputs["test"]
    assert isinstance(kept, Ragged) and isinstance(first, Ragged)
    assert kept.values.tobytes() == first.values.tobytes() and kept.offsets.tolist() == first.offsets.tolist()


def test_the_architectures_name_the_task() -> None:
    assert tasks.infer({"architectures": ["LlamaForCausalLM"]}) == "text-generation"
    assert tasks.infer({"architectures": ["GPT2LMHeadModel"]}) == "text-generation"
