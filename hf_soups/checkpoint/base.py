"""The noun: a lazy, read-only mapping from tensor name to tensor."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import MappingProxyType

import numpy as np


@dataclass(frozen=True)
class Spec:
    """What a header says of one tensor.

    dtype: a NumPy dtype; 16-bit brain floats and 8-bit floats come from ml_dtypes.
    """

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def size(self) -> int:
        """Number of elements; 1 for a scalar."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def is_float(self) -> bool:
        # ml_dtypes' types are of NumPy kind "V", and none of ours is an integer
        return self.dtype.kind in "fV"


@dataclass(frozen=True)
class Origin:
    """Where a checkpoint comes from, in the words that plans, cards and locks may show.

    name: repository id or folder name, never a path of this machine.
    sha: the full commit id, for a Hub repository.
    license: as its card says it.
    bases: what its card or adapter config names as its base model.
    path: the local folder, for messages and hashing only.
    sha256: of its large files, by name, as the Hub says them; a pull proves them.
    """

    name: str
    sha: str | None = None
    subfolder: str | None = None
    license: str | None = None
    bases: tuple[str, ...] = ()
    path: Path | None = None
    sha256: tuple[tuple[str, str], ...] = ()

    @property
    def reference(self) -> str:
        """`org/name@sha` for the Hub, `local:name` for anything else."""
        return f"{self.name}@{self.sha}" if self.sha else f"local:{self.name}"


class Checkpoint(Mapping[str, np.ndarray]):
    """Tensors by name, read or computed when asked for.

    specs: every tensor's name, shape and dtype, from headers alone, in file order.
    assets: the other files that make the weights a model (config, tokenizer, …), by name.
    aliases: tensors that are another one under a second name (tied weights), and that one's name.
    stem: what the weight files are called before `.safetensors`; diffusers looks for another name than transformers.
    modules: subfolders with small models beside the large one, whose tensors are called `folder/name`
        (the dense layers of sentence-transformers).
    """

    specs: Mapping[str, Spec]
    assets: Mapping[str, bytes]
    origin: Origin
    aliases: Mapping[str, str] = MappingProxyType({})
    stem: str = "model"
    modules: tuple[str, ...] = ()

    @abstractmethod
    def read(self, name: str, start: int, stop: int, into: np.ndarray | None = None) -> np.ndarray:
        """Elements [start, stop) of the flattened tensor, `[stop - start]`.

        In the spec's dtype where they are stored; computed ones may be wider, so that whoever writes
        them rounds once.
        into: bytes of memory that the answer may use, or not; whoever lends them keeps them until the
            answer is used.
        """

    def terms(self, name: str) -> Sequence[tuple[float, Checkpoint]]:
        """The tensor as a sum of factor times tensor: what a method that only adds and scales may work on."""
        return [(1.0, self)]

    def confirm(self) -> None:
        """CheckpointError if what this reads from has changed since it was opened."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A text that is equal only for equal weights; it may read every byte, once."""

    def __getitem__(self, name: str) -> np.ndarray:
        spec = self.specs[name]
        return self.read(name, 0, spec.size).astype(spec.dtype, copy=False).reshape(spec.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.specs)

    def __len__(self) -> int:
        return len(self.specs)

    @property
    def nbytes(self) -> int:
        return sum(spec.nbytes for spec in self.specs.values())
