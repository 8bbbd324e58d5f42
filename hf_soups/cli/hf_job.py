"""A command as a Hugging Face Job: planned here, asked for, sent off, followed to its end."""

from __future__ import annotations

import base64
import gzip
import os
import re
import shlex
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

import hf_soups
from hf_soups import pipeline
from hf_soups.cli.on import HfJob
from hf_soups.cli.only_here import Command, refuse_what_is_only_here
from hf_soups.cli.output import Printer, size
from hf_soups.cli.plan import show_plan
from hf_soups.errors import HubError, RecipeError
from hf_soups.recipe import Recipe, Search, to_yaml

if TYPE_CHECKING:
    from hf_soups.hub.jobs import Flavor, Job
    from hf_soups.planning import Plan

SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
ROOM = 100_000  # bytes of the recipe as the job gets it: Linux lets a variable have 131,072
SENT = (
    "check",
    "allow_single",
    "stream",
    "create_pr",
    "device",
    "cache",
    "trust_remote_code",
    "max_memory",
)  # options that go along
CPU_TORCH = "https://download.pytorch.org/whl/cpu"  # torch without the gigabytes of CUDA that PyPI's brings


def send(job: HfJob, command: Command, printer: Printer, token: str | None, dry_run: bool = False) -> None:
    """Plan here, ask, send the command off, and follow it to its end; HubError if that is not a good one.

    dry_run: stop before anything is asked or sent.
    """
    from hf_soups.hub.jobs import IMAGE, flavor_named, follow, require_token, submit
    from hf_soups.hub.predictions import dataset_of

    recipe = command.recipe
    refuse_what_is_only_here(command)
    dataset_of(command.cache)
    seconds = _seconds(job.terms.timeout)
    environment = _environment(recipe)
    flavor = flavor_named(job.flavor, token)
    require_token(token)
    plan = pipeline.plan(recipe, stream=command.stream, token=token, device="cpu")
    if printer.human:
        show_plan(printer, plan, data=dry_run)
    _refuse_what_does_not_fit(plan, recipe, flavor)
    requirement = _requirement(recipe, job.terms.install)
    printer.say(f"job on {flavor.name}: {flavor.described}")
    printer.say(f"  {_price(flavor, seconds)}stopped after {job.terms.timeout}")
    printer.say(f"  in {IMAGE}, after pip install {requirement}")
    printer.say(f"  hf-soups {shlex.join([command.name, 'recipe.yaml', *command.words])}")
    if recipe.evaluate is not None and command.cache is None:
        printer.say("  · its predictions are lost with it; --cache hf://datasets/ORG/NAME keeps them")
    if dry_run:
        return
    _ask(job, flavor)
    script = _script(command, requirement, gpu=flavor.gpu)
    sent = submit(["sh", "-c", script], flavor.name, timeout=seconds, environment=environment, token=token)
    if printer.format != "json":
        printer.data(sent.id if printer.format == "quiet" else sent.url)
    if job.terms.detach:
        printer.say(_hint(sent))
        _tell(printer, sent, recipe, "SCHEDULING")
        return
    printer.say(f"job {sent.id} …")
    try:
        end = follow(sent, printer.say, token)
    except (KeyboardInterrupt, SystemExit) as stopped:
        click.echo(f"The job goes on.\n{_hint(sent)}", err=True)
        sys.exit(130 if isinstance(stopped, KeyboardInterrupt) else stopped.code)
    except HubError as error:
        raise HubError(f"{error}\n{_hint(sent)}") from error
    _tell(printer, sent, recipe, end.stage)
    if not end.done:
        reasons = [reason for reason in (end.message, f"its last words: {end.last}" if end.last else None) if reason]
        raise HubError("; ".join([f"job {sent.id} ended with {end.stage}", *reasons]))


def _tell(printer: Printer, job: Job, recipe: Recipe, stage: str) -> None:
    if printer.format == "json":
        printer.json({"job": job.id, "url": job.url, "stage": stage, "repo": recipe.output.hub})


def _hint(job: Job) -> str:
    name = f"{job.owner}/{job.id}"
    return f"To follow it: hf jobs logs -f {name}\nTo stop it: hf jobs cancel {name}"


