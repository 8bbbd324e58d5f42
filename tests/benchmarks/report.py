"""From raw runs to medians and a Markdown table."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

from tests.benchmarks.measure import Cost

PACKAGES = ("hf-soups", "numpy", "numba", "torch", "transformers", "safetensors")


@dataclass(frozen=True)
class Run:
    """One run. who: ours, limit or peer. round: from 0; the runs of one round stood side by side."""

    operation: str
    who: str
    round: int
    cost: Cost

    def to_json(self) -> dict[str, object]:
        return {"operation": self.operation, "who": self.who, "round": self.round, **asdict(self.cost)}


class Runs:
    """The runs of one operation."""

    def __init__(self, runs: Sequence[Run], operation: str) -> None:
        self._runs = [run for run in runs if run.operation == operation]

    def good(self, who: str) -> dict[int, Cost]:
        """Round → cost; empty if any run failed."""
        if self.error(who):
            return {}
        return {run.round: run.cost for run in self._runs if run.who == who}

    def error(self, who: str) -> str | None:
        errors = [run.cost.error for run in self._runs if run.who == who and run.cost.error]
        return errors[0] if errors else None

    def median(self, who: str, value: Callable[[Cost], float]) -> float | None:
        costs = self.good(who).values()
        return median(map(value, costs)) if costs else None

    def ratio(self, above: str, below: str, value: Callable[[Cost], float]) -> float | None:
        """Median of the ratios within each round, in which noise hit both sides alike."""
        tops, bottoms = self.good(above), self.good(below)
        shared = [value(tops[r]) / value(bottoms[r]) for r in tops if r in bottoms]
        return median(shared) if shared else None


def wall(cost: Cost) -> float:
    return cost.wall


def cpu(cost: Cost) -> float:
    return cost.cpu


def peak(cost: Cost) -> float:
    return cost.peak_mb


def number(value: float | None, digits: int = 2) -> str:
    """Three figures are enough."""
    if value is None:
        return "-"
    return f"{value:.{digits if value < 10 else min(digits, 1) if value < 100 else 0}f}"


OURS = ["operation", "wall s [min-max]", "CPU s", "MB", "cp s", "x cp", "cp CPU"]
PEER = ["peer s", "peer CPU", "peer MB", "CPU x"]


def table(runs: Sequence[Run], operations: Sequence[str], peers: bool) -> str:
    """Medians: one row an operation.

    cp: `cat` of all inputs and `cp` of one; x cp: our wall time over its; CPU x: the peer's CPU seconds over ours.
    """
    rows = [OURS + (PEER if peers else [])]
    for name in operations:
        found = Runs(runs, name)
        walls = [cost.wall for cost in found.good("ours").values()]
        spread = f" [{number(min(walls))}-{number(max(walls))}]" if walls else ""
        row = [name, number(found.median("ours", wall)) + spread]
        row += [number(found.median("ours", cpu)), number(found.median("ours", peak), 0)]
        row += [number(found.median("limit", wall)), number(found.ratio("ours", "limit", wall))]
        row += [number(found.median("limit", cpu))]
        if peers:
            row += [number(found.median("peer", wall)), number(found.median("peer", cpu))]
            row += [number(found.median("peer", peak), 0), number(found.ratio("peer", "ours", cpu), 1)]
        rows.append(row)
    return markdown(rows)


def failures(runs: Sequence[Run]) -> list[str]:
    """One line for each operation that did not work for somebody."""
    found = {(run.operation, run.who): run.cost.error for run in reversed(runs) if run.cost.error}
    return [f"{operation} ({who}): {error}" for (operation, who), error in sorted(found.items())]


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table that also reads well in a terminal; the first row is the head, numbers stand right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            text.ljust(w) if i == 0 else text.rjust(w) for i, (text, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("".join(f"| {cell}" for cell in cells) + "|")
    rule = ["-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return "\n".join([lines[0], "".join(f"| {dashes}" for dashes in rule) + "|", *lines[1:]])


def machine() -> dict[str, object]:
    """What the numbers depend on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Of Python and of the packages here that are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except ModuleNotFoundError:
            continue
    return found
