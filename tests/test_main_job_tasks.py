"""The main job for models that answer in words, spans or choices: the task is found, the soup chosen and described."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hf_soups
from hf_soups import Data, Evaluate, Ingredient, Recipe, Select
from hf_soups.pipeline import Options, run
from tests.models import WORDS, fine_tune, tokenizer

TAGS = ("O", "B-ART", "I-ART")
PLAIN = WORDS[5:]


def model(folder: Path, head: str, **settings: Any) -> Path:
    """A tiny random BERT with this head and its tokenizer, saved by transformers."""
    import torch
    import transformers

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.BertConfig(vocab_size=len(WORDS), max_position_embeddings=40, **sizes, **settings)
    getattr(transformers, f"BertFor{head}")(config).save_pretrained(folder)
    tokenizer(folder)
    return folder


def tagged(random: np.random.Generator) -> dict[str, Any]:
    words = [str(word) for word in random.choice(PLAIN, 8)]
    tags = [TAGS[1 + (words[i - 1] == "film")] if word == "film" else "O" for i, word in enumerate(words)]
    return {"tokens": words, "ner_tags": tags}


def asked(random: np.random.Generator) -> dict[str, Any]:
    words = [str(word) for word in random.choice(PLAIN, 60)]  # longer than the model reads at once
    question = " ".join(random.choice(PLAIN, 3))
    return {"question": question, "context": " ".join(words), "answers": {"text": [words[40]], "answer_start": [0]}}


def chosen(random: np.random.Generator) -> dict[str, Any]:
    texts = [" ".join(random.choice(PLAIN, 4)) for _ in range(4)]
    return {"sent1": texts[0], **{f"ending{i}": texts[i + 1] for i in range(3)}, "label": int(random.integers(3))}


@pytest.mark.parametrize(
    ("task", "head", "row", "settings"),
    [
        ("token-classification", "TokenClassification", tagged, {"id2label": dict(enumerate(TAGS))}),
        ("question-answering", "QuestionAnswering", asked, {}),
        ("multiple-choice", "MultipleChoice", chosen, {}),
    ],
)
def test_a_soup_is_chosen_written_and_described(
    task: str, head: str, row: Callable[[np.random.Generator], dict[str, Any]], settings: dict[str, Any], tmp_path: Path
) -> None:
    base = model(tmp_path / "base", head, **settings)
    folders = [fine_tune(base, tmp_path / f"run-{i}", seed=i, scale=0.2) for i in range(3)]
    data = {}
    for role, seed in (("select", 1), ("test", 2)):
        random = np.random.default_rng(seed)
        path = tmp_path / f"{role}.jsonl"
        path.write_text("".join(json.dumps(row(random)) + "\n" for _ in range(30)))
        data[role] = Data(str(path), role)
    recipe = Recipe(
        tuple(Ingredient(str(folder)) for folder in folders),
        base=Ingredient(str(base)),
        select=Select("greedy"),
        evaluate=Evaluate(data),
    )
    outcome = run(recipe, Options(out=tmp_path / "soup", allow_single=True, check=True))
    results = outcome.results
    assert results is not None and results.task == task and outcome.selection is not None
    assert {found.kind for found in results.rows} >= {"base", "ingredient", "uniform", "greedy", "ensemble"}
    for found in results.rows:
        for name in data:
            (interval,) = found.scores[name].values()
            assert interval.low <= interval.value <= interval.high
    text = (tmp_path / "soup" / "README.md").read_text()
    assert f"pipeline_tag: {task}" in text and f"AutoModelFor{head}" in text
    written = Recipe((Ingredient(str(tmp_path / "soup")),), evaluate=Evaluate({"test": data["test"]}))
    again = hf_soups.evaluate(written)
    (greedy,) = [found for found in results.rows if found.kind == "greedy"]
    assert again.rows[0].scores["test"] == greedy.scores["test"]  # loaded as users will load it


def test_words_of_the_written_soup_are_scored_as_a_plain_loop_scores_them(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    base = model(tmp_path / "base", "TokenClassification", id2label=dict(enumerate(TAGS)))
    folders = [fine_tune(base, tmp_path / f"run-{i}", seed=i, scale=0.2) for i in range(2)]
    random = np.random.default_rng(3)
    rows = [tagged(random) for _ in range(20)]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    test = Evaluate({"test": Data(str(tmp_path / "test.jsonl"), "test")}, metrics=("accuracy",))
    outcome = run(Recipe(tuple(Ingredient(str(f)) for f in folders), evaluate=test), Options(out=tmp_path / "soup"))
    soup = AutoModelForTokenClassification.from_pretrained(tmp_path / "soup").eval()
    splitter = AutoTokenizer.from_pretrained(tmp_path / "soup")
    right = 0
    for one in rows:
        pieces = splitter(one["tokens"], is_split_into_words=True, return_tensors="pt")
        with torch.inference_mode():
            said = soup(**pieces).logits[0].argmax(dim=1)
        first = [pieces.word_ids().index(word) for word in range(len(one["tokens"]))]
        right += sum(TAGS[int(said[p])] == tag for p, tag in zip(first, one["ner_tags"], strict=True))
    assert outcome.results is not None
    (found,) = [row for row in outcome.results.rows if row.kind == "soup"]
    assert found.scores["test"]["accuracy"].value == pytest.approx(right / (20 * 8))
