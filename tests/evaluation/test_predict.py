"""Batched predictions are those of one input at a time, and leave the model as it was."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.text import Text

from .conftest import classify, examples_of, sentences

Classifier = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("one_thread")


def one_by_one(model: Any, tokenizer: Any, texts: list[Text], max_length: int = 64) -> np.ndarray:
    model.eval()
    rows = []
    for text in texts:
        sides = (text,) if isinstance(text, str) else text
        encoded = tokenizer(*sides, return_tensors="pt", truncation=True, max_length=max_length)
        with torch.no_grad():
            rows.append(model(**encoded).logits[0].numpy())
    return np.stack(rows)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_batches_equal_one_input_at_a_time_in_the_order_of_the_data(
    classifier: Classifier, tokenizer: Any, batch_size: int
) -> None:
    model, texts = classifier(0, labels=3), sentences(50)
    logits = classify(model, tokenizer, examples_of(texts, [0] * 50), batch_size=batch_size, max_length=32)
    assert logits.shape == (50, 3) and logits.dtype == np.float32
    np.testing.assert_allclose(logits, one_by_one(model, tokenizer, [*texts]), atol=1e-5)
    assert np.ptp(logits, axis=0).min() > 0.1, "inputs matter, so the order was really tested"


def test_pairs_are_read_as_pairs(classifier: Classifier, tokenizer: Any) -> None:
    model, texts = classifier(0), sentences(40)
    pairs: list[Text] = list(zip(texts[:20], texts[20:], strict=True))
    logits = classify(model, tokenizer, examples_of(pairs, [0] * 20), batch_size=8, max_length=64)
    np.testing.assert_allclose(logits, one_by_one(model, tokenizer, pairs), atol=1e-5)


def test_padding_is_put_on_the_side_that_the_tokenizer_says(tokenizer: Any) -> None:
    """XLNet reads its last token, and has its padding on the left."""
    from transformers import XLNetConfig, XLNetForSequenceClassification

    torch.manual_seed(0)
    config = XLNetConfig(
        vocab_size=len(tokenizer), d_model=16, n_layer=1, n_head=2, d_inner=32, pad_token_id=0, initializer_range=0.5
    )
    model, texts = XLNetForSequenceClassification(config), sentences(20)
    left = copy.deepcopy(tokenizer)
    left.padding_side = "left"
    padded = classify(model, left, examples_of(texts, [0] * 20), batch_size=5)
    single = classify(model, left, examples_of(texts, [0] * 20), batch_size=1)
    np.testing.assert_allclose(padded, single, atol=1e-5)


def test_long_inputs_are_cut_at_max_length_and_at_what_the_model_can_read(
    classifier: Classifier, tokenizer: Any
) -> None:
    model, long = classifier(0), " ".join(sentences(30))
    examples = examples_of([long, "good"], [0, 1])
    cut = classify(model, tokenizer, examples, batch_size=2, max_length=16)
    np.testing.assert_allclose(cut, one_by_one(model, tokenizer, [long, "good"], max_length=16), atol=1e-5)
    whole = classify(model, tokenizer, examples, batch_size=2)
    np.testing.assert_allclose(whole, one_by_one(model, tokenizer, [long, "good"], max_length=64), atol=1e-5)
    with pytest.raises(EvaluationError, match="max_length is 65, but the model reads at most 64 tokens"):
        classify(model, tokenizer, examples, batch_size=2, max_length=65)


def test_models_that_count_positions_in_their_own_way_are_not_overrun(tokenizer: Any) -> None:
    from transformers import GPT2Config, GPT2ForSequenceClassification, RobertaConfig, RobertaForSequenceClassification

    boundless = copy.deepcopy(tokenizer)
    boundless.model_max_length = 10**30
    examples = examples_of([" ".join(sentences(30)), "good"], [0, 1])
    small: dict[str, Any] = {"vocab_size": len(tokenizer), "pad_token_id": 0}
    roberta = RobertaConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=33,  # the first is for padding
        **small,
    )
    gpt2 = GPT2Config(n_embd=16, n_layer=1, n_head=2, n_positions=32, **small)
    for model in (RobertaForSequenceClassification(roberta), GPT2ForSequenceClassification(gpt2)):
        whole = classify(model, boundless, examples, batch_size=2)
        assert whole.tobytes() == classify(model, boundless, examples, batch_size=2, max_length=32).tobytes()
        with pytest.raises(EvaluationError, match="max_length is 33, but the model reads at most 32 tokens"):
            classify(model, boundless, examples, batch_size=2, max_length=33)


def test_every_model_sees_the_same_batches(classifier: Classifier, tokenizer: Any) -> None:
    examples = examples_of(sentences(30), [0] * 30)
    seen: list[list[list[list[int]]]] = []  # model → batch → row → token ids
    for seed in (0, 1):
        model = classifier(seed)
        batches: list[list[list[int]]] = []

        def note(_: Any, __: Any, inputs: dict[str, Any], batches: list[list[list[int]]] = batches) -> None:
            batches.append(inputs["input_ids"].tolist())

        model.register_forward_pre_hook(note, with_kwargs=True)
        classify(model, tokenizer, examples, batch_size=8)
        seen.append(batches)
    assert seen[0] == seen[1]
    lengths = [len(batch[0]) for batch in seen[0]]
    assert lengths == sorted(lengths, reverse=True) and len(set(lengths)) > 1, "similar lengths share a batch"


def test_inputs_that_a_model_does_not_know_are_left_out_but_a_wrapper_gets_all(
    classifier: Classifier, tokenizer: Any
) -> None:
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    class Wrapper(torch.nn.Module):
        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return self.inner(*args, **kwargs)

    examples = examples_of(sentences(9), [0] * 9)
    config = DistilBertConfig(vocab_size=len(tokenizer), dim=16, hidden_dim=32, n_layers=1, n_heads=2)
    assert classify(DistilBertForSequenceClassification(config), tokenizer, examples).shape == (9, 2)
    model = classifier(0)
    wrapped = classify(Wrapper(model), tokenizer, examples, max_length=64)
    assert wrapped.tobytes() == classify(model, tokenizer, examples, max_length=64).tobytes()


def test_one_thread_gives_the_bits_of_several(classifier: Classifier, tokenizer: Any) -> None:
    examples = examples_of(sentences(30), [0] * 30)
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            found.append(classify(classifier(0), tokenizer, examples, batch_size=4))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert np.array_equal(found[0], found[1])


def test_the_same_call_gives_the_same_bits(classifier: Classifier, tokenizer: Any) -> None:
    examples = examples_of(sentences(30), [0] * 30)
    first, second = (classify(classifier(0), tokenizer, examples, batch_size=8) for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_the_model_comes_back_as_it_was(classifier: Classifier, tokenizer: Any) -> None:
    model = classifier(0).to(torch.bfloat16)
    model.train()
    model.bert.encoder.eval()
    modes = [module.training for module in model.modules()]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    pointers = [p.data_ptr() for p in model.parameters()]
    classify(model, tokenizer, examples_of(sentences(9), [0] * 9), batch_size=4)
    assert [module.training for module in model.modules()] == modes
    assert [p.data_ptr() for p in model.parameters()] == pointers
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == before[name].dtype and torch.equal(tensor, before[name])
    assert not hasattr(model, "_is_accelerate_prepared") and all(p.requires_grad for p in model.parameters())


def test_a_bfloat16_model_is_evaluated_in_float32_unless_asked_otherwise(
    classifier: Classifier, tokenizer: Any
) -> None:
    examples = examples_of(sentences(9), [0] * 9)
    model = classifier(0).to(torch.bfloat16)
    wide = classify(model, tokenizer, examples, batch_size=4)
    reference = classify(classifier(0).to(torch.bfloat16).float(), tokenizer, examples, batch_size=4)
    assert wide.tobytes() == reference.tobytes()
    narrow = classify(model, tokenizer, examples, batch_size=4, dtype="bfloat16")
    assert narrow.dtype == np.float32 and 0 < np.abs(narrow - wide).max() < 0.5


def test_the_state_of_accelerate_is_left_as_found(classifier: Classifier, tokenizer: Any) -> None:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, PartialState

    model, examples = classifier(0), examples_of(sentences(9), [0] * 9)
    assert not PartialState._shared_state and not AcceleratorState._shared_state
    alone = classify(model, tokenizer, examples, batch_size=4)
    assert not PartialState._shared_state and not AcceleratorState._shared_state
    try:
        training = Accelerator(mixed_precision="bf16", cpu=True)
        among_training = classify(model, tokenizer, examples, batch_size=4)
        assert training.mixed_precision == "bf16"
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
    assert among_training.tobytes() == alone.tobytes(), "somebody's mixed precision is not ours"


def test_broken_weights_are_an_error_that_names_the_row(classifier: Classifier, tokenizer: Any) -> None:
    model = classifier(0)
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight[tokenizer.convert_tokens_to_ids("bad")] = float("nan")
    with pytest.raises(EvaluationError, match=r"made\.csv: the answer to row 1 .* is not finite"):
        classify(model, tokenizer, examples_of(["good", "bad", "great"], [0, 1, 0]), batch_size=1)


def test_what_is_no_classifier_or_has_no_padding_is_an_error(classifier: Classifier, tokenizer: Any) -> None:
    examples = examples_of(["good", "not bad"], [0, 1])
    with pytest.raises(EvaluationError, match="no logits for 2 inputs; load it as a sequence classifier"):
        classify(classifier(0).bert, tokenizer, examples, batch_size=2)
    bare = copy.deepcopy(tokenizer)
    bare.pad_token = None
    with pytest.raises(EvaluationError, match="no padding token"):
        classify(classifier(0), bare, examples, batch_size=2)
    assert classify(classifier(0), bare, examples, batch_size=1).shape == (2, 2)
