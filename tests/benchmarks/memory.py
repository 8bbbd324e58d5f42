"""Resident memory of a running command over time."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.measure import environment

INTERVAL = 0.02  # seconds


class Sample(NamedTuple):
    """seconds: since the start. mb: resident, in 10^6 bytes. private_mb: of it, what is not a mapped file."""

    seconds: float
    mb: float
    private_mb: float


def sample(command: Sequence[str]) -> list[Sample]:
    """Run the command (one process) and look at it every 20 ms. Raises RuntimeError if it fails."""
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    samples = []
    try:
        while process.poll() is None:
            if (found := _resident(process.pid)) is not None:
                samples.append(Sample(time.perf_counter() - start, *found))
            time.sleep(INTERVAL)
        _, errors = process.communicate()
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}: {errors.strip()[-200:]}")
    return samples


def _resident(pid: int) -> tuple[float, float] | None:
    """None for a process that has not started or has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    fields = {name: text for name, _, text in (line.partition(":") for line in lines)}
    if "VmRSS" not in fields:
        return None
    total, private = (int(fields[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "RssAnon"))
    return total, private


def summary(samples: Sequence[Sample], parts: int = 10) -> list[list[str]]:
    """Rows of a small table: the highest value in each tenth of the run."""
    rows = [["until s", "peak MB", "not mapped MB"]]
    for part in range(parts):
        some = samples[part * len(samples) // parts : (part + 1) * len(samples) // parts]
        if some:
            last, highest = some[-1].seconds, (max(s.mb for s in some), max(s.private_mb for s in some))
            rows.append([f"{last:.2f}", *(f"{value:.0f}" for value in highest)])
    return rows
