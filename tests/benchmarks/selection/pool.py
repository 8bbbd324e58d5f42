"""Sixteen fine-tunes of MiniLM and the data that they are chosen on."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.sentiment.prepare import prepare
from hf_soups import Data, Evaluate, Ingredient, Recipe, Select
from hf_soups.evaluation.cache import Predictions
from hf_soups.evaluation.evaluator import Evaluator
from hf_soups.hub.opening import Opener
from hf_soups.recipe import check
from hf_soups.selection.candidates import Candidates

COUNT = 16
LABELS = ("negative", "positive")
LENGTH = 64  # tokens of an input at most


@dataclass(frozen=True)
class Pool:
    """folder: with models/run-1 … run-16, and sentiment/sentiment-domains/data."""

    folder: Path

    def data(self, name: str) -> str:
        return str(self.folder / "sentiment" / "sentiment-domains" / "data" / name)

    def recipe(self, evaluate: Evaluate, select: Select | None = None, count: int = COUNT) -> Recipe:
        models = (self.folder / "models" / f"run-{i + 1}" for i in range(count))
        return check(Recipe(tuple(Ingredient(str(m)) for m in models), evaluate=evaluate, select=select))

    def section(self, files: dict[str, tuple[str, str, str | None]], **settings: Any) -> Evaluate:
        """files: name → file, role, split."""
        sets = {
            name: Data(self.data(file), role, text=("text",), label="label", split=split)
            for name, (file, role, split) in files.items()
        }
        return Evaluate(sets, max_length=LENGTH, task="text-classification", **settings)


def candidates(section: Evaluate, cache: Path) -> Candidates:
    return Candidates(Evaluator(section, LABELS, Predictions(cache)), Opener().pull)


def pool(folder: Path) -> Pool:
    """The pool in a folder, made there if it is not there: fifteen minutes on two cores."""
    if not (folder / "models" / f"run-{COUNT}").is_dir():
        from hf_soups.training import finetune, load_sweep

        prepare(folder / "sentiment", folder / "packages")
        shutil.copy(Path(__file__).with_name("sweep16.yaml"), folder / "sentiment")
        finetune(load_sweep(folder / "sentiment" / "sweep16.yaml"), folder / "models")
    return Pool(folder)


class Cpu:
    """As a context: the seconds of processor time that this process spends in it."""

    seconds = 0.0

    def __enter__(self) -> Cpu:
        self._start = time.process_time()
        return self

    def __exit__(self, *error: object) -> None:
        self.seconds = time.process_time() - self._start
