"""The options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

from hf_soups.cli.on import Terms, parse
from hf_soups.recipe import parse_size

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


def _memory(context: click.Context, option: click.Parameter, value: str | None) -> dict[int | str, int] | None:
    """`0=20GB,cpu=60GB` → bytes by GPU, and of memory."""
    if value is None:
        return None
    found: dict[int | str, int] = {}
    for part in value.split(","):
        device, equals, size = part.strip().partition("=")
        if not equals or not (device.isdecimal() or device in ("cpu", "mps")):
            raise click.BadParameter(f"{part!r}: write for instance 0=20GB,cpu=60GB")
        found[int(device) if device.isdecimal() else device] = parse_size(size, "--max-memory")
    return found


SOURCE = options(
    click.argument("source", metavar="RECIPE | MODEL...", nargs=-1, required=True),
    click.option("--method", metavar="M", help="Merge method; see `hf-soups methods`."),
    click.option("--param", "parameters", metavar="K=V", multiple=True, callback=_parameter, help="Method parameter."),
    click.option("--base", metavar="B", help="Base of delta methods and of adapters: Hub id or folder."),
    click.option("--dataset", metavar="X", help="Labelled data to choose on and to report on: Hub id or file."),
    click.option(
        "--recompute-batchnorm",
        metavar="NAME",
        help="Dataset of the recipe (`validation` of --dataset) to estimate BatchNorm statistics on.",
    ),
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


def ON(function: F) -> F:
    """`--on` and its terms, as one argument `on`."""

    @options(
        click.option(
            "--on",
            metavar="ray[:ADDRESS] | hf-job:FLAVOR",
            help="Run candidates side by side on a Ray cluster, of this machine or at an address; or run it all on a "
            "machine of Hugging Face Jobs, which costs money.",
        ),
        click.option(
            "--timeout", metavar="T", default=Terms().timeout, show_default=True, help="End of the job: 2h, 1d."
        ),
        click.option("--detach", is_flag=True, help="Do not follow the job."),
        click.option("--yes", is_flag=True, help="Do not ask before the job is started."),
        click.option(
            "--install",
            metavar="V",
            envvar="HF_SOUPS_INSTALL",
            help="What the job installs instead of this version: another, or the address of a wheel or a repository, "
            "such as git+https://github.com/ORG/NAME.  [env: HF_SOUPS_INSTALL]",
        ),
    )
    @wraps(function)
    def bundled(*arguments: Any, on: str | None, timeout: str, detach: bool, yes: bool, **rest: Any) -> Any:
        install = rest.pop("install")
        return function(*arguments, on=parse(on, Terms(timeout, detach, yes, install)), **rest)

    return bundled  # type: ignore[return-value]


MEMORY = click.option(
    "--max-memory",
    metavar="M",
    callback=_memory,
    help="What a model may take while it is measured, such as 0=20GB,cpu=60GB; the rest goes to disk.",
)
