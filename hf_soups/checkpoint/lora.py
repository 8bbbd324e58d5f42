"""A LoRA adapter on its base: `base[name] + scale * B @ A`, computed range by range when asked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from hf_soups.checkpoint.adapter_config import read_adapter_config
from hf_soups.checkpoint.base import Checkpoint, Origin, Spec
from hf_soups.checkpoint.stored import Stored, read_json
from hf_soups.errors import CheckpointError
from hf_soups.kernels import Packed, loops


class Factors(NamedTuple):
    """`left @ right` is the difference as the base stores the tensor; the scale is in `left`."""

    left: np.ndarray  # [rows, r] float32
    right: np.ndarray  # [r, columns] float32


@dataclass(frozen=True)
class _Pair:
    """Names of the two factors of one module in the adapter's file."""

    module: str
    a: str
    b: str
    embedding: bool


class Lora(Checkpoint):
    """The full model that a LoRA adapter and its base make, tensor by tensor.

    Tensors that the adapter does not touch are the base's; those it holds whole (modules_to_save,
    biases) replace the base's. Raises CheckpointError if any of the adapter's tensors finds no place
    in the base: an adapter that applies to nothing, or to half, never passes.
    """

    def __init__(self, base: Checkpoint, adapter: Stored) -> None:
        self.base = base
        self.adapter = adapter
        self.specs = base.specs
        self.assets = base.assets
        self.stem, self.modules = base.stem, base.modules
        self.origin: Origin = replace(adapter.origin, bases=(base.origin.name,))
        where = f"{adapter.files.where}/adapter_config.json"
        self.config = read_adapter_config(read_json(adapter.files, "adapter_config.json"), where)
        pairs, whole = _parse_names(adapter)
        self._pairs: dict[str, _Pair] = {}
        self._whole: dict[str, str] = {}
        lost = []
        for pair in pairs:
            target = _locate(f"{pair.module}.weight", base)
            if target is None or not self._fits(pair, target):
                lost.append(pair.module)
            else:
                self._pairs[target] = pair
        for name in whole:
            target = _locate(name, base)
            if target is None or base.specs[target].shape != adapter.specs[whole[name]].shape:
                lost.append(name)
            else:
                self._whole[target] = whole[name]
        if lost:
            raise CheckpointError(
                f"{adapter.files.where}: adapter for another base: {len(lost)} of {len(pairs) + len(whole)} modules "
                f"have no place in {base.origin.name}, the first is {lost[0]}; give its own base with base:"
            )
        self.difference = LowRank(self)

    def read(self, name: str, start: int, stop: int, into: np.ndarray | None = None) -> np.ndarray:
        if name in self._whole:
            return self.adapter.read(self._whole[name], start, stop, into)
        values = self.base.read(name, start, stop, into)
        if name not in self._pairs:
            return values
        wide = np.promote_types(np.float32, values.dtype) if values.dtype.kind == "f" else np.dtype(np.float32)
        return values.astype(wide) + self.difference.read(name, start, stop)

    def terms(self, name: str) -> Sequence[tuple[float, Checkpoint]]:
        if name in self._whole:
            return [(1.0, self)]
        if name not in self._pairs:
            return self.base.terms(name)
        return [*self.base.terms(name), (1.0, self.difference)]

    def confirm(self) -> None:
        self.base.confirm()
        self.adapter.confirm()

    def fingerprint(self) -> str:
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        parts = f"{self.base.fingerprint()}\n{self.adapter.fingerprint()}\n{self.config}"
        return f"sha256:{hashlib.sha256(parts.encode()).hexdigest()}"

    def factors(self, name: str) -> Factors:
        """What a touched tensor differs from the base's by."""
        pair = self._pairs[name]
        a = self.adapter[pair.a].astype(np.float32)
        b = self.adapter[pair.b].astype(np.float32)
        a, b = (
            a.reshape(a.shape[0], -1),
            b.reshape(b.shape[0], -1),
        )  # [r, in], [out, r]; convolutions flattened
        scale = np.float32(self.config.scale(pair.module, a.shape[0]))
        if pair.embedding or (self.config.transposed and self._is_transposed(pair, name)):
            return Factors(scale * a.T, b.T)
        return Factors(scale * b, a)

    def _is_transposed(self, pair: _Pair, target: str) -> bool:
        return self.specs[target].shape == (
            self.adapter.specs[pair.a].shape[1],
            self.adapter.specs[pair.b].shape[0],
        )

    def _fits(self, pair: _Pair, target: str) -> bool:
        a, b = self.adapter.specs[pair.a].shape, self.adapter.specs[pair.b].shape
        if len(a) < 2 or len(b) < 2 or a[0] == 0 or a[0] != b[1] or any(n != 1 for n in b[2:]):
            return False
        shape = self.base.specs[target].shape
        if pair.embedding or (self.config.transposed and len(shape) == 2):
            return shape == (a[1], b[0])
        return shape == (b[0], *a[1:])


class LowRank(Checkpoint):
    """What an adapter adds to its base: tensors of low rank, float32, never held whole."""

    def __init__(self, lora: Lora) -> None:
        self.specs = {name: Spec(lora.specs[name].shape, np.dtype(np.float32)) for name in lora._pairs}
        self.assets = {}
        self.origin = lora.origin
        self._lora = lora
        self._packed = lru_cache(maxsize=2)(lambda name: Packed.of(*lora.factors(name)))

    def read(self, name: str, start: int, stop: int, into: np.ndarray | None = None) -> np.ndarray:
        size = 4 * (stop - start)
        out = np.empty(stop - start, np.float32) if into is None or len(into) < size else into[:size].view(np.float32)
        loops().combine([], np.empty(0), out, False, self._packed(name), start)
        return out

    def factors(self, name: str) -> Factors:
        """Of one tensor, read now."""
        return self._lora.factors(name)

    def fingerprint(self) -> str:
        return self._lora.fingerprint()


def _parse_names(adapter: Stored) -> tuple[list[_Pair], dict[str, str]]:
    """The factor pairs, and the tensors held whole: name in the model → name in the file."""
    found: dict[tuple[str, bool], dict[str, str]] = {}
    whole: dict[str, str] = {}
    unknown = []
    for name in adapter.specs:
        plain = name.removeprefix("base_model.model.")
        if pair := re.fullmatch(r"(.+)\.lora_(embedding_)?([AB])(?:\.(?!bias$)[^.]+)??(?:\.weight)?", plain):
            found.setdefault((pair[1], bool(pair[2])), {})[pair[3]] = name
        elif re.search(r"\.(lora_|ia3_|hada_|lokr_|oft_|boft_|vera_|base_layer\.|token_adapter\.|trainable_)", plain):
            unknown.append(name)
        else:
            whole[re.sub(r"\.modules_to_save\.[^.]+", "", plain)] = name
    unknown += [n for parts in found.values() if len(parts) != 2 for n in parts.values()]
    if unknown:
        raise CheckpointError(
            f"{adapter.files.where}: {len(unknown)} tensors belong to no supported kind of adapter, the first is "
            f"{unknown[0]}"
        )
    return [_Pair(m, parts["A"], parts["B"], e) for (m, e), parts in found.items()], whole


def _locate(name: str, base: Checkpoint) -> str | None:
    """The base's name of a tensor: the same, or the only one that differs by a leading prefix."""
    if name in base.specs:
        return name
    longer = [n for n in base.specs if n.endswith("." + name)]
    if longer:
        return longer[0] if len(longer) == 1 else None
    parts = name.split(".")
    for cut in range(1, len(parts) - 1):
        if (shorter := ".".join(parts[cut:])) in base.specs:
            return shorter
    return None
