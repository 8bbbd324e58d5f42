"""The metrics of texts as real `evaluate.Metric` objects: nothing is downloaded, nothing is executed.

Result keys are the metrics' names: rouge1, rouge2, rougeL and wer as of the `evaluate` modules on the Hub; bleu is 0
to 100, as sacreBLEU gives it.
"""

from __future__ import annotations

import tempfile
from typing import Any

import evaluate
from datasets import Features, Value

from hf_soups.evaluation.metrics import Metric, score


class OfTexts(evaluate.Metric):
    """A metric of answers and references, one text each a row."""

    def __init__(self, metric: Metric, **settings: Any) -> None:
        self._metric = metric
        super().__init__(**settings)

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=f"{self._metric.id} of texts.",
            citation="",
            inputs_description="predictions: texts; references: texts.",
            features=Features({"predictions": Value("string"), "references": Value("string")}),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {self._metric.key: score(self._metric, tuple(predictions), list(references))}


def build(metric: Metric) -> OfTexts:
    """The metric; it keeps its rows in memory, so that any number may run at once."""
    with tempfile.TemporaryDirectory() as folder:  # `evaluate` wants one even when it writes nothing
        return OfTexts(metric, keep_in_memory=True, cache_dir=folder)
