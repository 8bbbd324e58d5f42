"""What the commands print: data on stdout, everything else on stderr, in the manner of `hf`."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from hf_soups.planning import Plan

if TYPE_CHECKING:
    from hf_soups.evaluation.benchmarks import Measured
    from hf_soups.evaluation.results import Results
    from hf_soups.evaluation.statistics import Interval
    from hf_soups.evaluation.verdict import Comparison
    from hf_soups.selection import Curve, Learned, Selection, Study

MARKS = {"error": "✗", "warning": "!", "note": "·"}


def size(count: int) -> str:
    """`90.9 MB`; powers of 1,000."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("unreachable")


@dataclass(frozen=True)
class Printer:
    """One command's way of speaking.

    format: human (tables and words), json (one object), quiet (the one line that scripts need).
    """

    format: str

    @property
    def human(self) -> bool:
        return self.format == "human"

    def say(self, text: str = "") -> None:
        """Words for people, on stderr."""
        if self.human:
            click.echo(text, err=True)

    def data(self, text: str) -> None:
        click.echo(text)

    def json(self, content: Any) -> None:
        click.echo(json.dumps(content, ensure_ascii=False, separators=(",", ":")))

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]], right: int = 99) -> None:
        """Columns as wide as they must be; those from `right` on are aligned to the right."""
        widths = [max(len(line[i]) for line in [header, *rows]) for i in range(len(header))]
        for line in [header, ["-" * w for w in widths], *rows]:
            cells = [c.ljust(w) if i < right else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))]
            click.echo("  ".join(cells).rstrip())


def printer_for(format_: str, as_json: bool, quiet: bool) -> Printer:
    """As the options of a command say; a usage error if they contradict each other."""
    asked = {f for f, given in (("json", as_json), ("quiet", quiet)) if given} | ({format_} - {"auto"})
    if len(asked) > 1:
        raise click.UsageError(f"--format {' and '.join(sorted(asked))} exclude each other")
    return Printer(asked.pop() if asked else "human")


def show_plan(printer: Printer, plan: Plan, data: bool) -> None:
    """The plan for people: on stdout when it is what was asked for, else on stderr."""
    echo: Callable[[str], None] = printer.data if data else printer.say
    recipe = plan.recipe
    values = ", ".join(f"{k} {v:g}" for k, v in recipe.parameters.items())
    echo(f"{recipe.method}{f' ({values})' if values else ''} of {len(recipe.ingredients)}")
    for part in plan.parts:
        reference = _short(part.reference)
        how = "stream" if plan.stream else "download"
        fetched = f"{size(part.download)} to {how}" if part.download else "on this disk"
        echo(f"  {part.role:<10}  {reference}  {size(part.nbytes)}, {part.license or 'no licence said'}, {fetched}")
    rules = ", ".join(f"{count} by {rule}" for rule, count in plan.rules.items())
    echo(f"  {plan.tensors} tensors ({rules}), {plan.parameters:,} parameters")
    files = f"{len(plan.shards)} files" if len(plan.shards) > 1 else "1 file"
    if plan.stream:
        echo(f"  streamed: {size(plan.download)} read by range, the weights in {_times(plan.passes)}, and not kept")
    fetch = "" if plan.stream else f"download {size(plan.download)}; "
    echo(f"  {fetch}write {size(plan.written)} in {files}; work in {size(plan.memory)} of memory")
    if plan.uploads:
        echo(f"  uploaded file by file: {size(plan.disk)} of disk for the largest")
    if recipe.output.hub:
        echo(f"  push to {recipe.output.hub} ({'private' if recipe.output.private else 'public'})")
    for finding in plan.findings:
        echo(wrapped(f"  {MARKS[finding.level]} {finding.message}"))


