"""Hugging Face Jobs: machines by the minute that run a command; what they cost, sent off, followed to the end."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hf_soups.errors import HubError, did_you_mean
from hf_soups.hub.errors import explained

# Debian with Python, git and a compiler. Not an image with torch in it: we need a newer one than most of them have, and
# the wheels of torch bring CUDA themselves, so that such an image would be downloaded for nothing.
IMAGE = "python:3.12"
PERIODS = {"second": 3600, "minute": 60, "hour": 1}  # in an hour
UNITS = {"M": 10**6, "G": 10**9, "T": 10**12}


@dataclass(frozen=True)
class Flavor:
    """A kind of machine.

    memory, disk: bytes, where the Hub says so. hourly: US dollars. gpu: whether it has one.
    """

    name: str
    described: str
    memory: int | None
    disk: int | None
    hourly: float | None
    gpu: bool


@dataclass(frozen=True)
class Job:
    """A job that was sent off."""

    id: str
    owner: str
    url: str


@dataclass(frozen=True)
class End:
    """How a job ended.

    stage: COMPLETED, ERROR, CANCELED or DELETED. message: the Hub's reason, where it gives one.
    last: the last line that the job printed.
    """

    stage: str
    message: str | None
    last: str

    @property
    def done(self) -> bool:
        return self.stage == "COMPLETED"


def flavor_named(name: str, token: str | None = None) -> Flavor:
    """The machine of that name; HubError if the Hub has no such one."""
    from huggingface_hub import HfApi

    with explained("the machines for jobs"):
        found = {one.name: one for one in HfApi(library_name="hf_soups", token=token).list_jobs_hardware()}
    if name not in found:
        raise HubError(f"no machine {name!r} for jobs{did_you_mean(name, found)}")
    return _flavor(found[name])


def submit(
    command: Sequence[str],
    flavor: str,
    *,
    timeout: int,
    environment: Mapping[str, str],
    token: str | None = None,
) -> Job:
    """Send a command off; it runs in `IMAGE` with the token as its secret HF_TOKEN.

    timeout: seconds after which the job is stopped.
    Raises HubError if there is no token, or it may not run jobs.
    """
    from huggingface_hub import HfApi

    secret = require_token(token)
    try:
        with explained(f"a job on {flavor}"):
            made = HfApi(library_name="hf_soups", token=token).run_job(
                image=IMAGE,
                command=list(command),
                env=dict(environment),
                secrets={"HF_TOKEN": secret},
                flavor=flavor,
                timeout=timeout,
                name="hf-soups",
            )
    except HubError as error:
        if getattr(getattr(error.__cause__, "response", None), "status_code", None) == 403:
            raise HubError(
                f"a job on {flavor}: the token may not run jobs; give it that right on its page, or pass another "
                "(--token or HF_TOKEN)"
            ) from error
        raise
    return Job(made.id, made.owner.name, made.url)


def follow(job: Job, heard: Callable[[str], None], token: str | None = None) -> End:
    """Wait for a job's end.

    heard: each line that it prints, as it comes.
    """
    from huggingface_hub import HfApi

    api = HfApi(library_name="hf_soups", token=token)
    last = ""
    with explained(f"job {job.id} goes on, but cannot be followed"):
        for text in api.fetch_job_logs(job_id=job.id, namespace=job.owner, follow=True):
            for line in text.splitlines() or [""]:
                heard(line)
                last = line.strip() or last
        status = api.wait_for_job(job.id, namespace=job.owner).status
    return End(str(getattr(status.stage, "value", status.stage)), status.message, last)


def require_token(token: str | None) -> str:
    """The token, else that of the environment or the login; HubError without one."""
    from huggingface_hub import get_token

    found = token or get_token()
    if not found:
        raise HubError("jobs take a token that may run them: log in with `hf auth login`, or pass --token or HF_TOKEN")
    return found


def _flavor(found: Any) -> Flavor:
    per_hour = PERIODS.get(found.unit_label)
    gpu = found.accelerator
    parts = [found.cpu, f"{found.ram} of memory"]
    if gpu is not None:
        parts.append(f"{gpu.quantity} {gpu.model} of {gpu.vram}")
    return Flavor(
        found.name,
        ", ".join(parts),
        _bytes(found.ram),
        _bytes(found.ephemeral_storage),
        None if per_hour is None else found.unit_cost_usd * per_hour,
        gpu is not None,
    )


def _bytes(said: str) -> int | None:
    """`16 GB` in bytes; None of anything else, such as `N/A`."""
    found = re.fullmatch(r"([\d.]+)\s*([MGT])B", said.strip())
    return int(float(found[1]) * UNITS[found[2]]) if found else None
