"""Candidates in parallel: workers on a Ray cluster, whose answers are there before the choice asks for them."""

from __future__ import annotations

import copy
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

from hf_soups.engine.work import cores
from hf_soups.errors import RecipeError, SoupError
from hf_soups.pipeline.crew import Crew, Place
from hf_soups.pipeline.share import deciding
from hf_soups.ranks import Ranks
from hf_soups.recipe import Recipe

if TYPE_CHECKING:
    from hf_soups.pipeline.options import Options
    from hf_soups.selection.candidates import Candidates

PREFIX = "ray"
KNOCK = 20.0  # seconds in which a cluster's host has to accept a connection
CORES = 4  # processors of a worker: each runs a batch of one model, so more of them waste more of what is given up


def ray_address(on: str) -> str:
    """The address in `ray:ADDRESS`; empty for `ray`, a cluster of this machine's own. SoupError for anything else."""
    name, colon, address = on.partition(":")
    if name != PREFIX or (colon and not address):
        raise SoupError(f"--on {on}: write ray (this machine) or ray:ADDRESS (a running cluster, such as host-1:6379)")
    return address


def check_on(on: str | None, recipe: Recipe, ranks: Ranks | None = None) -> None:
    """SoupError if there is nothing for a cluster to do, or no way to ask one; before anything is read."""
    if on is None:
        return
    ray_address(on)
    if recipe.evaluate is None:
        raise RecipeError(f"--on {on}: there are no data to evaluate on, so nothing to do for it; leave it out")
    if ranks is not None and ranks.size > 1:
        raise RecipeError(
            f"--on {on}: the workers of a Ray cluster answer to one process, and there are {ranks.size}; start one"
        )
    ray()


def places(hosts: Iterable[Mapping[str, float]]) -> list[Place]:
    """Workers by the resources (`CPU`, `GPU`) of each host.

    One for each GPU, if there are any; else one for every `CORES` processors, two at least where there are two.
    """
    resources = [(int(host.get("CPU", 0)), int(host.get("GPU", 0))) for host in hosts]
    if any(gpus for _, gpus in resources):
        return [Place(min(cpus, 1), 1) for cpus, gpus in resources for _ in range(gpus)]
    counts = [(cpus, max(min(cpus, 2), cpus // CORES)) for cpus, _ in resources if cpus]
    return [Place(cpus // count) for cpus, count in counts for _ in range(count)]


def ray() -> Any:
    """The package; SoupError says how to install it."""
    try:
        import ray
    except ImportError as error:
        raise SoupError(
            f"--on ray needs the package {error.name}; install it with: pip install 'hf-soups[ray]'"
        ) from error
    return ray


@contextmanager
def on_cluster(options: Options, candidates: Candidates, recipe: Recipe) -> Iterator[None]:
    """Workers answer before `candidates` does, until the end; without `options.on` there are none.

    recipe: pinned.
    Raises SoupError where no cluster answers.
    """
    if options.on is None:
        yield
        return
    from hf_soups.pipeline.worker import Terms

    address, package = ray_address(options.on), ray()
    device, tell = options.device.partition(":")[0], options.listener.tell
    tell(f"joining the Ray cluster at {address}" if address else "starting Ray on this machine")
    with joined(package, address):
        found = places(_hosts(package))
        if any(place.gpus for place in found):
            candidates.evaluator.device = "cuda"  # whatever this process has
        evaluator = copy.copy(candidates.evaluator)
        evaluator.benchmarks = {}  # whole models are measured where they are asked for
        terms = Terms(evaluator, recipe, options.token, options.local, device, deciding(), options.max_memory)
        crew = Crew(package, terms, found, candidates.evaluator.cache, tell)
        candidates.ahead = crew
        try:
            yield
            tell(crew.said)
        finally:
            candidates.ahead = None
            crew.close()


def _hosts(package: Any) -> Sequence[Mapping[str, float]]:
    return [node["Resources"] for node in package.nodes() if node["Alive"]]


@contextmanager
def joined(package: Any, address: str) -> Iterator[None]:
    """A connection to Ray, which ends with everything that it started; one that the program has already is kept."""
    if package.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing of this is reported to anybody
    own: dict[str, Any] = {} if address else {"num_cpus": cores(), "include_dashboard": False}
    try:
        _knock(address)
        with as_before():
            package.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **own)
    except (OSError, OverflowError, RuntimeError, ValueError) as error:
        where = f"no Ray cluster answers at {address}" if address else "Ray does not start on this machine"
        said = str(error).strip().splitlines()
        raise SoupError(
            f"--on: {where} ({said[0] if said else type(error).__name__}); `ray start --head` starts one, "
            "`ray status` shows whether it runs, and RAY_AUTH_MODE=token is needed where it asks for a token"
        ) from error
    try:
        with redirect_stdout(sys.stderr):  # Ray prints there that a worker died, and our callers their data
            yield
    finally:
        package.shutdown()


def _knock(address: str) -> None:
    """OSError if nobody listens at HOST:PORT or SCHEME://HOST:PORT; Ray itself tries for many minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK).close()


@contextmanager
def as_before() -> Iterator[None]:
    """Ray sets its own answer to SIGTERM, and warns of its defaults before it can be told not to."""
    log, main = logging.getLogger("ray"), threading.current_thread() is threading.main_thread()
    level, answer = log.level, signal.getsignal(signal.SIGTERM)
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
        if main:
            signal.signal(signal.SIGTERM, answer)
