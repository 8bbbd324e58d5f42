"""A label for each word: read from lists, predicted at each word's first piece, scored as entities."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
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
from hf_soups.evaluation.outputs import Outputs, Ragged
from hf_soups.evaluation.predict import predict
from hf_soups.evaluation.tasks.token_classification import TokenClassification
from hf_soups.recipe import Data, Evaluate

from .conftest import sentences
from .small_bert import small_bert

Write = Callable[[str, Mapping[str, Sequence[Any]]], str]
NAMES = ("B-PER", "I-PER", "O", "B-LOC", "I-LOC")
pytestmark = pytest.mark.usefixtures("one_thread")


def words(count: int, seed: int = 0, longest: int = 12) -> list[list[str]]:
    """Sentences in words, every third of which has two pieces."""
    return [
        [word + "s" * (i % 3 == 0) for i, word in enumerate(text.split())] for text in sentences(count, seed, longest)
    ]


def tags(rows: Sequence[Sequence[str]], seed: int = 0) -> list[list[str]]:
    random = np.random.default_rng(seed)
    return [[str(random.choice(NAMES)) for _ in row] for row in rows]


def examples_of(rows: Sequence[Sequence[str]]) -> Examples:
    ids = tuple(np.zeros(len(row), dtype=np.int64) for row in rows)
    return Examples(tuple(map(tuple, rows)), ids, None, Source(path="made.jsonl"))


def ragged(outputs: Outputs | None) -> Ragged:
    assert isinstance(outputs, Ragged)
    return outputs


def test_tags_are_read_by_name_and_by_id(table: Write, tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, Features, Value
    from datasets import Sequence as ListOf

    rows = words(10)
    named = tags(rows)
    task = TokenClassification(NAMES)
    by_name = load(Data(table("a.jsonl", {"tokens": rows, "ner_tags": named}), "test"), task)
    other_order = sorted(NAMES)
    kinds = Features({"words": ListOf(Value("string")), "tags": ListOf(ClassLabel(names=other_order))})
    columns = {"words": rows, "tags": [[other_order.index(tag) for tag in row] for row in named]}
    Dataset.from_dict(columns, features=kinds).to_parquet(tmp_path / "b.parquet")
    by_class = load(Data(str(tmp_path / "b.parquet"), "test"), task)
    ids = [[NAMES.index(tag) for tag in row] for row in named]
    by_id = load(Data(table("c.jsonl", {"w": rows, "t": ids}), "test", text=("w",), label="t"), task)
    for found in (by_name, by_class, by_id):
        assert [row.tolist() for row in found.references] == ids
        assert found.inputs == tuple(map(tuple, rows))
    assert by_name.fingerprint == by_class.fingerprint


@pytest.mark.parametrize("side", ["right", "left"])
def test_batches_answer_as_one_sentence_at_a_time_at_each_words_first_piece(tokenizer: Any, side: str) -> None:
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.padding_side = side
    model, rows = small_bert("TokenClassification", num_labels=5), [*words(25), [], ["film"]]
    model.bert.embeddings.position_embeddings.weight.data.zero_()  # or padding on the left would move the words
    outputs = ragged(predict(TokenClassification(NAMES), model, tokenizer, examples_of(rows), batch_size=6))
    assert len(outputs) == 27 and outputs.lengths.tolist() == [len(row) for row in rows]
    for row, some in enumerate(rows):
        if not some:
            continue
        pieces = tokenizer(some, is_split_into_words=True, return_tensors="pt")
        with torch.inference_mode():
            logits = model(**pieces).logits[0]
        first = [pieces.word_ids().index(word) for word in range(len(some))]
        np.testing.assert_allclose(outputs[row], logits[first].numpy(), atol=1e-5)


def test_words_beyond_the_cut_count_as_in_no_entity_and_are_told(tokenizer: Any) -> None:
    model = small_bert("TokenClassification", num_labels=5)
    rows = [["films"] * 10, ["film"] * 3]  # two pieces a word: with 12 tokens, 5 words are read
    whole = ragged(predict(TokenClassification(NAMES), model, tokenizer, examples_of(rows)))
    with pytest.warns(UserWarning, match=r"made.jsonl: 5 of 13 words, in 1 of 2 rows, lie beyond the 12 tokens"):
        cut = ragged(predict(TokenClassification(NAMES), model, tokenizer, examples_of(rows), max_length=12))
    assert cut[0][5:].argmax(axis=1).tolist() == [NAMES.index("O")] * 5
    np.testing.assert_allclose(cut[1], whole[1], atol=1e-5)
    nameless = small_bert("TokenClassification", num_labels=2)
    with pytest.warns(UserWarning, match="5 of 13 words"):
        first = predict(TokenClassification(("a", "b")), nameless, tokenizer, examples_of(rows), max_length=12)
    assert ragged(first)[0][5:].argmax(axis=1).tolist() == [0] * 5


def test_a_word_without_pieces_is_answered_and_is_no_cut(tokenizer: Any) -> None:
    model = small_bert("TokenClassification", num_labels=5)
    outputs = ragged(predict(TokenClassification(NAMES), model, tokenizer, examples_of([["the", "\u200b", "film"]])))
    plain = ragged(predict(TokenClassification(NAMES), model, tokenizer, examples_of([["the", "film"]])))
    assert outputs[0][1].argmax() == NAMES.index("O")
    np.testing.assert_allclose(outputs[0][[0, 2]], plain[0], atol=1e-5)


@pytest.mark.parametrize("spaces", [False, True])
def test_words_that_a_tokenizer_glues_together_are_told(spaces: bool, tmp_path: Path) -> None:
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer, RobertaTokenizer

    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    vocabulary = {piece: i for i, piece in enumerate([*pieces, "Ġa"])}
    RobertaTokenizer(vocab=vocabulary, merges=[("Ġ", "a")], add_prefix_space=spaces).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    task, model = TokenClassification(NAMES), small_bert("TokenClassification", num_labels=5)
    with pytest.warns(UserWarning, match="no spaces.*add_prefix_space=True") if not spaces else nullcontext():
        (item,) = task.encode(model, tokenizer, examples_of([["ab", "a"]]), None)
    read = tokenizer.convert_ids_to_tokens(item.ids["input_ids"])
    assert read == (["<s>", "Ġa", "b", "Ġa", "</s>"] if spaces else ["<s>", "a", "b", "a", "</s>"])
    assert item.first.tolist() == [1, 3]


def test_a_table_has_scores_with_intervals_and_an_ensemble(table: Write, tmp_path: Path, tokenizer: Any) -> None:
    rows = words(60, seed=3)
    models = [small_bert("TokenClassification", seed, num_labels=5) for seed in range(2)]
    task = TokenClassification(NAMES)
    logits = [ragged(predict(task, model, tokenizer, examples_of(rows))) for model in models]
    # The first model is right but for every eighth sentence, whose entities are shifted by one label.
    truth = [[NAMES[(int(label) + (row % 8 == 0)) % 5] for label in logits[0][row].argmax(axis=1)] for row in range(60)]
    section = Evaluate(
        {"test": Data(table("t.jsonl", {"tokens": rows, "tags": truth}), "test")},
        task="token-classification",
        metrics=("f1", "precision", "recall", "accuracy"),
    )
    evaluator = Evaluator(section, NAMES, Predictions(tmp_path / "cache"))
    outputs = [evaluator.outputs(f"m{i}", partial(tuple, (model, tokenizer))) for i, model in enumerate(models)]
    again = evaluator.outputs("m0", lambda: pytest.fail("it was in the cache"))
    assert ragged(again["test"]).values.tobytes() == ragged(outputs[0]["test"]).values.tobytes()
    together = evaluator.ensemble([one["test"] for one in outputs])
    expected = (logits[0].values.astype(np.float64) + logits[1].values) / 2
    np.testing.assert_allclose(ragged(together).values, expected, atol=1e-6)
    first = evaluator.row("first", "ingredient", outputs[0], best=outputs[0])
    second = evaluator.row("second", "ingredient", outputs[1], best=outputs[0])
    right = sum(len(row) for i, row in enumerate(rows) if i % 8)
    assert first.scores["test"]["accuracy"].value == pytest.approx(right / sum(map(len, rows)))
    for metric, found in first.scores["test"].items():
        assert found.low < found.value < found.high, metric
        assert first.difference["test"][metric].value == 0 > second.difference["test"][metric].high


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"tokens": [["a"]], "x": [["O"]]}, r"which column is the tags\? It has tokens, x; say `columns: \{tags"),
        ({"text": ["a b"], "tags": [["O", "O"]]}, r"which column is the tokens\?"),
        ({"tokens": [["a"], ["b", "c"]], "tags": [["O"], ["O"]]}, r"column tags: row 1 .* has 1 tags for 2 words"),
        ({"tokens": [["a"], ["b"]], "tags": [["O"], ["B-ORG"]]}, r"label 'B-ORG' in row 1 .* not one of the model's"),
        ({"tokens": [["a", "b"], ["c"]], "tags": [[0, 1], [9]]}, r"label 9 in row 1 .* not one of the model's 5 ids"),
        ({"tokens": ["a b"], "tags": [["O", "O"]]}, r"column tokens: row 0 .* holds 'a b', not a list of words"),
        ({"tokens": [[], []], "tags": [[], []]}, r"column tags: no row has a word"),
        ({"tokens": [["a"], ["b"]], "tags": [["O"], [None]]}, r"1 rows have no label, the first is row 1"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_table_is_named(table: Write, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        load(Data(table("a.jsonl", columns), "test"), TokenClassification(NAMES))


def test_a_model_with_other_labels_is_refused(tokenizer: Any) -> None:
    with pytest.raises(EvaluationError, match=r"logits \[1, 3, 2\] for 1 sentences and 5 labels"):
        model = small_bert("TokenClassification", num_labels=2)
        predict(TokenClassification(NAMES), model, tokenizer, examples_of([["film"]]))


def test_the_task_is_found_by_the_architecture() -> None:
    assert tasks.infer({"architectures": ["BertForTokenClassification"]}) == "token-classification"
    assert tasks.infer({"architectures": ["RobertaForQuestionAnswering"]}) == "question-answering"
    assert tasks.infer({"architectures": ["DebertaV2ForMultipleChoice"]}) == "multiple-choice"
