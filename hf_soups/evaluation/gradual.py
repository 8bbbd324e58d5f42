"""A model's answers to a dataset, part by part, as far as they are needed and not kept already."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.evaluation.batches import Batches, Keep, Part, Rows, ease, hardest_first
from hf_soups.evaluation.outputs import Outputs, assemble, joined, take
from hf_soups.evaluation.predict import answering

if TYPE_CHECKING:
    from hf_soups.evaluation.cache import Predictions
    from hf_soups.evaluation.examples import Examples
    from hf_soups.evaluation.journal import Piece
    from hf_soups.evaluation.tasks.base import Task

Model = Callable[[], tuple[Any, Any]]  # builds (model, processor), only when an answer is missing
Enough = Callable[[Rows, Outputs], bool]  # rows that are answered, and the answers: whether no more are needed
Share = Callable[["Question", Batches, Sequence[Part]], Generator[tuple[Part, list[Any]], None, None]]
ASKED = 200  # times at most that somebody is asked whether there are enough answers: asking takes time too


@dataclass(frozen=True, eq=False)
class Question:
    """One model's answers to one dataset, and how they are made.

    dataset: its name in the evaluation. key: under which they are kept. load, way: what `answering` is given.
    encode: gives the rows as the task encodes them, for a model and its processor; default: the task does.
    least: how many rows of a batch can be run without the others; default: all of them belong together.
    share: runs parts of the batches, here and wherever help is; default: here.
    about: what people are told that the answers are.
    """

    task: Task
    dataset: str
    examples: Examples
    key: str
    load: Model
    way: Mapping[str, Any]
    encode: Callable[[Any, Any], Sequence[Any]] | None = None
    least: Callable[[Batches], int | None] = lambda batches: None
    share: Share = lambda question, batches, parts: batches.run(parts)
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
    def count(self) -> int:
        """How many rows are answered."""
        return sum(len(rows) for rows, _ in self.pieces)

    @property
    def complete(self) -> bool:
        return self.count == self.n

    def whole(self) -> Outputs:
        """All answers, in the order of the examples."""
        return take(self.outputs, np.argsort(self.rows))


@contextmanager
def opened(question: Question, keep: Keep | None = None) -> Iterator[Batches]:
    """The model, ready to answer the question batch by batch."""
    model, processor = question.load()
    items = question.encode(model, processor) if question.encode else None
    with answering(
        question.task, model, processor, question.examples, items=items, keep=keep, **question.way
    ) as batches:
        yield batches


def answer(
    question: Question,
    cache: Predictions,
    *,
    hardness: NDArray[np.float64] | None = None,
    enough: Enough | None = None,
) -> Answered:
    """Answers to all rows, or to as many as are enough; each part is kept as soon as it is there.

    hardness: [n] of each row; what has more of it comes first. Default: the order of `answering`.
    enough: asked now and then; its yes ends the work. What earlier runs have kept is looked at first,
        in the same order, and takes no model if it is enough.
    """
    n = question.examples.n
    if enough is None and (found := cache.get(question.key)) is not None:
        return Answered(n, [(np.arange(len(found)), found)])
    kept = cache.pieces(question.key)
    known = kept if hardness is None else sorted(kept, key=lambda piece: ease(piece[0], hardness))
    seen = Answered(n)
    if _looked_through(known, seen, enough):
        return seen
    if not known or not seen.complete:
        seen = Answered(n)
        with closing(_made(question, cache, known, hardness)) as pieces:
            if _looked_through(pieces, seen, enough):
                return seen
    cache.put(question.key, seen.whole(), seen.pieces, question.about)
    return seen


def _looked_through(pieces: Iterable[Piece], seen: Answered, enough: Enough | None) -> bool:
    """Whether they were enough before all rows were seen."""
    asked = 0
    for piece in pieces:
        seen.pieces.append(piece)
        if enough is None or seen.complete or ASKED * (seen.count - asked) < seen.n:
            continue
        asked = seen.count
        if enough(seen.rows, seen.outputs):
            return True
    return False


def _made(
    question: Question, cache: Predictions, known: Sequence[Piece], hardness: NDArray[np.float64] | None
) -> Generator[Piece, None, None]:
    """All rows, part by part in their order; the model is run on those that are not known."""
    there = _Known(known)
    with cache.gathering(question.key) as keep, opened(question, there.but_known(keep)) as made:
        if hardness is None:  # the order is nobody's concern: what is known stays in the parts that it was made in
            yield from known
            missing = [part for batch in made if (part := there.missing(batch, lambda: question.least(made)))]
            with closing(question.share(question, made, missing)) as running:
                yield from (there.new(part.rows, answers) for part, answers in running)
            return
        parts = hardest_first(made, hardness, question.least(made))
        found = [there.answers(part.rows) for part in parts]
        missing = [part for part, one in zip(parts, found, strict=True) if one is None]
        with closing(question.share(question, made, missing)) as running:
            for part, one in zip(parts, found, strict=True):
                yield part.rows, assemble(next(running)[1]) if one is None else one


class _Known:
    """Answers that are there already, whatever company they were made in."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._outputs = joined([outputs for _, outputs in pieces]) if pieces else None
        rows = [int(row) for rows, _ in pieces for row in rows]
        self._place = {row: place for place, row in enumerate(rows)}

    def answers(self, rows: Rows) -> Outputs | None:
        """None unless all of them are known."""
        if self._outputs is None or not all(int(row) in self._place for row in rows):
            return None
        return take(self._outputs, [self._place[int(row)] for row in rows])

    def missing(self, batch: Part, least: Callable[[], int | None]) -> Part | None:
        """What of a batch has to be run, with so many known rows that its answers are those of the whole batch."""
        new = [row for row in batch.rows if int(row) not in self._place]
        if not new or len(new) == len(batch.rows):
            return batch if new else None
        if (few := least()) is None:
            return batch
        old = [row for row in batch.rows if int(row) in self._place]
        return Part(np.array([*new, *old[: max(0, few - len(new))]], np.int64), batch.width)

    def new(self, rows: Rows, answers: Sequence[Any]) -> Piece:
        """Those of some answers that were not known."""
        places = [place for place, row in enumerate(rows) if int(row) not in self._place]
        return rows[places], assemble([answers[place] for place in places])

    def but_known(self, keep: Keep) -> Keep:
        """What keeps the rest, so that nothing is kept twice."""

        def rest(rows: Rows, answers: list[Any]) -> None:
            places = [place for place, row in enumerate(rows) if int(row) not in self._place]
            if places:
                keep(rows[places], [answers[place] for place in places])

        return rest
