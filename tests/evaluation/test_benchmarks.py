"""Numbers of whole models: a user's function, or a task of lm-eval; kept when it is known what decides them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hf_soups.checkpoint import LocalFiles, Origin, Stored
from hf_soups.errors import EvaluationError
from hf_soups.evaluation import lm_harness
from hf_soups.evaluation.benchmarks import Benchmark, Measured, own_function
from hf_soups.evaluation.cache import Predictions
from hf_soups.evaluation.evaluator import Evaluator
from hf_soups.evaluation.results import Results
from hf_soups.pipeline.choose import select
from hf_soups.pipeline.listener import Listener
from hf_soups.pipeline.taste import taste
from hf_soups.recipe import Data, Evaluate, Ingredient, Recipe, Select
from hf_soups.selection import greedy
from hf_soups.selection.candidates import Candidates
from hf_soups.selection.growth import grown
from tests.models import classifier

from .conftest import sentences

Write = Callable[[str, Mapping[str, Sequence[Any]]], str]
NAMES = ("negative", "positive")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def candidates(table: Write, tmp_path: Path) -> Callable[[Benchmark], Candidates]:
    """What scores soups of folders by one benchmark, named "mine"."""
    path = table("a.csv", {"text": sentences(4), "label": [0, 1, 0, 1]})
    evaluate = Evaluate({"validation": Data(path, "select")}, metrics=("mine",))

    def build(benchmark: Benchmark) -> Candidates:
        evaluator = Evaluator(evaluate, NAMES, Predictions(tmp_path / "cache"), own={"mine": benchmark})
        return Candidates(evaluator, lambda i: Stored(LocalFiles(Path(str(i.model))), Origin(name=i.label)))

    return build


def test_greedy_selects_by_a_users_own_function(candidates: Callable[[Benchmark], Candidates], tmp_path: Path) -> None:
    folders = [str(classifier(tmp_path / f"m{seed}", seed)) for seed in range(3)]
    biases = [0.0, 4.0, -1.0]
    for folder, bias in zip(folders, biases, strict=True):
        from safetensors.torch import load_file, save_file

        tensors = load_file(f"{folder}/model.safetensors")
        tensors["classifier.bias"] = torch.full((2,), bias)
        save_file(tensors, f"{folder}/model.safetensors", metadata={"format": "pt"})

    def distance(model: Any) -> float:
        assert not model.training
        return abs(model.classifier.bias[0].item() - 1.5)

    scores = candidates(own_function(distance, greater_is_better=False))
    recipe = Recipe(tuple(Ingredient(folder, name=f"m{i}") for i, folder in enumerate(folders)))
    selection = greedy(recipe, lambda r: scores.score(r, "validation", "mine"), sign=scores.evaluator.sign("mine"))
    # m0 alone is 1.5 away, m0 and m1 (2.0) 0.5, all three (1.0) 0.5 again: ties are kept.
    assert selection.kept == ("m0", "m1", "m2")
    assert [step.candidate for step in selection.steps] == [1.5, 0.5, 0.5]
    # The table holds what the task's usual metric says of the rows; the best individual is the benchmark's.
    asked = replace(recipe, select=Select(on="validation", metric="mine"))
    again = select(asked, scores, Listener())
    assert again is not None and again.kept == selection.kept
    assert grown(asked, again, scores).growth is None, "of whole models nothing is known for the k best"
    table = taste(asked, scores, selection)
    assert table.metrics == ("accuracy",)
    found = {row.kind: row.benchmarks for row in table.rows}
    assert found["greedy"] == found["uniform"] == {"mine": Measured(0.5)} and table.directions["mine"] == -1
    assert found["mean"] == found["ensemble"] == {} and table.benchmarks == ("mine",)
    assert (table.ranked_by, table.ranked_on, again.on) == ("mine", None, "")
    assert Results.from_json(table.to_json()).rows == table.rows
    alone = {row.name: row.difference["validation"]["accuracy"] for row in table.rows}
    assert (alone["m0"].value, alone["m0"].low, alone["m0"].high) == (0.0, 0.0, 0.0)


def test_a_number_is_kept_only_under_a_version(candidates: Callable[[Benchmark], Candidates], tmp_path: Path) -> None:
    checkpoint = Stored(LocalFiles(classifier(tmp_path / "m")), Origin(name="m"))
    calls: list[str] = []

    def evaluate(model: Any) -> float:
        calls.append(type(model).__name__)
        return 0.1

    for version, expected in ((None, 2), ("1", 3), ("1", 3), ("2", 4)):
        benchmark = own_function(evaluate, greater_is_better=True, version=version)
        values = [candidates(benchmark).measure(checkpoint, "mine") for _ in range(2)]
        assert values[0] == values[1] and values[0].stderr is None
        assert values[0].value == np.float32(0.1)
        assert len(calls) == expected


@pytest.mark.parametrize(("value", "reason"), [(float("nan"), "gave nan"), ("good", "gave str, not a number")])
def test_what_is_no_number_is_an_error(value: Any, reason: str) -> None:
    benchmark = own_function(lambda model: value, greater_is_better=True, name="quality")
    with pytest.raises(EvaluationError, match=f"quality: {reason}"):
        benchmark.run(None, None)


def test_without_lm_eval_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lm_eval", None)
    with pytest.raises(EvaluationError, match=r"pip install 'hf-soups\[lm-eval\]'"):
        lm_harness.named("lm_eval:arc_easy")


def test_lm_eval_runs_a_task_on_the_model_in_memory(tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    from .test_text_generation import writer
    from .word_tokenizer import word_tokenizer

    texts, choices = sentences(12), ["good", "bad", "dull"]
    rows = [{"text": text, "choices": choices, "gold": i % 3} for i, text in enumerate(texts)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {
        "task": "tiny", "dataset_path": "json", "test_split": "test", "output_type": "multiple_choice",
        "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.jsonl")}}, "doc_to_text": "{{text}}",
        "doc_to_target": "gold", "doc_to_choice": "{{choices}}",
        "metric_list": [{"metric": name, "higher_is_better": True} for name in ("acc", "acc_norm")],
    }  # fmt: skip
    model, words = writer().eval(), word_tokenizer()
    states = random.getstate(), torch.get_rng_state()
    benchmark = lm_harness.lm_eval(task)
    found = benchmark.run(model, words)
    right = []
    for i, text in enumerate(texts):
        ids = torch.tensor([words(text)["input_ids"]])
        with torch.no_grad():
            best = model(ids).logits[0, -1][words.convert_tokens_to_ids(choices)].argmax().item()
        right.append(best == i % 3)
    assert found.value == pytest.approx(np.mean(right))
    assert found.stderr == pytest.approx(np.std(right, ddof=1) / 12**0.5)
    assert benchmark.run(model, words) == found
    assert random.getstate() == states[0] and torch.equal(torch.get_rng_state(), states[1])
    assert lm_harness.lm_eval(task).identity == benchmark.identity != lm_harness.lm_eval(task, "acc_norm").identity
    with pytest.raises(EvaluationError, match="tiny: no metric 'acc_nrom'; it has acc, acc_norm; did you mean"):
        lm_harness.lm_eval(task, "acc_nrom")
