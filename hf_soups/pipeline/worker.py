"""What a worker of a cluster does: it keeps one model warm and answers with it."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_soups.engine import choose
from hf_soups.errors import CheckpointError, EvaluationError, SoupError
from hf_soups.evaluation.cache import Predictions
from hf_soups.evaluation.evaluator import Evaluator
from hf_soups.hub.opening import Opener
from hf_soups.pipeline.share import deciding, kind
from hf_soups.recipe import Recipe
from hf_soups.selection.candidates import Candidates

if TYPE_CHECKING:
    from hf_soups.evaluation.journal import Piece
    from hf_soups.placement import Memory
    from hf_soups.selection.wishes import Wish


@dataclass(frozen=True)
class Terms:
    """What every worker is given, once.

    recipe: pinned, with all ingredients. device: as `Options.device`, the number of a GPU left out.
    max_memory: as in `Options`. versions: of the libraries that decide the bits, where the answers are asked for.
    """

    evaluator: Evaluator
    recipe: Recipe
    token: str | None
    local: Path | None
    device: str
    versions: Mapping[str, Any]
    max_memory: Memory | None = None


class Worker:
    """Lives in a process of its own, in which Ray calls `answer` and `stop` at the same time."""

    def __init__(self, terms: Terms, threads: int) -> None:
        """threads: batches that are run at once on processors, each by one of them, so that no bit depends on it."""
        self._terms = terms
        self._threads = threads
        self._stopped = -1
        self._candidates: Candidates | None = None

    def ready(self) -> tuple[str, str] | SoupError:
        """Names of this host and of what computes here, once everything is there that work needs."""
        import torch

        try:
            _check_versions(self._terms.versions)
            _check_folders(self._terms.recipe)
            torch.set_num_threads(self._threads)
            device = choose(self._terms.device)
            opener = Opener(self._terms.token, self._terms.local)
            self._candidates = Candidates(self._terms.evaluator, opener.pull, device, max_memory=self._terms.max_memory)
        except (SoupError, OSError) as error:
            return _told(error)
        return socket.gethostname(), kind(device)

    def answer(self, number: int, wish: Wish, known: Sequence[Piece]) -> list[Piece] | SoupError:
        """The batches that a wish asks for, or as many as were answered until it was stopped, but for known ones."""
        candidates = self._candidates
        if candidates is None:
            return SoupError("a worker was asked before it was ready")
        if self._stopped >= number:
            return []
        with tempfile.TemporaryDirectory(prefix="hf-soups-") as folder:
            cache = candidates.evaluator.cache = Predictions(folder)
            try:
                _check_key(candidates, wish)
                with cache.gathering(wish.key) as keep:
                    for rows, outputs in known:
                        keep(rows, [outputs[i] for i in range(len(rows))])
                candidates.fulfil(wish, lambda: self._stopped >= number)
            except (SoupError, OSError) as error:
                return _told(error)
            there = {int(row) for rows, _ in known for row in rows}
            return [(rows, outputs) for rows, outputs in cache.pieces(wish.key) if int(rows[0]) not in there]

    def stop(self, number: int) -> None:
        """What has this number, or a smaller one, is wanted no more."""
        self._stopped = max(self._stopped, number)


def _told(error: SoupError | OSError) -> SoupError:
    text = str(error)
    return (type(error) if isinstance(error, SoupError) else SoupError)(f"worker on {socket.gethostname()}: {text}")


def _check_versions(there: Mapping[str, Any]) -> None:
    differing = [f"{n} {v} here and {there.get(n)} there" for n, v in deciding().items() if there.get(n) != v]
    if differing:
        raise SoupError(f"other versions than where it was started: {', '.join(differing)}; install the same")


def _check_folders(recipe: Recipe) -> None:
    """CheckpointError if a local ingredient is not on this host."""
    for part in [*recipe.ingredients, *([recipe.base] if recipe.base else [])]:
        if isinstance(part.model, Recipe):
            _check_folders(part.model)
            continue
        for reference in filter(None, (part.model, part.base)):
            if Path(reference).is_absolute() and not Path(reference).exists():
                raise CheckpointError(
                    f"{reference}: not seen here; workers read local ingredients at the same path, so put them on "
                    "storage that all hosts share, or push them to the Hub"
                )


def _check_key(candidates: Candidates, wish: Wish) -> None:
    checkpoint = candidates.checkpoint(wish.recipe)
    if candidates.key(checkpoint, wish.dataset) != wish.key:
        raise EvaluationError(
            f"{wish.label}: other files, or another torch or transformers, than where it was started; use the same"
        )
