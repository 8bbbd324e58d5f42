"""The same operations in mergekit, which lives in an environment of its own: `make bench-peers` creates it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from tests.benchmarks.checkpoints import Models
from tests.benchmarks.operations import Operation

METHODS = {"linear", "slerp", "karcher", "multislerp", "model_stock", "task_arithmetic", "ties", "dare_ties"}
WEIGHTED = {"linear", "multislerp", "task_arithmetic", "ties", "dare_ties"}  # a weight for each model is required


class Mergekit:
    """mergekit in the virtual environment `folder`; its configurations are written to `scratch`."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.program = folder.absolute() / "bin" / "mergekit-yaml"
        self.python = folder.absolute() / "bin" / "python"
        self.scratch = scratch
        if not self.program.exists():
            raise SystemExit(f"{self.program} is not there; `make bench-peers` creates the environment")

    def command(self, operation: Operation, models: Models, out: Path) -> list[str] | None:
        """None where mergekit has no such operation."""
        if operation.plan:
            return None
        self.scratch.mkdir(parents=True, exist_ok=True)
        config = self.scratch / f"{operation.name}-{operation.count}.yaml"
        config.write_text(yaml.safe_dump(configuration(operation, models), sort_keys=False))
        words = [str(self.program), str(config), str(out), "--lazy-unpickle", "--no-copy-tokenizer", "--quiet"]
        if operation.adapters:  # each adapter becomes a full model there; inside `out`, so that it is removed with it
            words += ["--lora-merge-cache", str(out / "lora")]
        return words

    def versions(self) -> dict[str, str]:
        """Of the packages that decide how fast it is."""
        program = "from importlib.metadata import version as v; print(v('mergekit'), v('torch'))"
        done = subprocess.run([self.python, "-c", program], capture_output=True, text=True, check=True)
        return dict(zip(("mergekit", "mergekit's torch"), done.stdout.split(), strict=True))


def configuration(operation: Operation, models: Models) -> dict[str, object]:
    """What mergekit-yaml reads."""
    method = "linear" if operation.method == "average" else operation.method
    names = [str(folder) for folder in operation.ingredients(models)]
    if operation.adapters:
        names = [f"{models.base}+{name}" for name in names]
    own = dict(operation.parameters)  # density belongs to each model there
    if method in WEIGHTED:
        own["weight"] = 1.0
    config: dict[str, object] = {
        "merge_method": method,
        "models": [{"model": name, **({"parameters": own} if own else {})} for name in names],
        "dtype": "bfloat16",
    }
    if method == "slerp":
        config |= {"base_model": names[0], "parameters": {"t": 0.5}}
    elif operation.base and not operation.adapters:
        config["base_model"] = str(models.base)
    return config
