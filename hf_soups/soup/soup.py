"""A soup: a checkpoint whose tensors have not been computed yet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from threading import local
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_soups.align import Alignment, align
from hf_soups.checkpoint import Checkpoint, Origin, ShardFile, ShardWriter, Spec, StateDict, layout
from hf_soups.engine import Desk, Device, Host, Rule, chunks, for_each, identities
from hf_soups.errors import SoupError
from hf_soups.method import get
from hf_soups.recipe import Ingredient, Recipe, arguments, check, to_dict
from hf_soups.soup.assets import SoupAssets
from hf_soups.soup.meter import Meter
from hf_soups.soup.rules import Rules

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Open = Callable[[Ingredient], Checkpoint]
ARITHMETIC = 5  # raised when the same recipe and inputs would give other bits than before


class Soup(Checkpoint):
    """The checkpoint that a recipe describes; nothing is read but headers until a tensor is asked for.

    open: gives the checkpoint of an ingredient or base.
    nested: this soup is an ingredient of another, so its tensors stay float32 unless the recipe says
        otherwise, and are rounded once, by the outer one.
    device: what computes it; default: this machine's processors.
    statistics: tensors that were measured on data, so that they are not made from the ingredients': BatchNorm's.

    Raises AlignmentError, listing every reason, if the ingredients do not fit together.
    """

    def __init__(
        self,
        recipe: Recipe,
        open: Open,
        *,
        nested: bool = False,
        device: Device | None = None,
        statistics: Mapping[str, Any] | None = None,
    ) -> None:
        self.recipe = check(recipe, nested)
        self.method = get(recipe.method)
        self.device: Device = device or Host()
        base = self._open(recipe.base, open) if recipe.base else None
        self.alignment: Alignment = align(recipe, [self._open(i, open) for i in recipe.ingredients], base)
        self.alignment.require()
        self.ingredients, self.base = list(self.alignment.ingredients), self.alignment.base
        self.specs = self.alignment.specs
        measured = {n: np.array(value, self.specs[n].dtype) for n, value in (statistics or {}).items()}
        self.statistics: Checkpoint = StateDict(measured, "statistics")
        self.stem, self.modules = self.ingredients[0].stem, self.ingredients[0].modules
        self.assets = SoupAssets(self.ingredients[0].assets, self.specs, self.alignment.labels)
        self.origin = Origin(
            name=f"{recipe.method} of {len(self.ingredients)}",
            bases=tuple(dict.fromkeys(b for i in self.ingredients for b in i.origin.bases)),
        )
        self.aliases = self._find_aliases()
        self.nested = nested
        self._wide = nested and recipe.output.dtype is None
        self._desks = local()
        self._rules = Rules(self, self._desk)

    def read(self, name: str, start: int, stop: int, into: np.ndarray | None = None) -> np.ndarray:
        spec = self.specs[name]
        dtype = np.dtype(np.float32) if self._wide and spec.is_float else spec.dtype
        size = (stop - start) * dtype.itemsize
        out = np.empty(stop - start, dtype) if into is None or len(into) < size else into[:size].view(dtype)
        rule = self._rules[name]
        for a, b in self._pieces(rule, start, stop):
            rule.make(self.device, self._desk(), a, b, out[a - start : b - start], self.wide(name))
        return out

    def wide(self, name: str) -> bool:
        """Whether a tensor is computed in float64, because 32 bits or more of it are kept."""
        return self._wide or self.specs[name].dtype.itemsize >= 4

    def confirm(self) -> None:
        for part in self._parts:
            part.confirm()

    def fingerprint(self) -> str:
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        content = {
            "arithmetic": ARITHMETIC,
            "method": self.recipe.method,
            "arguments": [
                {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in arguments(self.recipe, o).items()}
                for o in (None, *self.recipe.overrides)
            ],
            "overrides": [to_dict(o) for o in self.recipe.overrides],
            "labels": [i.label for i in self.recipe.ingredients] if self.recipe.overrides else [],
            "ingredients": [i.fingerprint() for i in self.ingredients],
            "base": self.base.fingerprint() if self.base and self.reads_base else None,
            "dtypes": sorted({str(s.dtype) for s in self.specs.values()}),
            "wide": self._wide,
            "seed": self.recipe.seed,
        }
        if self.recipe.weights is not None:
            content["weights"] = dict(self.recipe.weights.tensors)
        if self.statistics:
            content["statistics"] = self.statistics.fingerprint()
        if self.device.name != Host.name:  # whose last bits may be others
            content["device"] = self.device.name
        if self.method.draws:  # random streams go by what the ingredients are called
            content["identities"] = identities(self.ingredients)
        text = json.dumps(content, sort_keys=True)
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    def load(self) -> PreTrainedModel:
        """The soup as a transformers model in memory, float32, in evaluation mode; nothing is written."""
        from hf_soups.model import load_model

        return load_model(self)

    def write(
        self,
        folder: Path,
        max_shard_size: int,
        progress: Callable[[int], None] | None = None,
        finished: Callable[[Path], None] | None = None,
        only: Collection[str] | None = None,
    ) -> dict[str, str]:
        """Stream the tensors into safetensors files in an existing folder; file name → checksum.

        progress: called with the bytes of every piece that was read or written.
        finished: called with every file that is complete and durable, before the next is begun; may take it away.
        only: names of the files to write, if others write the rest; then the index is left to be written.
        Raises CheckpointError if an ingredient's file changed meanwhile.
        """
        writer = self.writer(folder, max_shard_size)
        files = {name: specs for name, specs in writer.shards.items() if only is None or name in only}
        names = {name: None for specs in files.values() for name in specs}
        meter = Meter(progress, *self.effort(names))
        self._rules.prepare(meter.add, names)
        meter.measured()
        for name, specs in files.items():
            with writer.file(name) as file:
                for_each(self._items(specs), partial(self._write, file, meter.add), self.device.threads)
                self.confirm()
            if finished is not None:
                finished(folder / name)
        if only is None:
            writer.finish()
        meter.finished()
        return writer.checksums

    def writer(self, folder: Path, max_shard_size: int) -> ShardWriter:
        """The files that `write` fills."""
        return ShardWriter(folder, self.stored, max_shard_size, self.stem, self.aliases, self.modules)

    @property
    def files(self) -> dict[str, dict[str, Spec]]:
        """Name → tensors of every weight file that the recipe asks for."""
        return layout(self.stored, self.recipe.output.max_shard_size, self.stem, self.modules)

    def effort(self, names: Collection[str]) -> tuple[int, int]:
        """Bytes that are read before some tensors can be written, and those read and written then."""
        once = sum(part.nbytes for part in self._parts)
        part = sum(self.specs[name].nbytes for name in names) / max(1, self.nbytes)
        measuring = self.bytes_read - once
        if part == 0 or self._rules.measures_each:
            measuring = round(part * measuring)
        return measuring, round(part * (once + self.nbytes))

    @property
    def bytes_read(self) -> int:
        """Bytes that writing reads from all ingredients and the base, each pass counted; inner soups as they read."""
        passes = 1 + self._rules.measuring_passes
        return passes * sum(p.bytes_read if isinstance(p, Soup) else p.nbytes for p in self._parts)

    def save(self, out: str | Path, *, overwrite: bool = False) -> Path:
        """Write weights, assets, soup.yaml and soup.lock.json into a folder, which appears whole or not at all."""
        from hf_soups.lock import save

        return save(self, Path(out), overwrite=overwrite)

    def push_to_hub(self, repo_id: str, *, private: bool = False, create_pr: bool = False) -> str:
        """Save, then push as one commit; the commit's (or pull request's) address."""
        from hf_soups.pipeline import push_soup  # the one upward call; people expect this method

        return push_soup(self, repo_id, private=private, create_pr=create_pr)

    @property
    def stored(self) -> dict[str, Spec]:
        """The tensors that are written: tied ones once."""
        return {name: spec for name, spec in self.specs.items() if name not in self.aliases}

    @property
    def memory(self) -> int:
        """Bytes that `write` works in: each thread's rows, as stored, as numbers and as intermediate results."""
        rows = len(self._parts) + 1
        width = max((spec.dtype.itemsize for part in self._parts for spec in part.specs.values()), default=4)
        size = self.device.step(rows)
        if self.method.kind == "matrix":
            size = max((spec.size for spec in self.specs.values()), default=0)
        return self.device.threads * 3 * rows * size * width

    @property
    def reads_base(self) -> bool:
        return self.method.needs_base or any(o.source == "base" for o in self.recipe.overrides)

    @property
    def required_base(self) -> Checkpoint:
        if self.base is None:
            raise SoupError(f"{self.method.name} works on differences from a base; add base: to the recipe")
        return self.base

    @property
    def _parts(self) -> list[Checkpoint]:
        return [*self.ingredients, *([self.base] if self.base is not None and self.reads_base else [])]

    def _find_aliases(self) -> dict[str, str]:
        """Tied tensors: those that are tied in everything they are made of, and made alike."""
        same = set.intersection(*(set(part.aliases.items()) for part in self._parts))
        treatments = self.alignment.treatments
        weights = self.recipe.weights.tensors if self.recipe.weights else {}
        return {
            n: first
            for n, first in sorted(same)
            if n in self.specs and treatments[n] == treatments.get(first) and weights.get(n) == weights.get(first)
        }

    def _items(self, specs: Mapping[str, Spec]) -> Iterator[tuple[str, Rule, int, int]]:
        for name, spec in specs.items():
            rule = self._rules[name]
            for start, stop in self._pieces(rule, 0, spec.size):
                yield name, rule, start, stop

    def _pieces(self, rule: Rule, start: int, stop: int) -> Iterator[tuple[int, int]]:
        size = max(rule.unit, self.device.step(rule.sources) // rule.unit * rule.unit)
        if start % size:  # as far as the next place where a piece begins
            first = min(stop, start // size * size + size)
            yield start, first
            if first == stop:
                return
            start = first
        for a, b in chunks(stop - start, size):
            yield start + a, start + b

    def _write(self, file: ShardFile, moved: Callable[[int], None], item: tuple[str, Rule, int, int]) -> None:
        name, rule, start, stop = item
        dtype = self.specs[name].dtype
        desk = self._desk()
        out = desk.buffer(rule.sources, (stop - start) * dtype.itemsize).view(dtype)
        rule.make(self.device, desk, start, stop, out, self.wide(name))
        file.put(name, start, out)
        moved(out.nbytes * (1 + rule.sources))

    def _desk(self) -> Desk:
        if not hasattr(self._desks, "desk"):
            self._desks.desk = self.device.desk()
        desk: Desk = self._desks.desk
        return desk

    def _open(self, ingredient: Ingredient, open: Open) -> Checkpoint:
        if isinstance(ingredient.model, Recipe):
            return Soup(ingredient.model, open, nested=True, device=self.device)
        return open(ingredient)
