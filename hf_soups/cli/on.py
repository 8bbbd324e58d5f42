"""`--on`: the same command elsewhere. What may stand there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import click

from hf_soups.errors import did_you_mean


@dataclass(frozen=True)
class Terms:
    """How a job is run: what stands beside `--on`."""

    timeout: str = "30m"
    detach: bool = False
    yes: bool = False
    install: str | None = None


@dataclass(frozen=True)
class HfJob:
    """A machine of Hugging Face Jobs, and the terms."""

    flavor: str
    terms: Terms


@dataclass(frozen=True)
class Ray:
    """Workers of a Ray cluster. where: `ray`, or `ray:ADDRESS`."""

    where: str


def _ray(rest: str, terms: Terms) -> Ray:
    if replace(terms, install=None) != Terms():
        raise click.UsageError("--timeout, --detach and --yes are for --on hf-job:FLAVOR; leave them out with ray")
    return Ray(f"ray:{rest}" if rest else "ray")


def _hf_job(rest: str, terms: Terms) -> HfJob:
    if not rest:
        raise click.BadParameter(
            "hf-job on which machine? For instance hf-job:cpu-basic; `hf jobs hardware` lists them"
        )
    return HfJob(rest, terms)


Kind = Callable[[str, Terms], HfJob | Ray]
KINDS: dict[str, Kind] = {"hf-job": _hf_job, "ray": _ray}  # by what stands before the colon


def parse(value: str | None, terms: Terms) -> HfJob | Ray | None:
    """What `--on` means; a usage error if nothing, or if the terms have nothing to be terms of."""
    if value is None:
        if replace(terms, install=None) != Terms():  # that one may come from the environment
            raise click.UsageError("--timeout, --detach and --yes are for --on hf-job:FLAVOR; add it")
        return None
    kind, _, rest = value.partition(":")
    if kind not in KINDS:
        raise click.BadParameter(f"--on {value}: no such place{did_you_mean(kind, KINDS)}")
    return KINDS[kind](rest, terms)
