"""Where the arithmetic is done: what the engine asks of a device, and the choice of one."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from hf_soups.engine.desk import Desk
from hf_soups.engine.host import Host
from hf_soups.engine.mixture import Mixture
from hf_soups.errors import SoupError, did_you_mean
from hf_soups.kernels import Packed

NAMES = ("auto", "cpu", "cuda", "cuda:0", "mps")
DRIVERS = ("nvidia*", "kfd", "dxg")  # files in /dev: NVIDIA's driver, AMD's, that of Windows for its Linux
ROOM = 1 << 30  # bytes that must be free on a GPU before it is chosen unasked; those that are full are at other work


class Device(Protocol):
    """Arithmetic on rows that lie in this machine's memory; any thread may call it.

    name: what records say; threads: how many workers it is meant for.
    """

    @property
    def name(self) -> str: ...

    @property
    def threads(self) -> int: ...

    def desk(self) -> Desk:
        """Memory for one thread."""
        ...

    def step(self, rows: int) -> int:
        """Elements of a piece when so many rows are in work at once; decides no bits."""
        ...

    def span(self, rows: int) -> int:
        """Elements that `products` is given at once: whole blocks, one at least and a section at most."""
        ...

    def combine(
        self,
        rows: Sequence[np.ndarray],
        coefficients: np.ndarray,
        out: np.ndarray,
        wide: bool,
        product: Packed | None = None,
        start: int = 0,
    ) -> bool:
        """out = sum of coefficient times row, then of a product from `start` on; False if something is not finite."""
        ...

    def products(self, rows: Sequence[np.ndarray], based: bool = False) -> np.ndarray:
        """Inner products of the first row and the others' differences from it, `[blocks, n, n]` float64.

        rows: they begin where a block does; the last block may be shorter. based: the first one's own products
            are not wanted, and may be anything finite.
        """
        ...

    def tally(
        self, base: np.ndarray | None, rows: Sequence[np.ndarray], low: np.ndarray, high: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
        """How the magnitudes of differences lie to brackets; see `kernels.fused.tally`."""
        ...

    def mix(
        self,
        mixture: Mixture,
        base: np.ndarray | None,
        rows: Sequence[np.ndarray],
        start: int,
        out: np.ndarray,
        wide: bool,
    ) -> bool:
        """A coordinatewise method on a range that begins at element `start`; False if something is not finite."""
        ...

    def vectors(
        self, mixture: Mixture, base: np.ndarray | None, rows: Sequence[np.ndarray], start: int, wide: bool
    ) -> np.ndarray | None:
        """The method's answer on whole rows, a whole tensor or any range, base added back; None if not finite."""
        ...


def choose(text: str = "auto") -> Device:
    """The device that is called so: auto, cpu, cuda (all GPUs share the work), cuda:1 (that one) or mps.

    auto: the GPUs with room, else the processors. mps is never chosen unasked: its memory is the processors' own,
    and it lacks float64. Without a GPU's driver on this machine, torch is not imported.

    Raises SoupError for what is no device, or none of this machine.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", text):
        raise SoupError(f"unknown device {text!r}{did_you_mean(text, NAMES)}")
    if text == "cpu" or (text == "auto" and not _has_driver()):
        return Host()
    from hf_soups.engine import torch_device

    return torch_device.choose(text, ROOM) or Host()


def _has_driver() -> bool:
    """Whether CUDA is worth asking for; where this cannot be told from files, it is."""
    if sys.platform == "darwin":
        return False
    return not sys.platform.startswith("linux") or any(any(Path("/dev").glob(driver)) for driver in DRIVERS)
