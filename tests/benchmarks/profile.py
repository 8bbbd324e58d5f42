"""Where the time of a merge goes: seconds that all threads together spend in each part.

python -m tests.benchmarks.profile --cache DIR --size 1b --operations linear,ties
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

PARTS = {"preadv": "read", "pwrite": "write", "fsync": "wait for the disk"}
LOOPS = ("combine", "products", "tally", "count", "elect")


def timed(place: Any, name: str, label: str, spent: dict[str, float], lock: Lock) -> None:
    """From now on, count the time that calls of `place.name` take."""
    function: Callable[..., Any] = getattr(place, name)

    def measured(*arguments: Any, **keywords: Any) -> Any:
        begun = time.perf_counter()
        try:
            return function(*arguments, **keywords)
        finally:
            with lock:
                spent[label] = spent.get(label, 0.0) + time.perf_counter() - begun

    setattr(place, name, measured)


def run(words: Sequence[str]) -> None:
    """One command of ours in this process, its parts timed and printed."""
    begun = time.perf_counter()
    from isal import isal_zlib

    from hf_soups.cli import main as command
    from hf_soups.kernels import loops

    imported = time.perf_counter()
    loops()
    ready = time.perf_counter()
    spent: dict[str, float] = {}
    lock = Lock()
    for name, label in PARTS.items():
        timed(os, name, label, spent, lock)
    timed(isal_zlib, "crc32", "checksum", spent, lock)
    for name in LOOPS:
        timed(loops(), name, f"loop {name}", spent, lock)
    sys.argv = ["hf-soups", *words]
    try:
        command()
    except SystemExit as done:
        if done.code:
            raise
    finished = time.perf_counter()
    print(
        f"  imports {imported - begun:.2f} s, loops {ready - imported:.2f} s, merge {finished - ready:.2f} s of which"
    )
    for label, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"    {seconds:6.2f} s  {label} (all threads)")


def main() -> None:
    from tests.benchmarks.checkpoints import default_cache, models
    from tests.benchmarks.operations import OPERATIONS, PROGRAM

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=default_cache())
    parser.add_argument("--size", default="1b")
    parser.add_argument("--operations", default="linear,slerp,ties,lora")
    given = parser.parse_args()
    inputs = models(given.cache, given.size)
    for name in given.operations.split(","):
        with tempfile.TemporaryDirectory(dir=given.cache) as folder:
            words = OPERATIONS[name].command(inputs, Path(folder) / "out")[len(PROGRAM) :]
            print(f"{name}, {given.size}:", flush=True)
            for file in OPERATIONS[name].inputs(inputs):  # into the page cache
                subprocess.run(["cat", file], check=True, stdout=subprocess.DEVNULL)
            code = f"from tests.benchmarks.profile import run; run({words!r})"
            subprocess.run([sys.executable, "-c", code], check=True)


if __name__ == "__main__":
    main()
