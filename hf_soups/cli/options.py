"""The options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def options(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    def apply(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


def _parameter(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    found = {}
    for value in values:
        key, equals, number = value.partition("=")
        try:
            found[key] = float(number)
        except ValueError:
            raise click.BadParameter(f"{value!r}: write for instance density=0.2") from None
        if not equals:
            raise click.BadParameter(f"{value!r}: write for instance density=0.2")
    return found


SOURCE = options(
    click.argument("source", metavar="RECIPE | MODEL...", nargs=-1, required=True),
    click.option("--method", metavar="M", help="Merge method; see `hf-soups methods`."),
    click.option("--param", "parameters", metavar="K=V", multiple=True, callback=_parameter, help="Method parameter."),
    click.option("--base", metavar="B", help="Base of delta methods and of adapters: Hub id or folder."),
    click.option("--dataset", metavar="X", help="Labelled data to choose on and to report on: Hub id or file."),
    click.option("--dtype", metavar="T", help="float32, float16 or bfloat16; default: as stored."),
    click.option("--max-shard-size", metavar="S", help="Largest file, such as 5GB."),
    click.option("--seed", type=int, help="Of everything random; default 0."),
    click.option("--license", "license", metavar="L", help="Licence of the soup, where its parents' differ."),
    click.option("--local", metavar="DIR", help="Where local:NAME references are looked up."),
    click.option("--token", metavar="T", help="Hub token; default: HF_TOKEN or the login."),
    click.option(
        "--device",
        metavar="D",
        default="auto",
        show_default=True,
        help="What does the arithmetic: auto, cpu, cuda (all GPUs), cuda:0 or mps.",
    ),
)

FORMAT = options(
    click.option(
        "--format", "format_", type=click.Choice(["auto", "human", "json", "quiet"]), default="auto", show_default=True
    ),
    click.option("--json", "as_json", is_flag=True, help="Same as --format json."),
    click.option("-q", "--quiet", is_flag=True, help="Same as --format quiet."),
)

STREAM = click.option(
    "--stream",
    is_flag=True,
    help="Read ranges of the Hub's files, keep none; with a push and no -o, upload file by file.",
)

TRUST = click.option(
    "--trust-remote-code", is_flag=True, help="Let metrics `evaluate:...` of the recipe run their code on this machine."
)

CACHE = click.option(
    "--cache",
    metavar="DIR | hf://datasets/ORG/NAME",
    help="Where predictions are kept: a folder, which hosts may share, or a dataset of the Hub.",
)
