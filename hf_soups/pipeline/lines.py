"""The lines of the table: rows, each with the answers that it tells of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hf_soups.checkpoint import Checkpoint
from hf_soups.pipeline.comparable import baseline
from hf_soups.recipe import Ingredient, Recipe
from hf_soups.selection import Selection

if TYPE_CHECKING:
    from hf_soups.evaluation.evaluator import Evaluator
    from hf_soups.evaluation.examination import Line
    from hf_soups.evaluation.outputs import Outputs
    from hf_soups.evaluation.results import Kind, Row
    from hf_soups.selection.candidates import Candidates

    Answers = Mapping[str, Outputs]  # by dataset

FITTED_ROLES = ("fit", "calibrate")  # whose rows say nothing of how good anything is


def asked_on(evaluator: Evaluator) -> list[str]:
    """The datasets that models of the table answer: all but those that weights are fitted on."""
    return [name for name, report in evaluator.reports.items() if report.role != "fit"]


class Lines:
    """Makes them.

    ingredients, answers: the recipe's, in its order. best: the answers of that ingredient which is best on the
    selection data, to compare with; None: there are no such data.
    """

    def __init__(
        self,
        recipe: Recipe,
        candidates: Candidates,
        ingredients: Sequence[Checkpoint],
        answers: Sequence[Answers],
        best: Answers | None,
    ) -> None:
        self._recipe = recipe
        self._candidates = candidates
        self._opened = ingredients
        self._answers = answers
        self._best = best
        self._evaluator = candidates.evaluator

    def base(self, base: Checkpoint | None) -> list[Line]:
        if base is None or self._recipe.base is None:
            return []
        return [self._model(self._recipe.base.label, "base", base)]

    def baselines(self) -> list[Line]:
        """Published models that the recipe names; the differences of the others are not to them, nor theirs to any."""
        named = map(Ingredient, self._recipe.evaluate.baselines if self._recipe.evaluate else ())
        return [self._baseline(one) for one in named]

    def ingredients(self) -> list[Line]:
        return [
            self._model(ingredient.label, "ingredient", checkpoint, outputs)
            for ingredient, checkpoint, outputs in zip(
                self._recipe.ingredients, self._opened, self._answers, strict=True
            )
        ]

    def mean(self) -> list[Row]:
        """What one ingredient scores on average."""
        if len(self._answers) < 2:
            return []
        return [self._evaluator.mean_row("mean individual", [self._shown(one) for one in self._answers], self._best)]

    def of_all(self, selection: Selection | None) -> list[Line]:
        """The soup of all ingredients, unless that is the only one as it is."""
        if len(self._answers) < 2 and self._recipe.method == "average":
            return []
        name, kind = _name_of_all(self._recipe, selection)
        return [self._model(name, kind, self._candidates.checkpoint(replace(self._recipe, select=None)))]

    def chosen(self, selection: Selection | None) -> list[Line]:
        if selection is None:
            return []
        kind: Kind = "greedy" if selection.strategy == "greedy" else "chosen"
        return [self._model(f"{selection.strategy} soup", kind, self._candidates.checkpoint(selection.recipe))]

    def ensemble(self) -> list[Line]:
        """Of the ingredients, where answers have a mean."""
        if len(self._answers) < 2:
            return []
        together = {name: self._candidates.ensemble(self._opened, name) for name in self._answers[0]}
        computed = {name: one for name, one in together.items() if one is not None}
        return [self._line("ensemble", "ensemble", computed)] if computed else []

    def _model(self, name: str, kind: Kind, checkpoint: Checkpoint, outputs: Answers | None = None) -> Line:
        """outputs: the model's answers; default: it is asked."""
        if outputs is None:
            outputs = self._asked(checkpoint)
        row, _ = self._line(name, kind, outputs)
        measured = {b: self._candidates.measure(checkpoint, b) for b in self._evaluator.benchmarks}
        return replace(row, benchmarks=measured), outputs

    def _baseline(self, ingredient: Ingredient) -> Line:
        said = self._asked(baseline(ingredient, self._candidates))
        return self._evaluator.row(ingredient.label, "baseline", self._shown(said)), said

    def _line(self, name: str, kind: Kind, outputs: Answers) -> Line:
        return self._evaluator.row(name, kind, self._shown(outputs), self._best), outputs

    def _asked(self, checkpoint: Checkpoint) -> Answers:
        return self._candidates.outputs(checkpoint, asked_on(self._evaluator))

    def _shown(self, outputs: Answers) -> dict[str, Outputs]:
        reports = self._evaluator.reports
        return {name: one for name, one in outputs.items() if reports[name].role not in FITTED_ROLES}


def _name_of_all(recipe: Recipe, selection: Selection | None) -> tuple[str, Kind]:
    if recipe.weights is not None:
        return "weighted soup", "soup"
    weighted = any(i.parameters for i in recipe.ingredients) or recipe.parameters
    if recipe.method == "average" and not weighted:
        return "uniform soup", "soup" if selection is None else "uniform"
    return f"{recipe.method} of all", "soup" if selection is None else "uniform"
