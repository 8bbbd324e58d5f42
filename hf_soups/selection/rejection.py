"""Early rejection: a candidate's answers, until it is sure that they cannot be good enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hf_soups.evaluation.bounds import best_possible, difficulty
from hf_soups.evaluation.evaluator import Evaluator
from hf_soups.evaluation.examples import taken
from hf_soups.evaluation.outputs import Outputs
from hf_soups.evaluation.scores import Array
from hf_soups.selection.greedy import accepts
from hf_soups.selection.wishes import Reach

if TYPE_CHECKING:
    from hf_soups.evaluation.gradual import Answered, Question


def answered_until(
    evaluator: Evaluator,
    question: Question,
    reach: Reach | None,
    hardness: Array | None,
    stopped: Callable[[], bool] | None = None,
) -> tuple[Answered, float | None]:
    """Answers until it is sure that they do not reach it, or until they are stopped, and the best still possible.

    hardness: [n] of each row, as `row_hardness` gives it; None: the bound is not asked.
    """
    references = question.examples.references
    every = np.arange(len(references))
    bound: float | None = None

    def hopeless(rows: NDArray[np.int64], outputs: Outputs) -> bool:
        nonlocal bound
        if stopped is not None and stopped():
            return True
        if reach is None or hardness is None:
            return False
        how = evaluator.metrics[reach.metric]
        rest = np.setdiff1d(every, rows, assume_unique=True)
        bound = best_possible(how, outputs, taken(references, rows), taken(references, rest))
        sign = 1 if how.greater_is_better else -1
        return bound is not None and not accepts(bound, reach.best, reach.tie, sign)

    enough = None if hardness is None and stopped is None else hopeless
    return evaluator.answered(question, hardness=hardness, enough=enough), bound


def row_hardness(evaluator: Evaluator, alone: Sequence[Outputs], dataset: str, metric: str) -> Array | None:
    """[n] what each row costs the ensemble of models; None where the metric has no bound.

    alone: the answers of each to the dataset.
    """
    how, references = evaluator.metrics[metric], evaluator.examples(dataset).references
    together = evaluator.ensemble(alone)
    if together is None or best_possible(how, together, references, taken(references, np.arange(0))) is None:
        return None
    return difficulty(how, together, references)
