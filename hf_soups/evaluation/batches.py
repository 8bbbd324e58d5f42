"""A dataset's rows in fixed company: batches, and parts of batches that give the same bits without the rest."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Keep = Callable[[Rows, list[Any]], None]  # hears of rows and of the answers to them
SMALLEST = (4, 8, 16)  # rows of the least part, tried in turn: below 4, torch's float32 products on x86 sum otherwise


@dataclass(frozen=True, eq=False)
class Part:
    """A batch, or some rows of it. width: what they are padded to, which is the length of the batch's longest row."""

    rows: Rows
    width: int


class Batches(Sequence[Part]):
    """A model ready to answer batches, in any order.

    Which rows share a batch depends on their lengths and the batch size alone. So two models with one tokenizer get
    the same batches, and the order in which batches are run changes no answer.

    answer: gives the answers to rows, padded to a width. workers: a `map` in order.
    divisible: whether parts of batches may be tried; where kernels are chosen by shape, they answer otherwise.
    keep: hears of every part as soon as it is answered, from any thread, whether or not somebody asks for it.
    """

    def __init__(
        self,
        batches: Sequence[Part],
        answer: Callable[[Rows, int], list[Any]],
        workers: Any = map,
        keep: Keep | None = None,
        divisible: bool = True,
    ) -> None:
        self._divisible = divisible
        self._batches = batches
        self._answer = answer
        self._workers = workers
        self.keep = keep

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, number: Any) -> Any:
        return self._batches[number]

    def run(self, parts: Iterable[Part]) -> Generator[tuple[Part, list[Any]], None, None]:
        """Parts and the answers to them, one after the other; whoever stops asking stops the work."""
        asked = list(parts)
        yield from zip(asked, self._workers(self._answered, asked), strict=True)

    def least(self) -> int | None:
        """How many rows of a batch can be run without the others and still get the same bits; None: no number can.

        A matrix product may sum in another order when it has fewer rows. Whether this machine's does is tried on the
        widest batch, in parts of several sizes, and on the narrowest; these answers are not kept.
        """
        largest = max(len(batch.rows) for batch in self)
        if not self._divisible or largest <= SMALLEST[0]:
            return None
        full = [batch for batch in self if len(batch.rows) == largest]
        widest, narrowest = ((batch, self._answer(batch.rows, batch.width)) for batch in (full[0], full[-1]))
        for least in SMALLEST:
            sizes = [size for size in (least, 2 * least, 4 * least) if size < largest]
            if sizes and self._same(*widest, sizes) and self._same(*narrowest, sizes[:1]):
                return least
        return None

    def _same(self, batch: Part, together: list[Any], sizes: Iterable[int]) -> bool:
        """Whether the last rows of a batch answer alone as they do together."""
        for size in sizes:
            alone = self._answer(batch.rows[-size:], batch.width)
            if not all(_equal(a, b) for a, b in zip(alone, together[-size:], strict=True)):
                return False
        return True

    def _answered(self, part: Part) -> list[Any]:
        found = self._answer(part.rows, part.width)
        if self.keep is not None:
            self.keep(part.rows, found)
        return found


def in_batches(lengths: NDArray[np.int64], batch_size: int) -> list[Part]:
    """Rows of like length together, the longest first: too little memory shows at once."""
    order = np.argsort(-lengths, kind="stable")
    rows = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return [Part(some, int(lengths[some].max())) for some in rows]


def hardest_first(batches: Iterable[Part], hardness: NDArray[np.float64], least: int | None) -> list[Part]:
    """Batches, or their parts, in the order in which they tell most for what they cost.

    hardness: [n] of each row. least: rows of the smallest part; None: batches stay whole.
    A batch is divided by hardness into parts of `least`, `least`, 2 `least`, 4 `least`, … rows: what is easy tells
    little, and is cheaper in bulk.
    """
    parts = [part for batch in batches for part in (_divided(batch, hardness, least) if least else [batch])]
    return sorted(parts, key=lambda part: ease(part.rows, hardness))


def ease(rows: Rows, hardness: NDArray[np.float64]) -> tuple[float, int]:
    """What sorts hard rows before easy ones, and equal ones by their first row."""
    return -float(hardness[rows].mean()), int(rows.min())


def _divided(batch: Part, hardness: NDArray[np.float64], least: int) -> list[Part]:
    order = batch.rows[np.argsort(-hardness[batch.rows], kind="stable")]
    parts, start, size = [], 0, least
    while start < len(order):
        end = start + size if len(order) - start - size >= least else len(order)
        parts.append(Part(order[start:end], batch.width))
        size = end  # as many as all before
        start = end
    return parts


def _equal(a: Any, b: Any) -> bool:
    return a == b if isinstance(a, str) else a.tobytes() == b.tobytes()
