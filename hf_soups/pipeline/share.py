"""One merge by several processes: the first decides and finishes, each writes the files that are its own."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_soups import lock
from hf_soups.align import Finding
from hf_soups.checkpoint import Spec
from hf_soups.engine import Device, choose
from hf_soups.errors import CheckpointError, RecipeError, SoupError
from hf_soups.hub.opening import Opener
from hf_soups.pipeline.peers import DATA, QUESTION, answer_share, candidates_here, portable, received
from hf_soups.planning import Plan
from hf_soups.ranks import Ranks
from hf_soups.soup import Soup

if TYPE_CHECKING:
    from hf_soups.pipeline.options import Options
    from hf_soups.selection.candidates import Candidates

APPEARS = 30.0  # seconds after which a new folder is seen through any network file system's caches


@dataclass(frozen=True)
class Share:
    """What one process wrote. files: name → checksum."""

    rank: int
    host: str
    process: int
    files: Mapping[str, str]


def shares(sizes: Mapping[str, int], count: int) -> list[list[str]]:
    """Names by process, balanced by size: the largest first, each to whoever has least; ties go by order."""
    given: list[list[str]] = [[] for _ in range(count)]
    total = [0] * count
    for name in sorted(sizes, key=lambda n: -sizes[n]):
        least = total.index(min(total))
        given[least].append(name)
        total[least] += sizes[name]
    return given


def own_files(soup: Soup, ranks: Ranks) -> dict[str, dict[str, Spec]]:
    """The weight files that this process writes, and the tensors in them."""
    shards = soup.files
    sizes = {name: sum(spec.nbytes for spec in specs.values()) for name, specs in shards.items()}
    return {name: shards[name] for name in shares(sizes, ranks.size)[ranks.rank]}


def own_tensors(soup: Soup, ranks: Ranks) -> list[str]:
    """The tensors that this process writes."""
    return [name for specs in own_files(soup, ranks).values() for name in specs]


def check_together(ranks: Ranks, uploads: bool) -> None:
    """RecipeError if several processes are asked for what only one can do."""
    if ranks.size > 1 and uploads:
        raise RecipeError(
            "--stream without -o uploads file by file from one process, and there are "
            f"{ranks.size}; add -o DIR on storage that all of them share, or start one process"
        )


def with_idle(plan: Plan, ranks: Ranks) -> Plan:
    """The plan, warning of processes that will have nothing to write."""
    if len(plan.shards) >= ranks.size:
        return plan
    size = max(1, plan.written // (2 * ranks.size) // 10**6)
    warning = (
        f"{ranks.size} processes, and {len(plan.shards)} file{'s'[: len(plan.shards) != 1]} to write: some will only "
        f"wait; lower --max-shard-size, for instance to {size}MB"
    )
    return replace(plan, findings=(*plan.findings, Finding("warning", warning)))


def kind(device: Device) -> str:
    """cpu, cuda or mps: all processes use the same, since their bits differ."""
    return re.split(r"\W", device.name)[0]


def own_device(asked: str, ranks: Ranks) -> Device:
    """What this process computes on; the GPUs of a host are dealt out to its processes."""
    device = choose(asked)
    if ranks.size == 1 or kind(device) != "cuda":
        return device
    import torch

    return choose(f"cuda:{ranks.place % torch.cuda.device_count()}")


def invite(soup: Soup, options: Options, ranks: Ranks, writes: bool) -> None:
    """Tell the other processes which soup it is. writes: whether a folder of it will follow."""
    if ranks.size == 1:
        return
    recipe = portable(replace(soup.recipe, select=None, evaluate=None, recompute_batchnorm=None))
    task = {"about": "soup", **recipe, "stream": options.stream, "writes": writes, "versions": deciding()}
    task["statistics"] = {name: soup.statistics[name].tolist() for name in soup.statistics}
    ranks.share({**task, "device": kind(soup.device), "inputs": lock.inputs(soup)})
    with ranks.first_of_host():
        pass  # the soup's files are here already


def assist(options: Options) -> Soup | None:
    """What every process but the first does: its share of each question, then its files of the soup.

    Returns the soup, when its files are written; None where the first process only evaluates.
    Raises SoupError if it sees other inputs than the first process, or not its output folder.
    """
    ranks, opener = options.ranks, Opener(options.token, options.local)
    candidates: Candidates | None = None
    while (task := ranks.share()) is not None:
        if task["about"] == DATA:
            candidates = candidates_here(task, opener.pull, own_device(task["device"], ranks), options)
        elif task["about"] == QUESTION and candidates is not None:
            answer_share(candidates, task["number"], ranks)
        else:
            return _help_to_write(task, opener, options)
    return None


def _help_to_write(task: Mapping[str, Any], opener: Opener, options: Options) -> Soup:
    ranks = options.ranks
    if task["versions"] != deciding():
        there = task["versions"]
        differing = [f"{n} {v} here and {there.get(n)} there" for n, v in deciding().items() if there.get(n) != v]
        raise SoupError(f"other versions than in process 0: {', '.join(differing)}; install the same everywhere")
    with ranks.first_of_host():
        opened = opener.headers if task["stream"] else opener.pull
        device = own_device(task["device"], ranks)
        soup = Soup(received(task), opened, device=device, statistics=task["statistics"])
    if task["inputs"] != lock.inputs(soup):
        raise CheckpointError("the ingredients here are other files than process 0 sees; use the same on every host")
    opener.reading.ahead = task["stream"]
    try:
        if task["writes"]:
            write_own(soup, _find(Path(ranks.share()), options.out), ranks, None)
    finally:
        opener.reading.ahead = False
    return soup


def write_together(soup: Soup, folder: Path, ranks: Ranks, progress: Callable[[int], None] | None) -> list[Share]:
    """Every weight file, and their index, in the first process; what each process wrote.

    Raises CheckpointError if a file that another process wrote is not seen here.
    """
    ranks.share(str(folder))
    written = write_own(soup, folder, ranks, progress)
    writer = soup.writer(folder, soup.recipe.output.max_shard_size)
    for share in written:
        for name in share.files:
            if writer.missing(name):
                raise CheckpointError(
                    f"{folder / name}: process {share.rank} on {share.host} wrote it, and process 0 does not see it "
                    "whole; several processes need an output folder on storage that all of them share"
                )
    writer.finish()
    return written


def write_own(soup: Soup, folder: Path, ranks: Ranks, progress: Callable[[int], None] | None) -> list[Share]:
    """The files of this process; in the first, what each process wrote."""

    def moved(count: int) -> None:
        ranks.check()
        if progress is not None:
            progress(count)

    mine = own_files(soup, ranks)
    sums = soup.write(folder, soup.recipe.output.max_shard_size, moved, only=mine)
    reports = ranks.gather({"process": os.getpid(), "files": sums})
    return [Share(r, ranks.hosts[r], report["process"], report["files"]) for r, report in enumerate(reports)]


def checksums(written: Sequence[Share]) -> dict[str, str]:
    """File name → checksum, of all processes."""
    return dict(sorted((name, checksum) for share in written for name, checksum in share.files.items()))


def _find(folder: Path, out: Path | None) -> Path:
    """The first process's unfinished folder, as this host sees it."""
    here = folder if out is None else out.resolve().with_name(folder.name)
    until = time.monotonic() + APPEARS
    while here.parent.is_dir() and folder.name not in os.listdir(here.parent) and time.monotonic() < until:
        time.sleep(0.2)
    if not here.is_dir():
        raise CheckpointError(
            f"{here}: made by process 0, and not seen here; several processes need an output folder (-o) on storage "
            "that all of them share"
        )
    return here


def deciding() -> dict[str, Any]:
    """Versions of the libraries that decide the bits of the weights."""
    return {n: v for n, v in lock.versions().items() if n in ("hf_soups", "numpy", "numba", "ml_dtypes")}
