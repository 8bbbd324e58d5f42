"""A checkpoint in memory: a dict of NumPy arrays or torch tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from hf_soups.checkpoint.base import Checkpoint, Origin, Spec
from hf_soups.checkpoint.codes import refuse_codes
from hf_soups.errors import CheckpointError


class StateDict(Checkpoint):
    """The tensors of a plain dict, not copied where their memory can be shared.

    Raises CheckpointError for values that are not tensors.
    """

    def __init__(
        self,
        tensors: Mapping[str, Any],
        name: str = "state dict",
        assets: Mapping[str, bytes] | None = None,
    ) -> None:
        self._arrays = {key: _array(value, f"{name}: {key}") for key, value in tensors.items()}
        self.specs = {key: Spec(a.shape, a.dtype) for key, a in self._arrays.items()}
        refuse_codes(self.specs, name)
        self.assets = dict(assets or {})
        self.aliases = _aliases(tensors)
        self.origin = Origin(name=name)

    def read(self, name: str, start: int, stop: int, into: np.ndarray | None = None) -> np.ndarray:
        return self._arrays[name].reshape(-1)[start:stop]

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for name, array in self._arrays.items():
            digest.update(repr((name, self.specs[name])).encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return f"sha256:{digest.hexdigest()}"


def _aliases(tensors: Mapping[str, Any]) -> dict[str, str]:
    """Names whose tensor is, memory and all, that of an earlier name."""
    first: dict[Any, str] = {}
    found = {}
    for name, value in tensors.items():
        if hasattr(value, "data_ptr"):  # a torch tensor
            key = (value.data_ptr(), str(value.dtype), tuple(value.shape), value.stride())
            empty = value.numel() == 0
        else:
            array = np.asarray(value)
            key = (array.__array_interface__["data"][0], str(array.dtype), array.shape, array.strides)
            empty = array.size == 0
        if not empty and first.setdefault(key, name) != name:
            found[name] = first[key]
    return found


def _array(value: Any, where: str) -> np.ndarray:
    if isinstance(value, (np.ndarray, np.generic)):
        return np.asarray(value)
    if hasattr(value, "detach"):  # a torch tensor, recognised without importing torch
        tensor = value.detach().cpu().contiguous()
        if str(tensor.dtype) == "torch.bfloat16":  # NumPy has no such type, so pass its bits
            import torch

            return tensor.view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
        array: np.ndarray = tensor.numpy()
        return array
    raise CheckpointError(f"{where}: not a tensor: {type(value).__name__}")
