"""A sweep: which ingredients to make, all from one model and one head; strict YAML in, frozen dataclasses."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from hf_soups.errors import RecipeError, did_you_mean
from hf_soups.recipe import Data, strict_yaml
from hf_soups.recipe.parse import local

HEAD = "head"  # the folder of the shared head; no run may have this name
HEADS = ("probe", "existing")
PRECISIONS = ("float32", "bfloat16")
SCHEDULES = ("cosine", "linear")

T = TypeVar("T")


@dataclass(frozen=True)
class Lora:
    """Train an adapter instead of all weights.

    r: rank. alpha: the adapter counts alpha / r times.
    targets: names of the linear layers that get one, such as `query`.
    dropout: share of the adapter's inputs left out in training.
    """

    targets: tuple[str, ...]
    r: int = 8
    alpha: float = 16.0
    dropout: float = 0.0


@dataclass(frozen=True)
class Run:
    """One ingredient: what sets it apart from the others.

    name: of its folder.
    learning_rate: peak of the schedule.
    warmup: share of the steps in which the learning rate rises.
    dropout: of every dropout layer of the model; default: what the model's config says.
    fraction: share of the training examples, chosen by `seed`.
    seed: decides the subset, the order of the batches, dropout and the adapter's first weights.
    """

    name: str
    learning_rate: float
    epochs: int = 1
    seed: int = 0
    weight_decay: float = 0.01
    label_smoothing: float = 0.0
    warmup: float = 0.1
    schedule: str = "cosine"
    dropout: float | None = None
    fraction: float = 1.0
    lora: Lora | None = None


@dataclass(frozen=True)
class Card:
    """What the README of each ingredient says, and where readers find what it was made from.

    base_model: the model's id on the Hub; default: `model`, if that is a Hub id.
    head: the id under which the head will be on the Hub; an adapter needs it to be found again.
    license: default: what the model's own README says.
    """

    base_model: str | None = None
    head: str | None = None
    license: str | None = None
    language: str | None = None
    datasets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sweep:
    """Several fine-tunings of one model that share its head, so that their weights can be averaged.

    model: Hub id (`org/name`, `org/name@revision`) or local folder.
    labels: names of the head's outputs, in order.
    train: labelled examples; nothing else is ever trained on.
    head: `probe` fits a logistic regression on the frozen model's features and starts every run from it
        (LP-FT, arXiv:2202.10054); `existing` starts from the classifier that the model already has.
    max_length: in tokens; longer texts are cut.
    freeze: globs of the names of parameters that stay as they are, in every run.
    precision: of the arithmetic (autocast); parameters and optimiser stay float32.
    workers: runs that train side by side, each in a process with its share of the cores; small models use one core far
        better than several. Each needs the memory of a whole training.
    """

    model: str
    labels: tuple[str, ...]
    train: Data
    runs: tuple[Run, ...]
    head: str = "probe"
    max_length: int = 128
    batch_size: int = 32
    freeze: tuple[str, ...] = ()
    precision: str = "float32"
    workers: int = 1
    card: Card = Card()

    def __post_init__(self) -> None:
        _check(self)


def load_sweep(path: str | Path) -> Sweep:
    """The sweep in a file; local folders and files in it are relative to the file."""
    file = Path(path)
    text = strict_yaml.read_text(file)
    try:
        return loads_sweep(text, file.resolve().parent)
    except RecipeError as error:
        raise RecipeError(f"{file.name}: {error}") from error


def loads_sweep(text: str, folder: Path | None = None) -> Sweep:
    """The sweep in a YAML text; local paths in it are relative to `folder` (default: the current one)."""
    content = strict_yaml.parse(text)
    if isinstance(content, Mapping) and isinstance(content.get("train"), Mapping):
        if "role" in content["train"]:
            raise RecipeError("train: role: is not asked for here; everything in train is trained on")
        content = {**content, "train": {**content["train"], "role": "fit"}}
    sweep = _read(Sweep, content, "")
    train = replace(sweep.train, path=local(sweep.train.path, folder))
    return replace(sweep, model=local(sweep.model, folder), train=train)


def _read(kind: type[T], content: Any, where: str) -> T:
    """The dataclass `kind` from keys and values whose types are those of its fields."""
    if not isinstance(content, Mapping):
        raise RecipeError(f"{where or 'sweep'}: keys and values are needed, got {content!r}")
    types = get_type_hints(kind)
    values = {}
    for key, value in content.items():
        if key not in types:
            raise RecipeError(f"{_at(where, key)}: unknown key{did_you_mean(key, types)}")
        if value is not None:
            values[key] = _value(types[key], value, _at(where, key))
    for f in fields(kind):  # type: ignore[arg-type]
        if f.name not in values and f.default is MISSING and f.default_factory is MISSING:
            raise RecipeError(f"{_at(where, f.name)}: is missing")
    return kind(**values)


def _value(kind: Any, value: Any, where: str) -> Any:
    kind = next((option for option in get_args(kind) if NoneType in get_args(kind) and option is not NoneType), kind)
    if is_dataclass(kind):
        return _read(kind, value, where)  # type: ignore[arg-type]
    if get_origin(kind) is Mapping:
        if not isinstance(value, Mapping):
            raise RecipeError(f"{where}: keys and values are needed, got {value!r}")
        key, item = get_args(kind)
        return {_value(key, k, where): _value(item, v, _at(where, str(k))) for k, v in value.items()}
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        entries = [value] if item is str and isinstance(value, str) else value
        if not isinstance(entries, list):
            raise RecipeError(f"{where}: a list is needed, got {value!r}")
        return tuple(_value(item, entry, f"{where} #{n}") for n, entry in enumerate(entries, 1))
    if get_origin(kind) is Mapping:
        if not isinstance(value, Mapping):
            raise RecipeError(f"{where}: keys and values are needed, got {value!r}")
        return {str(k): _value(get_args(kind)[1], entry, _at(where, str(k))) for k, entry in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or isinstance(value, bool) or value == "":
        wanted = {str: "a text", int: "a whole number", float: "a number"}[kind]
        raise RecipeError(f"{where}: {wanted} is needed, got {value!r}")
    return value


def _at(where: str, key: str) -> str:
    return f"{where}: {key}" if where else key


def _check(sweep: Sweep) -> None:
    _one_of(sweep.head, HEADS, "head")
    _one_of(sweep.precision, PRECISIONS, "precision")
    if len(sweep.labels) < 2 or len(set(sweep.labels)) < len(sweep.labels):
        raise RecipeError(f"labels: at least two different names are needed, got {', '.join(sweep.labels) or 'none'}")
    _require(sweep.max_length >= 2, "max_length", "at least 2", sweep.max_length)
    _require(sweep.batch_size >= 1, "batch_size", "at least 1", sweep.batch_size)
    _require(sweep.workers >= 1, "workers", "at least 1", sweep.workers)
    if not sweep.runs:
        raise RecipeError("runs: at least one is needed")
    for name, count in Counter(run.name for run in sweep.runs).items():
        if count > 1:
            raise RecipeError(f"runs: {name}: {count} runs have this name; each needs its own")
    for run in sweep.runs:
        _check_run(run, f"runs: {run.name}")


def _check_run(run: Run, where: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", run.name) or run.name == HEAD:
        raise RecipeError(f"{where}: not a name for a folder; use letters, digits, - and _, and not {HEAD!r}")
    _one_of(run.schedule, SCHEDULES, f"{where}: schedule")
    _require(run.learning_rate > 0, f"{where}: learning_rate", "above 0", run.learning_rate)
    _require(run.epochs >= 1, f"{where}: epochs", "at least 1", run.epochs)
    _require(run.seed >= 0, f"{where}: seed", "at least 0", run.seed)
    _require(run.weight_decay >= 0, f"{where}: weight_decay", "at least 0", run.weight_decay)
    _require(0 <= run.label_smoothing < 1, f"{where}: label_smoothing", "at least 0, below 1", run.label_smoothing)
    _require(0 <= run.warmup <= 1, f"{where}: warmup", "a share, 0 to 1", run.warmup)
    _require(0 < run.fraction <= 1, f"{where}: fraction", "above 0, at most 1", run.fraction)
    for key, share in (("dropout", run.dropout or 0.0), ("lora: dropout", run.lora.dropout if run.lora else 0.0)):
        _require(0 <= share < 1, f"{where}: {key}", "at least 0, below 1", share)
    if run.lora is not None:
        _require(run.lora.r >= 1, f"{where}: lora: r", "at least 1", run.lora.r)
        if not run.lora.targets:
            raise RecipeError(f"{where}: lora: targets: name the linear layers, such as query and value")


def _one_of(value: str, options: tuple[str, ...], where: str) -> None:
    if value not in options:
        raise RecipeError(f"{where}: unknown value {value!r}{did_you_mean(value, options)}")


def _require(holds: bool, where: str, wanted: str, value: float) -> None:
    if not holds:
        raise RecipeError(f"{where}: must be {wanted}, got {value:g}")
