"""The part of a context that answers a question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError
from hf_soups.evaluation import outputs as answers
from hf_soups.evaluation import scores_answers as scores
from hf_soups.evaluation.columns import as_columns, find, texts_of
from hf_soups.evaluation.metrics import Metric, table
from hf_soups.evaluation.outputs import Outputs, Ragged
from hf_soups.evaluation.scores_answers import Gold
from hf_soups.evaluation.tasks import tokens
from hf_soups.evaluation.tasks.base import Loaded, Task

if TYPE_CHECKING:
    import torch

    from hf_soups.evaluation.examples import Examples
    from hf_soups.evaluation.tables import Table
    from hf_soups.recipe import Data

LENGTH = 384  # tokens of a window, and how many of them are in the next one too: what models of SQuAD are trained
OVERLAP = 128  # with (Devlin et al. 2019; transformers' example and pipeline)
_STRANGE_AT_MOST = 0.01  # of the rows may have answers that their context does not hold; more are another column's
_COLUMNS = {
    "question": ("question", "query"),
    "context": ("context", "passage", "paragraph", "document"),
    "answers": ("answers", "answer", "answer_text"),
}


@dataclass(frozen=True)
class Window:
    """A question with a part of its context.

    none: where the token that stands for "no answer" will be in a row; tokens: [k] where those of the context will be;
    characters: [k, 2] their first and end characters in the context.
    """

    ids: tokens.Ids
    none: NDArray[np.int64]
    tokens: NDArray[np.int64]
    characters: NDArray[np.float32]


class QuestionAnswering(Task):
    """Extractive: answers [tokens, 4] a row, references one `Gold` a row.

    A line of an answer is a token: its start and end logits, its first and end character. `scores_answers.texts` says
    how windows follow each other and which text they mean. A long context is read in windows that overlap, of 384
    tokens unless `max_length` says otherwise; of a question that leaves them less than half, the rest is cut. Where
    any row of a dataset has no answer, models may answer none (SQuAD 2.0).
    """

    name = "question-answering"
    architectures = ("ForQuestionAnswering", "ForQuestionAnsweringSimple")
    metrics = table(
        Metric("f1", True, "spans", "f1", scores.marks, scores.percent_overlap, (0.0, 100.0)),
        Metric("exact_match", True, "spans", "exact_match", scores.marks, scores.percent_exact, (0.0, 100.0)),
    )

    reference = "answers"

    @classmethod
    def columns(cls, table: Table, data: Data) -> dict[str, str]:
        return find(table, as_columns(data, ("question", "context"), "answers"), _COLUMNS)

    def load(self, table: Table, data: Data) -> Loaded:
        columns = self.columns(table, data)
        read = (columns["question"], columns["context"])
        pairs = texts_of(table, read)
        contexts = [pair[1] for pair in pairs]
        empty = [row for row, context in enumerate(contexts) if not context.strip()]
        if empty:
            raise EvaluationError(
                f"{table.where(read[1])}: {len(empty)} rows are empty, the first is row {empty[0]} (counting from 0); "
                "fill them or leave them out"
            )
        golds = _golds(table, columns["answers"], contexts)
        return Loaded(pairs, golds, read, columns["answers"])

    def encode(
        self, model: Any, processor: Any, examples: Examples, max_length: int | None
    ) -> Sequence[tuple[Window, ...]]:
        tokens.check_aligns(processor, self.name)
        longest = tokens.longest(model, processor, max_length)
        length = min(longest or LENGTH, LENGTH) if max_length is None else max_length
        # As in training: the side that is padded comes last, and with padding on the left that is the question.
        context = 0 if processor.padding_side == "left" else 1
        sides = [list(side) for side in zip(*examples.inputs, strict=True)]
        encoded = processor(*(sides[::-1] if context == 0 else sides), return_offsets_mapping=True, verbose=False)
        return [tuple(_windows(processor, encoded, row, context, length)) for row in range(examples.n)]

    def length(self, item: Sequence[Window]) -> int:
        return max(len(window.ids["input_ids"]) for window in item)

    def collate(self, processor: Any, items: Sequence[Sequence[Window]], width: int) -> dict[str, torch.Tensor]:
        return tokens.pad(processor, [window.ids for item in items for window in item], width)

    def answer(
        self, model: Any, inputs: Mapping[str, torch.Tensor], items: Sequence[Sequence[Window]]
    ) -> list[NDArray[np.float32]]:
        logits: list[NDArray[np.float32]] = []  # [width, 2] a window
        for start in range(0, sum(map(len, items)), len(items)):  # no more rows at once than the batch has questions
            said = model(**{key: value[start : start + len(items)] for key, value in inputs.items()})
            sides = [getattr(said, name, None) for name in ("start_logits", "end_logits")]
            if any(side is None or side.ndim != 2 for side in sides):
                raise EvaluationError("the model gives no start and end logits; load it as an extractive reader")
            logits += list(np.stack([side.float().cpu().numpy() for side in sides if side is not None], axis=-1))
        of_windows = iter(logits)
        return [np.concatenate([_lines(window, next(of_windows)) for window in item]) for item in items]

    def ensemble(self, outputs: Sequence[Outputs]) -> Outputs | None:
        """The mean of their logits; None if the models read other tokens."""
        read = [one for one in outputs if isinstance(one, Ragged)]
        same = all(
            np.array_equal(one.offsets, read[0].offsets) and np.array_equal(one.values[:, 2:], read[0].values[:, 2:])
            for one in read
        )
        return answers.mean(outputs) if same else None

    def check(self, outputs: Outputs, examples: Examples, whose: str) -> None:
        super().check(outputs, examples, whose)
        if not isinstance(outputs, Ragged) or outputs.values.shape[1] != 4 or outputs.lengths.min() < 1:
            raise EvaluationError(f"{whose}: answers are not start and end logits with their characters")


def _windows(tokenizer: Any, encoded: Any, row: int, context: int, length: int) -> Iterator[Window]:
    """Parts of a pair that was encoded whole: all but the context in each, the context in steps."""
    sides = encoded.sequence_ids(row)
    of_context = [i for i, side in enumerate(sides) if side == context]
    others = [i for i, side in enumerate(sides) if side != context]
    special = sides.count(None)
    question = [i for i in others if sides[i] is not None][: max(0, length // 2 - special)]
    room = length - special - len(question)
    if room < 1:
        raise EvaluationError(f"max_length is {length}: {special} tokens are taken before the context begins; raise it")
    step = room - min(OVERLAP, room // 2)
    ids = {key: values[row] for key, values in encoded.items() if key != "offset_mapping"}
    characters = np.array(encoded["offset_mapping"][row], dtype=np.float32)
    whole = ids["input_ids"]
    for start in range(0, max(1, len(of_context) - room + step), step):
        part = of_context[start : start + room]
        kept = sorted([i for i in others if sides[i] is None] + question + part)
        at = {position: number for number, position in enumerate(kept)}
        none = next((n for n, i in enumerate(kept) if whole[i] == tokenizer.cls_token_id), 0)
        yield Window(
            {key: [values[i] for i in kept] for key, values in ids.items()},
            tokens.placed(tokenizer, [none], len(kept)),
            tokens.placed(tokenizer, [at[i] for i in part], len(kept)),
            characters[part].reshape(-1, 2),
        )


def _lines(window: Window, logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """[1 + k, 4] of one window; logits: [width, 2]."""
    of_none = np.concatenate([logits[window.none], np.full((1, 2), -1.0, np.float32)], axis=1)
    return np.concatenate([of_none, np.concatenate([logits[window.tokens], window.characters], axis=1)])


def _golds(table: Table, name: str, contexts: Sequence[str]) -> tuple[Gold, ...]:
    values = table.column(name)
    texts = [_texts(value, row, table.where(name)) for row, value in enumerate(values)]
    if not any(texts):
        raise EvaluationError(f"{table.where(name)}: no row has an answer; use a split whose answers are public")
    strange = [row for row, some in enumerate(texts) if some and not any(_holds(contexts[row], one) for one in some)]
    if len(strange) > _STRANGE_AT_MOST * len(texts):
        raise EvaluationError(
            f"{table.where(name)}: {len(strange)} of {len(texts)} rows have answers that are not in their context, "
            f"the first is row {strange[0]} (counting from 0): {texts[strange[0]][0][:60]!r}; at most 1 % may be. "
            "Name the right columns with `columns:`, or leave these rows out"
        )
    none = any(not some for some in texts)
    return tuple(Gold(context, some, none) for context, some in zip(contexts, texts, strict=True))


def _holds(context: str, answer: str) -> bool:
    return answer in context or scores.normalised(answer) in scores.normalised(context)


def _texts(value: Any, row: int, where: str) -> tuple[str, ...]:
    """The answers of a row: SQuAD's {text: [...]}, texts, or one text; none for an unanswerable question."""
    found = value.get("text") if isinstance(value, Mapping) else value
    listed = [found] if isinstance(found, str) else list(found) if isinstance(found, list | tuple | np.ndarray) else []
    texts: list[Any] = [one.get("text") if isinstance(one, Mapping) else one for one in listed]
    known = value is None or isinstance(found, str | list | tuple | np.ndarray)
    if not known or not all(isinstance(one, str) for one in texts):
        raise EvaluationError(
            f"{where}: row {row} (counting from 0) holds {str(value)[:60]!r}, not answers; they are a text, texts, or "
            "{text: [...], answer_start: [...]}"
        )
    return tuple(one for one in texts if one.strip())