def show_results(printer: Printer, results: Results) -> None:
    """One table: the deciding metric of every model on every dataset, with half the interval's width."""
    from hf_soups.cli import examination
    from hf_soups.evaluation.findings import findings

    metric = results.metrics[0]
    names = [name for name in results.datasets if all(name in row.scores for row in results.rows)]
    if names:
        header = ["", *(f"{n} ({results.datasets[n].role})" for n in names)]
        rows = [[row.name, *(_interval(row.scores[n][metric]) for n in names)] for row in results.rows]
        click.echo(f"{metric} ({results.way(metric)}), with 95 % intervals")
        _tables(printer, header, rows)
    else:
        click.echo("no data to report on; give a dataset of role test")
    if results.benchmarks:
        rows = [[row.name, *(_measured(row.benchmarks.get(n)) for n in results.benchmarks)] for row in results.rows]
        ways = ", ".join(f"{name} ({results.way(name)})" for name in results.benchmarks)
        click.echo(wrapped(f"benchmarks of whole models, ± standard error where one is known: {ways}"))
        _tables(printer, ["", *results.benchmarks], rows)
    show_verdict(printer, results)
    for line in examination.lines(results):
        click.echo(wrapped(line))
    for finding in findings(results):
        click.echo(wrapped(f"{MARKS[finding.level]} {finding.message}"))


def _tables(printer: Printer, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """One table, or several below each other where the columns do not fit side by side."""
    width, columns = _columns(), len(header) - 1
    per_table = columns
    first = max(len(r[0]) for r in rows)
    while per_table > 1 and first + sum(2 + _width(header, rows, i + 1) for i in range(per_table)) > width:
        per_table -= 1
    for start in range(0, columns, per_table):
        shown = [0, *range(start + 1, min(start + per_table, columns) + 1)]
        printer.table([header[i] for i in shown], [[r[i] for i in shown] for r in rows], right=1)
        click.echo()


def show_verdict(printer: Printer, results: Results) -> None:
    """Whether the soup is better than the best individual, in words that the intervals support."""
    from hf_soups.evaluation.findings import judge, visible
    from hf_soups.evaluation.verdict import best_ingredient, compare, comparisons, published

    soup, best = published(results), best_ingredient(results)
    metric = results.metrics[0]
    found = compare(results, metric)
    if soup is None or best is None or not found:
        return
    click.echo(f"{soup.name} minus {best.name}, the best individual on {judge(results)} (paired):")
    tested = any(c.paired for c in found)
    rows = [
        [
            f"{c.report.name} ({c.report.role})",
            f"{c.difference.value:+.4f} [{c.difference.low:+.4f}, {c.difference.high:+.4f}]",
            *(_tests(c) if tested else ()),
            c.outcome,
        ]
        for c in found
    ]
    header = ["", "difference, 95 % interval", *(("won:lost", "p") if tested else ()), ""]
    printer.table(header, rows)
    sentences = [
        "won:lost: rows that only one of the two gets right; p: McNemar's exact test, adjusted for the number of these "
        "datasets (Holm).",
        visible(found, metric),
        f"{results.scored} candidates were scored on {results.scored_on}; the report holds {comparisons(results)} "
        "differences to the best individual.",
    ]
    for sentence in sentences if tested else sentences[1:]:
        click.echo(wrapped(sentence))


def _tests(found: Comparison) -> tuple[str, str]:
    """Rows that only one of the two gets right, and McNemar's p-value with all of them taken together."""
    if found.paired is None:
        return "", ""
    return f"{found.paired.wins}:{found.paired.losses}", "" if found.adjusted is None else _small(found.adjusted)


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


def _interval(found: Interval) -> str:
    return f"{found.value:.4f} ±{(found.high - found.low) / 2:.4f}"


def _measured(found: Measured | None) -> str:
    if found is None:
        return "—"
    return f"{found.value:.4f}" + (f" ±{found.stderr:.4f}" if found.stderr is not None else "")


def _columns() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 80


def wrapped(text: str) -> str:
    """In lines as wide as the terminal; those after the first are indented."""
    indent = " " * (2 + len(text) - len(text.lstrip()))
    return "\n".join(textwrap.wrap(text, _columns(), subsequent_indent=indent, break_on_hyphens=False))


def _small(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "<.001"


def _times(passes: float) -> str:
    return "one pass" if passes == 1 else f"{passes:.3g} passes"


def _short(reference: str) -> str:
    name, _, sha = reference.partition("@")
    return f"{name}@{sha[:8]}" if sha else name


def _width(header: Sequence[str], rows: Sequence[Sequence[str]], column: int) -> int:
    return max(len(line[column]) for line in [header, *rows])
