"""The one model in memory, built once and filled with the weights of each candidate in turn."""

from __future__ import annotations

from typing import Any

from hf_soups.checkpoint import Checkpoint
from hf_soups.evaluation.evaluator import Evaluator
from hf_soups.placement import Memory, Placed, place
from hf_soups.selection.recomputed import recompute, recomputed_on
from hf_soups.selection.settings import settings_of


class WarmModel:
    """Built anew only for another config.

    evaluator: its task and its way of running models.
    max_memory: what the model may take where; see `hf_soups.placement.place`.
    """

    def __init__(self, evaluator: Evaluator, max_memory: Memory | None = None) -> None:
        self._evaluator = evaluator
        self._max_memory = max_memory
        self._model: tuple[bytes, Placed] | None = None
        self._processor: tuple[str, Any] | None = None

    def load(self, checkpoint: Checkpoint) -> tuple[Any, Any]:
        """The model, which holds these weights from now on, and its processor."""
        placed, processor = self.placed(checkpoint)
        return placed.model, processor

    def placed(self, checkpoint: Checkpoint) -> tuple[Placed, Any]:
        """As `load`, with what can fill the model with other weights."""
        config = b"\0".join(checkpoint.assets.get(name, b"") for name in ("config.json", "generation_config.json"))
        if self._model is None or self._model[0] != config:
            self._model = None  # gone before the next one comes
            self._model = (config, place(checkpoint, self._evaluator.way["dtype"], self._max_memory))
        else:
            self._model[1].fill(checkpoint)
        placed = self._model[1]
        files = settings_of(checkpoint.assets)["files"]
        if self._processor is None or self._processor[0] != files:
            self._processor = (files, self._evaluator.task.processor(checkpoint))
        if (dataset := recomputed_on(checkpoint)) is not None:
            recompute(checkpoint, dataset, placed.model, self._processor[1], self._evaluator)
        return placed, self._processor[1]
