"""Arithmetic on this machine's processors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hf_soups.engine.blocks import BLOCK, SECTION, chunks, step
from hf_soups.engine.desk import Desk
from hf_soups.engine.draws import HostDraws, chances
from hf_soups.engine.mixture import Mixture
from hf_soups.engine.work import cores
from hf_soups.kernels import Packed, loops

VECTOR = 1 << 14  # elements that a NumPy page sees at once: its intermediate results stay in the second-level cache


class Host:
    """The loops of `kernels`, and NumPy for methods without a loop of their own."""

    name = "cpu"

    def __init__(self) -> None:
        self.threads = cores()

    def desk(self) -> Desk:
        """Memory for one thread."""
        return Desk()

    def step(self, rows: int) -> int:
        """Elements of a piece when so many rows are in work at once."""
        return step(rows)

    def span(self, rows: int) -> int:
        """Elements that `products` is given at once: whole blocks."""
        return max(BLOCK, min(SECTION, self.step(rows)) // BLOCK * BLOCK)

    def combine(
        self,
        rows: Sequence[np.ndarray],
        coefficients: np.ndarray,
        out: np.ndarray,
        wide: bool,
        product: Packed | None = None,
        start: int = 0,
    ) -> bool:
        """out = sum of coefficient times row, then of a product from `start` on; False if something is not finite."""
        if out.dtype.itemsize > 1:
            return bool(loops().combine(rows, coefficients, out, wide, product, start))
        single = np.empty(len(out), np.float32)
        return self.combine(rows, coefficients, single, wide, product, start) and narrow(single, out)

    def products(self, rows: Sequence[np.ndarray], based: bool = False) -> np.ndarray:
        """Inner products of the first row and the others' differences from it, `[blocks, n, n]` float64.

        rows: from a block's start on. based: the first one's own products are not wanted.
        """
        found: np.ndarray = loops().products(rows, BLOCK, based)
        return found

    def tally(
        self, base: np.ndarray | None, rows: Sequence[np.ndarray], low: np.ndarray, high: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
        """How the magnitudes of differences lie to brackets; see `fused.tally`."""
        found: tuple[np.ndarray, np.ndarray, np.ndarray, bool] = loops().tally(base, rows, low, high)
        return found

    def mix(
        self,
        mixture: Mixture,
        base: np.ndarray | None,
        rows: Sequence[np.ndarray],
        start: int,
        out: np.ndarray,
        wide: bool,
    ) -> bool:
        """A coordinatewise method on a range that begins at element `start`; False if something is not finite."""
        if out.dtype.itemsize == 1:
            single = np.empty(len(out), np.float32)
            return self.mix(mixture, base, rows, start, single, wide) and narrow(single, out)
        if base is not None and (loop := HOT.get(mixture.method.name)) and hasattr(loops(), "elect"):
            return bool(loop(mixture, base, rows, start, out, wide))
        good = True
        for a, b in chunks(len(out), VECTOR):
            piece = self.vectors(mixture, None if base is None else base[a:b], [r[a:b] for r in rows], start + a, wide)
            good &= piece is not None and self.combine([piece], np.ones(1), out[a:b], wide)
        return good

    def vectors(
        self, mixture: Mixture, base: np.ndarray | None, rows: Sequence[np.ndarray], start: int, wide: bool
    ) -> np.ndarray | None:
        """The method's answer on whole rows, a whole tensor or any range, base added back; None if not finite."""
        dtype = np.dtype(np.float64 if wide else np.float32)
        size = len(rows[0])
        numbers = np.empty((len(rows), size), dtype)  # [n, d]
        good = all([self.combine([row], np.ones(1), out, wide) for row, out in zip(rows, numbers, strict=True)])
        origin = None
        if base is not None:
            origin = np.empty(size, dtype)
            good &= self.combine([base], np.ones(1), origin, wide)
        if not good:
            return None
        if origin is not None and mixture.method.space == "deltas":
            numbers -= origin
        given = mixture.given(dtype, start, start + size)
        if mixture.method.sees_base:
            given["base"] = origin
        if mixture.method.draws:
            given["rng"] = HostDraws(mixture.keys, mixture.size, start, start + size, dtype)
        if mixture.method.kind in ("rows", "matrix"):
            columns = mixture.columns
            numbers = numbers.reshape(len(rows), -1, columns)
            if "base" in given:
                given["base"] = given["base"].reshape(-1, columns)
        answer = np.asarray(mixture.call(mixture.method.function, numbers, **given), dtype).reshape(-1)
        return origin + answer if origin is not None and mixture.method.space == "deltas" else answer


def narrow(single: np.ndarray, out: np.ndarray) -> bool:
    """float32 to 8 bits, to nearest even."""
    with np.errstate(over="ignore", invalid="ignore"):
        out[:] = single.astype(out.dtype)
    return bool(np.isfinite(out.astype(np.float32)).all())


def _ties(
    mixture: Mixture, base: np.ndarray, rows: Sequence[np.ndarray], start: int, out: np.ndarray, wide: bool
) -> bool:
    given = mixture.given(np.dtype(np.float64 if wide else np.float32), start, start + len(out))
    none = np.empty((0, 4), np.uint32), np.empty(0, np.uint64), np.empty(0)
    return _elect(given, given["threshold"], none, base, rows, start, out, wide)


def _dare_ties(
    mixture: Mixture, base: np.ndarray, rows: Sequence[np.ndarray], start: int, out: np.ndarray, wide: bool
) -> bool:
    given = mixture.given(np.dtype(np.float64 if wide else np.float32), start, start + len(out))
    random = mixture.keys, *chances(mixture.arguments["density"], mixture.size)
    return _elect(given, np.zeros(len(rows)), random, base, rows, start, out, wide)


def _elect(
    given: dict[str, Any],
    threshold: np.ndarray,
    random: tuple[np.ndarray, np.ndarray, np.ndarray],
    base: np.ndarray,
    rows: Sequence[np.ndarray],
    start: int,
    out: np.ndarray,
    wide: bool,
) -> bool:
    weight = given["weight"].reshape(-1)
    good: bool = loops().elect(base, rows, threshold.reshape(-1), weight, given["scale"], *random, start, out, wide)
    return good


HOT = {"ties": _ties, "dare_ties": _dare_ties}  # methods with a loop of their own; a test holds both equal
