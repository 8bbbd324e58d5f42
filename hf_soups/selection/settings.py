"""The files beside the weights that decide what a model is fed, and how it answers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

INPUT_FILES = (  # parts of their names
    "tokeniz", "vocab", "merges", "special_tokens", "added_tokens", "spiece", "sentencepiece", "processor",
    ".model", ".spm", ".tiktoken",
    "generation", "modules.json", "_Pooling", "_Normalize", "sentence_bert",
)  # fmt: skip


def settings_of(assets: Mapping[str, bytes]) -> dict[str, str]:
    """What, beside the weights, decides the answers and is known without a model."""
    digest = hashlib.sha256()
    for name in sorted(assets):
        if name == "config.json" or any(part in name for part in INPUT_FILES):
            digest.update(name.encode() + b"\0" + assets[name])
    return {"files": digest.hexdigest()}
