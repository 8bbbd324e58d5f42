"""`hf-soups finetune`: makes ingredients."""

from __future__ import annotations

from pathlib import Path

import click

from hf_soups.cli.options import FORMAT
from hf_soups.cli.output import printer_for


@click.command()
@click.argument("sweep", type=click.Path(dir_okay=False))
@click.option("-o", "--out", metavar="DIR", required=True, help="Folder for the head and one folder per run.")
@FORMAT
def finetune(sweep: str, out: str, format_: str, as_json: bool, quiet: bool) -> None:
    """Make ingredients: several fine-tunes of one model from one shared head (LP-FT)."""
    from hf_soups.training import finetune as run_sweep
    from hf_soups.training import load_sweep

    printer = printer_for(format_, as_json, quiet)

    def progress(name: str, step: int, steps: int) -> None:
        if steps == 0:
            printer.say(f"{name} is there already")
        elif step == steps or step % max(1, steps // 4) == 0:
            printer.say(f"{name}: step {step} of {steps}")

    folders = run_sweep(load_sweep(sweep), Path(out), progress=progress)
    if printer.format == "json":
        printer.json([str(f) for f in folders])
    else:
        for folder in folders:
            printer.data(str(folder))
