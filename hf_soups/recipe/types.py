"""The parts of a recipe: frozen dataclasses, checked when they are put together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hf_soups.recipe.learning import Learning
from hf_soups.recipe.strategies import Search, Sweep
from hf_soups.recipe.weights import Weights


@dataclass(frozen=True)
class Ingredient:
    """One model that goes into the soup, and what belongs to it alone.

    model: Hub id (`org/name`, `org/name@revision`), local folder, or a recipe of its own.
    parameters: values of the method's per-ingredient parameters, such as `weight`.
    subfolder: folder inside the repository that holds the checkpoint.
    name: what plans, cards and overrides call it; default: its reference.
    labels: names of the head's outputs, when the config does not tell.
    base: for an adapter, the full model that it was trained on; default: what its config says.
    """

    model: str | Recipe
    parameters: Mapping[str, float] = field(default_factory=dict)
    subfolder: str | None = None
    name: str | None = None
    labels: tuple[str, ...] | None = None
    base: str | None = None

    @property
    def label(self) -> str:
        """What to call this ingredient in messages, tables and cards."""
        if self.name:
            return self.name
        if isinstance(self.model, Recipe):
            return f"{self.model.method}({', '.join(i.label for i in self.model.ingredients)})"
        path = Path(self.model)
        reference = folder_name(path) if path.is_absolute() else self.model.split("@")[0]
        return f"{reference}/{self.subfolder}" if self.subfolder else reference


def folder_name(path: Path) -> str:
    """What a local folder is called: its name, a trainer's `checkpoint-500` after its run's."""
    return f"{path.parent.name}/{path.name}" if re.fullmatch(r"checkpoint-\d+", path.name) else path.name


@dataclass(frozen=True)
class Override:
    """What happens to the tensors that a glob matches, where it differs from the rest of the soup."""

    match: str
    source: str | None = None  # `from:` base or an ingredient's name
    parameters: Mapping[str, Any] = field(default_factory=dict)
    ingredients: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Select:
    """How the soup is chosen: `uniform` takes every ingredient, `greedy` those that help, `learned` so much of
    each as a loss says.

    `sweep` tries one parameter's values, `search` lets Optuna propose values of several.

    on: name of the dataset with role `select`; may be left out where there is only one.
    metric: a metric of the evaluation; default: its first.
    tie: `>=` accepts an equal score (paper), `>` does not (released code).
    order: of the ingredients' turns: by held-out `score`, or `random` by the recipe's seed.
    direction: `forward` lets ingredients in one by one, `backward` takes them out of the soup of all (pruned soup).
    curve: also score the uniform soup of the k best for every k, for the figure.
    options: what the strategies learned, sweep and search are told; in YAML, keys beside the others.
    """

    strategy: str = "greedy"
    on: str | None = None
    metric: str | None = None
    tie: str = ">="
    order: str = "score"
    direction: str = "forward"
    curve: bool = False
    options: Learning | Sweep | Search | None = None


@dataclass(frozen=True)
class Data:
    """A labelled dataset and its part in the story.

    path: Hub dataset id, or a local csv, tsv, json, jsonl or parquet file, or a folder of them.
    role: select | fit | calibrate | test | shift.
    config: the Hub's name for a subset.
    text: column (or two, for pairs) with the input; label: column with the label; inferred where obvious.
    columns: what a task needs → the column that has it, where the names do not tell, such as {question: q}.
    group: column whose equal values belong together (sentences of one review).
    limit: use only this many rows, chosen by a hash of their content, whole groups at a time.
    """

    path: str
    role: str
    split: str | None = None
    config: str | None = None
    revision: str | None = None
    text: tuple[str, ...] | None = None
    label: str | None = None
    group: str | None = None
    limit: int | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Measure:
    """A metric of `evaluate` that brings its own code, which runs only where that is allowed.

    name: `evaluate:ID[@revision]` of a Space, or `evaluate:./path` of a script or of a folder with one of its name.
    greater_is_better: which way is up; `evaluate` does not say.
    consumes: what it reads of a model's answers: labels, probabilities, indicators, values, texts or rankings.
    key: the value among its results; default: the metric's own name.
    """

    name: str
    greater_is_better: bool
    consumes: str = "labels"
    key: str | None = None

    @property
    def label(self) -> str:
        """What tables and `select: metric` call it; a script by its name alone."""
        place = Path(self.name.removeprefix(MEASURE))
        return f"{MEASURE}./{place.name}" if place.is_absolute() else self.name


MEASURE = "evaluate:"  # how names of metrics begin that bring their own code


@dataclass(frozen=True)
class Evaluate:
    """What a good model is, here: a task, its metrics (the first one decides) and data.

    task: default: what the models' architecture is for. metrics: default: the task's first.
    max_length: in tokens; longer texts are cut. dtype: of the arithmetic, float32 or bfloat16.
    allow_overlap: report on data that selection saw, which the card then says first; otherwise that is an error.
    baselines: models of the same labels, Hub ids or folders, that only help to say what robustness to expect: see
        `evaluation.robustness`.
    options: what only the task knows, such as {prefix: "summarize: ", max_new_tokens: 60}, or the templates
        and labels of a zero-shot classifier.
    """

    datasets: Mapping[str, Data]
    task: str | None = None
    metrics: tuple[str | Measure, ...] = ()
    max_length: int | None = None
    batch_size: int = 64
    dtype: str = "float32"
    allow_overlap: bool = False
    baselines: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """What tables call the metrics."""
        return tuple(metric if isinstance(metric, str) else metric.label for metric in self.metrics)


@dataclass(frozen=True)
class Output:
    """What is written and where it is pushed.

    dtype: of every floating-point tensor; default: as stored.
    max_shard_size: bytes of the largest file.
    """

    dtype: str | None = None
    max_shard_size: int = 5_000_000_000
    hub: str | None = None
    private: bool = False
    license: str | None = None


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what the soup is.

    recompute_batchnorm: name of the dataset that BatchNorm's running statistics are estimated on anew.
    """

    ingredients: tuple[Ingredient, ...]
    method: str = "average"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    base: Ingredient | None = None
    overrides: tuple[Override, ...] = ()
    select: Select | None = None
    weights: Weights | None = None  # of every tensor: what a learned selection leaves
    evaluate: Evaluate | None = None
    recompute_batchnorm: str | None = None
    output: Output = field(default_factory=Output)
    seed: int = 0
