"""Every metric is what scikit-learn computes, as an `evaluate.Metric` and on the fast path."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sk

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.metrics import METRICS, Metric, metric, own_metric, score
from hf_soups.evaluation.outputs import assemble
from hf_soups.evaluation.scores import predictions, probabilities

Rows = tuple[NDArray[np.float32], NDArray[np.int64]]


def rows(labels: int, n: int = 300, seed: int = 0, sharpness: float = 1.0) -> Rows:
    """Random logits that know something about the labels."""
    random = np.random.default_rng(seed)
    y = np.concatenate([np.arange(labels), random.integers(0, labels, n - labels)])
    logits = random.normal(size=(n, labels)) + 1.5 * np.eye(labels)[y]
    return (sharpness * logits).astype(np.float32), y


def computed(metric: Metric, logits: NDArray[np.float32], y: NDArray[np.int64]) -> float:
    """The value of the metric as an `evaluate.Metric`."""
    given = (
        {"predictions": predictions(logits)}
        if metric.consumes == "labels"
        else {"prediction_scores": probabilities(logits)}
    )
    return float(metric.as_evaluate(logits.shape[1]).compute(references=y, **given)[metric.key])


def macro_auc(y: NDArray[np.int64], p: NDArray[np.float64]) -> float:
    if p.shape[1] == 2:
        return float(sk.roc_auc_score(y, p[:, 1]))
    return float(sk.roc_auc_score(y, p, multi_class="ovr", average="macro"))


def average(y: NDArray[np.int64], p: NDArray[np.float64]) -> dict[str, Any]:
    return {"average": "binary" if p.shape[1] == 2 else "macro"}


BY_SKLEARN: dict[str, Callable[[NDArray[np.int64], NDArray[np.float64]], float]] = {
    "accuracy": lambda y, p: sk.accuracy_score(y, p.argmax(1)),
    "balanced_accuracy": lambda y, p: sk.balanced_accuracy_score(y, p.argmax(1)),
    "f1": lambda y, p: sk.f1_score(y, p.argmax(1), **average(y, p)),
    "precision": lambda y, p: sk.precision_score(y, p.argmax(1), **average(y, p)),
    "recall": lambda y, p: sk.recall_score(y, p.argmax(1), **average(y, p)),
    "matthews_correlation": lambda y, p: sk.matthews_corrcoef(y, p.argmax(1)),
    "roc_auc": macro_auc,
    "log_loss": lambda y, p: sk.log_loss(y, p),
}


@pytest.mark.parametrize("labels", [2, 3, 7])
@pytest.mark.parametrize("id", BY_SKLEARN)
def test_a_metric_is_what_scikit_learn_says(id: str, labels: int) -> None:
    logits, y = rows(labels)
    expected = BY_SKLEARN[id](y, probabilities(logits))
    assert score(metric(id), logits, y) == pytest.approx(expected, abs=1e-12)
    assert computed(metric(id), logits, y) == pytest.approx(expected, abs=1e-12)


def test_every_metric_but_the_calibration_error_is_compared_with_scikit_learn() -> None:
    assert {*BY_SKLEARN, "expected_calibration_error"} == set(METRICS)


@settings(deadline=None, max_examples=15)
@given(
    st.integers(2, 4).flatmap(
        lambda k: st.lists(
            st.tuples(st.integers(0, k - 1), st.lists(st.integers(-3, 3), min_size=k, max_size=k)),
            min_size=1,
            max_size=12,
        )
    )
)
@pytest.mark.parametrize("id", METRICS)
def test_both_ways_agree_on_few_rows_with_ties_and_absent_labels(id: str, data: list[tuple[int, list[int]]]) -> None:
    y = np.array([label for label, _ in data])
    logits = np.array([values for _, values in data], dtype=np.float32)
    try:
        value = score(metric(id), logits, y)
    except EvaluationError as error:
        assert id == "roc_auc" and "undefined" in str(error) and len(np.unique(y)) == 1
        return
    assert value == pytest.approx(computed(metric(id), logits, y), abs=1e-12)


def test_confident_mistakes_cost_as_much_both_ways() -> None:
    logits, y = rows(3, sharpness=500.0)
    for id in METRICS:
        assert score(metric(id), logits, y) == pytest.approx(computed(metric(id), logits, y), rel=1e-12)


def test_the_calibration_error_of_a_hand_made_case() -> None:
    odds = np.log(0.75 / 0.25)  # ten rows at confidence 0.75, half of them right
    logits = np.tile(np.array([[odds, 0.0]], dtype=np.float32), (10, 1))
    y = np.array([0, 1] * 5)
    assert score(metric("expected_calibration_error"), logits, y) == pytest.approx(0.25, abs=1e-6)


def test_metrics_say_which_way_is_up() -> None:
    logits, y = rows(3)
    sharper = logits + 2 * np.eye(3, dtype=np.float32)[y]
    for id, one in METRICS.items():
        if id != "expected_calibration_error":
            assert (score(one, sharper, y) > score(one, logits, y)) == one.greater_is_better, id


def test_ours_combine_as_evaluate_modules_do() -> None:
    import evaluate

    logits, y = rows(3)
    both = evaluate.combine([metric(id).as_evaluate(3) for id in METRICS])
    found = both.compute(predictions=predictions(logits), references=y, prediction_scores=probabilities(logits))
    assert set(found) == set(METRICS)
    for id in METRICS:
        assert found[id] == pytest.approx(score(metric(id), logits, y), abs=1e-12)


def test_rows_may_be_added_in_batches_and_the_module_used_again() -> None:
    module = metric("f1").as_evaluate(2)
    for _ in range(2):
        module.add_batch(predictions=[1, 1], references=[1, 0])
        module.add(prediction=0, reference=1)
        assert module.compute() == {"f1": 0.5}


def test_roc_auc_takes_one_score_a_row_too() -> None:
    logits, y = rows(2)
    p = probabilities(logits)
    module = METRICS["roc_auc"].as_evaluate(2)
    assert module.compute(prediction_scores=p[:, 1], references=y) == module.compute(prediction_scores=p, references=y)


def test_modules_leave_nothing_on_disk_and_work_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    found: list[float] = []

    def work() -> None:
        logits, y = rows(2, n=2000)
        found.append(computed(METRICS["accuracy"], logits, y))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(found)) == 1
    assert not list(tmp_path.rglob("*"))


def own_modules() -> tuple[Any, Any, Any]:
    import evaluate
    from datasets import Features, Sequence, Value

    class Errors(evaluate.Metric):
        """Counts mistakes, by label."""

        def _info(self) -> evaluate.MetricInfo:
            return evaluate.MetricInfo(
                description="",
                citation="",
                inputs_description="",
                features=Features({"predictions": Value("int32"), "references": Value("int32")}),
            )

        def _compute(self, predictions: Any, references: Any, weight: float = 1.0) -> dict[str, float]:
            wrong = float(np.sum(np.asarray(predictions) != np.asarray(references)))
            return {"errors": weight * wrong, "rows": len(references)}

    class Brier(evaluate.Metric):
        """Mean squared error of the probabilities."""

        def _info(self) -> evaluate.MetricInfo:
            return evaluate.MetricInfo(
                description="",
                citation="",
                inputs_description="",
                features=Features({"predictions": Sequence(Value("float64")), "references": Value("int32")}),
            )

        def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
            p, y = np.asarray(predictions), np.asarray(references)
            return {"brier": float(((p - np.eye(p.shape[1])[y]) ** 2).sum(axis=1).mean())}

    class Mean(evaluate.Metric):
        """Takes one number a row."""

        def _info(self) -> evaluate.MetricInfo:
            return evaluate.MetricInfo(
                description="",
                citation="",
                inputs_description="",
                features=Features({"prediction_scores": Value("float64"), "references": Value("int32")}),
            )

        def _compute(self, prediction_scores: Any, references: Any) -> dict[str, float]:
            return {"mean": float(np.mean(prediction_scores))}

    return Errors(keep_in_memory=True), Brier(keep_in_memory=True), Mean(keep_in_memory=True)


def test_a_users_own_metric_fits_the_same_place() -> None:
    errors, brier, ranking = own_modules()
    logits, y = rows(3)
    wrong = 300 * (1 - score(metric("accuracy"), logits, y))
    assert score(own_metric(errors, greater_is_better=False), logits, y) == pytest.approx(wrong)
    doubled = own_metric(errors, greater_is_better=False, arguments={"weight": 2.0})
    assert score(doubled, logits, y) == pytest.approx(2 * wrong)
    assert score(own_metric(errors, greater_is_better=True, key="rows"), logits, y) == 300
    expected = ((probabilities(logits) - np.eye(3)[y]) ** 2).sum(axis=1).mean()
    own = own_metric(brier, greater_is_better=False, consumes="probabilities")
    assert score(own, logits, y) == pytest.approx(expected)
    of_label_1 = own_metric(ranking, greater_is_better=True, consumes="probabilities")
    logits, y = rows(2)
    assert score(of_label_1, logits, y) == pytest.approx(probabilities(logits)[:, 1].mean())
    with pytest.raises(EvaluationError, match="no 'mistakes' in its result; it has errors, rows"):
        score(own_metric(errors, greater_is_better=False, key="mistakes"), logits, y)


def test_a_users_own_metric_reads_a_list_for_each_row_of_several_lines() -> None:
    import evaluate
    from datasets import Features, Sequence, Value

    class Longest(evaluate.Metric):
        """Share of right labels in the longest row."""

        def _info(self) -> evaluate.MetricInfo:
            features = Features({name: Sequence(Value("int32")) for name in ("predictions", "references")})
            return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

        def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
            row = max(range(len(references)), key=lambda i: len(references[i]))
            return {"longest": float(np.mean(np.equal(predictions[row], references[row])))}

    answers = assemble([np.array([[0, 1]]), np.array([[0, 1], [1, 0], [0, 1]])])
    references = (np.array([0]), np.array([1, 1, 1]))
    own = own_metric(Longest(keep_in_memory=True), greater_is_better=True)
    assert score(own, answers, references) == pytest.approx(2 / 3)
    with pytest.raises(EvaluationError, match=r"own metrics cannot read tags; .* say `consumes`"):
        score(own_metric(Longest(keep_in_memory=True), greater_is_better=True, consumes="tags"), answers, references)


def test_our_modules_taken_as_a_users_give_the_same() -> None:
    logits, y = rows(2)
    for id in METRICS:
        own = own_metric(
            METRICS[id].as_evaluate(2), greater_is_better=METRICS[id].greater_is_better, consumes=METRICS[id].consumes
        )
        assert score(own, logits, y) == pytest.approx(score(METRICS[id], logits, y), abs=1e-12)


def test_a_misspelt_metric_gets_a_suggestion() -> None:
    with pytest.raises(EvaluationError, match="no metric 'acuracy'; did you mean 'accuracy'"):
        metric("acuracy")


def test_rows_that_cannot_be_scored_are_errors() -> None:
    with pytest.raises(EvaluationError, match="answers to 3 rows, references for 2"):
        score(metric("accuracy"), np.zeros((3, 2)), np.zeros(2, dtype=np.int64))
    with pytest.raises(EvaluationError, match="no rows"):
        score(metric("accuracy"), np.zeros((0, 2)), np.zeros(0, dtype=np.int64))
    with pytest.raises(EvaluationError, match=r"roc_auc: undefined on these 3 rows, whose references are only \[1\]"):
        score(metric("roc_auc"), np.zeros((3, 2)), np.ones(3, dtype=np.int64))
