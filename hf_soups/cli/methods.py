"""`hf-soups methods`: what there is to merge with."""

from __future__ import annotations

from typing import Any

import click

from hf_soups.cli.options import FORMAT
from hf_soups.cli.output import printer_for
from hf_soups.method import get, names


@click.command()
@click.argument("name", required=False)
@FORMAT
def methods(name: str | None, format_: str, as_json: bool, quiet: bool) -> None:
    """List the merge methods, or print one's page."""
    printer = printer_for(format_, as_json, quiet)
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
