"""How cost grows with ingredients and with size, and memory over time: `python -m tests.benchmarks.growth --help`."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.benchmarks.checkpoints import Models, models
from tests.benchmarks.memory import Sample, sample, summary
from tests.benchmarks.operations import OPERATIONS, Operation
from tests.benchmarks.report import Run, Runs, cpu, failures, markdown, number, peak, wall
from tests.benchmarks.rounds import run_rounds
from tests.benchmarks.run import compile_first, names, offered, parser, save
from tests.benchmarks.shapes import SHAPES

COUNTS = (2, 4, 8, 16, 32)
CURVE = 30  # ingredients of the merge whose memory is watched


class Case:
    """One row: an operation on a number of ingredients of one size."""

    def __init__(self, operation: Operation, size: str, found: Models) -> None:
        self.operation = replace(operation, name=f"{operation.name} of {operation.count}, {size}")
        self.models = found
        self.gigabytes = sum(file.stat().st_size for file in operation.inputs(found)) / 1e9

    def row(self, runs: Sequence[Run]) -> list[str]:
        found = Runs(runs, self.operation.name)
        seconds = found.median("ours", cpu)
        each = None if seconds is None else seconds / self.gigabytes
        return [
            self.operation.name,
            number(self.gigabytes),
            number(found.median("ours", wall)),
            number(seconds),
            number(each),
            number(found.median("ours", peak), 0),
            number(found.ratio("ours", "limit", wall)),
        ]


HEAD = ["operation", "GB read", "wall s", "CPU s", "CPU s/GB", "MB", "x cp"]


def sizes(text: str) -> list[str]:
    """A comma-separated list of sizes."""
    found = text.split(",")
    if unknown := [size for size in found if size not in SHAPES]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: choose from {', '.join(SHAPES)}")
    return found


def cases(cache: Path, operations: Sequence[Operation], counts: Sequence[int], sizes: Sequence[str]) -> list[Case]:
    """Growing numbers of ingredients of the first size, then four of every other size."""
    first, *others = sizes
    many = models(cache, first, max(counts))
    found = [Case(replace(operation, count=count), first, many) for operation in operations for count in counts]
    return found + [Case(operation, size, models(cache, size)) for size in others for operation in operations]


def figure(file: Path, samples: Sequence[Sample], title: str) -> None:
    """The memory curve as a picture."""
    from matplotlib.figure import Figure

    picture = Figure(figsize=(6, 3), layout="constrained")
    axes = picture.add_subplot()
    seconds = [s.seconds for s in samples]
    axes.plot(seconds, [s.mb for s in samples], label="resident")
    axes.plot(seconds, [s.private_mb for s in samples], label="of it not mapped files")
    axes.set(xlabel="seconds", ylabel="MB", title=title, ylim=(0, None))
    axes.legend()
    picture.savefig(file, dpi=150)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--operations", type=names, default=["linear", "ties"], metavar="A,B")
    options.add_argument("--counts", type=lambda text: [int(n) for n in text.split(",")], default=COUNTS, metavar="N,N")
    options.add_argument("--sizes", type=sizes, default=["135m", "1b"], metavar="S,S")
    options.add_argument(
        "--curve", type=int, default=CURVE, metavar="N", help="ingredients of the memory curve; 0: none"
    )
    options.add_argument("--figure", type=Path, metavar="FILE", help="the memory curve as PNG")
    given = options.parse_args()

    cache = given.cache.absolute()
    out = cache / "out"
    operations, skipped = offered(given.operations)
    compile_first(operations, cache)
    rows = cases(cache, operations, given.counts, given.sizes)
    runs = run_rounds([(case.operation, case.models) for case in rows], given.rounds, out, given.limit)
    print(markdown([HEAD, *(case.row(runs) for case in rows)]))
    for line in [*skipped, *failures(runs)]:
        print(f"\n{line}")

    samples: list[Sample] = []
    if given.curve:
        size = given.sizes[0]
        operation = replace(OPERATIONS["linear"], count=given.curve)
        title = f"average of {given.curve} ingredients of {size}"
        try:
            samples = sample(operation.command(models(cache, size, given.curve), out))
        except RuntimeError as error:
            print(f"\n{title}: {error}", file=sys.stderr)
        finally:
            shutil.rmtree(out, ignore_errors=True)
        print(f"\nMemory while making the {title}\n\n{markdown(summary(samples))}")
        if given.figure and samples:
            figure(given.figure, samples, title)
    save(given.json, {"runs": [run.to_json() for run in runs], "memory": [s._asdict() for s in samples]})


if __name__ == "__main__":
    main()
