"""`hf-soups evaluate`: the table."""

from __future__ import annotations

from typing import Any

import click

from hf_soups import pipeline
from hf_soups.cli.hf_job import send, words_of
from hf_soups.cli.on import HfJob, Ray
from hf_soups.cli.only_here import Command
from hf_soups.cli.options import CACHE, FORMAT, MEMORY, ON, SOURCE, TRUST
from hf_soups.cli.output import printer_for
from hf_soups.cli.plan import one_or_all
from hf_soups.cli.processes import alone, joined
from hf_soups.cli.results import show_results
from hf_soups.cli.screen import Screen
from hf_soups.pipeline.options import split


@click.command()
@SOURCE
@CACHE
@ON
@TRUST
@MEMORY
@FORMAT
def evaluate(
    source: tuple[str, ...],
    on: HfJob | Ray | None,
    format_: str,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Measure the base, every ingredient, their soup and their ensemble; write nothing."""
    printer = printer_for(format_, as_json, quiet)
    if isinstance(on, HfJob):
        alone()
        how, changes = split(given)
        token, cache = how["token"], how["cache"]
        recipe = pipeline.make_recipe(one_or_all(source), token=token, local=how["local"], **changes)
        send(on, Command("evaluate", recipe, words_of(how), cache=cache), printer, token)
        return
    with joined() as processes:
        results = pipeline.evaluate(
            one_or_all(source),
            listener=Screen(printer),
            ranks=processes,
            on=on.where if isinstance(on, Ray) else None,
            **given,
        )
        if not processes.is_first:
            return
    if printer.format == "json":
        printer.json(results.to_json())
    elif printer.human:
        show_results(printer, results)
    else:
        for row in results.rows:
            scores = (f"{row.scores[d][results.metrics[0]].value:.4f}" for d in row.scores)
            printer.data("\t".join([row.name, *scores]))
