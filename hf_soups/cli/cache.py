"""`hf-soups cache`: what predictions are kept, and which of them to remove."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hf_soups.cli.options import FORMAT
from hf_soups.cli.output import printer_for, size
from hf_soups.recipe import parse_size

if TYPE_CHECKING:
    from hf_soups.evaluation.cache_entries import Entry

_SECONDS = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def _duration(context: click.Context, option: click.Parameter, value: str | None) -> float | None:
    """Seconds in `30d`, `12h`, `2w`."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([mhdw])", value.strip().lower())
    if found is None:
        raise click.BadParameter(f"{value!r}: write for instance 30d, 12h or 2w")
    return float(found[1]) * _SECONDS[found[2]]


@click.command()
@click.option("--prune", is_flag=True, help="Remove what the next options say.")
@click.option("--older-than", metavar="T", callback=_duration, help="What was not used for 30d, 12h, 2w.")
@click.option("--max-size", metavar="S", help="The least recently used, until the rest fits into 1GB.")
@click.option("--all", "everything", is_flag=True, help="All of it.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--cache", "place", metavar="DIR", help="Another folder than your own: what merge --cache DIR filled.")
@FORMAT
def cache(
    prune: bool,
    older_than: float | None,
    max_size: str | None,
    everything: bool,
    yes: bool,
    place: str | None,
    format_: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """List the predictions that are kept, so that no model is asked twice, or remove some.

    They lie in $HF_SOUPS_CACHE, else beside the other caches of Hugging Face; whatever is removed is computed again
    when it is needed.
    """
    from hf_soups.evaluation.cache import default_folder
    from hf_soups.evaluation.cache_entries import entries, to_prune
    from hf_soups.evaluation.cache_entries import prune as remove

    printer = printer_for(format_, as_json, quiet)
    criteria = older_than is not None or max_size is not None
    if not prune and (criteria or everything or yes):
        raise click.UsageError("--older-than, --max-size, --all and --yes say what to --prune; add it")
    if prune and criteria == everything:
        raise click.UsageError("prune what? Give --older-than 30d, --max-size 1GB or both, or --all")
    limit = None if max_size is None else parse_size(max_size, "--max-size")
    if place is not None and place.startswith("hf://"):
        raise click.UsageError(f"--cache {place}: only folders are listed; a dataset's files are seen on its page")
    folder = default_folder() if place is None else Path(place).expanduser()
    found = entries(folder)
    chosen = found
    if prune and not everything:
        chosen = to_prune(found, older_than=older_than, max_size=limit)
    total = sum(entry.size for entry in chosen)
    freed = 0
    if prune:
        question = f"Remove {_counted(chosen)} of {len(found)}, {size(total)}, from {_shown(folder)}?"
        if chosen and not yes and not sys.stdin.isatty():
            raise click.UsageError(f"{question} Nobody can be asked here; add --yes")
        if chosen and not yes:
            click.confirm(question, err=True, abort=True)
        freed = remove(chosen, folder)
    if printer.format == "json":
        listed = [entry.to_json() for entry in chosen]
        printer.json({"folder": str(folder), "bytes": total, "pruned": prune, "freed": freed, "entries": listed})
    elif printer.format == "quiet":
        for entry in chosen:
            printer.data(entry.key)
    elif prune:
        printer.data(f"{_counted(chosen)} removed, {size(freed)} free")
    else:
        rows = [_row(entry) for entry in chosen]
        if rows:
            printer.table(["model", "dataset", "task", "rows", "size", "used"], rows, right=3)
        printer.data(f"{_counted(chosen)}, {size(total)}, in {_shown(folder)}")


def _row(entry: Entry) -> list[str]:
    words = [entry.about.get(name, "?") for name in ("model", "dataset", "task", "rows")]
    return [*(word if len(word) <= 40 else f"{word[:39]}…" for word in words), size(entry.size), _ago(entry.used)]


def _counted(chosen: list[Entry]) -> str:
    return "1 prediction" if len(chosen) == 1 else f"{len(chosen)} predictions"


def _ago(used: float) -> str:
    """`3 d`: the largest whole unit since then."""
    passed = max(0.0, time.time() - used)
    unit = next((u for u in ("d", "h", "m") if passed >= _SECONDS[u]), None)
    return "now" if unit is None else f"{passed // _SECONDS[unit]:.0f} {unit} ago"


def _shown(folder: Path) -> str:
    home = Path.home()
    return f"~/{folder.relative_to(home)}" if folder.is_relative_to(home) else str(folder)
