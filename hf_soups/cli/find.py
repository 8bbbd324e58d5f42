"""`hf-soups find`: which public fine-tunes and adapters of a base would fit, as a table and a recipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from hf_soups.cli.options import options
from hf_soups.cli.output import MARKS, Printer, columns, printer_for, wrapped
from hf_soups.errors import RecipeError, did_you_mean
from hf_soups.hub.found import VERDICTS, Candidate, Found

FORMATS = ("auto", "human", "json", "quiet", "recipe")
HEADER = ("repository", "kind", "licence", "labels", "downloads")
LEVELS = {"fits": "note", "other head": "warning", "does not fit": "error", "not looked into": "warning"}
NARROWEST = 20  # letters of a column that is cut
REASONS, LONGEST = 3, 300  # reasons for one repository, and letters of each, that people are shown


def _format(context: click.Context, option: click.Parameter, value: str) -> str:
    if value not in FORMATS:
        raise click.BadParameter(f"{value!r}{did_you_mean(value, FORMATS)}")
    return value


def _words(context: click.Context, option: click.Parameter, value: str | None) -> list[str] | None:
    """`negative,positive` → its parts."""
    if value is None:
        return None
    words = [word.strip() for word in value.split(",")]
    if not all(words):
        raise click.BadParameter(f"{value!r}: write for instance negative,positive")
    return words


_OUTPUT = options(
    click.option(
        "--format",
        "format_",
        metavar="|".join(FORMATS),
        default="auto",
        show_default=True,
        callback=_format,
        help="recipe: the YAML alone.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Same as --format json."),
    click.option("-q", "--quiet", is_flag=True, help="Same as --format quiet: the ids of those that fit."),
)


@click.command()
@click.argument("base", metavar="BASE")
@click.option("--labels", metavar="A,B", callback=_words, help="Only with these outputs, in any order.")
@click.option("--license", metavar="L,M", callback=_words, help="Only under one of these, such as mit,apache-2.0.")
@click.option("--task", metavar="T", help="Only for this task, such as text-classification.")
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="Look into at most so many, the most downloaded first.",
)
@click.option("--recipe", "file", metavar="FILE", help="Write the recipe there; there must be no such file yet.")
@click.option("--token", metavar="T", help="Hub token; default: HF_TOKEN or the login.")
@_OUTPUT
def find(
    base: str,
    labels: list[str] | None,
    license: list[str] | None,
    task: str | None,
    limit: int,
    file: str | None,
    token: str | None,
    format_: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Find public fine-tunes and adapters of BASE that would fit into one soup.

    Only descriptions, configs and the first bytes of weight files are read, nothing is downloaded whole. Exit code 1
    if none fits.
    """
    from hf_soups.checkpoint import write_text
    from hf_soups.hub.find import find as look
    from hf_soups.recipe import to_yaml

    printer = printer_for(format_, as_json, quiet)
    if file is not None and Path(file).exists():
        raise RecipeError(f"{file}: is there already; remove it, or give another name with --recipe")
    found = look(base, labels=labels, license=license, task=task, limit=limit, token=token, progress=_progress(printer))
    if printer.format == "json":
        printer.json(found.to_json())
    elif printer.format == "quiet":
        for candidate in found.of("fits"):
            printer.data(candidate.repo)
    elif printer.human:
        _show(printer, found)
    if file is not None:
        write_text(Path(file), to_yaml(found.require()))
        printer.say(f"recipe: {file}")
    elif printer.format == "recipe":
        printer.data(to_yaml(found.require()).rstrip())
    elif not found.of("fits"):
        found.require()


def _progress(printer: Printer) -> Callable[[int, int], None]:
    """One moving line, on a terminal only."""

    def show(done: int, total: int) -> None:
        click.echo(f"\r  looked into {done} of {total}" + ("\n" if done == total else ""), nl=False, err=True)

    return show if printer.human and sys.stderr.isatty() else lambda done, total: None


def _show(printer: Printer, found: Found) -> None:
    shown = [_row(candidate) for candidate in found.candidates]
    widths = _widths([HEADER, *shown])
    for verdict, level in LEVELS.items():
        chosen = found.of(verdict)
        if not chosen:
            continue
        printer.data(f"{len(chosen)} {VERDICTS[verdict]}" if len(chosen) > 1 else f"1 {verdict}")
        printer.table(_cut(HEADER, widths), [_cut(_row(c), widths) for c in chosen], right=4)
        for candidate in chosen:
            for line in _reasons(candidate):
                printer.data(wrapped(f"{MARKS[level]} {line}"))
        printer.data("")
    for finding in found.findings:
        printer.data(wrapped(f"{MARKS[finding.level]} {finding.message}"))
    if found.of("fits"):
        printer.data(wrapped(found.summary))


def _row(candidate: Candidate) -> Sequence[str]:
    labels = ", ".join(candidate.labels or ())
    cells = [candidate.repo, candidate.kind, candidate.license or "", labels, f"{candidate.downloads:,}"]
    return [_plain(cell) for cell in cells]


def _reasons(candidate: Candidate) -> list[str]:
    lines = [
        text if text.startswith(candidate.repo) else f"{candidate.repo}: {text}" for text in candidate.reasons[:REASONS]
    ]
    if len(candidate.reasons) > REASONS:
        lines.append(f"{candidate.repo}: {len(candidate.reasons) - REASONS} more, see --json")
    return [_plain(line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…") for line in lines]


def _plain(text: str) -> str:
    """Without what could move the cursor or turn the writing around: others wrote it."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """Of each column, so that the table fits: labels give way first, then names."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    for column in (3, 0):
        over = sum(widths) + 2 * (len(widths) - 1) - columns()
        widths[column] -= max(0, min(over, widths[column] - NARROWEST))
    return widths


def _cut(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [cell if len(cell) <= width else f"{cell[: width - 1]}…" for cell, width in zip(row, widths, strict=True)]
