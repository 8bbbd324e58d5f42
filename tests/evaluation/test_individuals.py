"""The mean individual is the mean of the individuals, and its interval covers."""

from __future__ import annotations

import numpy as np
import pytest

from hf_soups.evaluation.individuals import mean_difference, mean_interval
from hf_soups.evaluation.metrics import METRICS, metric
from hf_soups.evaluation.statistics import difference, interval


def pool(n: int = 300, models: int = 4, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, n)
    shared = random.normal(size=(n, 3)) + np.eye(3)[labels]
    return [(shared + random.normal(scale=0.5, size=(n, 3))).astype(np.float32) for _ in range(models)], labels


@pytest.mark.parametrize("id", METRICS)
def test_the_value_is_the_mean_of_the_models_values(id: str) -> None:
    models, labels = pool()
    alone = [interval(metric(id), one, labels) for one in models]
    found = mean_interval(metric(id), models, labels)
    assert found.value == pytest.approx(np.mean([one.value for one in alone]))
    assert found.low < found.value < found.high
    against = mean_difference(metric(id), models, models[0], labels)
    assert against.value == pytest.approx(found.value - alone[0].value, abs=1e-12)


def test_the_mean_of_equal_models_is_that_model() -> None:
    models, labels = pool(models=1)
    alone, mean = interval(metric("log_loss"), models[0], labels), mean_interval(metric("log_loss"), models * 3, labels)
    assert [mean.value, mean.low, mean.high] == pytest.approx([alone.value, alone.low, alone.high])
    nothing = mean_difference(metric("accuracy"), models * 2, models[0], labels)
    assert (nothing.value, nothing.low, nothing.high) == (0.0, 0.0, 0.0)


def test_models_share_their_rows_so_the_mean_is_hardly_surer_than_one() -> None:
    """Independent models would make the mean of 16 four times as sure; these err on the same rows."""
    models, labels = pool(models=16)
    one, mean = interval(metric("accuracy"), models[0], labels), mean_interval(metric("accuracy"), models, labels)
    assert 0.7 < mean.stderr / one.stderr < 1.05


def test_two_models_mean_difference_is_half_the_difference_of_the_other() -> None:
    models, labels = pool(models=2)
    half = mean_difference(metric("log_loss"), models, models[0], labels)
    whole = difference(metric("log_loss"), models[1], models[0], labels)
    assert half.value == pytest.approx(whole.value / 2) and half.stderr == pytest.approx(whole.stderr / 2, rel=1e-4)
