"""`hf-soups plan`: what a merge would do, and how people are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from hf_soups import pipeline
from hf_soups.cli.options import FORMAT, SOURCE, STREAM
from hf_soups.cli.output import MARKS, Printer, printer_for, size, wrapped
from hf_soups.planning import Plan


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


def shown(printer: Printer, made: Plan) -> None:
    """A plan that was asked for, on stdout."""
    if printer.format == "json":
        printer.json(made.to_json())
    elif printer.human:
        show_plan(printer, made, data=True)


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


def _times(passes: float) -> str:
    return "one pass" if passes == 1 else f"{passes:.3g} passes"


def _short(reference: str) -> str:
    name, _, sha = reference.partition("@")
    return f"{name}@{sha[:8]}" if sha else name
