"""What logits of classifiers tell besides scores: diversity, calibration, robustness; nothing is predicted for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from hf_soups.evaluation.calibration import ERROR, Labelled, calibration
from hf_soups.evaluation.diversity import diversity
from hf_soups.evaluation.outputs import Outputs
from hf_soups.evaluation.results import Results, Row
from hf_soups.evaluation.robustness import Model, robustness
from hf_soups.evaluation.scores import Logits
from hf_soups.evaluation.verdict import best_ingredient, published, reported

if TYPE_CHECKING:
    from hf_soups.evaluation.evaluator import Evaluator

Line = tuple[Row, Mapping[str, Outputs]]  # a row of the table, and its answers by dataset


def examine(results: Results, evaluator: Evaluator, lines: Sequence[Line]) -> Results:
    """The results with the diversity of the ingredients, calibration of the models that count, and robustness.

    Unchanged where a row has not one label of several: these are measures of classifiers.
    """
    if ERROR not in evaluator.task.metrics.values():
        return results
    known = [(row, cast(Mapping[str, Logits], answers)) for row, answers in lines]
    asked = {name: rows for name, rows in evaluator.datasets.items() if all(name in answers for _, answers in lines)}
    data = {name: Labelled(rows.references, rows.groups) for name, rows in asked.items()}
    individuals = [logits for row, logits in known if row.kind == "ingredient"]
    told = {d.name: data[d.name] for d in reported(results)}
    fitted = {name: data[name] for name in evaluator.names("calibrate") if name in data}
    best, soup = best_ingredient(results), published(results)
    shown = [line for line in known if line[0] is best or line[0] is soup or line[0].kind == "ensemble"]
    tests, shifts = evaluator.names("test"), evaluator.names("shift")
    return replace(
        results,
        diversity={
            name: diversity([one[name] for one in individuals], rows.labels)
            for name, rows in data.items()
            if len(individuals) > 1
        },
        calibration=tuple(calibration(row.name, logits, told, fitted, evaluator.seed) for row, logits in shown if told),
        robustness=tuple(
            robustness(
                tests[0],
                shift,
                [
                    Model(row.name, row.kind in ("base", "baseline", "ingredient"), logits[tests[0]], logits[shift])
                    for row, logits in known
                ],
                data[tests[0]],
                data[shift],
                evaluator.seed,
            )
            for shift in shifts
            if tests
        ),
    )
