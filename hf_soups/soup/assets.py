"""The files beside a soup's weights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from hf_soups.checkpoint import Spec


class SoupAssets(Mapping[str, bytes]):
    """The first ingredient's files, its config saying what the soup is; read when asked for."""

    def __init__(self, first: Mapping[str, bytes], specs: Mapping[str, Spec], labels: tuple[str, ...] | None) -> None:
        self._first, self._specs, self._labels = first, specs, labels

    def __getitem__(self, name: str) -> bytes:
        content = self._first[name]
        return self._patched(json.loads(content)) if name == "config.json" else content

    def __iter__(self) -> Iterator[str]:
        return iter(self._first)

    def __len__(self) -> int:
        return len(self._first)

    def _patched(self, config: dict[str, Any]) -> bytes:
        for stale in ("_name_or_path", "torch_dtype"):
            config.pop(stale, None)
        kinds = {str(spec.dtype) for spec in self._specs.values() if spec.is_float}
        if len(kinds) == 1 and "_class_name" not in config:  # diffusers' configs have no such field
            config["dtype"] = kinds.pop()
        if self._labels is not None:
            config["id2label"] = {str(i): label for i, label in enumerate(self._labels)}
            config["label2id"] = {label: i for i, label in enumerate(self._labels)}
        return (json.dumps(config, indent=2) + "\n").encode()
