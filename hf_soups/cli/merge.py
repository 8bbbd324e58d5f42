"""`hf-soups merge`: the main job."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from hf_soups import pipeline
from hf_soups.cli.hf_job import send, words_of
from hf_soups.cli.on import HfJob, Ray
from hf_soups.cli.only_here import Command
from hf_soups.cli.options import CACHE, FORMAT, MEMORY, ON, SOURCE, STREAM, TRUST
from hf_soups.cli.output import Printer, printer_for
from hf_soups.cli.plan import one_or_all, shown
from hf_soups.cli.processes import alone, joined
from hf_soups.cli.screen import Screen
from hf_soups.pipeline.options import split
from hf_soups.recipe import Recipe, to_yaml


@click.command()
@SOURCE
@click.option("-o", "--out", metavar="DIR", help="Folder to write; it appears whole or not at all.")
@click.option("--overwrite", is_flag=True, help="Replace the folder if it is not empty.")
@click.option("--check/--no-check", default=None, help="Load the result and run it once; default: before a push.")
@click.option("--allow-single", is_flag=True, help="Write the best ingredient if no soup beats it.")
@STREAM
@click.option("--push-to-hub", "hub", metavar="ID", help="Publish as one commit.")
@click.option("--private/--no-private", default=None, help="Visibility of a repository that the push creates.")
@click.option("--create-pr", is_flag=True, help="Publish as a pull request.")
@click.option("--dry-run", is_flag=True, help="Stop after the plan.")
@click.option("--print-recipe", is_flag=True, help="Print the recipe that these options mean, and stop.")
@CACHE
@ON
@TRUST
@MEMORY
@FORMAT
def merge(
    source: tuple[str, ...],
    out: str | None,
    dry_run: bool,
    print_recipe: bool,
    on: HfJob | Ray | None,
    format_: str,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Make a soup: pull, align, choose, average, evaluate, write, push.

    A RECIPE is a .yaml file. Several MODELs (Hub ids or folders) without a recipe are averaged; with
    --dataset the greedy soup is chosen and reported.
    """
    printer = printer_for(format_, as_json, quiet)
    how, changes = split(given)
    reading = {name: how[name] for name in ("token", "local", "stream")}  # what making the recipe needs of it

    def recipe() -> Recipe:
        return pipeline.make_recipe(one_or_all(source), **changes, **reading)

    if isinstance(on, HfJob) and not print_recipe:
        alone()
        command = Command("merge", recipe(), words_of(how), out, how["cache"], how["stream"])
        send(on, command, printer, how["token"], dry_run)
        return
    if print_recipe or dry_run:
        alone()
        made = recipe()
        if print_recipe:
            printer.data(to_yaml(made).rstrip())
        else:
            shown(printer, pipeline.plan(made, out=out, device=how["device"], **reading))
        return
    with joined() as processes:
        where = on.where if isinstance(on, Ray) else None
        how["local"] = how["local"] or None
        options = pipeline.Options.of(**how, out=out or None, on=where, listener=Screen(printer), ranks=processes)
        if not processes.is_first:
            pipeline.assist(options)
            return
        made = recipe()
        if not out and made.output.hub is None:
            raise click.UsageError("where to? Give -o DIR, or --push-to-hub ID, or both")
        outcome = pipeline.run(made, options)
    _tell(printer, out, outcome)


def _tell(printer: Printer, out: str | None, outcome: pipeline.Outcome) -> None:
    """Where the soup is."""
    if printer.format == "json":
        printer.json(
            {
                "out": out,
                "url": outcome.pushed.url if outcome.pushed else None,
                "sha": outcome.pushed.sha if outcome.pushed else None,
                "checked": outcome.checked,
                "kept": list(outcome.selection.kept) if outcome.selection else None,
                "results": outcome.results.to_json() if outcome.results else None,
                "processes": [asdict(share) for share in outcome.written],
            }
        )
    elif outcome.pushed is not None:
        printer.data(outcome.pushed.url)
    elif out is not None:
        printer.data(out)
