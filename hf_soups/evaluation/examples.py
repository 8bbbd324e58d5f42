"""Labelled inputs: texts, label ids, groups, and where they came from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hf_soups.evaluation.text import Text, normalise


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


@dataclass(frozen=True, eq=False)
class Examples:
    """n labelled inputs, in the order of their source.

    texts: n texts, or n pairs.
    labels: int64 [n], ids of the model's labels.
    groups: [n] names; rows with the same name are never separated and are resampled together. None: independent rows.
    fingerprint: SHA-256 of the texts, labels and groups, in order. Equal content, equal fingerprint.
    """

    texts: tuple[Text, ...]
    labels: NDArray[np.int64]
    groups: NDArray[np.str_] | None
    source: Source
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fingerprint", _fingerprint(self.texts, self.labels, self.groups))

    @property
    def n(self) -> int:
        return len(self.texts)

    def select(self, indices: Iterable[int]) -> Examples:
        """These rows, in this order."""
        rows = np.fromiter(indices, dtype=np.int64)
        groups = None if self.groups is None else self.groups[rows]
        return Examples(tuple(self.texts[i] for i in rows), self.labels[rows], groups, self.source)

    def units(self) -> list[str]:
        """[n] what each row must stay together with: its group, else every row of the same normalised text."""
        if self.groups is not None:
            return [str(group) for group in self.groups]
        return [normalise(text) for text in self.texts]


def _fingerprint(texts: Sequence[Text], labels: NDArray[np.int64], groups: NDArray[np.str_] | None) -> str:
    content = hashlib.sha256()
    for i, text in enumerate(texts):
        parts = [*((text,) if isinstance(text, str) else text), str(labels[i])]
        if groups is not None:
            parts.append(str(groups[i]))
        for part in parts:
            data = part.encode("utf-8", "surrogatepass")
            content.update(len(data).to_bytes(8, "little") + data)
        content.update(b"\n")
    return content.hexdigest()
