"""Inputs with what is right about them, groups, and where they came from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.evaluation.text import identity

References = Any  # an array or a sequence, one entry a row: label ids, numbers, or what else the task compares with


@dataclass(frozen=True)
class Source:
    """Where rows come from, in words that may be published.

    path: Hub dataset id, or only the name of a local file or folder.
    split: as in the recipe; `test#2/2` is the second half of `test`; None for a single file.
    revision: the 40-hex commit of a Hub dataset; None for local data.
    text, label: the columns that were read.
    origin: compares two sources, tells nothing; never published.
    """

    path: str
    split: str | None = None
    config: str | None = None
    revision: str | None = None
    text: tuple[str, ...] = ()
    label: str = ""
    origin: str = field(default="", repr=False)

    @property
    def title(self) -> str:
        """`imdb [test]`, or `reviews.csv`."""
        return f"{self.path} [{self.split}]" if self.split else self.path


@dataclass(frozen=True, eq=False)
class Examples:
    """n inputs with their references, in the order of their source.

    inputs: n texts, pairs of texts, images (bytes), or whatever the task asks about.
    references: n right answers; for classification int64 [n] ids of the model's labels.
    groups: [n] names; rows with the same name are never separated and are resampled together. None: independent rows.
    choices: what all rows are asked to choose from, where the data says so: names of classes, texts of a corpus.
    fingerprint: SHA-256 of inputs, references, groups and choices, in order. Equal content, equal fingerprint.
    """

    inputs: Sequence[Any]
    references: References
    groups: NDArray[np.str_] | None
    source: Source
    choices: tuple[str, ...] = ()
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fingerprint", self._fingerprint())

    @property
    def n(self) -> int:
        return len(self.inputs)

    def select(self, indices: Iterable[int]) -> Examples:
        """These rows, in this order."""
        rows = np.fromiter(indices, dtype=np.int64)
        groups = None if self.groups is None else self.groups[rows]
        inputs = tuple(self.inputs[i] for i in rows)
        return Examples(inputs, taken(self.references, rows), groups, self.source, self.choices)

    def units(self) -> list[str]:
        """[n] what each row must stay together with: its group, else every row of the same input."""
        if self.groups is not None:
            return [str(group) for group in self.groups]
        return [identity(one) for one in self.inputs]

    def _fingerprint(self) -> str:
        content = hashlib.sha256()
        for i, one in enumerate(self.inputs):
            reference = self.references[i]
            right = reference.item() if isinstance(reference, np.generic) else reference
            content.update(canonical((one, right, None if self.groups is None else str(self.groups[i]))))
        if self.choices:
            content.update(canonical(self.choices))
        return content.hexdigest()


def canonical(value: Any) -> bytes:
    """Bytes that are equal only for equal values: of texts, numbers, bytes, None, arrays, and sequences of these."""
    content = b"".join(_parts(value))
    return content


def _parts(value: Any) -> Iterator[bytes]:
    if isinstance(value, np.ndarray):
        yield from _tagged(b"a", f"{value.dtype}{list(value.shape)}".encode() + b"\0" + value.tobytes())
    elif isinstance(value, bytes | bytearray):
        yield from _tagged(b"b", bytes(value))
    elif isinstance(value, dict):
        yield from _tagged(b"d", canonical(sorted(value.items())))
    elif isinstance(value, list | tuple):
        yield from _tagged(b"t", b"".join(canonical(part) for part in value))
    else:
        yield from _tagged(b"s" if isinstance(value, str) else b"n", str(value).encode("utf-8", "surrogatepass"))


def _tagged(tag: bytes, content: bytes) -> Iterator[bytes]:
    yield tag + len(content).to_bytes(8, "little")
    yield content


def taken(references: References, rows: NDArray[np.int64]) -> References:
    """Those of some rows, in this order."""
    return references[rows] if isinstance(references, np.ndarray) else tuple(references[i] for i in rows)
