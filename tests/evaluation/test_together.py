"""Language models together: the losses of the mean of their logits, in one pass over the data."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hf_soups
from hf_soups import Data, Evaluate, Ingredient, Recipe
from hf_soups.checkpoint import LocalFiles, Origin, Stored
from hf_soups.evaluation.cache import Predictions
from hf_soups.evaluation.evaluator import Evaluator
from hf_soups.evaluation.findings import findings
from hf_soups.evaluation.outputs import Ragged
from hf_soups.evaluation.predict import predict
from hf_soups.evaluation.results import Results
from hf_soups.evaluation.tasks.text_generation import TextGeneration
from hf_soups.evaluation.together import together
from hf_soups.model import fill, load_model
from hf_soups.pipeline import Options, run
from hf_soups.selection.candidates import Candidates
from tests.models import fine_tune

from .test_sequence_to_sequence import translator
from .test_text_generation import texts_as_examples, writer
from .word_tokenizer import word_tokenizer

TEXTS = ["the film is good", "a dull plot", "good", "", "the cast was not very good but the plot was fine " * 4]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three fine-tunes of one small language model."""
    folder = tmp_path_factory.mktemp("writers")
    writer(positions=16).save_pretrained(folder / "base")
    word_tokenizer().save_pretrained(folder / "base")
    return [fine_tune(folder / "base", folder / f"run-{i}", i, scale=0.3) for i in range(3)]


def opened(folder: Path) -> Stored:
    return Stored(LocalFiles(folder), Origin(folder.name))


def joint(folders: list[Path], **how: Any) -> Ragged:
    model = load_model(opened(folders[0]))
    fills = [partial(fill, model, opened(folder)) for folder in folders]
    found = together(TextGeneration(), model, fills, word_tokenizer(), texts_as_examples(TEXTS), **how)
    assert isinstance(found, Ragged)
    return found


def test_the_losses_are_those_of_the_mean_logits(folders: list[Path]) -> None:
    found, words = joint(folders), word_tokenizer()
    models = [load_model(opened(folder)) for folder in folders]
    for row, text in enumerate(TEXTS[:3]):
        ids = torch.tensor([[words.bos_token_id, *words(text)["input_ids"]]])
        with torch.inference_mode():
            mean = sum(model(input_ids=ids).logits[0].double() for model in models) / 3
        losses = -mean[:-1].log_softmax(-1)[torch.arange(ids.shape[1] - 1), ids[0, 1:]]
        assert found[row][:, 0] == pytest.approx(losses.numpy(), abs=1e-5)
    alone = [predict(TextGeneration(), model, words, texts_as_examples(TEXTS)) for model in models]
    assert all(isinstance(one, Ragged) and one.offsets.tolist() == found.offsets.tolist() for one in alone)
    assert found.lengths[3] == 0 and found.lengths[4] > 16  # more than one window


def test_a_model_with_itself_says_what_it_says_alone(folders: list[Path]) -> None:
    alone = predict(TextGeneration(), load_model(opened(folders[0])), word_tokenizer(), texts_as_examples(TEXTS))
    assert isinstance(alone, Ragged)
    assert np.allclose(joint(folders[:1] * 2).values, alone.values, atol=1e-5)


def test_the_memory_for_logits_changes_the_number_of_passes_and_no_loss(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = joint(folders)
    filled: list[str] = []
    model = load_model(opened(folders[0]))

    def counted(folder: Path) -> None:
        filled.append(folder.name)
        fill(model, opened(folder))

    fills = [partial(counted, folder) for folder in folders]
    small = together(TextGeneration(), model, fills, word_tokenizer(), texts_as_examples(TEXTS), logits=1)
    assert isinstance(small, Ragged) and np.allclose(small.values, whole.values, atol=1e-5)
    assert len(filled) > 3 and filled == [folder.name for folder in folders] * (len(filled) // 3)


def data(tmp_path: Path) -> Evaluate:
    rows = [{"text": text} for text in TEXTS]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Evaluate({"test": Data(str(tmp_path / "test.jsonl"), "test")}, "text-generation")


def test_the_joint_pass_is_made_once_and_kept_under_all_of_the_models(folders: list[Path], tmp_path: Path) -> None:
    section, cache = data(tmp_path), Predictions(tmp_path / "cache")

    def asked(some: list[Path], max_memory: Any = None) -> Any:
        candidates = Candidates(
            Evaluator(section, (), cache), lambda i: opened(Path(str(i.model))), max_memory=max_memory
        )
        found = candidates.ensemble([candidates.open(Ingredient(str(folder))) for folder in some], "test")
        assert isinstance(found, Ragged)
        return found.values

    first, misses = asked(folders), cache.misses
    assert np.allclose(first, joint(folders).values, atol=1e-6)
    assert np.array_equal(asked(folders), first) and cache.misses == misses
    assert not np.array_equal(asked(folders[:2]), first) and cache.misses == misses + 1
    cache = Predictions(tmp_path / "other")
    assert np.array_equal(asked(folders, {"cpu": 14_000}), first)  # from disk, layer by layer


def test_the_table_has_the_ensemble_or_says_why_not(folders: list[Path], tmp_path: Path) -> None:
    recipe = Recipe(tuple(Ingredient(str(folder)) for folder in folders), evaluate=data(tmp_path))
    results = hf_soups.evaluate(recipe)
    (row,) = [row for row in results.rows if row.kind == "ensemble"]
    assert row.scores["test"]["perplexity"].value == pytest.approx(
        float(np.exp(joint(folders).values.astype(np.float64).mean())), rel=1e-5
    )
    assert results.no_ensemble == ""


def test_where_answers_are_texts_the_table_and_the_card_say_that_there_is_none(tmp_path: Path) -> None:
    translator().save_pretrained(tmp_path / "base")
    word_tokenizer(ends=True).save_pretrained(tmp_path / "base")
    runs = [fine_tune(tmp_path / "base", tmp_path / f"run-{i}", i) for i in range(2)]
    rows = [{"document": text, "summary": "good film"} for text in TEXTS[:3]]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    section = Evaluate(
        {"test": Data(str(tmp_path / "test.jsonl"), "test")},
        "summarization",
        batch_size=1,
        options={"max_new_tokens": 3},
    )
    outcome = run(Recipe(tuple(Ingredient(str(one)) for one in runs), evaluate=section), Options(out=tmp_path / "soup"))
    results = outcome.results
    assert results is not None and "ensemble" not in {row.kind for row in results.rows}
    assert "no mean" in results.no_ensemble and Results.from_json(results.to_json()).no_ensemble == results.no_ensemble
    assert any("ensemble: not computed: " in found.message for found in findings(results))
    assert "The ensemble of all candidates was not computed: " in (tmp_path / "soup" / "README.md").read_text()
