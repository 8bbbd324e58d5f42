"""The table of an evaluation as people read it on a terminal, with what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from hf_soups.cli.output import MARKS, Printer, columns, wrapped

if TYPE_CHECKING:
    from hf_soups.evaluation.benchmarks import Measured
    from hf_soups.evaluation.results import Results
    from hf_soups.evaluation.statistics import Interval
    from hf_soups.evaluation.verdict import Comparison


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
    width, count = columns(), len(header) - 1
    per_table = count
    first = max(len(r[0]) for r in rows)
    while per_table > 1 and first + sum(2 + _width(header, rows, i + 1) for i in range(per_table)) > width:
        per_table -= 1
    for start in range(0, count, per_table):
        shown = [0, *range(start + 1, min(start + per_table, count) + 1)]
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


def _interval(found: Interval) -> str:
    return f"{found.value:.4f} ±{(found.high - found.low) / 2:.4f}"


def _measured(found: Measured | None) -> str:
    if found is None:
        return "—"
    return f"{found.value:.4f}" + (f" ±{found.stderr:.4f}" if found.stderr is not None else "")


def _small(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "<.001"


def _width(header: Sequence[str], rows: Sequence[Sequence[str]], column: int) -> int:
    return max(len(line[column]) for line in [header, *rows])
