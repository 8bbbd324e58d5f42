"""The table survives JSON, and tells nothing of the machine."""

from __future__ import annotations

import json

import pytest

from hf_soups.errors import EvaluationError
from hf_soups.evaluation.calibration import Calibration
from hf_soups.evaluation.diversity import Diversity
from hf_soups.evaluation.examples import Source
from hf_soups.evaluation.paired import Paired
from hf_soups.evaluation.results import DatasetReport, Results, Row
from hf_soups.evaluation.robustness import Accuracy, Position, Robustness
from hf_soups.evaluation.separation import Separation
from hf_soups.evaluation.statistics import Interval


def results() -> Results:
    def scores(test: float, tweets: float, news: float) -> dict[str, dict[str, Interval]]:
        values = {"test": test, "tweets": tweets, "news": news}
        return {name: {"accuracy": Interval(v, 0.01, v - 0.02, v + 0.02)} for name, v in values.items()}

    sources = {
        "test": Source("org/data", "test", "en", "0" * 40, ("premise", "hypothesis"), "label", origin="hub:org/data"),
        "tweets": Source("tweets.csv", text=("text",), label="label", origin="local:5ec2e7"),
        "news": Source("news.csv", text=("text",), label="label", origin="local:abc"),
    }
    reports = {
        name: DatasetReport(name, "test" if name == "test" else "shift", source, 100, 7, "f" * 64, dropped=1)
        for name, source in sources.items()
    }
    rows = (
        Row("base", "base", scores(0.5, 0.5, 0.5)),
        Row(
            "greedy",
            "greedy",
            scores(0.9, 0.7, 0.6),
            difference=scores(0.01, 0.02, 0.03),
            paired={
                "test": {"accuracy": Paired(3, 2, 100, 1.5, None)},
                "tweets": {"accuracy": Paired(9, 0, 100, 1.0, 2 / 2**9)},
            },
        ),
    )
    undecided = Separation("validation", "accuracy", "a", "b", Interval(0.01, 0.01, -0.01, 0.03), 100, 0.05, 2345)
    place = Accuracy(0.9, 0.85, 0.93)
    return Results(
        "text-classification",
        ("accuracy",),
        reports,
        rows,
        {"accuracy": 1},
        scored=5,
        separation=undecided,
        diversity={"test": Diversity(2, 0.1, None, 0.3, 0.6)},
        calibration=(Calibration("greedy", {"test": Interval(0.1, 0.01, 0.08, 0.12)}, 1.5, {}),),
        robustness=(
            Robustness("test", "tweets", (Position("a", True, place, place, None),), why_not="too few"),
            Robustness("test", "news", (Position("a", True, place, place, Interval(0.1, 0.1, 0, 0.2)),), 0.8, -0.1),
        ),
    )


def test_json_and_back_gives_the_same_table() -> None:
    content = json.loads(json.dumps(results().to_json(), allow_nan=False))
    again = Results.from_json(content)
    assert again.to_json() == results().to_json()
    assert again.rows[1].difference["news"]["accuracy"] == results().rows[1].difference["news"]["accuracy"]
    assert (again.diversity, again.calibration, again.robustness) == (
        results().diversity,
        results().calibration,
        results().robustness,
    )
    assert again.rows[1].paired == results().rows[1].paired and again.separation == results().separation
    assert again.datasets["test"].source.text == ("premise", "hypothesis")
    assert again.rows[0].difference == {} and again.directions == {"accuracy": 1}


def test_what_only_compares_sources_is_not_published() -> None:
    assert "5ec2e7" not in json.dumps(results().to_json())


def test_the_mean_shift_weighs_datasets_equally() -> None:
    table = results()
    assert table.mean_shift(table.rows[1]) == pytest.approx(0.65)
    assert Results("t", ("accuracy",), {}, (), {"accuracy": 1}).mean_shift(table.rows[1]) is None


def test_something_else_is_an_error() -> None:
    with pytest.raises(EvaluationError, match="not the results of an evaluation: KeyError 'metrics'"):
        Results.from_json({"task": "x"})
