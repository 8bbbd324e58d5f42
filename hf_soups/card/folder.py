"""The card and its figure as files of an output folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hf_soups.card.body import render
from hf_soups.card.facts import gather
from hf_soups.card.greedy_figure import GREEDY_FIGURE, greedy_figure
from hf_soups.card.logit_axes import ROBUSTNESS_FIGURE, robustness_figure
from hf_soups.card.scatter import FIGURE, figure
from hf_soups.card.sweep_figure import SWEEP_FIGURE, sweep_figure
from hf_soups.card.weights_figure import WEIGHTS_FIGURE, weights_figure
from hf_soups.checkpoint import Checkpoint, write_text
from hf_soups.evaluation.results import Results
from hf_soups.recipe import Ingredient
from hf_soups.selection import Selection
from hf_soups.soup import Soup


def write(
    folder: Path,
    soup: Soup,
    selection: Selection | None = None,
    results: Results | None = None,
    candidates: Sequence[tuple[Ingredient, Checkpoint]] = (),
    license: str | None = None,
    repo_id: str | None = None,
    remarks: Sequence[str] = (),
) -> None:
    """README.md, and the figures that the results and the selection call for; parameters as for `gather`."""
    drawn = results is not None and figure(results, folder / FIGURE)
    robust = results is not None and robustness_figure(results, folder / ROBUSTNESS_FIGURE)
    swept = results is not None and selection is not None and sweep_figure(selection, results, folder / SWEEP_FIGURE)
    learned = selection.learned if selection else None
    mapped = learned is not None and weights_figure(learned, folder / WEIGHTS_FIGURE)
    grown = selection is not None and greedy_figure(selection, folder / GREEDY_FIGURE)
    facts = gather(
        soup,
        selection,
        results,
        candidates,
        license,
        repo_id,
        figure=drawn,
        robustness_figure=robust,
        sweep_figure=swept,
        weights_figure=mapped,
        greedy_figure=grown,
        remarks=remarks,
    )
    write_text(folder / "README.md", render(facts))
