"""Metrics of rankings as `evaluate.Metric` objects: plain loops, which the fast formulas are compared with."""

from __future__ import annotations

from abc import abstractmethod
from math import log2
from statistics import fmean
from typing import Any

import evaluate
from datasets import Features, Value
from datasets import Sequence as ListOf


class _OfRankings(evaluate.Metric):
    """Compares lists of numbers, one for each candidate of a row, with the positions of the relevant ones."""

    key: str

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=type(self).__doc__,
            citation="",
            inputs_description="predictions: a number per candidate; references: positions, from 0, of the relevant.",
            features=Features({"predictions": ListOf(Value("float64")), "references": ListOf(Value("int32"))}),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        rows = []
        for numbers, relevant in zip(predictions, references, strict=True):
            ranking = sorted(range(len(numbers)), key=lambda position: -numbers[position])
            rows.append(self._of_row([position in relevant for position in ranking[:10]], len(relevant)))
        return {self.key: fmean(rows)}

    @abstractmethod
    def _of_row(self, hits: list[bool], relevant: int) -> float:
        """From the first ten places, and how many candidates are relevant."""


class DiscountedGain(_OfRankings):
    """Normalised discounted cumulative gain of the first ten."""

    key = "ndcg@10"

    def _of_row(self, hits: list[bool], relevant: int) -> float:
        ideal = sum(1 / log2(place + 2) for place in range(min(relevant, 10)))
        return sum(1 / log2(place + 2) for place, hit in enumerate(hits) if hit) / ideal


class RecallAtTen(_OfRankings):
    """Share of the relevant candidates that are among the first ten."""

    key = "recall@10"

    def _of_row(self, hits: list[bool], relevant: int) -> float:
        return sum(hits) / relevant


class ReciprocalRank(_OfRankings):
    """One over the place of the first relevant candidate, 0 if it is not among the first ten."""

    key = "mrr@10"

    def _of_row(self, hits: list[bool], relevant: int) -> float:
        return next((1 / (place + 1) for place, hit in enumerate(hits) if hit), 0.0)
