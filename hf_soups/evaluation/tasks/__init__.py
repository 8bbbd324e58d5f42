"""The tasks by name, imported when they are needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from hf_soups.errors import EvaluationError, did_you_mean

if TYPE_CHECKING:
    from hf_soups.evaluation.tasks.base import Task

TASKS = {  # name → module and class
    "text-classification": ("text_classification", "TextClassification"),
    "multi-label-classification": ("text_classification", "MultiLabel"),
    "regression": ("text_classification", "Regression"),
    "token-classification": ("token_classification", "TokenClassification"),
    "question-answering": ("question_answering", "QuestionAnswering"),
    "multiple-choice": ("multiple_choice", "MultipleChoice"),
    "text-generation": ("text_generation", "TextGeneration"),
    "summarization": ("sequence_to_sequence", "Summarization"),
    "translation": ("sequence_to_sequence", "Translation"),
    "automatic-speech-recognition": ("speech_recognition", "SpeechRecognition"),
    "image-classification": ("image_classification", "ImageClassification"),
    "zero-shot-image-classification": ("zero_shot", "ZeroShotImageClassification"),
    "sentence-similarity": ("similarity", "SentenceSimilarity"),
    "retrieval": ("retrieval", "Retrieval"),
}


def named(name: str) -> type[Task]:
    """The task of this name."""
    if name not in TASKS:
        raise EvaluationError(f"no task {name!r}{did_you_mean(name, TASKS)}")
    module, kind = TASKS[name]
    found: type[Task] = getattr(import_module(f"{__name__}.{module}"), kind)
    return found


def infer(config: Mapping[str, Any]) -> str:
    """The task of models with this config.json; EvaluationError if none or several would do."""
    architecture = str((config.get("architectures") or ["an unknown architecture"])[0])
    if architecture.endswith("ForSequenceClassification"):
        if config.get("problem_type") == "multi_label_classification":
            return "multi-label-classification"
        return "regression" if _outputs(config) == 1 else "text-classification"
    fit = {name: _fit(architecture, named(name).architectures) for name in TASKS}
    found = [name for name in TASKS if fit[name] == max(fit.values()) > 0]
    if len(found) != 1:
        choices = ", ".join(found or TASKS)
        raise EvaluationError(f"evaluate: which task is {architecture} for? Say `task:`, one of {choices}")
    return found[0]


def check(name: str, config: Mapping[str, Any]) -> None:
    """EvaluationError if models with this config.json do not answer the task's question."""
    architecture = str((config.get("architectures") or ["an unknown architecture"])[0])
    endings = named(name).architectures
    if not architecture.endswith(endings):
        raise EvaluationError(
            f"evaluate: {name} needs a model for {' or '.join(endings)}; this is {architecture}; choose another `task:`"
        )


def _fit(architecture: str, endings: Sequence[str]) -> int:
    """Letters of the longest ending that a class name has: CLIPModel says more than Model."""
    return max((len(ending) for ending in endings if architecture.endswith(ending)), default=0)


def _outputs(config: Mapping[str, Any]) -> int:
    labels = config.get("id2label")
    return len(labels) if labels else int(config.get("num_labels") or 2)
