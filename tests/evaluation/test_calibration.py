"""A fitted temperature undoes a known one, and leaves what is calibrated as it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hf_soups.evaluation.calibration import Labelled, calibration, temperature
from hf_soups.evaluation.metrics import metric, score


def honest(n: int = 20_000, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits whose softmax is the chance of each label, and labels drawn with it."""
    random = np.random.default_rng(seed)
    logits = random.normal(scale=2.0, size=(n, 3))
    gumbel = random.gumbel(size=(n, 3))
    return logits, (logits + gumbel).argmax(axis=1)


@pytest.mark.parametrize("sharper", [0.25, 1.0, 4.0])
def test_a_known_temperature_is_found_again(sharper: float) -> None:
    logits, labels = honest()
    assert temperature(logits * sharper, labels) == pytest.approx(sharper, rel=0.03)


@settings(deadline=None)
@given(st.integers(0, 50), st.floats(0.3, 3.0))
def test_no_other_temperature_has_a_smaller_loss(seed: int, factor: float) -> None:
    random = np.random.default_rng(seed)
    logits, labels = random.normal(size=(60, 3)), random.integers(0, 3, 60)
    labels[:40] = logits[:40].argmax(axis=1)
    best = temperature(logits, labels)
    assert best is not None
    losses = [score(metric("log_loss"), logits / t, labels) for t in (best, best * factor)]
    assert losses[0] <= losses[1] + 1e-12


def test_rows_that_settle_no_temperature_give_none() -> None:
    logits = np.random.default_rng(0).normal(size=(50, 3))
    assert temperature(logits, logits.argmax(axis=1)) is None  # all right: the colder the better
    assert temperature(logits, logits.argmin(axis=1)) is None  # all wrong: the hotter the better
    assert temperature(np.zeros((50, 3)), np.zeros(50, dtype=np.int64)) is None


def test_the_error_falls_on_data_that_fitted_nothing() -> None:
    logits, labels = honest()
    sharp = {"calibrate": 3 * logits[:5_000], "test": 3 * logits[5_000:]}
    data = {"calibrate": Labelled(labels[:5_000]), "test": Labelled(labels[5_000:])}
    found = calibration("soup", sharp, {"test": data["test"]}, {"calibrate": data["calibrate"]})
    assert set(found.before) == set(found.after) == {"test"}
    assert found.before["test"].low > 0.1 > 0.02 > found.after["test"].value
    assert found.before["test"].value == score(metric("expected_calibration_error"), sharp["test"], labels[5_000:])


def test_without_data_of_that_role_only_the_error_is_told() -> None:
    logits, labels = honest(500)
    found = calibration("soup", {"test": logits}, {"test": Labelled(labels)}, {})
    assert found.temperature is None and found.after == {} and found.before["test"].value >= 0


def test_the_order_of_rows_and_a_constant_on_all_logits_change_nothing() -> None:
    logits, labels = honest(1_000)
    shuffled = np.random.default_rng(1).permutation(1_000)
    assert temperature(logits[shuffled] + 7, labels[shuffled]) == pytest.approx(temperature(logits, labels))
