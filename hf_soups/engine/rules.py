"""How one tensor of a soup is made, range by range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hf_soups.checkpoint import Checkpoint, Terms
from hf_soups.engine.desk import Desk
from hf_soups.engine.device import Device
from hf_soups.engine.finite import refuse
from hf_soups.engine.mixture import Mixture
from hf_soups.errors import SoupError


class Rule(Protocol):
    """Makes ranges of one tensor.

    unit: elements that only whole multiples of can be made (a row, a whole tensor); 1 for any range.
    sources: how many rows are read at once.
    """

    @property
    def unit(self) -> int: ...

    @property
    def sources(self) -> int: ...

    def make(self, device: Device, desk: Desk, start: int, stop: int, out: np.ndarray, wide: bool) -> None:
        """Fill `out` with elements [start, stop), rounded once; wide: computed in float64."""
        ...


@dataclass(frozen=True)
class Copy:
    """One checkpoint's tensor; floats in the output's dtype."""

    name: str
    source: Checkpoint
    unit = 1
    sources = 1

    def make(self, device: Device, desk: Desk, start: int, stop: int, out: np.ndarray, wide: bool) -> None:
        row = desk.read(self.source, self.name, start, stop, 0)
        if not self.source.specs[self.name].is_float:
            out[:] = row
        elif not device.combine([row], np.ones(1), out, wide):
            refuse(self.name, [self.source], [row], start, _too_large(out))


@dataclass(frozen=True)
class Equal:
    """Integers that all ingredients agree on.

    labels: what messages call the ingredients.
    """

    name: str
    ingredients: Sequence[Checkpoint]
    labels: Sequence[str]
    unit = 1

    @property
    def sources(self) -> int:
        return len(self.ingredients)

    def make(self, device: Device, desk: Desk, start: int, stop: int, out: np.ndarray, wide: bool) -> None:
        first, *others = desk.rows(self.ingredients, self.name, start, stop)
        for label, other in zip(self.labels[1:], others, strict=True):
            if not np.array_equal(first, other):
                raise SoupError(
                    f"{self.name}: integers differ between {self.labels[0]} and {label} and "
                    "have no mean; copy them with an override, from: one of the ingredients"
                )
        out[:] = first


@dataclass(frozen=True)
class Maximum:
    """The largest value of any ingredient: of counters."""

    name: str
    ingredients: Sequence[Checkpoint]
    unit = 1

    @property
    def sources(self) -> int:
        return len(self.ingredients)

    def make(self, device: Device, desk: Desk, start: int, stop: int, out: np.ndarray, wide: bool) -> None:
        out[:] = np.max(np.stack(desk.rows(self.ingredients, self.name, start, stop)), axis=0)


@dataclass(frozen=True)
class Combination:
    """A sum of coefficient times tensor, in order."""

    name: str
    terms: Terms
    unit = 1

    @property
    def sources(self) -> int:
        return len(self.terms.parts)

    def make(self, device: Device, desk: Desk, start: int, stop: int, out: np.ndarray, wide: bool) -> None:
        parts, coefficients, low_rank = self.terms
        rows = desk.rows(parts, self.name, start, stop)
        product = None if low_rank is None else low_rank()
        if not device.combine(rows, coefficients, out, wide, product, start):
            factors = [] if low_rank is None else low_rank.checkpoints
            rows += [factor.read(self.name, start, stop) for factor in factors]
            refuse(self.name, [*parts, *factors], rows, start, _too_large(out))


@dataclass(frozen=True)
class Elementwise:
    """A coordinatewise method."""

    mixture: Mixture
    base: Checkpoint | None
    ingredients: Sequence[Checkpoint]
    unit = 1

    @property
    def sources(self) -> int:
        return len(self.ingredients) + (self.base is not None)

    def make(self, device: Device, desk: Desk, start: int, stop: int, out: np.ndarray, wide: bool) -> None:
        parts, rows, base = _read(self.base, self.ingredients, desk, self.mixture.name, start, stop)
        if not device.mix(self.mixture, base, rows[-len(self.ingredients) :], start, out, wide):
            refuse(self.mixture.name, parts, rows, start, _too_large(out))


@dataclass(frozen=True)
class WholeRows:
    """A method over whole rows of the matrix view, or, if `unit` is the tensor's size, over all of it."""

    mixture: Mixture
    base: Checkpoint | None
    ingredients: Sequence[Checkpoint]
    unit: int

    @property
    def sources(self) -> int:
        return len(self.ingredients) + (self.base is not None)

    def make(self, device: Device, desk: Desk, start: int, stop: int, out: np.ndarray, wide: bool) -> None:
        first, last = start // self.unit * self.unit, -(-stop // self.unit) * self.unit
        parts, rows, base = _read(self.base, self.ingredients, desk, self.mixture.name, first, last)
        whole = device.vectors(self.mixture, base, rows[-len(self.ingredients) :], first, wide)
        if whole is None or not device.combine([whole[start - first : stop - first]], np.ones(1), out, wide):
            refuse(self.mixture.name, parts, rows, first, _too_large(out))


def _read(
    base: Checkpoint | None, ingredients: Sequence[Checkpoint], desk: Desk, name: str, start: int, stop: int
) -> tuple[list[Checkpoint], list[np.ndarray], np.ndarray | None]:
    parts = [*([] if base is None else [base]), *ingredients]
    rows = desk.rows(parts, name, start, stop)
    return parts, rows, None if base is None else rows[0]


def _too_large(out: np.ndarray) -> str:
    return f"too large for {out.dtype}; choose another output dtype, such as bfloat16"
