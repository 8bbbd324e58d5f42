"""The commands, each the same as a function in Python."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

import hf_soups
from hf_soups import pipeline, ranks
from hf_soups.cli.cache import cache as cache_command
from hf_soups.cli.hf_job import send
from hf_soups.cli.on import HfJob, Ray
from hf_soups.cli.only_here import Command
from hf_soups.cli.options import CACHE, FORMAT, MEMORY, ON, SOURCE, STREAM, TRUST
from hf_soups.cli.output import Printer, show_plan, show_results
from hf_soups.cli.output import printer_for as _printer
from hf_soups.cli.processes import alone, joined
from hf_soups.cli.screen import Screen
from hf_soups.errors import SoupError
from hf_soups.method import get, names
from hf_soups.recipe import Recipe, to_yaml


def main() -> None:
    """Run the command line; known errors are one line on stderr and exit code 1."""
    warnings.showwarning = _show_warning
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # unfinished folders are removed
    try:
        code = group(standalone_mode=False)
    except click.exceptions.Abort as error:
        interrupted = isinstance(error.__cause__, KeyboardInterrupt)
        if not ranks.is_peer():
            click.echo("Interrupted; nothing was written." if interrupted else "Aborted!", err=True)
        code = 128 + signal.SIGINT if interrupted else 1
    except click.ClickException as error:
        if not ranks.is_peer():  # every process was called with the same mistake
            error.show()
        code = error.exit_code
    except (SoupError, OSError) as error:
        if os.environ.get("HF_DEBUG") == "1":
            raise
        text = str(error) if isinstance(error, SoupError) else _os_error(error)
        click.echo(f"Error: {text}", err=True)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(hf_soups.__version__, prog_name="hf-soups")
@click.pass_context
def group(context: click.Context) -> None:
    """Model soups for the Hugging Face Hub: merge fine-tunes of one model, choose the best soup by
    measuring it, and push it back with its card."""
    if context.invoked_subcommand not in ("merge", "evaluate"):  # the commands that several processes share
        alone()


def _recipe(source: tuple[str, ...], changes: dict[str, Any]) -> Recipe:
    return pipeline.make_recipe(source[0] if len(source) == 1 else list(source), **changes)


@group.command()
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
    overwrite: bool,
    check: bool | None,
    allow_single: bool,
    stream: bool,
    create_pr: bool,
    dry_run: bool,
    print_recipe: bool,
    cache: str | None,
    on: HfJob | Ray | None,
    trust_remote_code: bool,
    max_memory: dict[int | str, int] | None,
    local: str | None,
    token: str | None,
    device: str,
    format_: str,
    as_json: bool,
    quiet: bool,
    **changes: Any,
) -> None:
    """Make a soup: pull, align, choose, average, evaluate, write, push.

    A RECIPE is a .yaml file. Several MODELs (Hub ids or folders) without a recipe are averaged; with
    --dataset the greedy soup is chosen and reported.
    """
    printer = _printer(format_, as_json, quiet)
    asked = {**changes, "token": token, "local": local, "stream": stream}
    if isinstance(on, HfJob) and not print_recipe:
        alone()
        words = _words(
            check=check,
            allow_single=allow_single,
            stream=stream,
            create_pr=create_pr,
            device=device,
            cache=cache,
            trust_remote_code=trust_remote_code,
        )
        send(on, Command("merge", _recipe(source, asked), words, out, cache, stream), printer, token, dry_run)
        return
    if print_recipe or dry_run:
        alone()
        recipe = _recipe(source, asked)
        if print_recipe:
            printer.data(to_yaml(recipe).rstrip())
        else:
            _show(printer, pipeline.plan(recipe, out=out, stream=stream, token=token, local=local, device=device))
        return
    with joined() as processes:
        options = pipeline.Options(
            out=Path(out) if out else None,
            overwrite=overwrite,
            check=check,
            allow_single=allow_single,
            stream=stream,
            create_pr=create_pr,
            token=token,
            local=Path(local) if local else None,
            device=device,
            listener=Screen(printer),
            ranks=processes,
            trust_remote_code=trust_remote_code,
            cache=cache,
            max_memory=max_memory,
            on=on.where if isinstance(on, Ray) else None,
        )
        if not processes.is_first:
            pipeline.assist(options)
            return
        recipe = _recipe(source, asked)
        if not out and recipe.output.hub is None:
            raise click.UsageError("where to? Give -o DIR, or --push-to-hub ID, or both")
        outcome = pipeline.run(recipe, options)
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


def _words(**options: Any) -> list[str]:
    """Options as they are typed; those with their default are left out."""
    words: list[str] = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if value is True or (name, value) == ("check", False):
            words.append(option if value else "--no-check")
        elif value and (name, value) != ("device", "auto"):
            words += [option, str(value)]
    return words


@group.command()
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
    printer = _printer(format_, as_json, quiet)
    recipe = _recipe(source, {**changes, "token": token, "local": local, "stream": stream})
    _show(printer, pipeline.plan(recipe, stream=stream, token=token, local=local, device=device))


def _show(printer: Printer, made: Any) -> None:
    if printer.format == "json":
        printer.json(made.to_json())
    elif printer.human:
        show_plan(printer, made, data=True)


@group.command()
@SOURCE
@CACHE
@ON
@TRUST
@MEMORY
@FORMAT
def evaluate(
    source: tuple[str, ...],
    cache: str | None,
    on: HfJob | Ray | None,
    trust_remote_code: bool,
    max_memory: dict[int | str, int] | None,
    local: str | None,
    token: str | None,
    device: str,
    format_: str,
    as_json: bool,
    quiet: bool,
    **changes: Any,
) -> None:
    """Measure the base, every ingredient, their soup and their ensemble; write nothing."""
    printer = _printer(format_, as_json, quiet)
    if isinstance(on, HfJob):
        alone()
        words = _words(device=device, cache=cache, trust_remote_code=trust_remote_code)
        recipe = _recipe(source, {**changes, "token": token, "local": local})
        send(on, Command("evaluate", recipe, words, cache=cache), printer, token)
        return
    with joined() as processes:
        results = pipeline.evaluate(
            source[0] if len(source) == 1 else list(source),
            token=token,
            local=local,
            device=device,
            listener=Screen(printer),
            ranks=processes,
            trust_remote_code=trust_remote_code,
            cache=cache,
            max_memory=max_memory,
            on=on.where if isinstance(on, Ray) else None,
            **changes,
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


@group.command()
@click.argument("sweep", type=click.Path(dir_okay=False))
@click.option("-o", "--out", metavar="DIR", required=True, help="Folder for the head and one folder per run.")
@FORMAT
def finetune(sweep: str, out: str, format_: str, as_json: bool, quiet: bool) -> None:
    """Make ingredients: several fine-tunes of one model from one shared head (LP-FT)."""
    from hf_soups.training import finetune as run_sweep
    from hf_soups.training import load_sweep

    printer = _printer(format_, as_json, quiet)

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


group.add_command(cache_command)


@group.command()
@click.argument("folder", metavar="DIR")
@click.argument("repo", metavar="ID")
@click.option("--private/--no-private", default=False, help="Visibility of a repository that the push creates.")
@click.option("--create-pr", is_flag=True, help="Publish as a pull request.")
@click.option("--token", metavar="T", help="Hub token; default: HF_TOKEN or the login.")
def push(folder: str, repo: str, private: bool, create_pr: bool, token: str | None) -> None:
    """Publish a finished soup folder as one commit."""
    click.echo(pipeline.push(folder, repo, private=private, create_pr=create_pr, token=token))


@group.command()
@click.argument("name", required=False)
@FORMAT
def methods(name: str | None, format_: str, as_json: bool, quiet: bool) -> None:
    """List the merge methods, or print one's page."""
    printer = _printer(format_, as_json, quiet)
    chosen = [get(name)] if name else [get(n) for n in names()]
    if printer.format == "json":
        printer.json([_method(m) for m in chosen])
    elif printer.format == "quiet":
        for m in chosen:
            printer.data(m.name)
    elif name:
        (m,) = chosen
        printer.data(f"{m.name}: {m.title}{f' ({m.paper})' if m.paper else ''}\n\n{m.doc}\n")
        for p in m.parameters.values():
            kind = "per ingredient" if p.each else "one for all"
            printer.data(f"  {p.name} = {p.default}  ({kind}{f', {p.bounds}' if p.bounds else ''})")
    else:
        rows = [
            [m.name, m.space, ", ".join(f"{p.name}={p.default}" for p in m.parameters.values()), m.paper or ""]
            for m in chosen
        ]
        printer.table(["method", "works on", "parameters", "paper"], rows)


def _method(m: Any) -> dict[str, Any]:
    parameters = [
        {
            "name": p.name,
            "default": p.default,
            "each": p.each,
            "range": [p.bounds.low, p.bounds.high] if p.bounds else None,
            "doc": p.doc,
        }
        for p in m.parameters.values()
    ]
    return {"name": m.name, "title": m.title, "paper": m.paper, "works_on": m.space, "parameters": parameters}


def _show_warning(message: Warning | str, *where: Any, **how: Any) -> None:
    """What people can do something about, without the line of code that it comes from."""
    if not ranks.is_peer():
        click.echo(f"Warning: {message}", err=True)


def _os_error(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)
