"""Endpoints about jobs: machines, start, state, log, cancel."""

from __future__ import annotations

import json
from collections.abc import Iterator

from .call import Call
from .errors import HubError
from .exchange import Response, reply
from .jobs import Job

HARDWARE = [  # prices in millionths of a dollar a minute
    {
        "name": name,
        "prettyName": pretty,
        "cpu": cpu,
        "ram": ram,
        "ephemeralStorage": storage,
        "accelerator": accelerator,
        "unitCostMicroUSD": price,
        "unitCostUSD": price / 1_000_000,
        "unitLabel": "minute",
    }
    for name, pretty, cpu, ram, storage, accelerator, price in [
        ("cpu-basic", "CPU Basic", "2 vCPU", "16 GB", "20 GB", None, 167),
        ("cpu-tiny", "of this Hub alone: nothing fits", "1 vCPU", "0.000001 GB", "N/A", None, 1),
        (
            "t4-small",
            "Nvidia T4 - small",
            "4 vCPU",
            "15 GB",
            "50 GB",
            {"type": "gpu", "model": "T4", "quantity": "1", "vram": "16 GB", "manufacturer": "Nvidia"},
            6667,
        ),
    ]
]


def hardware(call: Call) -> Response:
    return reply(HARDWARE)


def run(call: Call) -> Response:
    owner = _owner(call)
    spec = call.request.json
    if spec.get("flavor") not in [one["name"] for one in HARDWARE]:
        raise HubError(400, f"Invalid flavor: {spec.get('flavor')}")
    return reply(call.site.jobs.start(owner, spec).described())


def jobs(call: Call) -> Response:
    owner = _owner(call)
    found = [job for job in call.site.jobs.all.values() if job.owner == owner]
    return call.page(found, lambda job: job.described())


def inspect(call: Call) -> Response:
    return reply(_job(call).described())


def cancel(call: Call) -> Response:
    job = _job(call)
    job.stop("CANCELED")
    return reply(job.described())


def logs(call: Call) -> Response:
    """Server-sent events, from the first line to the end of the job."""
    return Response(200, {"Content-Type": "text/event-stream"}, _events(_job(call)), None)


def _events(job: Job) -> Iterator[bytes]:
    for line in job.printed():
        if line is None:
            yield b": keep-alive\n\n"
        else:
            yield f"data: {json.dumps({'timestamp': line[0], 'data': line[1]})}\n\n".encode()


def _owner(call: Call) -> str:
    """Whose jobs the address names, if the caller may run jobs there."""
    owner = call.names["name"]
    user = call.user
    if not call.site.accounts.owns(user, owner) or call.token is None or call.token.role != "write":
        raise HubError(403, f"You don't have the rights to run jobs under the namespace {owner}")
    return owner


def _job(call: Call) -> Job:
    owner = _owner(call)
    job = call.site.jobs.all.get(call.names["job"])
    if job is None or job.owner != owner:
        raise HubError(404, "Job not found")
    return job
