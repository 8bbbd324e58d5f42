"""The operations that are measured, as commands: ours, and the limit that copying sets."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.checkpoints import Models
from tests.benchmarks.measure import environment

PROGRAM = [sys.executable, "-c", "from hf_soups.cli import main; main()"]


@dataclass(frozen=True)
class Operation:
    """One row of the table.

    method: its name in `hf-soups methods`.
    count: ingredients.
    base: whether the base is read too.
    adapters: whether the ingredients are LoRA adapters of the base, and the result a full model.
    plan: stop after the plan; what a merge costs before the first weight is read.
    """

    name: str
    method: str
    count: int = 4
    base: bool = False
    parameters: Mapping[str, float] = field(default_factory=dict)
    adapters: bool = False
    plan: bool = False

    def ingredients(self, models: Models) -> tuple[Path, ...]:
        return (models.adapters if self.adapters else models.tuned)[: self.count]

    def inputs(self, models: Models) -> list[Path]:
        """The weight files that the operation has to read; first those of the folder that its output resembles."""
        folders = [models.base] if self.base else []
        return [
            file for folder in [*folders, *self.ingredients(models)] for file in sorted(folder.glob("*.safetensors"))
        ]

    def resembled(self, models: Models) -> list[Path]:
        """The weight files that are as large as those that are written."""
        inputs = self.inputs(models)
        return [file for file in inputs if file.parent == inputs[0].parent]

    def written(self, models: Models) -> int:
        """Bytes of weights."""
        return 0 if self.plan else sum(file.stat().st_size for file in self.resembled(models))

    def command(self, models: Models, out: Path) -> list[str]:
        """Our whole command, start-up and all."""
        words = [*PROGRAM, "merge", *map(str, self.ingredients(models)), "--method", self.method, "--quiet"]
        words += ["--dry-run"] if self.plan else ["-o", str(out)]
        if self.base:
            words += ["--base", str(models.base)]
        if self.adapters and "--full" in merge_help():
            words += ["--full"]
        for name, value in self.parameters.items():
            words += ["--param", f"{name}={value}"]
        return words

    def limit(self, models: Models, out: Path) -> list[str] | None:
        """Write one folder's files with `cp`, read all inputs with `cat`; None where nothing is written."""
        if self.plan:
            return None
        words = (shlex.join(map(str, files)) for files in (self.inputs(models), self.resembled(models)))
        read, copied = words
        folder = shlex.quote(str(out))
        return ["sh", "-c", f"mkdir -p {folder} && cp {copied} {folder} && cat {read} > /dev/null"]


OPERATIONS = {
    operation.name: operation
    for operation in [
        Operation("plan", "average", plan=True),
        Operation("linear", "average"),
        Operation("slerp", "slerp", count=2),
        Operation("karcher", "karcher"),
        Operation("multislerp", "multislerp"),
        Operation("model_stock", "model_stock", base=True),
        Operation("task_arithmetic", "task_arithmetic", base=True),
        Operation("ties", "ties", base=True, parameters={"density": 0.5}),
        Operation("dare_ties", "dare_ties", base=True, parameters={"density": 0.5}),
        Operation("lora", "average", base=True, adapters=True),
    ]
}


def _output(*words: str) -> str:
    return subprocess.run([*PROGRAM, *words], env=environment(), capture_output=True, text=True, check=True).stdout


def merge_help() -> str:
    return _output("merge", "--help")


def our_methods() -> set[str]:
    """What `hf-soups methods` lists."""
    return {method["name"] for method in json.loads(_output("methods", "--json"))}
