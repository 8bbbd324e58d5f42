"""One folder to make, and everything that a process needs to know about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from hf_soups.checkpoint.folder import new_folder, write_text
from hf_soups.errors import CheckpointError
from hf_soups.training.sweep import HEAD, Run, Sweep

if TYPE_CHECKING:
    from hf_soups.evaluation.data import Examples

RECORD = "training.json"

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with a folder's name, the steps done and the steps in all; 0 of 0 if it was there already."""


@dataclass(frozen=True)
class Job:
    """
    run: None for the head.
    source: folder of the model to start from.
    out: the folder to make.
    settings: what the folder's record says, and what a later call compares.
    """

    sweep: Sweep
    run: Run | None
    source: Path
    examples: Examples
    out: Path
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        return self.run.name if self.run else HEAD

    def do(self, progress: Progress) -> None:
        """Make the folder; it appears when it is complete."""
        from hf_soups.training.ingredient import make_head, make_run

        with new_folder(self.out, overwrite=True) as folder:
            if self.run is None:
                result = make_head(self.sweep, self.source, self.examples, folder, progress)
            else:
                result = make_run(self.sweep, self.run, self.source, self.examples, folder, progress)
            record = {"settings": self.settings, "result": result}
            write_text(folder / RECORD, json.dumps(record, indent=2) + "\n")

    def done(self) -> bool:
        """Is the folder there, made with these settings? CheckpointError if it holds something that no sweep made."""
        if not self.out.exists() or (self.out.is_dir() and not any(self.out.iterdir())):
            return False
        try:
            found = json.loads((self.out / RECORD).read_text(encoding="utf-8"))["settings"]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise CheckpointError(f"{self.out}: was not made by a sweep; choose another output folder") from error
        return bool(found == json.loads(json.dumps(self.settings)))
