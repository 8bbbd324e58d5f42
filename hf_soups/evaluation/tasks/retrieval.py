"""Which texts answer a query: candidates ranked by the cosine of their vectors with the query's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_soups.errors import EvaluationError
from hf_soups.evaluation import metrics
from hf_soups.evaluation.columns import as_columns, find, texts_of
from hf_soups.evaluation.outputs import Outputs, Ragged
from hf_soups.evaluation.tasks import tokens
from hf_soups.evaluation.tasks.base import Loaded, Task
from hf_soups.evaluation.tasks.embedding import Reader, reader
from hf_soups.placement import device_of

if TYPE_CHECKING:
    import torch

    from hf_soups.checkpoint import Checkpoint
    from hf_soups.evaluation.examples import Examples
    from hf_soups.evaluation.tables import Table
    from hf_soups.recipe import Data

_QUERY = ("query", "question", "anchor", "claim")
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "query": _QUERY,
    "candidates": ("candidates", "passages", "documents", "choices"),
    "relevant": ("relevant", "relevant_ids", "label", "labels"),
}
_CORPUS: Mapping[str, tuple[str, ...]] = {
    "query": _QUERY,
    "document": ("document", "passage", "positive", "answer", "context", "text"),
}
AT_ONCE = 64  # texts in a batch


@dataclass(frozen=True)
class _Query:
    """A row: the query's tokens, the vectors [candidates, width] that it is compared with, what makes its own."""

    ids: tokens.Ids
    candidates: torch.Tensor
    reader: Reader


class Retrieval(Task):
    """Texts ranked for a query: outputs [candidates, 1] cosines a row, references the positions that are relevant.

    A row lists its `candidates` and which of them are `relevant`, by position from 0; or it names one `document`, and
    then every row's candidates are all documents of the dataset, and relevant are those of its
    query. Every different text is read
    once a model; the cosines of n rows with m documents take 4 n m bytes.
    """

    name = "retrieval"
    architectures = ("Model",)
    metrics = metrics.RETRIEVAL
    encodes_alike = False  # the corpus is embedded by the model itself

    reference = "relevant"

    @classmethod
    def columns(cls, table: Table, data: Data) -> dict[str, str]:
        names = data.text or ()
        others = ("candidates",) if len(names) == 2 and _lists(table, names[1]) else ("document",)
        said = as_columns(data, ("query", *others[: max(len(names) - 1, 0)]), "relevant")
        found = find(table, said, {**_COLUMNS, **_CORPUS}, optional=("candidates", "relevant", "document"))
        if "candidates" in found:
            return find(table, said, _COLUMNS)
        if "relevant" in said.columns:
            raise EvaluationError(
                f"{table.where()}: with one document a row, that document is what is relevant; leave `label:` out, or "
                "name a column of candidates: `columns: {candidates: ...}`"
            )
        return find(table, said, _CORPUS)

    def load(self, table: Table, data: Data) -> Loaded:
        found = self.columns(table, data)
        if "candidates" in found:
            return _of_lists(table, found)
        queries, documents = (texts_of(table, (found[need],)) for need in ("query", "document"))
        corpus = tuple(dict.fromkeys(map(str, documents)))
        place = {text: position for position, text in enumerate(corpus)}
        answers: dict[Any, set[int]] = {}
        for query, text in zip(queries, documents, strict=True):
            answers.setdefault(query, set()).add(place[str(text)])
        relevant = tuple(tuple(sorted(answers[query])) for query in queries)
        return Loaded(queries, relevant, (found["query"], found["document"]), choices=corpus)

    def encode(self, model: Any, processor: Reader, examples: Examples, max_length: int | None) -> Sequence[_Query]:
        if examples.choices:
            queries: Sequence[str] = examples.inputs
            compared = [_embedded(model, processor, examples.choices, max_length)] * examples.n
        else:
            queries = [query for query, *_ in examples.inputs]
            different = tuple(dict.fromkeys(text for _, *candidates in examples.inputs for text in candidates))
            vectors = _embedded(model, processor, different, max_length)
            place = {text: position for position, text in enumerate(different)}
            compared = [vectors[[place[text] for text in candidates]] for _, *candidates in examples.inputs]
        encoded = processor.encode(model, queries, max_length)
        return [_Query(ids, vectors, processor) for ids, vectors in zip(encoded, compared, strict=True)]

    def length(self, item: _Query) -> int:
        return len(item.ids["input_ids"])

    def collate(self, processor: Reader, items: Sequence[_Query], width: int) -> dict[str, torch.Tensor]:
        return processor.pad([item.ids for item in items], width)

    def answer(
        self, model: Any, inputs: Mapping[str, torch.Tensor], items: Sequence[_Query]
    ) -> list[NDArray[np.float32]]:
        queries = items[0].reader.vectors(model, inputs)
        return [(item.candidates @ query)[:, None].cpu().numpy() for item, query in zip(items, queries, strict=True)]

    def processor(self, checkpoint: Checkpoint) -> Reader:
        return reader(checkpoint)

    def check(self, outputs: Outputs, examples: Examples, whose: str) -> None:
        counts = [len(examples.choices) or len(one) - 1 for one in examples.inputs]
        if not isinstance(outputs, Ragged) or outputs.lengths.tolist() != counts:
            raise EvaluationError(f"{whose}: answers are not one number for each candidate of each row")


def _lists(table: Table, name: str) -> bool:
    return isinstance(table.rows[0][name], list)


def _of_lists(table: Table, found: Mapping[str, str]) -> Loaded:
    rows, references = [], []
    columns = (table.column(found[need]) for need in ("candidates", "relevant"))
    queries = texts_of(table, (found["query"],))
    for row, (query, candidates, relevant) in enumerate(zip(queries, *columns, strict=True)):
        where = f"{table.where(found['candidates'])}: row {row} (counting from 0)"
        if not isinstance(candidates, list) or not candidates or not all(isinstance(c, str) for c in candidates):
            raise EvaluationError(f"{where} has no list of texts to rank; give it candidates or leave it out")
        positions = relevant if isinstance(relevant, list) else [relevant]
        if not positions or any(not isinstance(p, int) or not 0 <= p < len(candidates) for p in positions):
            raise EvaluationError(
                f"{where} has {len(candidates)} candidates and {positions} as relevant: positions from 0 are needed, "
                "at least one"
            )
        rows.append((query, *candidates))
        references.append(tuple(sorted(set(positions))))
    return Loaded(rows, tuple(references), (found["query"], found["candidates"]), found["relevant"])


def _embedded(model: Any, processor: Reader, texts: Sequence[str], max_length: int | None) -> torch.Tensor:
    """[texts, width], in their order; those of similar length share a batch."""
    import torch

    from hf_soups.evaluation.predict import halved

    items = processor.encode(model, texts, max_length)
    order = np.argsort([-len(item["input_ids"]) for item in items], kind="stable")
    device = device_of(model)

    def forward(part: NDArray[np.int64], width: int) -> list[torch.Tensor]:
        inputs = {name: value.to(device) for name, value in processor.pad([items[i] for i in part], width).items()}
        return list(processor.vectors(model, inputs))

    found: list[torch.Tensor] = []
    for start in range(0, len(order), AT_ONCE):
        part = order[start : start + AT_ONCE]
        found += halved(forward, part, len(items[part[0]]["input_ids"]))
    return torch.stack(found)[np.argsort(order)]
