"""One thing that an alignment saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SHOWN = 40  # names listed for one ingredient and one kind of mismatch, before a count


@dataclass(frozen=True)
class Finding:
    """A sentence, and how bad it is: `error` means that there will be no soup."""

    level: str  # error | warning | note
    message: str


def listed(names: Sequence[str]) -> str:
    """`3 tensors (a, b, c)`, or the one name."""
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    return f"{len(names)} tensors ({shown})" if len(names) > 1 else names[0]
