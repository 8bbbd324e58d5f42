"""A model's answers to a dataset, batch by batch, as far as they are needed and not kept already."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.evaluation.outputs import Outputs, assemble, joined, take
from hf_soups.evaluation.predict import answering

if TYPE_CHECKING:
    from hf_soups.evaluation.cache import Predictions
    from hf_soups.evaluation.examples import Examples
    from hf_soups.evaluation.journal import Piece
    from hf_soups.evaluation.tasks.base import Task

Rows = NDArray[np.int64]
Model = Callable[[], tuple[Any, Any]]  # builds (model, processor), only when an answer is missing
Enough = Callable[[Rows, Outputs], bool]  # rows that are answered, and the answers: whether no more are needed


@dataclass(frozen=True, eq=False)
class Question:
    """One model's answers to one dataset, and how they are made.

    key: under which they are kept. load, way: what `answering` is given.
    encode: gives the rows as the task encodes them, for a model and its processor; default: the task does.
    about: what people are told that the answers are.
    """

    task: Task
    examples: Examples
    key: str
    load: Model
    way: Mapping[str, Any]
    encode: Callable[[Any, Any], Sequence[Any]] | None = None
    about: Mapping[str, str] = field(default_factory=dict)


@dataclass(eq=False)
class Answered:
    """Answers to some of n rows, in the order in which they were looked at."""

    n: int
    pieces: list[Piece] = field(default_factory=list)

    @property
    def rows(self) -> Rows:
        return np.concatenate([rows for rows, _ in self.pieces])

    @property
    def outputs(self) -> Outputs:
        return joined([outputs for _, outputs in self.pieces])

    @property
    def complete(self) -> bool:
        return sum(len(rows) for rows, _ in self.pieces) == self.n

    def whole(self) -> Outputs:
        """All answers, in the order of the examples."""
        return take(self.outputs, np.argsort(self.rows))


def answer(
    question: Question,
    cache: Predictions,
    *,
    hardness: NDArray[np.float64] | None = None,
    enough: Enough | None = None,
) -> Answered:
    """Answers to all rows, or to as many as are enough; each batch is kept as soon as it is there.

    hardness: [n] of each row; batches with more of it come first. Default: the order of `answering`.
    enough: asked after each batch but the last; its yes ends the work. What earlier runs have kept is looked at first,
        in the same order, and takes no model if it is enough.
    """
    n = question.examples.n
    if enough is None and (found := cache.get(question.key)) is not None:
        return Answered(n, [(np.arange(len(found)), found)])
    kept = cache.pieces(question.key)
    known = [kept[number] for number in _order([rows for rows, _ in kept], hardness)]
    seen = Answered(n)
    if _looked_through(iter(known), seen, enough):
        return seen
    if not known or not seen.complete:
        seen = Answered(n)
        with closing(_made(question, cache, known, hardness)) as pieces:
            if _looked_through(pieces, seen, enough):
                return seen
    cache.put(question.key, seen.whole(), seen.pieces, question.about)
    return seen


def _looked_through(pieces: Iterator[Piece], seen: Answered, enough: Enough | None) -> bool:
    """Whether they were enough before all rows were seen."""
    for piece in pieces:
        seen.pieces.append(piece)
        if enough is not None and not seen.complete and enough(seen.rows, seen.outputs):
            return True
    return False


def _made(
    question: Question, cache: Predictions, known: Sequence[Piece], hardness: NDArray[np.float64] | None
) -> Generator[Piece, None, None]:
    """All batches in their order; the model is run on those that are not known."""
    model, processor = question.load()
    items = question.encode(model, processor) if question.encode else None
    there = {rows.tobytes(): (rows, outputs) for rows, outputs in known}
    with (
        cache.gathering(question.key) as keep,
        answering(question.task, model, processor, question.examples, items=items, keep=keep, **question.way) as made,
    ):
        batches = [np.asarray(made[number], np.int64) for number in range(len(made))]
        order = _order(batches, hardness)
        with closing(made.run(n for n in order if batches[n].tobytes() not in there)) as running:
            for number in order:
                found = there.get(batches[number].tobytes())
                yield found or (batches[number], assemble(next(running)[1]))


def _order(batches: Sequence[Rows], hardness: NDArray[np.float64] | None) -> list[int]:
    """The numbers of the batches, those with the most hardness first; equal ones by their first row."""
    numbers = list(range(len(batches)))
    if hardness is None:
        return numbers
    return sorted(numbers, key=lambda number: (-float(hardness[batches[number]].sum()), int(batches[number].min())))
