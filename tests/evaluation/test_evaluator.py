"""From a recipe's section to a table: everything is predicted once, nothing leaks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.cache import Predictions
from hf_soups.evaluation.evaluator import Evaluator
from hf_soups.evaluation.metrics import METRICS, own_metric, score
from hf_soups.evaluation.results import Results
from hf_soups.recipe import Data, Evaluate

from .conftest import dense, sentences

Write = Callable[[str, Mapping[str, Sequence[Any]]], str]
NAMES = ("negative", "positive")
POOL = sentences(460)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def section(table: Write) -> Evaluate:
    """120 rows to select on, 240 for the test of which two were selected on, 60 of another kind in groups of 3."""

    def file(name: str, texts: Sequence[str], **more: Sequence[Any]) -> str:
        labels = [NAMES["good" in text or "great" in text] for text in texts]
        return table(name, {"text": list(texts), "label": labels, **more})

    return Evaluate(
        datasets={
            "validation": Data(file("validation.csv", POOL[:120]), "select"),
            "test": Data(file("test.csv", [*POOL[120:358], POOL[0].upper(), POOL[1]]), "test"),
            "tweets": Data(file("tweets.csv", POOL[400:], author=[i // 3 for i in range(60)]), "shift", group="author"),
        },
        metrics=("accuracy", "roc_auc"),
        batch_size=32,
    )


@pytest.fixture
def evaluator(section: Evaluate, tmp_path: Path) -> Evaluator:
    return Evaluator(section, NAMES, Predictions(tmp_path / "cache"))


def test_models_are_built_once_and_never_for_known_predictions(
    evaluator: Evaluator, section: Evaluate, classifier: Callable[..., Any], tokenizer: Any, tmp_path: Path
) -> None:
    built: list[int] = []

    def load(seed: int) -> Callable[[], tuple[Any, Any]]:
        def build() -> tuple[Any, Any]:
            built.append(seed)
            return classifier(seed), tokenizer

        return build

    first = {seed: evaluator.outputs(f"run-{seed}", load(seed), {"tokenizer": "t"}) for seed in (0, 1)}
    assert built == [0, 1] and evaluator.cache.misses == 6
    again = Evaluator(section, NAMES, Predictions(tmp_path / "cache"))
    for seed in (0, 1):
        logits = dense(again.outputs(f"run-{seed}", load(seed), {"tokenizer": "t"}, datasets=["test"])["test"])
        assert logits.tobytes() == dense(first[seed]["test"]).tobytes()
    assert built == [0, 1] and (again.cache.hits, again.cache.misses) == (2, 0)
    again.outputs("run-0", load(0), {"tokenizer": "another"}, datasets=["test"])
    assert built == [0, 1, 0]


def test_rows_that_selection_has_seen_are_left_out_and_counted(evaluator: Evaluator) -> None:
    assert evaluator.reports["test"].dropped == 2 and evaluator.reports["test"].n == 238
    assert evaluator.datasets["test"].inputs == tuple(POOL[120:358])
    assert evaluator.reports["validation"].dropped == 0 and evaluator.reports["tweets"].groups == 20
    assert evaluator.names("shift") == ("tweets",) and evaluator.names("fit") == ()


def test_a_leak_is_an_error_before_any_model_is_built(section: Evaluate, table: Write, tmp_path: Path) -> None:
    leaky = table("leaky.csv", {"text": POOL[100:200], "label": [0, 1] * 50})
    datasets = {**section.datasets, "leaky": Data(leaky, "shift")}
    with pytest.raises(EvaluationError, match=r"leaky\.csv: 20 of 100 rows \(20\.0%\) are also in validation\.csv"):
        Evaluator(Evaluate(datasets), NAMES, Predictions(tmp_path))
    datasets = {**section.datasets, "twice": Data(section.datasets["test"].path, "calibrate")}
    with pytest.raises(EvaluationError, match=r"datasets test and twice.* in roles test and calibrate"):
        Evaluator(Evaluate(datasets), NAMES, Predictions(tmp_path))


def test_by_force_a_report_on_selection_data_is_made_and_counted(section: Evaluate, tmp_path: Path) -> None:
    again = Data(section.datasets["validation"].path, "test")
    forced = replace(section, datasets={**section.datasets, "again": again}, allow_overlap=True)
    reports = Evaluator(forced, NAMES, Predictions(tmp_path)).reports
    assert (reports["again"].n, reports["again"].dropped, reports["again"].shared) == (120, 0, 120)
    assert (reports["test"].dropped, reports["test"].shared) == (2, 0)
    twice = {**forced.datasets, "more": Data(section.datasets["validation"].path, "calibrate")}
    with pytest.raises(EvaluationError, match="datasets validation and more"):  # selections never share
        Evaluator(replace(forced, datasets=twice), NAMES, Predictions(tmp_path))


def test_fit_and_calibrate_rows_are_kept_out_of_reports_too(section: Evaluate, table: Write, tmp_path: Path) -> None:
    seen = table("seen.csv", {"text": [POOL[130], POOL[131]], "label": [0, 1]})
    for role in ("fit", "calibrate"):
        datasets = {"test": section.datasets["test"], "more": Data(seen, role)}
        evaluator = Evaluator(Evaluate(datasets), NAMES, Predictions(tmp_path))
        assert evaluator.reports["test"].dropped == 2
        assert not {POOL[130], POOL[131]} & set(evaluator.datasets["test"].inputs)


def test_an_ensemble_is_the_mean_of_logits(evaluator: Evaluator) -> None:
    random = np.random.default_rng(0)
    logits = [random.normal(size=(5, 2)).astype(np.float32) for _ in range(3)]
    assert evaluator.ensemble(logits) == pytest.approx(sum(logits) / 3, abs=1e-6)
    assert dense(evaluator.ensemble(logits[:1])).tobytes() == logits[0].tobytes()
    with pytest.raises(EvaluationError, match="at least one model"):
        evaluator.ensemble([])


def test_the_table_holds_every_model_with_intervals_and_paired_differences(
    evaluator: Evaluator, classifier: Callable[..., Any], tokenizer: Any
) -> None:
    def built(seed: int) -> tuple[Any, Any]:
        return classifier(seed), tokenizer

    runs = [evaluator.outputs(f"run-{seed}", partial(built, seed)) for seed in (0, 1)]
    ensemble = {name: dense(evaluator.ensemble([run[name] for run in runs])) for name in evaluator.datasets}
    table = evaluator.results(
        [
            evaluator.row("run-0", "ingredient", runs[0]),
            evaluator.row("run-1", "ingredient", runs[1], best=runs[0]),
            evaluator.row("run-0 again", "greedy", runs[0], best=runs[0]),
            evaluator.row("ensemble", "ensemble", ensemble, best=runs[0]),
        ]
    )
    assert table.metrics == ("accuracy", "roc_auc") and table.rows[0].difference == {}
    for name, examples in evaluator.datasets.items():
        for metric in table.metrics:
            first, second = (row.scores[name][metric] for row in table.rows[:2])
            assert first.value == evaluator.score(runs[0][name], name, metric)
            assert first.value == score(METRICS[metric], runs[0][name], examples.references)
            gap = table.rows[1].difference[name][metric]
            assert gap.value == pytest.approx(second.value - first.value)
            same = table.rows[2].difference[name][metric]
            assert (same.value, same.stderr, same.low, same.high) == (0.0, 0.0, 0.0, 0.0)
    assert evaluator.score(runs[0]["test"], "test") == table.rows[0].scores["test"]["accuracy"].value
    assert table.mean_shift(table.rows[0]) == table.rows[0].scores["tweets"]["accuracy"].value
    assert Results.from_json(json.loads(json.dumps(table.to_json()))).to_json() == table.to_json()


def test_a_head_of_another_width_is_an_error(
    evaluator: Evaluator, classifier: Callable[..., Any], tokenizer: Any
) -> None:
    with pytest.raises(EvaluationError, match=r"run-0 on test: logits are \[238, 3\], expected \[238, 2\]"):
        evaluator.outputs("run-0", lambda: (classifier(0, labels=3), tokenizer), datasets=["test"])


def test_names_that_are_not_in_the_recipe_are_errors(evaluator: Evaluator, section: Evaluate, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no dataset 'tset'; did you mean 'test'"):
        evaluator.score(np.zeros((1, 2), dtype=np.float32), "tset")
    with pytest.raises(EvaluationError, match=r"metric 'f1' is not in `evaluate\.metrics`"):
        evaluator.score(np.zeros((238, 2), dtype=np.float32), "test", "f1")
    with pytest.raises(EvaluationError, match="no task 'sumarization'; did you mean 'summarization'"):
        Evaluator(Evaluate(section.datasets, task="sumarization"), NAMES, Predictions(tmp_path))


def test_a_users_own_metric_goes_by_its_name_in_the_recipe(section: Evaluate, tmp_path: Path) -> None:
    own = own_metric(METRICS["recall"].as_evaluate(2), greater_is_better=True)
    chosen = Evaluate(section.datasets, metrics=("accuracy", "found"))
    evaluator = Evaluator(chosen, NAMES, Predictions(tmp_path), own={"found": own})
    logits = np.random.default_rng(0).normal(size=(238, 2)).astype(np.float32)
    expected = score(METRICS["recall"], logits, evaluator.datasets["test"].references)
    assert evaluator.score(logits, "test", "found") == pytest.approx(expected)


def test_errors_say_which_model_and_which_dataset_they_are_about(
    table: Write, classifier: Callable[..., Any], tokenizer: Any, tmp_path: Path
) -> None:
    path = table("one.csv", {"text": sentences(8), "label": [1] * 8})
    evaluator = Evaluator(Evaluate({"mine": Data(path, "test")}, metrics=("roc_auc",)), NAMES, Predictions(tmp_path))
    assert evaluator.reports["mine"].only == "positive"
    answers = evaluator.outputs("a", lambda: (classifier(0), tokenizer))
    with pytest.raises(
        EvaluationError, match=r"mine: roc_auc: undefined on these 8 rows, whose references are only \[1"
    ):
        evaluator.row("a", "ingredient", answers)

    def broken() -> tuple[Any, Any]:
        model = classifier(0)
        model.classifier.bias.data.fill_(float("nan"))
        return model, tokenizer

    with pytest.raises(EvaluationError, match=r"run-7: one\.csv: the answer to row \d .* is not finite"):
        evaluator.outputs("b", broken, name="run-7")
