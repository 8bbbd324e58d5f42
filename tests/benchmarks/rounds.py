"""Interleaved rounds: in each, every operation of ours, then its limit, then the peer's, side by side."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.checkpoints import Models
from tests.benchmarks.measure import Cost, claim, measure, warm
from tests.benchmarks.operations import Operation
from tests.benchmarks.peers import Mergekit
from tests.benchmarks.report import Run

SPARE = 1 << 29  # bytes of memory that a run may want besides the file pages that it writes


def run_rounds(
    operations: Sequence[tuple[Operation, Models]],
    rounds: int,
    out: Path,
    limit: float,
    mergekit: Mergekit | None = None,
    peer_operations: Sequence[str] | None = None,
) -> list[Run]:
    """Measure all operations `rounds` times.

    out: the folder that every run writes anew and that is removed after each.
    limit: seconds for one run. Who fails at an operation is not asked again.
    peer_operations: what the peer is asked for; None is everything.
    """
    runs: list[Run] = []
    failed: set[tuple[str, str]] = set()
    for number in range(rounds):
        for operation, models in operations:
            commands = {"ours": operation.command(models, out), "limit": operation.limit(models, out)}
            if mergekit and (peer_operations is None or operation.name in peer_operations):
                commands["peer"] = mergekit.command(operation, models, out)
            warm(operation.inputs(models))
            for who in _turn(list(commands), number):
                command = commands[who]
                if command is None or (operation.name, who) in failed:
                    continue
                os.sync()  # the last run's pages would be written during this one
                claim(SPARE + operation.written(models))
                cost = measure(command, limit, out)
                _tell(f"round {number + 1}, {operation.name}, {who}", cost)
                runs.append(Run(operation.name, who, number, cost))
                if cost.error:
                    failed.add((operation.name, who))
    return runs


def _turn(names: list[str], number: int) -> list[str]:
    """Another one first in each round: nobody always runs after the same neighbour."""
    first = number % len(names)
    return names[first:] + names[:first]


def _tell(what: str, cost: Cost) -> None:
    text = cost.error or f"{cost.wall:.2f} s, CPU {cost.cpu:.2f} s, {cost.peak_mb:.0f} MB"
    print(f"{what}: {text}", file=sys.stderr, flush=True)
