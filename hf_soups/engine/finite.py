"""Who brought the number that is not one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from hf_soups.checkpoint import Checkpoint
from hf_soups.errors import CheckpointError


def refuse(name: str, parts: Sequence[Checkpoint], rows: Sequence[np.ndarray], start: int, otherwise: str) -> NoReturn:
    """CheckpointError with the first element of `rows` (which begin at `start`) that is not finite; or `otherwise`."""
    for checkpoint, row in zip(parts, rows, strict=True):
        strange = ~np.isfinite(row.astype(np.float64))
        if strange.any():
            position = int(np.argmax(strange))
            raise CheckpointError(
                f"{checkpoint.origin.name}: {name}: element {start + position} is {row[position]}; leave this "
                "ingredient out, or take the tensor from another with an override"
            )
    raise CheckpointError(f"{name}: {otherwise}")
