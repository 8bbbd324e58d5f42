"""Learned weights: bytes held for 2 to 16 ingredients, and the linearised problem beside the full one."""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hf_soups import Learning, Recipe
from hf_soups.checkpoint import Stored
from hf_soups.model import load_model
from hf_soups.selection.candidates import Candidates
from hf_soups.selection.learned.batches import TaskBatches
from hf_soups.selection.learned.fit import fit
from hf_soups.selection.learned.linear import fit_linear
from hf_soups.selection.learned.streamed import StreamedSoup
from tests.benchmarks.selection.pool import LENGTH, Cpu, Pool, candidates
from tests.selection.learned.test_memory import live

COUNTS = (2, 4, 8, 16)
BATCH = 32


class Setting:
    """Rows of the roles fit and calibrate, and the ingredients."""

    def __init__(self, pool: Pool, scratch: Path, rows: int | None = None) -> None:
        files = {
            "fit": ("movie-validation.csv", "fit", "#1/2"),
            "calibrate": ("movie-validation.csv", "calibrate", "#2/2"),
            "test": ("movie-test.csv", "test", None),
        }
        self.section = pool.section(files, metrics=("accuracy", "log_loss"))
        self.tasted: Candidates = candidates(self.section, scratch / "learned")
        self.pool = pool
        self.rows = rows

    def soup(self, count: int, granularity: str) -> StreamedSoup:
        recipe = self.pool.recipe(self.section, count=count)
        model = load_model(self.tasted.open(recipe.ingredients[0]))
        return StreamedSoup(Recipe(recipe.ingredients), self.tasted.open, model, granularity)

    def batches(self, soup: StreamedSoup, role: str) -> TaskBatches:
        task, examples = self.tasted.evaluator.task, self.tasted.evaluator.examples(role)
        some = examples if self.rows is None else examples.select(range(self.rows))
        first = self.pool.recipe(self.section, count=1).ingredients[0]
        return TaskBatches(task, some, soup.model, task.processor(self.tasted.open(first)), BATCH, LENGTH)


def memory(pool: Pool, scratch: Path) -> dict[str, float]:
    """Count → tensor bytes held at most, in models, whenever the last ingredient is about to be read."""
    setting = Setting(pool, scratch, rows=16)
    return {str(count): _held(setting, count) for count in COUNTS}


def _held(setting: Setting, count: int) -> float:
    soup = setting.soup(count, "block")
    size = sum(p.numel() * p.element_size() for p in soup.model.parameters())
    last = setting.tasted.open(setting.pool.recipe(setting.section, count=count).ingredients[-1])
    rows, calibrate = setting.batches(soup, "fit"), setting.batches(soup, "calibrate")
    peaks: list[int] = []
    real = Stored.read

    def read(self: Stored, name: str, start: int, stop: int, into: np.ndarray | None = None) -> np.ndarray:
        if start == 0 and self is last and name.endswith(("word_embeddings.weight", "layer.3.output.dense.weight")):
            peaks.append(live())
            tracemalloc.reset_peak()
        return real(self, name, start, stop, into)

    gc.collect()
    tracemalloc.start()
    before = live() - size
    Stored.read = read  # type: ignore[method-assign]
    try:
        fit(soup, rows, calibrate, Learning(epochs=1, batch_size=8))
    finally:
        Stored.read = real  # type: ignore[method-assign]
        tracemalloc.stop()
    return (max(peaks) - before) / size


def ways(pool: Pool, scratch: Path, count: int = 16) -> dict[str, Any]:
    """Full and linearised, one weight an ingredient: processor seconds, losses, and what they reach on the test set."""
    setting = Setting(pool, scratch)
    tasted, found = setting.tasted, {}
    for name in ("full", "linearised"):
        soup = setting.soup(count, "model")
        rows, calibrate = setting.batches(soup, "fit"), setting.batches(soup, "calibrate")
        options = Learning(granularity="model", batch_size=256, linear=name == "linearised")
        with Cpu() as spent:
            fitted: Any = (fit_linear if options.linear else fit)(soup, rows, calibrate, options)
        weights = [float(w) for w in fitted.a[0]]
        parts = pool.recipe(setting.section, count=count).ingredients
        mixed = (replace(i, parameters={"weight": w}) for i, w in zip(parts, weights, strict=True) if w > 0)
        outputs = tasted.outputs(tasted.checkpoint(Recipe(tuple(mixed))), ["calibrate", "test"])
        scores = {
            f"{data} {metric}": tasted.evaluator.score(outputs[data], data, metric)
            for data in outputs
            for metric in ("accuracy", "log_loss")
        }
        found[name] = {"cpu": spent.seconds, "weights": weights, "beta": fitted.beta, "scores": scores}
    return found


def lines(found: dict[str, Any]) -> list[str]:
    """The tables, as Markdown."""
    said = ["## Learned weights: tensor bytes held at most, in models", ""]
    said += [f"| ingredients | {' | '.join(found['memory'])} |", "|" + " --- |" * (len(found["memory"]) + 1)]
    said += [f"| held | {' | '.join(f'{v:.2f}' for v in found['memory'].values())} |", ""]
    said += ["## Full and linearised, sixteen ingredients, one weight each", ""]
    columns = list(found["ways"]["full"]["scores"])
    said += [f"| way | CPU s | {' | '.join(columns)} |", "|" + " --- |" * (len(columns) + 2)]
    for name, one in found["ways"].items():
        scores = [f"{one['scores'][column]:.4f}" for column in columns]
        said.append(f"| {name} | {one['cpu']:.0f} | {' | '.join(scores)} |")
    return said
