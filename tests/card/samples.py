"""Soups and results small enough to check by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hf_soups.checkpoint import Checkpoint, LocalFiles, Lora, Origin, StateDict, Stored
from hf_soups.evaluation.examples import Source
from hf_soups.evaluation.results import DatasetReport, Kind, Results, Row
from hf_soups.evaluation.statistics import Interval
from hf_soups.recipe import Ingredient, Recipe
from hf_soups.selection import Selection, greedy
from hf_soups.soup import Soup
from tests.models import write_safetensors

SHA = "0123456789abcdef0123456789abcdef01234567"
CONFIG = {
    "model_type": "bert",
    "architectures": ["BertForSequenceClassification"],
    "id2label": {"0": "negative", "1": "positive"},
}

# What people and attackers call things.
NASTY = {
    "html": "</td><script>alert(1)</script>",
    "pipe": "a|b",
    "front matter": "---",
    "quote": '"',
    "newlines": "one\ntwo\r\n---\n# three",
    "right-to-left override": "abc\u202etxt.exe\u2066",
    "template": "{{7*7}}",
    "long": "x" * 10_000,
    "control": "a\x00b\x1b[31mc\x85",
    "link": "[click](https://evil.example) ![x](//evil.example/x.png)",
    "address": "https://evil.example and www.evil.example <https://evil.example>",
    "code": "`a` ```` b",
    "formula": "$$x$$ \\(y\\)",
    "emphasis": "_a_ *b* ~~c~~ \\",
    "entity": "&lt;b&gt; &#124;",
}


def checkpoint(name: str, *, license: str | None = "apache-2.0", sha: str | None = SHA, fill: float = 1.0) -> StateDict:
    assets = {"config.json": json.dumps(CONFIG).encode(), "tokenizer.json": b"{}"}
    made = StateDict({"w": np.full((2, 3), fill, np.float32)}, assets=assets)
    made.origin = Origin(name, sha=sha, license=license)
    return made


def adapter(folder: Path, name: str) -> Lora:
    write_safetensors(folder / "base" / "model.safetensors", {"w.weight": np.ones((4, 3), np.float32)})
    factors = {"lora_A": np.ones((2, 3), np.float32), "lora_B": np.ones((4, 2), np.float32)}
    write_safetensors(
        folder / "adapter" / "adapter_model.safetensors",
        {f"base_model.model.w.{factor}.weight": values for factor, values in factors.items()},
    )
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["w"]}
    (folder / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    base = Stored(LocalFiles(folder / "base"), Origin("org/base", SHA, license="mit", path=folder / "base"))
    origin = Origin(name, SHA, license="mit", path=folder / "adapter")
    return Lora(base, Stored(LocalFiles(folder / "adapter"), origin, "adapter_model"))


def soup_of(checkpoints: Mapping[str, Checkpoint], recipe: Recipe | None = None) -> Soup:
    """By label; default: the average of them all."""
    everything = recipe or Recipe(ingredients=tuple(Ingredient(name) for name in checkpoints))
    return Soup(everything, lambda ingredient: checkpoints[ingredient.label])


def chosen(checkpoints: Mapping[str, Checkpoint], scores: Mapping[str, float]) -> tuple[Soup, Selection]:
    """The greedy soup where a mixture scores the mean of its parts' scores, and its selection."""
    recipe = Recipe(ingredients=tuple(Ingredient(name) for name in checkpoints))

    def score(candidate: Recipe) -> float:
        return float(np.mean([scores[i.label] for i in candidate.ingredients]))

    selection = greedy(recipe, score)
    selection = replace(selection, on="validation", metric="accuracy")
    return soup_of(checkpoints, selection.recipe), selection


def interval(value: float, side: float = 0.01) -> Interval:
    return Interval(value, side / 2, value - side, value + side)


def report(
    name: str, role: str, *, path: str = "org/data", revision: str | None = SHA, dropped: int = 0
) -> DatasetReport:
    return DatasetReport(name, role, Source(path, "test", None, revision), 1000, None, "ab" * 32, dropped)


def results(rows: Sequence[Row], reports: Sequence[DatasetReport], metrics: tuple[str, ...] = ("accuracy",)) -> Results:
    directions = {metric: -1 if metric == "log_loss" else 1 for metric in metrics}
    ranked = next((r.name for r in reports if r.role == "select"), None)
    by_name = {r.name: r for r in reports}
    return Results("text-classification", metrics, by_name, tuple(rows), directions, metrics[0], ranked)


def row(
    name: str,
    kind: Kind,
    values: Mapping[str, float],
    minus_best: Mapping[str, Interval] | None = None,
    metrics: tuple[str, ...] = ("accuracy",),
) -> Row:
    """values: by dataset; every metric has the same."""
    scores = {dataset: {m: interval(value) for m in metrics} for dataset, value in values.items()}
    differences = {dataset: {m: d for m in metrics} for dataset, d in (minus_best or {}).items()}
    return Row(name, kind, scores, differences)


ZERO = Interval(0.0, 0.0, 0.0, 0.0)
REPORTS = (
    report("validation", "select"),
    report("test", "test"),
    report("amazon", "shift", path="org/amazon"),
    report("tweets", "shift", path="tweets.csv", revision=None),
)


def usual_results(
    metrics: tuple[str, ...] = ("accuracy",), names: Sequence[str] = ("org/a", "org/b", "org/c")
) -> Results:
    """org/a is the best ingredient; the soup is better on amazon, worse on tweets, and not distinguishable on test."""
    datasets = [r.name for r in REPORTS]
    same = dict.fromkeys(datasets, ZERO)

    def all_of(*values: float) -> dict[str, float]:
        return dict(zip(datasets, values, strict=True))

    soup = dict(zip(datasets, [interval(0.01), interval(0.005), interval(0.02), interval(-0.03)], strict=True))
    worse = dict.fromkeys(datasets, interval(-0.02))
    best, *others = names
    rows = [
        row("org/base", "base", all_of(0.7, 0.69, 0.68, 0.67), worse, metrics),
        row(best, "ingredient", all_of(0.9, 0.85, 0.8, 0.75), same, metrics),
        *(row(name, "ingredient", all_of(0.88, 0.83, 0.78, 0.73), worse, metrics) for name in others),
        row("uniform soup", "uniform", all_of(0.89, 0.84, 0.83, 0.74), worse, metrics),
        row("greedy soup", "greedy", all_of(0.91, 0.855, 0.82, 0.72), soup, metrics),
        row("ensemble", "ensemble", all_of(0.9, 0.85, 0.81, 0.74), worse, metrics),
    ]
    return results(rows, REPORTS, metrics)
