"""What models are asked; what those with the same files have in common is found out once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hf_soups.evaluation.batches import Batches
    from hf_soups.evaluation.examples import Examples
    from hf_soups.evaluation.gradual import Model, Question, Share
    from hf_soups.evaluation.tasks.base import Task


class Asking:
    """Asks models of one task in one way: what `predict` gets besides model and data."""

    def __init__(self, task: Task, way: Mapping[str, Any]) -> None:
        self._task = task
        self._way = way
        self._encoded: dict[tuple[str, str], Sequence[Any]] = {}
        self._least: dict[tuple[str, str], int | None] = {}

    def __getstate__(self) -> dict[str, Any]:
        """What travels to another process: not what was found out about the models and the machine of this one."""
        return {**self.__dict__, "_encoded": {}, "_least": {}}

    def question(
        self,
        key: str,
        load: Model,
        settings: Mapping[str, str] | None,
        dataset: str,
        examples: Examples,
        *,
        name: str,
        share: Share | None = None,
    ) -> Question:
        """key, load, share: as of `gradual.Question`. settings, name: as of `Evaluator.outputs`.

        settings: default: nothing is known of the model's files, so nothing is remembered.
        """
        from hf_soups.evaluation.gradual import Question

        known = None if settings is None else (dataset, json.dumps(dict(settings), sort_keys=True))

        def encode(model: Any, processor: Any) -> Sequence[Any]:
            if known is None:
                return self._task.encode(model, processor, examples, self._way["max_length"])
            if known not in self._encoded:
                self._encoded[known] = self._task.encode(model, processor, examples, self._way["max_length"])
            return self._encoded[known]

        def least(batches: Batches) -> int | None:
            if known is None:
                return batches.least()
            if known not in self._least:
                self._least[known] = batches.least()
            return self._least[known]

        return Question(
            self._task,
            dataset,
            examples,
            key,
            load,
            self._way,
            encode=encode if self._task.encodes_alike else None,
            least=least,
            **({"share": share} if share else {}),
            about={"task": self._task.name, "dataset": examples.source.title, "model": name},
        )