def _script(command: Command, requirement: str, *, gpu: bool) -> str:
    """One line for a shell: the recipe into a file, the package, and then the command in the shell's place."""
    index = "" if gpu else f" --extra-index-url {CPU_TORCH}"
    return (
        'cd "$(mktemp -d)" && printf %s "$HF_SOUPS_RECIPE" | base64 -d | gzip -d > recipe.yaml && '
        f"pip install --quiet --no-cache-dir --root-user-action ignore{index} {shlex.quote(requirement)} && "
        f"exec hf-soups {shlex.join([command.name, 'recipe.yaml', *command.words])}"
    )


def _environment(recipe: Recipe) -> dict[str, str]:
    """The recipe, and the user's own Hub if there is one; never a token."""
    text = base64.b64encode(gzip.compress(to_yaml(recipe).encode(), mtime=0)).decode()
    if len(text) > ROOM:
        raise RecipeError(
            f"the recipe takes {len(text):,} bytes when packed, a job gets at most {ROOM:,}; make it shorter"
        )
    quiet = {"PYTHONUNBUFFERED": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}  # lines of a log, as they come
    endpoint = os.environ.get("HF_ENDPOINT")
    return {"HF_SOUPS_RECIPE": text, **quiet, **({"HF_ENDPOINT": endpoint} if endpoint else {})}


def _requirement(recipe: Recipe, install: str | None) -> str:
    """What pip installs: this very version, or from elsewhere; with the extras that the recipe needs."""
    extras = []
    if recipe.evaluate is not None:
        if any(name.startswith("lm_eval:") for name in recipe.evaluate.metric_names):
            extras.append("lm-eval")
        if recipe.evaluate.task in (None, "automatic-speech-recognition"):  # unnamed, it may be that one
            extras.append("audio")
    if recipe.select is not None and isinstance(recipe.select.options, Search):
        extras.append("optuna")
    name = f"hf-soups[{','.join(extras)}]" if extras else "hf-soups"
    if install is None:
        return f"{name}=={hf_soups.__version__}"
    return f"{name} @ {install}" if "://" in install else f"{name}=={install}"


def _refuse_what_does_not_fit(plan: Plan, recipe: Recipe, flavor: Flavor) -> None:
    """HubError where a job would surely fail: bounds from below, since files that are here already count nothing."""
    model = 4 * plan.parameters if recipe.evaluate is not None else 0  # evaluated in float32
    kept = 0 if plan.stream else plan.download
    needs = {"memory": (max(plan.memory, model), flavor.memory), "disk": (kept + plan.disk, flavor.disk)}
    for what, (need, has) in needs.items():
        if has is not None and need > has:
            raise HubError(f"{flavor.name} has {size(has)} of {what}, this takes {size(need)}; choose a larger machine")


def _seconds(timeout: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", timeout.strip().lower())
    if found is None or float(found[1]) * SECONDS[found[2]] < 1:
        raise click.BadParameter(f"--timeout {timeout}: write for instance 30m, 2h or 1d")
    return round(float(found[1]) * SECONDS[found[2]])


def _price(flavor: Flavor, seconds: int) -> str:
    if flavor.hourly is None:
        return ""
    return f"${flavor.hourly:.2f} an hour, at most ${flavor.hourly * seconds / 3600:.2f}, since it is "


def _ask(job: HfJob, flavor: Flavor) -> None:
    question = f"Start a job on {flavor.name}, which costs money?"
    if job.terms.yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Nobody can be asked here; add --yes")
    click.confirm(question, err=True, abort=True)


def words_of(how: Mapping[str, Any]) -> list[str]:
    """Options (see `pipeline.Options`) as they are typed for a job; those with their default are left out."""
    words: list[str] = []
    for name in SENT:
        value, option = how.get(name), f"--{name.replace('_', '-')}"
        if value is True or (name, value) == ("check", False):
            words.append(option if value else "--no-check")
        elif name == "max_memory" and value:
            words += [option, ",".join(f"{device}={count}B" for device, count in value.items())]
        elif value and (name, value) != ("device", "auto"):
            words += [option, str(value)]
    return words
