"""What the commands print: data on stdout, everything else on stderr, in the manner of `hf`."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

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


def columns() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 80


def wrapped(text: str) -> str:
    """In lines as wide as the terminal; those after the first are indented."""
    indent = " " * (2 + len(text) - len(text.lstrip()))
    return "\n".join(textwrap.wrap(text, columns(), subsequent_indent=indent, break_on_hyphens=False))
