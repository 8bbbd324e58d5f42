"""Greedy, learned and plain evaluation of sixteen fine-tunes: figures and what they are compared with."""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from importlib.metadata import version
from os import cpu_count
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks.selection import greedy, learned, speed
from tests.benchmarks.selection.pool import pool

PARTS = ("speed", "greedy", "learned")


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m tests.benchmarks.selection", description=__doc__)
    arguments.add_argument("--cache", type=Path, required=True, help="folder of models and data, made if not there")
    arguments.add_argument("--only", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    arguments.add_argument("--out", type=Path, help="folder for selection-PART.json and .md")
    asked = arguments.parse_args()
    found = pool(asked.cache)
    for part in asked.only.split(","):
        with tempfile.TemporaryDirectory() as scratch:
            said = _run(part, found, Path(scratch))
        libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
        about = f"{libraries}, {cpu_count()} cores of {platform.machine()}"
        text = "\n".join([*LINES[part](said), "", f"`python -m tests.benchmarks.selection --only {part}`; {about}."])
        print(text, flush=True)
        if asked.out is not None:
            asked.out.mkdir(parents=True, exist_ok=True)
            (asked.out / f"selection-{part}.json").write_text(json.dumps(said, indent=1) + "\n")
            (asked.out / f"selection-{part}.md").write_text(text + "\n")


LINES = {"greedy": greedy.lines, "learned": learned.lines, "speed": speed.lines}


def _run(part: str, found: Any, scratch: Path) -> dict[str, Any]:
    if part == "speed":
        torch.set_num_threads(2)
        one_by_one = speed.one_by_one(found, scratch)
        torch.set_num_threads(1)
        return {"one_by_one": one_by_one, "overhead": speed.overhead(found, scratch)}
    torch.set_num_threads(1)
    if part == "greedy":
        return greedy.measure(found, scratch)
    return {"memory": learned.memory(found, scratch), "ways": learned.ways(found, scratch)}


if __name__ == "__main__":
    main()
