"""Devices to hold the engine to: torch on the processors everywhere, GPUs where there are some."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hf_soups.engine import Device

KINDS = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu), pytest.param("mps", marks=pytest.mark.gpu)]


def torch_device(kind: str, **options: Any) -> Any:
    """A TorchDevice of that kind; the test is skipped where this machine has none."""
    import torch

    from hf_soups.engine.torch_device import TorchDevice

    if (kind == "cuda" and not torch.cuda.is_available()) or (kind == "mps" and not torch.backends.mps.is_available()):
        pytest.skip(f"needs {kind}")
    return TorchDevice(torch.device(kind), **options)


class Cut:
    """A device that works on pieces of a given size, in a given number of threads."""

    def __init__(self, device: Device, size: int, threads: int) -> None:
        self._device, self._size, self.threads = device, size, threads

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)

    def step(self, rows: int) -> int:
        return self._size


def places(array: np.ndarray) -> np.ndarray:
    """Each float's place among all floats of its type, so that neighbours differ by 1; both zeros are 0."""
    stored = array.view(f"i{array.itemsize}").astype(np.int64)
    sign = np.int64(1) << (8 * array.itemsize - 1)
    return np.where(stored < 0, -(stored & (sign - 1)) if array.itemsize < 8 else -(stored ^ sign), stored)


def steps_apart(a: np.ndarray, b: np.ndarray) -> int:
    """By how many roundings two arrays of one type differ at most."""
    return int(np.abs(places(a) - places(b)).max(initial=0))
