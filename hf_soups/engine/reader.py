"""Who reads and computes while something is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hf_soups.engine.desk import Desk
from hf_soups.engine.device import Device


@dataclass(frozen=True)
class Reader:
    """A device, the memory that it works in, and who waits.

    desk: gives the calling thread's. progress: hears of the bytes that were read, from any thread.
    """

    device: Device
    desk: Callable[[], Desk]
    progress: Callable[[int], None]
