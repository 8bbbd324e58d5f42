"""Metrics that bring their own code: nothing runs unless it is allowed, and then what was named and no other."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hf_soups
from hf_soups import Data, Evaluate, EvaluationError, Measure, Recipe, RecipeError
from hf_soups.evaluation.cache import Predictions
from hf_soups.evaluation.evaluator import Evaluator
from hf_soups.evaluation.measures import loaded
from hf_soups.evaluation.metrics import MULTI_LABEL, REGRESSION, RETRIEVAL, SIMILARITY, Metric, score
from hf_soups.evaluation.outputs import Ragged
from hf_soups.recipe import load as load_recipe
from hf_soups.recipe import loads, to_yaml
from tests.local_hub import LocalHub
from tests.models import classifier, fine_tune

from .conftest import sentences

Write = Callable[[str, Mapping[str, Sequence[Any]]], str]

SCRIPT = """
import pathlib
import datasets
import evaluate

MARK
class Share(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(
            description="Share of a label.", citation="", inputs_description="",
            features=datasets.Features({"predictions": datasets.Value("int32"), "references": datasets.Value("int32")}),
        )

    def _compute(self, predictions, references):
        return {"share": sum(p == VALUE for p in predictions) / len(predictions), "rows": len(predictions)}
"""


def script(folder: Path, value: int = 1, mark: Path | None = None) -> Path:
    """A metric that measures the share of rows with a label; it leaves a file where it ran."""
    folder.mkdir(parents=True, exist_ok=True)
    left = f"pathlib.Path({str(mark)!r}).touch()" if mark else ""
    (folder / "share.py").write_text(SCRIPT.replace("VALUE", str(value)).replace("MARK", left))
    return folder / "share.py"


def up(name: str, **more: Any) -> Measure:
    return Measure(name, greater_is_better=True, **more)


LOGITS = np.array([[0, 1], [0, 2], [0, 3], [1, 0]], np.float32)


def test_a_script_is_found_by_its_path_or_its_folders(tmp_path: Path) -> None:
    path = script(tmp_path / "share")
    for name in (f"evaluate:{path}", f"evaluate:{path.parent}"):
        metric = loaded(up(name))
        assert metric.greater_is_better and score(metric, LOGITS, np.zeros(4, np.int64)) == 0.75
    assert score(loaded(up(f"evaluate:{path}", key="rows")), LOGITS, np.zeros(4, np.int64)) == 4
    for name, says in (("none.py", "none.py: no such script"), ("", "no such script")):
        with pytest.raises(EvaluationError, match=says):
            loaded(up(f"evaluate:{tmp_path}/{name}"))
    path.write_text("import a_library_that_nobody_has")
    with pytest.raises(EvaluationError, match=r"evaluate:\./share\.py cannot be loaded: .*a_library_that_nobody_has"):
        loaded(up(f"evaluate:{path}"))


def test_a_space_is_what_the_hub_has_whatever_lies_in_the_working_directory(
    hub: LocalHub, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mark = tmp_path / "ran"
    script(tmp_path / "share", mark=mark)
    script(tmp_path / namespace / "share", mark=mark)
    name, shas = f"{namespace}/share", {}
    for value, expected in ((1, 0.75), (0, 0.25)):
        content = script(tmp_path / "space", value).read_bytes()
        shas[hub.publish(name, {"share.py": content}, repo_type="space")] = expected
        assert score(loaded(up(f"evaluate:{name}")), LOGITS, np.zeros(4, np.int64)) == expected
        assert loaded(up(f"evaluate:{name}")).commit == list(shas)[-1]
    for sha, expected in shas.items():
        assert score(loaded(up(f"evaluate:{name}@{sha}")), LOGITS, np.zeros(4, np.int64)) == expected
    with pytest.raises(EvaluationError, match="the Space evaluate-metric/share"):
        loaded(up("evaluate:share"))
    assert not mark.exists()


def test_a_folder_with_the_name_of_a_built_in_metric_is_no_metric(
    table: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "ran"
    text = script(tmp_path / "accuracy", mark=mark).read_text()
    (tmp_path / "accuracy" / "accuracy.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    path = table("data.csv", {"text": sentences(4), "label": [0, 1, 1, 0]})
    section = Evaluate({"test": Data(path, "test")}, metrics=("accuracy",))
    assert Evaluator(section, ("no", "yes"), Predictions(tmp_path)).score(LOGITS, "test") == 0.75
    assert not mark.exists()


def test_without_the_flag_nothing_runs_and_nothing_is_read(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    measure = up(f"evaluate:{script(tmp_path / 'share', mark=mark)}")
    section = Evaluate({"test": Data(str(tmp_path / "no such data.csv"), "test")}, metrics=("accuracy", measure))
    says = r"evaluate:\./share\.py would run its own code .*--trust-remote-code"
    with pytest.raises(EvaluationError, match=says):
        Evaluator(section, ("no", "yes"), Predictions(tmp_path))
    recipe = Recipe(ingredients=(hf_soups.Ingredient("org/none"),), evaluate=section)
    for command in (hf_soups.merge, hf_soups.evaluate):
        with pytest.raises(EvaluationError, match=says):
            command(recipe)
    assert not mark.exists()


def test_a_metric_that_fails_is_an_error_with_its_words(tmp_path: Path) -> None:
    metric = loaded(up(f"evaluate:{script(tmp_path / 'share')}", consumes="texts"))
    with pytest.raises(EvaluationError, match="share: fails on these answers, of which it reads texts"):
        score(metric, LOGITS, np.zeros(4, np.int64))


RECIPE = """
ingredients: [org/a, org/b]
evaluate:
  metrics: [accuracy, {name: "evaluate:org/share@v1", greater_is_better: true}, METRIC]
  datasets: {test: {path: org/data, split: test, role: test}}
select: {strategy: uniform, metric: "evaluate:org/share@v1"}
"""


def test_a_recipe_with_such_metrics_comes_back_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "org").mkdir()  # in the way of nothing
    own = "{name: evaluate:./share.py, greater_is_better: false, consumes: probabilities, key: rows}"
    (tmp_path / "soup.yaml").write_text(RECIPE.replace("METRIC", own))
    recipe = load_recipe(tmp_path / "soup.yaml")
    assert recipe.evaluate is not None
    script = Measure(f"evaluate:{tmp_path / 'share.py'}", False, "probabilities", "rows")
    assert recipe.evaluate.metrics == ("accuracy", up("evaluate:org/share@v1"), script)
    assert recipe.evaluate.metric_names == ("accuracy", "evaluate:org/share@v1", "evaluate:./share.py")
    assert loads(to_yaml(recipe)) == recipe


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        ("evaluate:org/share", r"which way is up\? Write \{name: evaluate:org/share, greater_is_better: true\}"),
        ("{name: evaluate:org/share}", "greater_is_better: is missing"),
        ("{greater_is_better: true}", "name: is missing"),
        ("{name: evaluate:org/share, greater_is_better: up}", "true or false, got 'up'"),
        ("{name: evaluate:org/share, greater_is_beter: true}", "did you mean 'greater_is_better'"),
        ("{name: f1, greater_is_better: true}", "'f1': a built-in metric is its name alone"),
        ("{name: evaluate:a/b, greater_is_better: true, consumes: lables}", "did you mean 'labels'"),
        ("accuracy", "one of them is named twice"),
    ],
)
def test_mistakes_in_metrics_are_named(metric: str, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        loads(RECIPE.replace("METRIC", metric))


def combined(metrics: Mapping[str, Metric], without: Sequence[str] = (), **given: Any) -> dict[str, float]:
    import evaluate

    modules = [metric.as_evaluate(3) for name, metric in metrics.items() if name not in without]
    found: dict[str, float] = evaluate.combine(modules).compute(**given)
    return found


def test_metrics_of_every_kind_of_answer_combine_as_evaluate_modules_do() -> None:
    random = np.random.default_rng(0)
    values, truth = random.normal(size=(40, 1)).astype(np.float32), random.normal(size=40)
    for metrics in (REGRESSION, SIMILARITY):
        found = combined(metrics, predictions=values[:, 0], references=truth)
        assert found == pytest.approx({name: score(m, values, truth) for name, m in metrics.items()})
    logits, marks = random.normal(size=(40, 3)).astype(np.float32), random.integers(0, 2, size=(40, 3)).astype(float)
    found = combined(MULTI_LABEL, ["log_loss"], predictions=(logits > 0).astype(int), references=marks.astype(int))
    assert found == pytest.approx({name: score(m, logits, marks) for name, m in MULTI_LABEL.items() if name in found})
    numbers = Ragged(random.normal(size=(40 * 12, 1)).astype(np.float32), np.arange(0, 481, 12))
    relevant = [(int(p), 11) for p in random.integers(0, 11, size=40)]
    lists = [numbers[row][:, 0].tolist() for row in range(40)]
    found = combined(RETRIEVAL, predictions=lists, references=relevant)
    assert found == pytest.approx({name: score(m, numbers, relevant) for name, m in RETRIEVAL.items()})


def test_a_soup_is_measured_by_such_a_metric_and_its_records_name_no_place_of_this_machine(
    table: Write, tmp_path: Path
) -> None:
    base = classifier(tmp_path / "base")
    runs = [fine_tune(base, tmp_path / f"run-{i}", seed=i) for i in range(2)]
    data = table("test.csv", {"text": sentences(40), "label": ["positive", "negative"] * 20})
    script(tmp_path / "metrics")
    (tmp_path / "soup.yaml").write_text(
        f"ingredients: [{', '.join(map(str, runs))}]\n"
        "evaluate:\n  metrics: [{name: evaluate:./metrics/share.py, greater_is_better: true}]\n"
        f"  datasets: {{test: {{path: {data}, role: test}}}}\n"
    )
    program = [sys.executable, "-c", "from hf_soups.cli import main; main()"]
    asked = [*program, "merge", str(tmp_path / "soup.yaml"), "-o", str(tmp_path / "out")]
    refused = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert (
        refused.returncode == 1 and "--trust-remote-code" in refused.stderr and "reading headers" not in refused.stderr
    )
    done = subprocess.run([*asked, "--trust-remote-code", "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    assert results["metrics"] == ["evaluate:./share.py"]
    for file in ("README.md", "soup.yaml", "soup.lock.json"):
        text = (tmp_path / "out" / file).read_text()
        assert str(tmp_path) not in text and "share.py" in text, file
