"""Evaluation by several processes: the first asks and decides, every one answers its share of each question."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_soups.errors import SoupError
from hf_soups.evaluation.batches import Batches, Part
from hf_soups.ranks import Ranks
from hf_soups.recipe import Recipe, loads, parse_weights, to_yaml

if TYPE_CHECKING:
    from hf_soups.engine import Device
    from hf_soups.evaluation.gradual import Question, Share
    from hf_soups.pipeline.options import Options
    from hf_soups.placement import Memory
    from hf_soups.selection.candidates import Candidates
    from hf_soups.soup import Open

DATA, QUESTION = "data", "question"  # what a message to the other processes is about


def portable(recipe: Recipe) -> dict[str, Any]:
    """A recipe as plain data. Its weights go along: YAML would only name their file."""
    content = to_yaml(replace(recipe, weights=None))
    return {"recipe": content, "weights": recipe.weights and recipe.weights.to_json()}


def received(content: Mapping[str, Any]) -> Recipe:
    """What `portable` was made of."""
    return replace(loads(content["recipe"]), weights=content["weights"] and parse_weights(content["weights"]))


class Ask:
    """The first process's side: it hears of answers in the order in which it would make them itself.

    Parts of batches are dealt out in turn, so what is chosen, and when a candidate is given up, is the same for any
    number of processes. Every process fills a model of its own with the same weights.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._numbers = count()
        self._unclaimed: dict[int, set[int]] = {}  # of each question, the parts whose answers may lie in the store

    def sharing(self, recipe: Recipe) -> Share:
        """What deals parts of batches out, to be answered by the model of a recipe."""
        content = portable(replace(recipe, select=None))

        def share(
            question: Question, batches: Batches, parts: Sequence[Part]
        ) -> Generator[tuple[Part, list[Any]], None, None]:
            return self._answers(content, question, batches, parts)

        return share

    def _answers(
        self, recipe: Mapping[str, Any], question: Question, batches: Batches, parts: Sequence[Part]
    ) -> Generator[tuple[Part, list[Any]], None, None]:
        ranks, number = self._ranks, next(self._numbers)
        if len(parts) < 2:
            yield from batches.run(parts)
            return
        self._tidy()
        asked = {**recipe, "dataset": question.dataset, "key": question.key}
        asked["parts"] = [[part.rows.tolist(), part.width] for part in parts]
        ranks.send(f"question/{number}", json.dumps(asked).encode())
        ranks.share({"about": QUESTION, "number": number})
        self._unclaimed[number] = {place for place in range(len(parts)) if place % ranks.size}
        try:
            with closing(batches.run(parts[:: ranks.size])) as own:
                for place, part in enumerate(parts):
                    if place % ranks.size == 0:
                        yield next(own)
                        continue
                    answers = _unpacked(ranks.receive(f"answer/{number}/{place}"))
                    self._unclaimed[number].discard(place)
                    if batches.keep is not None:
                        batches.keep(part.rows, answers)
                    yield part, answers
        finally:
            ranks.send(f"enough/{number}", b"1")

    def _tidy(self) -> None:
        """Take what nobody will read any more out of the store: questions that every process has done with."""
        ranks = self._ranks
        done = [int(ranks.look(f"done/{r}")) if ranks.has(f"done/{r}") else -1 for r in range(1, ranks.size)]
        for number in [number for number in self._unclaimed if number <= min(done)]:
            for place in self._unclaimed.pop(number):
                ranks.forget(f"answer/{number}/{place}")
            ranks.forget(f"question/{number}")
            ranks.forget(f"enough/{number}")


def invite_to_evaluate(recipe: Recipe, labels: Sequence[str], device: str, ranks: Ranks) -> Ask | None:
    """Tell the other processes which data there will be questions about; None where there are none.

    recipe: with its datasets pinned. labels: of the models. device: its kind, which all use, since bits differ.
    """
    if ranks.size == 1:
        return None
    ranks.share({"about": DATA, **portable(replace(recipe, select=None)), "labels": list(labels), "device": device})
    with ranks.first_of_host():
        pass  # this host has the data already
    return Ask(ranks)


def candidates_here(told: Mapping[str, Any], open: Open, device: Device, options: Options) -> Candidates:
    """What answers this process's share: the same data, read here."""
    from hf_soups.evaluation.evaluator import Evaluator
    from hf_soups.selection.candidates import Candidates

    recipe = received(told)
    if recipe.evaluate is None:
        raise SoupError("process 0 told of no data")
    asked = replace(recipe.evaluate, metrics=())  # scores are the first process's
    with options.ranks.first_of_host():
        evaluator = Evaluator(asked, told["labels"], token=options.token, seed=recipe.seed)
    return Candidates(evaluator, open, device, max_memory=own_memory(options))


def own_memory(options: Options) -> Memory | None:
    """What this process's models may take; a host's GPUs are dealt out, and Accelerate takes the one that is set."""
    ranks = options.ranks
    if ranks.size == 1:
        return options.max_memory
    import torch

    from hf_soups.placement import share_of_host

    if torch.cuda.is_available():
        torch.cuda.set_device(ranks.place % torch.cuda.device_count())
    return options.max_memory or share_of_host(ranks.place, ranks.hosts.count(ranks.hosts[ranks.rank]))


def answer_share(candidates: Candidates, number: int, ranks: Ranks) -> None:
    """The other processes' side: the parts of one question that are this process's, until there are enough.

    Raises SoupError if model, data or libraries here are not those of the first process.
    """
    _answer(candidates, number, json.loads(ranks.look(f"question/{number}")), ranks)
    ranks.send(f"done/{ranks.rank}", str(number).encode())


def _answer(candidates: Candidates, number: int, asked: Mapping[str, Any], ranks: Ranks) -> None:
    from hf_soups.evaluation.gradual import opened

    question = candidates.question(candidates.checkpoint(received(asked)), asked["dataset"])
    if question.key != asked["key"]:
        raise SoupError(
            f"the models or the data {asked['dataset']} here are not those that process 0 sees, or other versions of "
            "torch or transformers are installed, or one has a GPU and the other not; use the same on every host"
        )
    mine = range(ranks.rank, len(asked["parts"]), ranks.size)
    if not mine:
        return
    with opened(question) as batches:
        parts = [Part(np.array(rows, np.int64), width) for rows, width in (asked["parts"][place] for place in mine)]
        with closing(batches.run(parts)) as answers:
            for place, (_, found) in zip(mine, answers, strict=True):
                ranks.check()
                if ranks.has(f"enough/{number}"):
                    return
                ranks.send(f"answer/{number}/{place}", _packed(found))


def _packed(answers: Sequence[Any]) -> bytes:
    """Answers to some rows, as an Arrow stream."""
    import pyarrow as pa  # type: ignore[import-untyped]

    from hf_soups.evaluation.arrow import column
    from hf_soups.evaluation.outputs import assemble

    batch = pa.RecordBatch.from_arrays([column(assemble(answers))], ["answers"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def _unpacked(content: bytes) -> list[Any]:
    import pyarrow as pa

    from hf_soups.evaluation.arrow import outputs_of

    with pa.ipc.open_stream(content) as stream:
        outputs = outputs_of(stream.read_next_batch().column("answers"))
    return [outputs[row] for row in range(len(outputs))]
