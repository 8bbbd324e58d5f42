"""`hf-soups plan`: what a merge would do."""

from __future__ import annotations

from typing import Any

import click

from hf_soups import pipeline
from hf_soups.cli.options import FORMAT, SOURCE, STREAM
from hf_soups.cli.output import Printer, printer_for, show_plan


@click.command()
@SOURCE
@STREAM
@FORMAT
def plan(
    source: tuple[str, ...],
    stream: bool,
    local: str | None,
    token: str | None,
    device: str,
    format_: str,
    as_json: bool,
    quiet: bool,
    **changes: Any,
) -> None:
    """Say whether the ingredients fit together and what a merge would cost, from headers alone."""
    printer = printer_for(format_, as_json, quiet)
    recipe = pipeline.make_recipe(one_or_all(source), token=token, local=local, stream=stream, **changes)
    shown(printer, pipeline.plan(recipe, stream=stream, token=token, local=local, device=device))


def one_or_all(source: tuple[str, ...]) -> str | list[str]:
    """A recipe's file or model stands alone."""
    return source[0] if len(source) == 1 else list(source)


def shown(printer: Printer, made: Any) -> None:
    """A plan that was asked for, on stdout."""
    if printer.format == "json":
        printer.json(made.to_json())
    elif printer.human:
        show_plan(printer, made, data=True)
