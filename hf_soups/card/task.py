"""What a model is for, and with which classes of transformers it is loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping

PIPELINES = {  # end of the architecture's name → pipeline tag
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForMultipleChoice": "multiple-choice",
    "ForMaskedLM": "fill-mask",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForImageClassification": "image-classification",
    "CLIPModel": "zero-shot-image-classification",
}
CLASSES = {  # pipeline tag → model class, class of what prepares its input
    "text-classification": ("AutoModelForSequenceClassification", "AutoTokenizer"),
    "token-classification": ("AutoModelForTokenClassification", "AutoTokenizer"),
    "question-answering": ("AutoModelForQuestionAnswering", "AutoTokenizer"),
    "multiple-choice": ("AutoModelForMultipleChoice", "AutoTokenizer"),
    "fill-mask": ("AutoModelForMaskedLM", "AutoTokenizer"),
    "text-generation": ("AutoModelForCausalLM", "AutoTokenizer"),
    "image-classification": ("AutoModelForImageClassification", "AutoImageProcessor"),
    "zero-shot-image-classification": ("AutoModelForZeroShotImageClassification", "AutoProcessor"),
}


def pipeline_tag(assets: Mapping[str, bytes]) -> str | None:
    """From the architecture in config.json; None where its name and files do not settle it.

    A sequence classifier may be one of sounds: for text, there must be a tokenizer.
    """
    if "config.json" not in assets:
        return None
    architecture = (json.loads(assets["config.json"]).get("architectures") or [""])[0]
    tag = next((tag for end, tag in PIPELINES.items() if architecture.endswith(end)), None)
    if tag is not None and CLASSES[tag][1] == "AutoTokenizer" and not _has_tokenizer(assets):
        return None
    return tag


def _has_tokenizer(assets: Mapping[str, bytes]) -> bool:
    return any(name.startswith(("tokenizer", "vocab.")) or name.endswith((".model", ".tiktoken")) for name in assets)
