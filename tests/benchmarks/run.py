"""Operations side by side with copying, and with mergekit: `python -m tests.benchmarks.run --help`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.checkpoints import Models, default_cache, models
from tests.benchmarks.measure import measure
from tests.benchmarks.operations import OPERATIONS, Operation, our_methods
from tests.benchmarks.peers import Mergekit
from tests.benchmarks.report import failures, machine, table, versions
from tests.benchmarks.rounds import run_rounds
from tests.benchmarks.shapes import SHAPES


def names(text: str) -> list[str]:
    """A comma-separated list of operations."""
    found = text.split(",")
    if unknown := [name for name in found if name not in OPERATIONS]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: choose from {', '.join(OPERATIONS)}")
    return found


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that all benchmarks share."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--rounds", type=int, default=5, help="interleaved runs of everything; default 5")
    made.add_argument("--limit", type=float, default=600, metavar="S", help="seconds for one run; default 600")
    made.add_argument("--cache", type=Path, default=default_cache(), metavar="DIR", help="default: %(default)s")
    made.add_argument("--json", type=Path, metavar="FILE", help="write all raw runs there")
    return made


def offered(chosen: Sequence[str]) -> tuple[list[Operation], list[str]]:
    """The chosen operations that this version has, and why the others are left out."""
    methods = our_methods()
    found = [OPERATIONS[name] for name in chosen]
    missing = [
        f"{o.name}: skipped, `hf-soups methods` does not list {o.method}" for o in found if o.method not in methods
    ]
    return [operation for operation in found if operation.method in methods], missing


def compile_first(operations: Sequence[Operation], cache: Path, mergekit: Mergekit | None = None) -> None:
    """Run everything once on a tiny model: what is compiled once and kept is no cost of the first round."""
    tiny, out = models(cache, "tiny"), cache / "out"
    for operation in operations:
        measure(operation.command(tiny, out), out=out)
    if mergekit and (command := mergekit.command(OPERATIONS["linear"], tiny, out)):
        measure(command, out=out)


def save(file: Path | None, content: dict[str, object]) -> None:
    if file:
        file.write_text(json.dumps({"machine": machine(), "versions": versions(), **content}, indent=1) + "\n")


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--size", choices=list(SHAPES), default="135m")
    options.add_argument("--operations", type=names, default=list(OPERATIONS), metavar="A,B", help="default: all")
    options.add_argument("--peers", type=Path, metavar="DIR", help="environment with mergekit; without it only ours")
    options.add_argument("--peer-operations", type=names, metavar="A,B", help="what to ask mergekit for; default: all")
    given = options.parse_args()

    cache = given.cache.absolute()
    mergekit = Mergekit(given.peers, cache / "peers") if given.peers else None
    operations, skipped = offered(given.operations)
    for line in skipped:
        print(line, file=sys.stderr)
    inputs: Models = models(cache, given.size)
    compile_first(operations, cache, mergekit)
    pairs = [(operation, inputs) for operation in operations]
    runs = run_rounds(pairs, given.rounds, cache / "out", given.limit, mergekit, given.peer_operations)

    found = machine()
    print(f"{given.size}, medians of {given.rounds} interleaved rounds; {found['cpu']}, {found['cores']} cores\n")
    print(table(runs, [operation.name for operation in operations], mergekit is not None))
    for line in [*skipped, *failures(runs)]:
        print(f"\n{line}")
    content = {"size": given.size, "skipped": skipped, "runs": [run.to_json() for run in runs]}
    save(given.json, content | ({"peer": mergekit.versions()} if mergekit else {}))


if __name__ == "__main__":
    main()
