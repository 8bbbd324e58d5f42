"""Sentences as vectors: cosines against scores, and candidates ranked for queries."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr  # type: ignore[import-untyped]

from hf_soups.checkpoint import StateDict
from hf_soups.errors import EvaluationError
from hf_soups.evaluation import tasks
from hf_soups.evaluation.data import load
from hf_soups.evaluation.metrics import RETRIEVAL, SIMILARITY, score
from hf_soups.evaluation.outputs import Ragged, take
from hf_soups.evaluation.predict import predict
from hf_soups.evaluation.statistics import interval
from hf_soups.evaluation.tasks.embedding import Reader, reader
from hf_soups.evaluation.tasks.retrieval import Retrieval
from hf_soups.evaluation.tasks.similarity import SentenceSimilarity
from hf_soups.recipe import Data, Evaluate

from .conftest import WORDS, dense, sentences

Write = Callable[[str, Mapping[str, Sequence[Any]]], str]
pytestmark = pytest.mark.usefixtures("one_thread")


def encoder(seed: int = 0) -> Any:
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(WORDS) + 5, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, initializer_range=0.5,
    )  # fmt: skip
    return BertModel(config).eval()


def vector(model: Any, tokenizer: Any, text: str, pooling: str) -> np.ndarray:
    """One text by itself, without padding, mask or hf_soups."""
    with torch.no_grad():
        states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].double().numpy()
    return np.asarray(states[0] if pooling == "cls" else states.mean(axis=0))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_similarities_are_cosines_whatever_shares_the_batch(table: Write, tokenizer: Any, pooling: Any) -> None:
    texts = sentences(40)
    left, right, scores = texts[:20], texts[20:], [i % 6 for i in range(20)]
    path = table("pairs.csv", {"sentence1": left, "sentence2": right, "score": scores})
    task, model = SentenceSimilarity(), encoder()
    examples = load(Data(path, "test"), task)
    found = dense(predict(task, model, Reader(tokenizer, pooling), examples, batch_size=7))
    alone = dense(predict(task, model, Reader(tokenizer, pooling), examples, batch_size=1))
    expected = [cosine(*(vector(model, tokenizer, t, pooling) for t in pair)) for pair in zip(left, right, strict=True)]
    assert found.shape == (20, 1) and found[:, 0] == pytest.approx(expected, abs=1e-5)
    assert found == pytest.approx(alone, abs=1e-5)
    assert score(SIMILARITY["spearmanr"], found, examples.references) == pytest.approx(
        spearmanr(scores, found[:, 0])[0]
    )
    assert score(SIMILARITY["pearsonr"], found, examples.references) == pytest.approx(
        pearsonr(scores, found[:, 0].astype(float))[0]
    )


NAMES = {
    "pooling": "1_Pooling/config.json",
    "modules": "modules.json",
    "bert": "sentence_bert_config.json",
    "prompts": "config_sentence_transformers.json",
}
MODULES = [
    {"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]


@pytest.fixture
def read(tokenizer: Any, tmp_path: Path) -> Callable[..., Reader]:
    """read(modules=..., pooling=...): what is made of a checkpoint with a tokenizer and these files."""
    tokenizer.save_pretrained(tmp_path)
    own = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def made(**content: Any) -> Reader:
        return reader(StateDict({}, assets={**own, **{NAMES[k]: json.dumps(v).encode() for k, v in content.items()}}))

    return made


def test_the_pooling_is_what_the_files_say(read: Callable[..., Reader]) -> None:
    assert read().pooling == "mean"
    flags = {"word_embedding_dimension": 16, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    assert read(modules=MODULES, pooling=flags).pooling == "cls"
    assert read(modules=MODULES, pooling={"pooling_mode": "mean"}).pooling == "mean"
    assert read(modules=MODULES[:2], pooling={"pooling_mode": "cls"}, bert={"max_seq_length": 8}).longest == 8
    both = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}
    for config, says in ((both, "cls and mean"), ({"pooling_mode_max_tokens": True}, "max_tokens"), ({}, "nothing")):
        with pytest.raises(EvaluationError, match=f"pooled by {says}; mean or cls"):
            read(modules=MODULES, pooling=config)
    dense_layer = {"idx": 2, "path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    with pytest.raises(EvaluationError, match="sentences go through Dense"):
        read(modules=[*MODULES[:2], dense_layer], pooling={"pooling_mode": "mean"})
    with pytest.raises(EvaluationError, match="sets a prompt before every text"):
        read(prompts={"prompts": {"query": "query: "}, "default_prompt_name": "query"})


def test_texts_are_cut_where_the_encoder_was_trained_to(table: Write, tokenizer: Any) -> None:
    path = table("p.csv", {"sentence1": ["good bad film plot"], "sentence2": ["good bad sad"], "score": [1]})
    task = SentenceSimilarity()
    examples = load(Data(path, "test"), task)
    short = dense(predict(task, encoder(), Reader(tokenizer, longest=4), examples))
    assert short[0, 0] == pytest.approx(1.0)  # both are [CLS] good bad [SEP]
    whole = dense(predict(task, encoder(), Reader(tokenizer, longest=4), examples, max_length=16))
    assert whole[0, 0] < 0.999


def test_candidates_are_ranked_by_their_cosine_with_the_query(table: Write, tokenizer: Any) -> None:
    texts = sentences(30)
    rows: dict[str, list[Any]] = {
        "query": texts[:5],
        "candidates": [texts[5 + i : 8 + 2 * i] for i in range(5)],
        "relevant": [[0], [1, 2], [0], [3], [4, 0]],
    }
    task, model = Retrieval(), encoder()
    examples = load(Data(table("r.jsonl", rows), "test"), task)
    assert examples.references == ((0,), (1, 2), (0,), (3,), (0, 4))
    found = predict(task, model, Reader(tokenizer), examples, batch_size=2)
    task.check(found, examples, "here")
    assert isinstance(found, Ragged) and found.lengths.tolist() == [3, 4, 5, 6, 7]
    for row, (query, *candidates) in enumerate(examples.inputs):
        own = vector(model, tokenizer, query, "mean")
        expected = [cosine(own, vector(model, tokenizer, text, "mean")) for text in candidates]
        assert found[row][:, 0] == pytest.approx(expected, abs=1e-5)
    with pytest.raises(EvaluationError, match="not one number for each candidate"):
        task.check(take(found, [1, 0, 2, 3, 4]), examples, "here")


def test_without_lists_every_document_of_the_data_is_a_candidate(table: Write, tokenizer: Any) -> None:
    texts = sentences(12)
    rows = {"question": [*texts[:5], texts[0]], "answer": [*texts[6:10], texts[6], texts[11]]}
    task, model = Retrieval(), encoder()
    examples = load(Data(table("qa.csv", rows), "test"), task)
    assert examples.choices == (*texts[6:10], texts[11])
    # the first question occurs twice, with two answers; the fifth has the first one's
    assert examples.references == ((0, 4), (1,), (2,), (3,), (0,), (0, 4))
    found = predict(task, model, Reader(tokenizer), examples, batch_size=2)
    assert isinstance(found, Ragged) and found.lengths.tolist() == [5] * 6
    expected = cosine(*(vector(model, tokenizer, text, "mean") for text in (texts[2], texts[9])))
    assert found[2][3, 0] == pytest.approx(expected, abs=1e-5)
    few = examples.select([3])
    assert predict(task, model, Reader(tokenizer), few)[0] == pytest.approx(found[3], abs=1e-5)


def test_lists_that_cannot_be_ranked_are_named(table: Write) -> None:
    rows: dict[str, list[Any]] = {"query": ["a", "b"], "candidates": [["x", "y"], []], "relevant": [[0], [0]]}
    with pytest.raises(EvaluationError, match=r"row 1 .*no list of texts to rank"):
        load(Data(table("a.jsonl", rows), "test"), Retrieval())
    for wrong in ([2], [-1], []):
        rows = {"query": ["a", "b"], "candidates": [["x", "y"], ["x", "y"]], "relevant": [[0], wrong]}
        with pytest.raises(EvaluationError, match=r"row 1 .*has 2 candidates and .* as relevant"):
            load(Data(table("b.jsonl", rows), "test"), Retrieval())
    with pytest.raises(EvaluationError, match=r"which column is the document\?"):
        load(Data(table("c.csv", {"query": ["a"], "other": ["x"]}), "test"), Retrieval())


def rankings() -> tuple[Ragged, list[tuple[int, ...]]]:
    """Rows of 1 to 40 candidates, with ties; some have more relevant ones than anybody looks at."""
    random = np.random.default_rng(3)
    lengths = random.integers(1, 40, size=60)
    values = random.integers(-9, 9, size=(int(lengths.sum()), 1)).astype(np.float32)
    relevant = [
        tuple(sorted(random.choice(n, size=random.integers(1, min(n, 14) + 1), replace=False).tolist()))
        for n in lengths
    ]
    return Ragged(values, np.concatenate([[0], np.cumsum(lengths)])), relevant


def test_metrics_of_rankings_are_what_they_say() -> None:
    from sklearn.metrics import ndcg_score

    outputs, relevant = rankings()
    without_ties = Ragged(
        outputs.values - np.arange(len(outputs.values), dtype=np.float32)[:, None] / 1e5, outputs.offsets
    )
    for found in (outputs, without_ties):
        for name, metric in RETRIEVAL.items():
            module = metric.as_evaluate()
            lists = [found[row][:, 0].tolist() for row in range(len(found))]
            assert module.compute(predictions=lists, references=relevant)[name] == pytest.approx(
                score(metric, found, relevant), abs=1e-12
            )
    gains = []
    for row, some in enumerate(relevant):
        if len(without_ties[row]) > 1:
            truth = np.isin(np.arange(len(without_ties[row])), some)[None]
            gains.append(ndcg_score(truth, without_ties[row].T, k=10))
        else:
            gains.append(1.0)
    assert score(RETRIEVAL["ndcg@10"], without_ties, relevant) == pytest.approx(np.mean(gains), abs=1e-9)


def test_a_hand_made_ranking() -> None:
    numbers = np.array([0.1, 0.9, 0.5, *[0.0] * 9, 0.7, 0.8], np.float32)[:, None]  # ranked 1, 13, 12, 2, 0, 3, 4, …
    outputs, relevant = Ragged(numbers, np.array([0, 14])), [(2, 11)]
    assert score(RETRIEVAL["mrr@10"], outputs, relevant) == 1 / 4
    assert score(RETRIEVAL["recall@10"], outputs, relevant) == 1 / 2
    ideal = 1 + 1 / np.log2(3)
    assert score(RETRIEVAL["ndcg@10"], outputs, relevant) == pytest.approx(1 / np.log2(5) / ideal)


def test_rankings_have_intervals() -> None:
    outputs, relevant = rankings()
    found = interval(RETRIEVAL["mrr@10"], outputs, relevant)
    assert found.low < found.value < found.high


def test_encoders_do_not_tell_their_task() -> None:
    with pytest.raises(EvaluationError, match="one of sentence-similarity, retrieval"):
        tasks.infer({"architectures": ["BertModel"]})
    tasks.check("retrieval", {"architectures": ["MPNetModel"]})


@pytest.mark.parametrize("task", ["sentence-similarity", "retrieval"])
def test_a_soup_of_encoders_is_measured_by_the_task_that_the_recipe_says(
    task: str, table: Write, tokenizer: Any, tmp_path: Path
) -> None:
    import hf_soups

    folders = []
    for seed in range(2):
        folder = tmp_path / f"run-{seed}"
        encoder(seed).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        (folder / "modules.json").write_text(json.dumps(MODULES))
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "cls"}))
        folders.append(hf_soups.Ingredient(str(folder)))
    texts = sentences(40)
    columns: dict[str, Sequence[Any]] = {"sentence1": texts[:20], "sentence2": texts[20:], "score": range(20)}
    if task == "retrieval":
        columns = {"query": texts[:20], "document": texts[20:]}
    datasets = {"test": Data(table("test.csv", columns), "test")}
    recipe = hf_soups.Recipe(tuple(folders), evaluate=Evaluate(datasets, task=task))
    found = hf_soups.evaluate(recipe)
    assert found.metrics == ({"sentence-similarity": "spearmanr", "retrieval": "ndcg@10"}[task],)
    names = {row.name for row in found.rows}
    assert names == {"run-0", "run-1", "mean individual", "uniform soup", "ensemble"}
    hf_soups.merge(recipe, tmp_path / "out", check=True)
    assert (tmp_path / "out" / "1_Pooling" / "config.json").is_file()
    assert found.metrics[0] in (tmp_path / "out" / "README.md").read_text()


def test_text_and_label_of_a_dataset_name_the_columns_of_similarity_too(table: Write) -> None:
    columns: dict[str, list[Any]] = {
        "sentence1": ["no"],
        "sentence2": ["no"],
        "a": ["x"],
        "b": ["y"],
        "score": [0],
        "people": [3],
    }
    path = table("a.jsonl", columns)
    found = load(Data(path, "test", text=("a", "b"), label="people"), SentenceSimilarity())
    assert found.inputs == (("x", "y"),) and found.references.tolist() == [3.0]
    with pytest.raises(EvaluationError, match="text names 1 columns, but the columns are sentence1, sentence2"):
        load(Data(path, "test", text=("a",)), SentenceSimilarity())


def test_text_and_label_of_a_dataset_name_the_columns_of_retrieval_or_are_refused(table: Write) -> None:
    columns: dict[str, list[Any]] = {
        "query": ["no"],
        "document": ["no"],
        "q": ["x"],
        "d": ["y"],
        "c": [["u", "v"]],
        "right": [1],
    }
    path = table("a.jsonl", columns)
    corpus = load(Data(path, "test", text=("q", "d")), Retrieval())
    assert corpus.inputs == ("x",) and corpus.choices == ("y",)
    lists = load(Data(path, "test", text=("q", "c"), label="right"), Retrieval())
    assert list(lists.inputs) == [("x", "u", "v")] and lists.references == ((1,),)
    with pytest.raises(EvaluationError, match="leave `label:` out"):
        load(Data(path, "test", text=("q", "d"), label="right"), Retrieval())
