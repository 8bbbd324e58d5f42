"""Why a soup was chosen, in lines on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hf_soups.cli.output import Printer, size

if TYPE_CHECKING:
    from hf_soups.selection import Curve, Learned, Selection, Study


def show_selection(printer: Printer, selection: Selection) -> None:
    """Each ingredient's turn and its cost, a sweep's values, a search's best trials, or the loss of learned weights."""
    if selection.curve is not None:
        return _show_curve(printer, selection, selection.curve)
    if selection.study is not None:
        return _show_study(printer, selection.study)
    if selection.learned is not None:
        return _show_learned(printer, selection.learned)
    forward = selection.direction == "forward"
    rule = "kept if the soup's score with it" if forward else "left out if the soup's score without it"
    on = f" on {selection.on}" if selection.on else ""
    printer.say(f"greedy{on} by {selection.metric} ({rule} {selection.tie} the best)")
    for step in selection.steps:
        mark = "kept" if step.kept else "left"
        found = f"{step.candidate:.4f}" if step.candidate is not None else f"at best {step.bound:.4f}"
        given_up = f", given up after {step.rows:,} of {step.of:,} rows" if step.candidate is None else ""
        which = "with" if forward else "without"
        printer.say(f"  {mark}  {step.ingredient}: alone {step.alone:.4f}, soup {which} it {found}{given_up}")
    rows, exhaustive, singles = selection.cost
    if exhaustive:
        printer.say(
            f"  candidates: {rows:,} of {exhaustive:,} rows, {rows / exhaustive:.0%} of exhaustive evaluation; "
            f"with the {len(selection.steps)} singles {(rows + singles) / (exhaustive + singles):.0%}"
        )


def _show_curve(printer: Printer, selection: Selection, curve: Curve) -> None:
    printer.say(f"sweep of {curve.parameter}: {curve.chosen:g} ({curve.rule})")
    for point in curve.points:
        mark = "taken" if point.value == curve.chosen else ""
        scores = ", ".join(f"{name} {score:.4f}" for name, score in point.scores.items())
        printer.say(f"  {mark:<5}  {curve.parameter} {point.value:g}: {scores}")


def _show_study(printer: Printer, study: Study) -> None:
    bound = f", with {study.constraint}" if study.constraint else ""
    printer.say(f"search of {len(study.trials)} trials by {study.sampler}, best {study.objectives[0]}{bound}")
    for trial in study.trials:
        if trial.front:
            mark = "taken" if trial.number == study.chosen else "front"
            values = ", ".join(f"{p} {v if isinstance(v, str) else f'{v:.4g}'}" for p, v in trial.values.items())
            scores = ", ".join(f"{name} {score:.4f}" for name, score in trial.scores.items())
            printer.say(f"  {mark}  #{trial.number} {values}: {scores}")


def _show_learned(printer: Printer, learned: Learned) -> None:
    passes = f" in {learned.steps} steps" if learned.steps else ""
    printer.say(
        f"weights by {learned.granularity} learned on {learned.fit}{passes}, reading {size(learned.bytes_read)}; "
        f"loss on {learned.calibrate} {learned.loss:.4f}, of the uniform soup {learned.uniform:.4f}"
    )
    for epoch in learned.epochs:
        mark = "taken" if epoch.number == learned.best else ""
        printer.say(f"  {mark:<5}  epoch {epoch.number}: {epoch.calibrate:.4f}, logits times {epoch.beta:.3f}")
    for number, soup in enumerate(learned.confirmed):
        mark = "taken" if number == learned.best else ""
        printer.say(
            f"  {mark:<5}  {soup.name}: {soup.calibrate:.4f}; linear logits off by {soup.error:.0%}, "
            f"{soup.flipped:.1%} of labels"
        )
    if learned.beta != 1 and not learned.folded:
        printer.say(f"  its logits would have to be multiplied by {learned.beta:.4f}; the head has no place for that")
