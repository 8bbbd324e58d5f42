"""Metrics of entities and of answers as real `evaluate.Metric` objects: inputs and keys of the Hub's modules."""

from __future__ import annotations

import tempfile
from typing import Any

import evaluate
from datasets import Features, Value
from datasets import Sequence as ListOf

from hf_soups.evaluation import scores_answers as answers
from hf_soups.evaluation import scores_entities as entities


class Seqeval(evaluate.Metric):
    """Overall scores of entities in sequences of tags; `scores_entities` says what an entity is."""

    def _info(self) -> evaluate.MetricInfo:
        tags = ListOf(Value("string"))
        return evaluate.MetricInfo(
            description=type(self).__doc__,
            citation="",
            inputs_description="predictions: for each sentence the tags of its words; references: the same.",
            features=Features({"predictions": tags, "references": tags}),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        sums = entities.matches(predictions, references).sum(axis=0)
        pairs = [(p, r) for ps, rs in zip(predictions, references, strict=True) for p, r in zip(ps, rs, strict=True)]
        return {
            "overall_precision": float(entities.precision(sums)),
            "overall_recall": float(entities.recall(sums)),
            "overall_f1": float(entities.f1(sums)),
            "overall_accuracy": sum(p == r for p, r in pairs) / max(1, len(pairs)),
        }


class Squad(evaluate.Metric):
    """Exact match and F1 of answers, in percent; a question without answers is answered by an empty text."""

    def _info(self) -> evaluate.MetricInfo:
        texts = {"text": ListOf(Value("string")), "answer_start": ListOf(Value("int32"))}
        features = {
            "predictions": {"id": Value("string"), "prediction_text": Value("string")},
            "references": {"id": Value("string"), "answers": texts},
        }
        return evaluate.MetricInfo(
            description=type(self).__doc__,
            citation="",
            inputs_description="predictions: id and prediction_text; references: id and answers, each with its start.",
            features=Features(features),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        said = {one["id"]: one["prediction_text"] for one in predictions}
        golds = {one["id"]: one["answers"]["text"] for one in references}
        pairs = [(said.get(id, ""), right) for id, right in golds.items()]
        return {
            "exact_match": 100 * sum(answers.exact(text, right) for text, right in pairs) / len(pairs),
            "f1": 100 * sum(answers.overlap(text, right) for text, right in pairs) / len(pairs),
        }


def build(consumes: str) -> evaluate.Metric:
    """The module that reads "tags" or "spans"; it keeps its rows in memory."""
    kind = Seqeval if consumes == "tags" else Squad
    with tempfile.TemporaryDirectory() as folder:  # `evaluate` wants one even when it writes nothing
        return kind(keep_in_memory=True, cache_dir=folder)
