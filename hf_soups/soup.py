"""A soup: a checkpoint whose tensors have not been computed yet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_soups import engine
from hf_soups.align import Alignment, align
from hf_soups.checkpoint import Checkpoint, Origin, ShardWriter, Spec
from hf_soups.engine import chunks, combine
from hf_soups.errors import SoupError
from hf_soups.method import get
from hf_soups.recipe import Ingredient, Override, Recipe, arguments, check, to_dict

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Open = Callable[[Ingredient], Checkpoint]
ARITHMETIC = 1  # raised when the same recipe and inputs would give other bits than before


class Soup(Checkpoint):
    """The checkpoint that a recipe describes; nothing is read but headers until a tensor is asked for.

    open: gives the checkpoint of an ingredient or base.
    nested: this soup is an ingredient of another, so its tensors stay float32 unless the recipe says
        otherwise, and are rounded once, by the outer one.

    Raises AlignmentError, listing every reason, if the ingredients do not fit together.
    """

    def __init__(self, recipe: Recipe, open: Open, *, nested: bool = False) -> None:
        self.recipe = check(recipe, nested)
        self.method = get(recipe.method)
        self.ingredients = [_open_ingredient(i, open) for i in recipe.ingredients]
        self.base = _open_ingredient(recipe.base, open) if recipe.base else None
        self.alignment: Alignment = align(recipe, self.ingredients, self.base)
        self.alignment.require()
        self.specs = self.alignment.specs
        self.assets = _Assets(self.ingredients[0].assets, self.specs, self.alignment.labels)
        self.origin = Origin(
            name=f"{recipe.method} of {len(self.ingredients)}",
            bases=tuple(dict.fromkeys(b for i in self.ingredients for b in i.origin.bases)),
        )
        self._wide = nested and recipe.output.dtype is None
        self._coefficients: dict[str, np.ndarray] = {}
        self._thresholds: dict[tuple[Override | None, str], np.ndarray] = {}
        self._lock = RLock()

    def read(self, name: str, start: int, stop: int) -> np.ndarray:
        spec = self.specs[name]
        treatment = self.alignment.treatments[name]
        if treatment.rule == "copy":
            source = self._source(treatment.source)
            if not spec.is_float:
                return source.read(name, start, stop)
            values = engine.read(source, name, start, stop, self.working)
            return engine.store(values, spec.dtype, name)
        if treatment.rule == "equal":
            return self._equal(name, start, stop)
        if treatment.rule == "maximum":
            return np.max(np.stack([i.read(name, start, stop) for i in self.ingredients]), axis=0)
        if treatment.rule == "mean":
            values = combine(*self._mean(treatment.override), name, start, stop, self.working)
        elif self.method.kind == "coordinatewise":
            values = self._coordinatewise(name, treatment.override, start, stop)
        else:
            values = self._combination(name, treatment.override, start, stop)
        return values.astype(np.float32) if self._wide else engine.store(values, spec.dtype, name)

    @cached_property
    def working(self) -> np.dtype:
        """The precision that everything is computed in."""
        wide = self._wide or any(s.is_float and s.dtype.itemsize >= 4 for s in self.specs.values())
        return np.dtype(np.float64 if wide else np.float32)

    def fingerprint(self) -> str:
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        content = {
            "arithmetic": ARITHMETIC,
            "method": self.recipe.method,
            "arguments": [
                {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in self._arguments(o).items()}
                for o in (None, *self.recipe.overrides)
            ],
            "overrides": [to_dict(o) for o in self.recipe.overrides],
            "labels": [i.label for i in self.recipe.ingredients] if self.recipe.overrides else [],
            "ingredients": [i.fingerprint() for i in self.ingredients],
            "base": self.base.fingerprint() if self.base and self._reads_base else None,
            "dtypes": sorted({str(s.dtype) for s in self.specs.values()}),
            "wide": self._wide,
            "seed": self.recipe.seed,
        }
        text = json.dumps(content, sort_keys=True)
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    def load(self) -> PreTrainedModel:
        """The soup as a transformers model in memory, float32, in evaluation mode; nothing is written."""
        from hf_soups.model import load_model

        return load_model(self)

    def write(self, folder: Path, max_shard_size: int, progress: Callable[[int], None] | None = None) -> dict[str, str]:
        """Stream the tensors into safetensors files in an existing folder; file name → checksum.

        progress: called with the bytes of every chunk that was written.
        """
        writer = ShardWriter(folder, self.specs, max_shard_size)
        for name, specs in writer.shards.items():
            with writer.file(name) as file:
                for tensor, spec in specs.items():
                    for start, stop in chunks(spec.size):
                        values = self.read(tensor, start, stop)
                        file.append(values)
                        if progress is not None:
                            progress(values.nbytes)
        writer.finish()
        return writer.checksums

    def save(self, out: str | Path, *, overwrite: bool = False) -> Path:
        """Write weights, assets, soup.yaml and soup.lock.json into a folder, which appears whole or not at all."""
        from hf_soups.lock import save

        return save(self, Path(out), overwrite=overwrite)

    def push_to_hub(self, repo_id: str, *, private: bool = False, create_pr: bool = False) -> str:
        """Save, then push as one commit; the commit's (or pull request's) address."""
        from hf_soups.pipeline import push_soup  # the one upward call; people expect this method

        return push_soup(self, repo_id, private=private, create_pr=create_pr)

    @property
    def _reads_base(self) -> bool:
        return self.method.needs_base or any(o.source == "base" for o in self.recipe.overrides)

    def _arguments(self, override: Override | None) -> dict[str, Any]:
        return arguments(self.recipe, override)

    def _source(self, label: str | None) -> Checkpoint:
        if label == "base" and self.base is not None:
            return self.base
        return self.ingredients[[i.label for i in self.recipe.ingredients].index(str(label))]

    def _equal(self, name: str, start: int, stop: int) -> np.ndarray:
        first, *others = (i.read(name, start, stop) for i in self.ingredients)
        for ingredient, other in zip(self.recipe.ingredients[1:], others, strict=True):
            if not np.array_equal(first, other):
                raise SoupError(
                    f"{name}: integers differ between {self.recipe.ingredients[0].label} and {ingredient.label} and "
                    "have no mean; copy them with an override, from: one of the ingredients"
                )
        return first

    def _mean(self, override: Override | None) -> tuple[list[Checkpoint], np.ndarray]:
        """What running statistics are the mean of, and with which weights, which sum to 1.

        The method's own coefficients where none is negative, so that both ends of an interpolation stay
        exact; else the ingredients' weights, since a variance may not become negative.
        """
        if self.method.kind == "linear":
            weights = self._spread(self.method.coefficients(len(self.ingredients), self._arguments(override)))
            if weights.min() >= 0 and weights.sum() > 0:
                return self._parts, weights / weights.sum()
        given = self._arguments(override)
        if "t" in given:
            return self.ingredients, np.array([1 - given["t"], given["t"]])
        weights = np.clip(given["weight"][:, 0], 0, None) if "weight" in given else np.ones(len(self.ingredients))
        if weights.sum() == 0:
            weights = np.ones(len(self.ingredients))
        return self.ingredients, weights / weights.sum()

    def _combination(self, name: str, override: Override | None, start: int, stop: int) -> np.ndarray:
        """A method whose result lies in the span of the ingredients and the base."""
        with self._lock:
            if name not in self._coefficients:
                self._coefficients[name] = self._find_coefficients(name, override)
        return combine(self._parts, self._coefficients[name], name, start, stop, self.working)

    def _find_coefficients(self, name: str, override: Override | None) -> np.ndarray:
        inner = None
        if self.method.kind == "gram":
            inner = engine.gram(self.ingredients, name, self.specs[name].size)
        try:
            found = self.method.coefficients(len(self.ingredients), self._arguments(override), inner)
        except ValueError as error:
            raise SoupError(f"{name}: {self.method.name}: {error}") from error
        return self._spread(found)

    @property
    def _parts(self) -> list[Checkpoint]:
        """What a combination is made of: the ingredients, after the base for methods on differences."""
        return [self._required_base, *self.ingredients] if self.method.needs_base else self.ingredients

    def _spread(self, coefficients: np.ndarray) -> np.ndarray:
        """Coefficients of `_parts`: base + sum c (x - base) = (1 - sum c) base + sum c x."""
        if not self.method.needs_base:
            return coefficients
        return np.concatenate([[1 - coefficients.sum()], coefficients])

    def _coordinatewise(self, name: str, override: Override | None, start: int, stop: int) -> np.ndarray:
        values = self._arguments(override)
        for statistic in self.method.statistics:
            values[statistic] = self._statistic(statistic, override)[:, None]
        if not self.method.needs_base:
            rows = [engine.read(i, name, start, stop, self.working) for i in self.ingredients]
            return engine.apply(self.method, np.stack(rows), values, name)
        base = self._required_base
        differences = engine.deltas(base, self.ingredients, name, start, stop, self.working)
        merged = engine.apply(self.method, differences, values, name)
        return engine.read(base, name, start, stop, self.working) + merged

    def _statistic(self, statistic: str, override: Override | None) -> np.ndarray:
        """The threshold of each ingredient, over all tensors with the same effective parameters."""
        key = (_same_parameters(override), statistic)
        with self._lock:
            if key not in self._thresholds:
                self._thresholds[key] = self._find_thresholds(statistic, key[0])
            return self._thresholds[key]

    def _find_thresholds(self, statistic: str, group: Override | None) -> np.ndarray:
        names = [
            n
            for n, t in self.alignment.treatments.items()
            if t.rule == "method" and _same_parameters(t.override) == group
        ]
        shares = self._arguments(group)[self.method.statistics[statistic].share][:, 0]
        total = sum(self.specs[n].size for n in names)
        keep = [engine.kept(share, total) for share in shares]
        if all(k == total for k in keep):
            return np.zeros(len(keep), self.working)

        def passes() -> Iterator[np.ndarray]:
            for name in names:
                for start, stop in chunks(self.specs[name].size):
                    yield engine.deltas(self._required_base, self.ingredients, name, start, stop, self.working)

        return engine.kth_largest(passes, keep, self.working)

    @property
    def _required_base(self) -> Checkpoint:
        if self.base is None:
            raise SoupError(f"{self.method.name} works on differences from a base; add base: to the recipe")
        return self.base


def _open_ingredient(ingredient: Ingredient, open: Open) -> Checkpoint:
    if isinstance(ingredient.model, Recipe):
        return Soup(ingredient.model, open, nested=True)
    return open(ingredient)


def _same_parameters(override: Override | None) -> Override | None:
    """Overrides that differ only in what they match form one group of tensors."""
    if override is None or not (override.parameters or override.ingredients):
        return None
    return Override(match="", parameters=_Frozen(override.parameters), ingredients=_Frozen(override.ingredients))


class _Frozen(dict[str, Any]):
    """A mapping that can be part of a dictionary's key."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(json.dumps(self, sort_keys=True))


class _Assets(Mapping[str, bytes]):
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
        if len(kinds) == 1:
            config["dtype"] = kinds.pop()
        if self._labels is not None:
            config["id2label"] = {str(i): label for i, label in enumerate(self._labels)}
            config["label2id"] = {label: i for i, label in enumerate(self._labels)}
        return (json.dumps(config, indent=2) + "\n").encode()
