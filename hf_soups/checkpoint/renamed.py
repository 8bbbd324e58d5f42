"""A checkpoint under other names: what one library calls its tensors, as another one does."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from hf_soups.checkpoint.base import Checkpoint
from hf_soups.errors import CheckpointError


class Renamed(Checkpoint):
    """A view of `source`; nothing is copied.

    names: every tensor's name here → its name in `source`; two may have one (tied weights written out).
    twins: tensors left out → the tensor in `source` that they must equal, since the model has only one of them.
        They are compared when that one is read; CheckpointError if they differ.
    lent: tensors that no model needs and `source` lacks, and who has them: buffers of older versions.
    """

    def __init__(
        self,
        source: Checkpoint,
        names: Mapping[str, str],
        twins: Mapping[str, str] = MappingProxyType({}),
        lent: Mapping[str, Checkpoint] = MappingProxyType({}),
    ) -> None:
        self.source = source
        self.names = dict(names)
        self.twins = dict(twins)
        self.lent = dict(lent)
        self.specs = {name: source.specs[old] for name, old in self.names.items()}
        self.specs |= {name: lender.specs[name] for name, lender in self.lent.items()}
        self.assets, self.origin = source.assets, source.origin
        self.stem, self.modules = source.stem, source.modules
        self.aliases = self._find_aliases()

    def read(self, name: str, start: int, stop: int, into: np.ndarray | None = None) -> np.ndarray:
        if name in self.lent:
            return self.lent[name].read(name, start, stop, into)
        old = self.names[name]
        values = self.source.read(old, start, stop, into)
        for twin, kept in self.twins.items():
            if kept == old and not np.array_equal(self.source.read(twin, start, stop), values, equal_nan=False):
                raise CheckpointError(
                    f"{self.origin.name}: {twin} and {old} differ, and the model that the config describes has only "
                    "one of them (tie_word_embeddings); train them tied, or leave this ingredient out"
                )
        return values

    def confirm(self) -> None:
        self.source.confirm()

    def fingerprint(self) -> str:
        content = f"{self.source.fingerprint()}\n{sorted(self.names.items())}\n{sorted(self.lent)}"
        return f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"

    def _find_aliases(self) -> dict[str, str]:
        first: dict[str, str] = {}
        roots = {name: self.source.aliases.get(old, old) for name, old in self.names.items()}
        return {name: first[old] for name, old in roots.items() if first.setdefault(old, name) != name}


def opened(checkpoint: Checkpoint) -> Checkpoint:
    """What was opened, under its own names."""
    return checkpoint.source if isinstance(checkpoint, Renamed) else checkpoint
